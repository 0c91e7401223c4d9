//! The profit and loss (P&L) of the day: what it counts from, what it runs to, and its causes.

#![allow(clippy::unwrap_used)]

mod common;

use book::{Book, Class, Lot, Right};
use common::{Night, book, date, lot, near, night, option};
use proptest::prelude::*;
use serde_json::Value;

const LAST: &str = "2024-06-28";
const PREVIOUS: &str = "2024-06-27";
const GAP: f64 = f64::NAN;

/// A book whose closes end on [`LAST`]; the factors have no prices.
fn with(lots: Vec<Lot>, closes: &[(&str, Vec<f64>)]) -> Book {
    let mut book = book(Some(10_000.0), lots, date(LAST), closes);
    book.settings.scenarios.clear();
    book
}

async fn of(lots: Vec<Lot>, closes: &[(&str, Vec<f64>)]) -> Night {
    night(&with(lots, closes), date(LAST)).await
}

fn pnl(night: &Night) -> &Value {
    &night.results["snapshot"]["daily_pnl"]
}

fn explained(night: &Night) -> f64 {
    let terms = night.results["pnl_explain"].as_object().expect("the P&L is explained");
    terms.values().map(|term| term.as_f64().unwrap()).sum()
}

#[tokio::test]
async fn a_lot_bought_since_the_previous_session_counts_from_its_entry_price() {
    let bought = |day: &str| Lot { entry_date: date(day), ..lot("AAA", 10.0, 110.0) };
    let closes = [("AAA", vec![100.0, 100.0, 112.0])];
    let today = of(vec![bought(LAST)], &closes).await;
    assert_eq!(pnl(&today), 20.0);
    assert_eq!(today.results["pnl_explain"]["trades"], 20.0);
    assert_eq!(pnl(&of(vec![bought(PREVIOUS)], &closes).await), 120.0, "held at the previous session");
    // Bought on a day without a session: also since the previous one.
    let mut weekend = with(vec![bought("2024-06-29")], &closes);
    weekend.settings.scenarios.clear();
    let weekend = night(&weekend, date("2024-07-01")).await;
    assert_eq!(pnl(&weekend), 20.0);
}

#[tokio::test]
async fn a_price_at_the_previous_session_is_at_most_five_sessions_old() {
    let after = |gap: usize| {
        let mut closes = vec![50.0];
        closes.extend(vec![GAP; gap]);
        closes.push(100.0);
        closes
    };
    let near_gap = of(vec![lot("AAA", 10.0, 1.0)], &[("AAA", after(5)), ("SPY", vec![1.0; 7])]).await;
    assert_eq!(pnl(&near_gap), 500.0);
    let far = of(vec![lot("AAA", 10.0, 1.0)], &[("AAA", after(6)), ("SPY", vec![1.0; 8])]).await;
    assert!(pnl(&far).is_null() && far.results["pnl_explain"].is_null());
    assert_eq!(far.results["snapshot"]["pnl_coverage"], 0.0);
    assert!(far.results["snapshot"]["daily_return"].is_null());
    assert!(far.ok("position_values_update").metadata["daily_pnl"].is_null());
}

#[tokio::test]
async fn the_loss_of_the_day_of_an_exit_is_in_that_night() {
    let sold = |day: &str| Lot { exit_date: Some(date(day)), ..lot("AAA", 10.0, 150.0) };
    let closes = [("AAA", vec![300.0, 100.0]), ("BBB", vec![10.0, 11.0])];
    let today = of(vec![sold(LAST), lot("BBB", 1.0, 1.0)], &closes).await;
    assert_eq!(pnl(&today), -1_999.0);
    assert_eq!(today.results["snapshot"]["realized_pnl"], -500.0);
    assert_eq!(today.results["pnl_explain"]["trades"], -2_000.0);
    assert_eq!(today.results["positions"].as_array().unwrap().len(), 1, "an exited position has no row");
    assert_eq!(today.ok("position_values_update").metadata["daily_pnl"], -1_999.0);
    let part = of(vec![sold(LAST), lot("AAA", 1.0, 1.0)], &closes).await;
    assert_eq!(part.results["positions"][0]["daily_pnl"], -2_200.0);
    assert_eq!(part.results["positions"][0]["realized_pnl"], -500.0);
    let earlier = of(vec![sold(PREVIOUS), lot("BBB", 1.0, 1.0)], &closes).await;
    assert_eq!(pnl(&earlier), 1.0);
    assert!(earlier.results["snapshot"]["realized_pnl"].is_null());
}

