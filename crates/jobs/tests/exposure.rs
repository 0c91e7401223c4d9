//! Cash, delta-adjusted exposures, concentration, and clamped betas.

mod common;

use book::{Class, Factor, Lot, Right, Scenario, Shock};
use common::{book, date, follow, lot, near, night, noise, option};

const LAST: &str = "2024-06-28";

#[tokio::test]
async fn exposure_is_by_delta_and_netted_per_underlying() {
    let cash = Lot { class: Class::Cash, mark: Some(1.0), ..lot("USD", 5_000.0, 1.0) };
    let put = option("AAAPUT", 2.0, "AAA", Right::Put, 100.0, "2024-09-20");
    let lots = vec![lot("AAA", 100.0, 90.0), lot("BBB", -50.0, 90.0), put, cash];
    let mut book = book(Some(20_000.0), lots, date(LAST), &[("AAA", vec![100.0; 3]), ("BBB", vec![40.0; 3])]);
    book.settings.scenarios.clear();
    let night = night(&book, date(LAST)).await;
    let put = night.number("/greeks/0/delta_dollars");
    assert!(put < 0.0);
    for (pointer, expected) in [
        ("/snapshot/cash_balance", 5_000.0),
        ("/snapshot/delta_adjusted_gross", 10_000.0 + 2_000.0 + 5_000.0 - put),
        ("/snapshot/delta_adjusted_net", 10_000.0 - 2_000.0 + 5_000.0 + put),
        ("/snapshot/delta_adjusted_leverage", (17_000.0 - put) / 20_000.0),
        ("/snapshot/commitment_gross", (10_000.0 + put).abs() + 2_000.0),
    ] {
        assert!(near(night.number(pointer), expected), "{pointer}: {} is not {expected}", night.number(pointer));
    }
    let (a, b) = ((10_000.0 + put).abs(), 2_000.0);
    let hhi = (a * a + b * b) / ((a + b) * (a + b));
    assert!(near(night.number("/concentration/hhi"), hhi));
    assert!(near(night.number("/concentration/effective_number"), 1.0 / hhi));
}

#[tokio::test]
async fn a_clamped_beta_is_marked_and_the_raw_move_agrees_with_stress() {
    let market: Vec<f64> = (0..100).map(|at| if at % 3 == 0 { 0.01 } else { -0.004 }).collect();
    let fast: Vec<f64> = market.iter().map(|r| r * 4.0).collect();
    let lots = vec![lot("AAA", 100.0, 90.0)];
    let mut book = book(Some(20_000.0), lots, date(LAST), &[("SPY", follow(&market)), ("AAA", follow(&fast))]);
    book.settings.factors = vec![Factor { name: "Market".into(), proxy: "SPY".into() }];
    book.settings.scenarios = vec![Scenario {
        id: "down".into(),
        name: "down".into(),
        category: "market".into(),
        severity: "mild".into(),
        shocks: vec![Shock { factor: "Market".into(), change: -0.1 }],
    }];
    let night = night(&book, date(LAST)).await;
    assert_eq!(night.results["factors"]["positions"][0]["clamped"], true);
    assert_eq!(night.results["factors"]["portfolio"][0]["clamped"], true);
    assert_eq!(night.results["market_risk"][1]["move"], -0.1);
    let (clamped, raw) = (night.number("/market_risk/1/pnl"), night.number("/market_risk/1/pnl_raw"));
    assert!(near(raw, night.number("/stress/0/correlated_pnl")) && near(clamped, raw * 0.75), "{clamped}, {raw}");
}

#[tokio::test]
async fn positions_that_cancel_out_have_no_effective_number() {
    let up: Vec<f64> = noise(1, 120).into_iter().map(|value| value * 0.01).collect();
    let own = noise(2, 120);
    let down: Vec<f64> = up.iter().zip(own).map(|(r, own)| -r + 0.01 * own).collect();
    let lots = vec![lot("AAA", 1_000.0, 90.0), lot("BBB", 1_000.0, 90.0)];
    let mut book = book(Some(20_000.0), lots, date(LAST), &[("AAA", follow(&up)), ("BBB", follow(&down))]);
    book.settings.scenarios.clear();
    let night = night(&book, date(LAST)).await;
    let correlation = night.number("/correlations/triangle/1");
    assert!(-0.95 < correlation && correlation < -0.3, "{correlation}");
    assert!(night.results["correlations"]["effective_positions"].is_null(), "more than the two positions");
}
