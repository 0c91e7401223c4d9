//! Historical simulation with full revaluation, its components, and what makes its quality limited.

#![allow(clippy::unwrap_used)]

mod common;

use book::{Book, Class, Lot, Right};
use common::{Night, book, date, follow, lot, near, night, noise, option};
use domain::words::QualityFlag;

const LAST: &str = "2024-06-28";
const SESSIONS: usize = 300;

fn market() -> Vec<f64> {
    follow(&noise(3, SESSIONS - 1).into_iter().map(|value| value * 0.02).collect::<Vec<f64>>())
}

fn with(lots: Vec<Lot>, closes: &[(&str, Vec<f64>)]) -> Book {
    let mut book = book(Some(1_000_000.0), lots, date(LAST), closes);
    book.settings.scenarios.clear();
    book
}

async fn of(lots: Vec<Lot>, closes: &[(&str, Vec<f64>)]) -> Night {
    night(&with(lots, closes), date(LAST)).await
}

fn flag(night: &Night) -> QualityFlag {
    night.ok("portfolio_snapshot").quality.as_ref().unwrap().flag
}

#[tokio::test]
async fn a_short_straddle_loses_by_revaluation_what_the_linear_figure_does_not_show() {
    let closes = market();
    let strike = closes[SESSIONS - 1].round();
    let leg = |symbol: &str, right| option(symbol, -100.0, "AAA", right, strike, "2024-07-19");
    let night = of(vec![leg("CALL", Right::Call), leg("PUT", Right::Put)], &[("AAA", closes)]).await;
    let (linear, full) = (night.number("/snapshot/es_95"), night.number("/historical_simulation/es_95"));
    assert!(full < 2.0 * linear && linear < 0.0, "linear {linear}, full {full}");
    assert_eq!(night.results["historical_simulation"]["method"], "full_revaluation");
    assert_eq!(night.results["historical_simulation"]["days"], 252);
    let components = night.results["components"].as_array().unwrap();
    let sum: f64 = components.iter().map(|row| row["es_95"].as_f64().unwrap()).sum();
    assert!((sum - full).abs() <= 1e-12);
    let shares: f64 = components.iter().map(|row| row["share"].as_f64().unwrap()).sum();
    assert!(near(shares, 1.0));
    assert!(components[0]["es_95"].as_f64().unwrap().abs() >= components[1]["es_95"].as_f64().unwrap().abs());
    assert_eq!(night.ok("portfolio_snapshot").metadata["historical_es_95"], full);
}

#[tokio::test]
async fn without_options_the_linear_and_the_full_figures_agree() {
    let night = of(
        vec![lot("AAA", 1_000.0, 1.0), lot("BBB", -500.0, 1.0)],
        &[
            ("AAA", market()),
            ("BBB", follow(&noise(9, SESSIONS - 1).into_iter().map(|value| value * 0.01).collect::<Vec<f64>>())),
        ],
    )
    .await;
    for key in ["var_95", "var_99", "es_95", "es_99", "max_drawdown", "volatility"] {
        let (linear, full) =
            (night.number(&format!("/snapshot/{key}")), night.number(&format!("/historical_simulation/{key}")));
        assert!(near(linear, full), "{key}: {linear} is not {full}");
    }
    assert!(night.number("/ewma/var_99") < night.number("/ewma/var_95"));
    assert_eq!(flag(&night), QualityFlag::Full);
}

#[tokio::test]
async fn a_fall_across_a_missing_close_is_in_the_figures() {
    let mut closes = vec![100.0; SESSIONS];
    closes[200] = f64::NAN;
    closes[201..].fill(60.0);
    let night = of(vec![lot("AAA", 10_000.0, 1.0)], &[("AAA", closes)]).await;
    assert!(near(night.number("/historical_simulation/worst/return"), -0.4 * 0.6));
    let day = book::Calendar::Weekdays.last_sessions(date(LAST), SESSIONS)[201];
    assert_eq!(night.results["historical_simulation"]["worst"]["as_of"], day.to_string());
    assert!(near(night.number("/historical_simulation/market_coverage"), 251.0 / 252.0));
    assert_eq!(flag(&night), QualityFlag::Full, "one day of 252 is no limit");
}

#[tokio::test]
async fn private_holdings_are_stated_and_limit_nothing_but_gaps_of_the_market_do() {
    let fund = Lot { class: Class::Private, mark: Some(1.0), ..lot("FUND", 500_000.0, 1.0) };
    let closes = market();
    let amount = 500_000.0 / closes[SESSIONS - 1];
    let night = of(vec![lot("AAA", amount, 1.0), fund], &[("AAA", closes.clone())]).await;
    assert!(near(night.number("/historical_simulation/private_share"), 0.5));
    assert_eq!(night.number("/historical_simulation/market_coverage"), 1.0);
    assert_eq!(flag(&night), QualityFlag::Full);
    let mut late = closes.clone();
    late[..SESSIONS - 200].fill(f64::NAN);
    let night = of(vec![lot("AAA", amount, 1.0), lot("BBB", amount, 1.0)], &[("AAA", closes), ("BBB", late)]).await;
    assert!(night.number("/historical_simulation/market_coverage") < 0.95);
    assert_eq!(flag(&night), QualityFlag::Limited);
}

#[tokio::test]
async fn days_without_any_price_are_out_of_the_sample() {
    let mut closes = market();
    closes[..SESSIONS - 81].fill(f64::NAN);
    let night = of(vec![lot("AAA", 100.0, 1.0)], &[("AAA", closes)]).await;
    let simulation = &night.results["historical_simulation"];
    assert_eq!(simulation["days"], 80);
    assert!(simulation["var_95"].is_f64() && simulation["var_99"].is_null(), "{simulation}");
    assert!(near(night.number("/historical_simulation/market_coverage"), 80.0 / 252.0));
    let none = of(vec![Lot { class: Class::Cash, mark: Some(1.0), ..lot("USD", 1.0, 1.0) }], &[]).await;
    assert!(none.results["components"].is_null() && none.results["ewma"]["volatility"].is_null());
    assert!(none.results["historical_simulation"]["market_coverage"].is_null());
    assert_eq!(flag(&none), QualityFlag::Full);
}