#[tokio::test]
async fn an_option_without_a_close_counts_from_its_model_price() {
    let call = option("AAA240920C00100000", -2.0, "AAA", Right::Call, 100.0, "2024-09-20");
    let night = of(vec![call], &[("AAA", vec![100.0, 104.0])]).await;
    let price = |spot, days: f64| {
        let kind = quant::black_scholes::OptionKind::Call;
        let input = quant::black_scholes::OptionInput::new(kind, spot, 100.0, days / 365.0, 0.05, 0.0, 0.25);
        quant::black_scholes::price_and_greeks(&input.unwrap())
    };
    let (before, now) = (price(100.0, 85.0), price(104.0, 84.0));
    let expected = -200.0 * (now.price - before.price);
    assert!(near(pnl(&night).as_f64().unwrap(), expected), "{} is not {expected}", pnl(&night));
    assert!(near(night.number("/pnl_explain/delta"), -200.0 * before.delta * 4.0));
    assert!(near(night.number("/pnl_explain/theta"), -200.0 * before.theta));
    assert_eq!(night.results["pnl_explain"]["vega"], 0.0, "the volatility is the same on both dates");
    assert!(near(explained(&night), expected));
    assert_eq!(night.results["greeks"][0]["pnl_explain"], night.results["pnl_explain"]);
    assert_eq!(night.results["snapshot"]["pnl_coverage"], 1.0);
}

#[tokio::test]
async fn an_option_that_expired_since_runs_to_its_intrinsic_value() {
    let expiring = |day: &str| option("AAACALL", 1.0, "AAA", Right::Call, 100.0, day);
    let closes = [("AAA", vec![100.0, 110.0, 130.0])];
    let night = of(vec![expiring(PREVIOUS)], &closes).await;
    assert_eq!(pnl(&night), 0.0, "worth 10 at the previous session, settled at 10");
    assert_eq!(night.results["positions"][0]["market_value"], 0.0);
    let long_gone = of(vec![expiring("2024-06-21")], &closes).await;
    assert_eq!(pnl(&long_gone), 0.0);
}

#[tokio::test]
async fn marks_are_a_cause_of_their_own_and_their_share_is_shown() {
    let fund = Lot { class: Class::Private, mark: Some(50.0), ..lot("FUND", 6.0, 40.0) };
    let marked = Lot { mark: Some(50.0), ..lot("AAA", 10.0, 40.0) };
    let night = of(vec![fund, marked], &[("AAA", vec![100.0, GAP]), ("SPY", vec![1.0; 2])]).await;
    assert_eq!(pnl(&night), -500.0);
    assert_eq!(night.results["pnl_explain"]["marks"], -500.0);
    assert_eq!(night.results["snapshot"]["marked_share"], 1.0);
    let notes = &night.ok("position_values_update").quality.as_ref().unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("AAA") && note.contains("source mark")), "{notes:?}");
}

#[tokio::test]
async fn nothing_is_negative_zero() {
    let flat = of(vec![lot("AAA", -10.0, 100.0)], &[("AAA", vec![100.0, 100.0])]).await;
    let text = String::from_utf8(flat.bytes.clone().unwrap()).unwrap();
    assert_eq!(pnl(&flat), 0.0);
    let pnl_part = &text[text.find("\"pnl_explain\"").unwrap()..];
    assert!(!pnl_part.contains("-0.0") && !text.contains("\"daily_pnl\":-0.0"), "{text}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Over the nights of a quiet holding the P&L adds up to the change of its value; its causes add up to the P&L; one
    /// lot is worth as much as the same quantity in two.
    #[test]
    fn pnl_adds_over_nights_and_over_causes(
        stock in prop::collection::vec(prop_oneof![3 => 50.0..150.0_f64, 1 => Just(GAP)], 4),
        first in 50.0..150.0_f64,
        last in 50.0..150.0_f64,
        quantity in prop_oneof![-100.0..-1.0_f64, 1.0..100.0_f64],
        strike in 60.0..140.0_f64,
        share in 0.1..0.9_f64,
    ) {
        let closes: Vec<f64> = [first].into_iter().chain(stock).chain([last]).collect();
        let days = book::Calendar::Weekdays.last_sessions(date(LAST), closes.len());
        let put = |part: f64| option("AAAPUT", quantity * part, "AAA", Right::Put, strike, "2024-08-16");
        let whole = with(vec![lot("AAA", quantity, 90.0), put(1.0)], &[("AAA", closes.clone())]);
        let halves = vec![lot("AAA", quantity * share, 90.0), lot("AAA", quantity * (1.0 - share), 80.0), put(share), put(1.0 - share)];
        let split = with(halves, &[("AAA", closes)]);
        let (mut sum, mut values) = (0.0, Vec::new());
        for (at, day) in days.iter().enumerate() {
            let night = runtime().block_on(night(&whole, *day));
            let gross = night.number("/snapshot/gross");
            values.push(night.number("/snapshot/net"));
            if at == 0 {
                prop_assert!(pnl(&night).is_null(), "no session before the first");
                continue;
            }
            let total = pnl(&night).as_f64().unwrap();
            sum += total;
            prop_assert!((explained(&night) - total).abs() <= 1e-9 * gross);
            let split = runtime().block_on(common::night(&split, *day));
            prop_assert!((pnl(&split).as_f64().unwrap() - total).abs() <= 1e-9 * gross);
        }
        let change = values[values.len() - 1] - values[0];
        prop_assert!((sum - change).abs() <= 1e-9 * (1.0 + change.abs() + values[0].abs()), "{sum} is not {change}");
    }
}
