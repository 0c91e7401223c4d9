//! A book small enough to work out by hand, and each rule of prices and of what is missing.

mod common;

use book::{Book, Class, Factor, Lot, Right, Scenario, Shock};
use common::{book, date, follow, lot, near, night, option, pin, run};
use domain::words::{ErrorCategory, QualityFlag};

const LAST: &str = "2024-06-28";

/// Five sessions, one factor: AAA moves twice as much as SPY, BBB as much the other way.
fn small(equity: Option<f64>, lots: Vec<Lot>) -> Book {
    let closes = [
        ("SPY", follow(&[0.1, -0.1, 0.1, 0.1])),
        ("AAA", follow(&[0.2, -0.2, 0.2, 0.2])),
        ("BBB", follow(&[-0.1, 0.1, -0.1, -0.1])),
    ];
    let mut book = book(equity, lots, date(LAST), &closes);
    let settings = &mut book.settings;
    settings.factors = vec![Factor { name: "Market".into(), proxy: "SPY".into() }];
    settings.factor_analysis.window = 4;
    settings.factor_analysis.min_observations = 3;
    settings.correlations.window = 4;
    settings.correlations.min_overlap = 3;
    settings.correlations.min_position_value = 100.0;
    settings.snapshot.risk_window = 4;
    let shock = |factor: &str, change| Shock { factor: factor.into(), change };
    let scenario = |id: &str, shocks| Scenario {
        id: id.into(),
        name: id.into(),
        category: "market".into(),
        severity: "mild".into(),
        shocks,
    };
    settings.scenarios = vec![
        scenario("down", vec![shock("Market", -0.1)]),
        scenario("oil", vec![shock("Oil", 0.5), shock("Market", 0.1)]),
    ];
    book
}

fn lots() -> Vec<Lot> {
    let today = Lot { entry_date: date(LAST), ..lot("AAA", 5.0, 130.0) };
    let private = Lot { class: Class::Private, mark: Some(50.0), ..lot("FUND", 4.0, 40.0) };
    let cash = Lot { class: Class::Cash, mark: Some(1.0), ..lot("USD", 500.0, 1.0) };
    vec![lot("AAA", 10.0, 100.0), today, lot("BBB", -20.0, 95.0), private, cash]
}

#[tokio::test]
async fn figures_worked_out_by_hand() {
    let night = night(&small(Some(10_000.0), lots()), date(LAST)).await;
    // Closes today: AAA 100 x 1.2 x 0.8 x 1.2 x 1.2 = 138.24, BBB 100 x 0.9 x 1.1 x 0.9 x 0.9 = 80.19.
    // Closes of the day before: 115.2 and 89.1.
    for (pointer, expected) in [
        // Two lots of AAA are one row: 15 x 138.24; 10 x 23.04 since yesterday and 5 x 8.24 since the entry of today.
        ("/positions/0/quantity", 15.0),
        ("/positions/0/market_value", 2073.6),
        ("/positions/0/cost_basis", 1650.0),
        ("/positions/0/unrealized_pnl", 423.6),
        ("/positions/0/daily_pnl", 230.4 + 41.2),
        ("/positions/0/lots/1/daily_pnl", 41.2),
        ("/positions/1/market_value", -1603.8),
        ("/positions/1/daily_pnl", 178.2),
        ("/positions/2/market_value", 200.0),
        // 2073.6 + 200 + 500 long, 1603.8 short.
        ("/aggregation/long", 2773.6),
        ("/aggregation/short", -1603.8),
        ("/aggregation/gross", 4377.4),
        ("/aggregation/net", 1169.8),
        // 2073.6 x 2 + 1603.8 x 1 = 5751.
        ("/factors/portfolio/0/exposure_dollar", 5751.0),
        ("/factors/portfolio/0/beta", 0.5751),
        ("/factors/portfolio/0/exposure_dollar_multivariate", 5751.0),
        ("/factors/positions/0/beta", 2.0),
        ("/factors/positions/1/beta", -1.0),
        // Moves -20 %, -10 %, ...
        ("/market_risk/1/move", -0.1),
        ("/market_risk/1/pnl", -575.1),
        ("/stress/0/direct_pnl", -575.1),
        ("/stress/0/correlated_pnl", -575.1),
        ("/snapshot/total_value", 10_000.0),
        ("/snapshot/cash", 10_000.0 - 1169.8),
        ("/snapshot/daily_pnl", 449.8),
        ("/snapshot/daily_return", 449.8 / (10_000.0 - 449.8)),
        ("/correlations/triangle/1", -1.0),
    ] {
        assert!(near(night.number(pointer), expected), "{pointer}: {} is not {expected}", night.number(pointer));
    }
    assert_eq!(night.results["positions"][0]["price_source"], "close");
    assert_eq!(night.results["positions"][2]["price_source"], "mark");
    assert_eq!(night.results["stress"][1]["status"], "not_computed");
    assert_eq!(night.results["stress"][1]["direct_pnl"], serde_json::Value::Null);
    assert!(night.results["stress"][1]["reason"].as_str().unwrap().contains("Oil"));
    assert!(night.results["snapshot"]["var_95"].is_null(), "four days are not sixty");
    assert_eq!(night.ok("factor_analysis").quality.as_ref().unwrap().flag, QualityFlag::Full);
    assert_eq!(night.ok("market_data_update").quality.as_ref().unwrap().flag, QualityFlag::Full);
    let whole = jobs::expand(night.results.clone());
    assert_eq!(whole["correlations"]["matrix"][1][0], whole["correlations"]["matrix"][0][1]);
    assert_eq!(whole["correlations"]["overlap"], serde_json::json!([[4, 4], [4, 4]]));
}

#[tokio::test]
async fn an_option_is_valued_by_the_model_and_exposed_by_its_delta() {
    let call = option("AAA240920C00140000", -2.0, "AAA", Right::Call, 140.0, "2024-09-20");
    let expired = option("AAA240621C00140000", 3.0, "AAA", Right::Call, 140.0, "2024-06-21");
    let orphan = option("ZZZ240920C00140000", 1.0, "ZZZ", Right::Call, 140.0, "2024-09-20");
    let mut with = lots();
    with.extend([call, expired, orphan]);
    let book = small(Some(10_000.0), with);
    let night = night(&book, date(LAST)).await;
    let row = |part: &str, symbol: &str| {
        night.results[part].as_array().unwrap().iter().find(|row| row["symbol"] == symbol).unwrap().clone()
    };
    let input = quant::black_scholes::OptionInput::new(
        quant::black_scholes::OptionKind::Call,
        138.24,
        140.0,
        84.0 / 365.0,
        0.05,
        0.0,
        0.25,
    );
    let expected = quant::black_scholes::price_and_greeks(&input.unwrap());
    let call = row("greeks", "AAA240920C00140000");
    let delta = call["delta"].as_f64().unwrap();
    assert!(near(delta, expected.delta) && near(call["price"].as_f64().unwrap(), expected.price));
    assert!(near(call["position_delta"].as_f64().unwrap(), -200.0 * delta));
    assert_eq!(row("positions", "AAA240920C00140000")["price_source"], "model");
    let exposure = 5751.0 + 2.0 * -200.0 * delta * 138.24;
    assert!(near(night.number("/factors/portfolio/0/exposure_dollar"), exposure));

    assert_eq!(row("positions", "AAA240621C00140000")["market_value"], 0.0);
    assert_eq!(row("greeks", "AAA240621C00140000")["delta"], 0.0);
    assert_eq!(row("greeks", "ZZZ240920C00140000")["status"], "no_underlying_price");
    assert_eq!(row("positions", "ZZZ240920C00140000")["price_source"], "none");
    let quality = night.ok("factor_analysis").quality.clone().unwrap();
    assert_eq!(
        (quality.flag, &quality.symbols_missing[..]),
        (QualityFlag::Limited, &["ZZZ240920C00140000".to_owned()][..])
    );

    let mut without = book;
    without.settings.run.jobs.retain(|job| job.as_str() != "greeks_calculation");
    let night = common::night(&without, date(LAST)).await;
    assert_eq!(night.outcomes.len(), 8);
    assert!(near(night.number("/factors/portfolio/0/exposure_dollar"), 5751.0), "options are left out");
    assert_eq!(night.ok("factor_analysis").quality.as_ref().unwrap().flag, QualityFlag::Limited);
    assert!(night.results.get("greeks").is_none());
}

#[tokio::test]
async fn without_equity_two_jobs_fail_for_that_reason() {
    for equity in [None, Some(0.0), Some(-5.0)] {
        let night = night(&small(equity, lots()), date(LAST)).await;
        for job in ["factor_analysis", "portfolio_snapshot"] {
            let error = night.error(job);
            assert_eq!(error.category, ErrorCategory::Permanent);
            assert!(error.message.contains("no usable equity"), "{}", error.message);
        }
        assert!(night.outcomes["portfolio_aggregation"].is_ok() && night.outcomes["position_correlations"].is_ok());
    }
}

#[tokio::test]
async fn prices_are_stale_for_five_sessions_and_then_gone() {
    // 250 weekdays of prices that end on the Friday; the run is some sessions later.
    let book = |mark| {
        let mut book = small(Some(1_000.0), vec![Lot { mark, ..lot("AAA", 1.0, 1.0) }]);
        book.settings.scenarios.clear();
        book
    };
    let later = night(&book(None), date("2024-07-05")).await;
    assert_eq!(later.results["positions"][0]["price_source"], "stale");
    assert_eq!(later.results["positions"][0]["daily_pnl"], 0.0);
    assert_eq!(later.ok("position_values_update").quality.as_ref().unwrap().flag, QualityFlag::Limited);
    let marked = night(&book(Some(7.0)), date("2024-07-05")).await;
    assert_eq!(marked.results["positions"][0]["price_source"], "mark");
    let delisted = night(&book(None), date("2024-07-08")).await;
    let error = delisted.error("market_data_update");
    assert!(error.category == ErrorCategory::Permanent && error.message.contains("AAA"), "{}", error.message);
    assert_eq!(delisted.results["positions"][0]["price_source"], "none");
}

#[tokio::test]
async fn an_unusable_row_fails_the_first_job_only() {
    let mut book = small(Some(1_000.0), lots());
    let issue = |line| book::Issue {
        file: "positions.csv".into(),
        line,
        column: "quantity".into(),
        text: "ten".into(),
        message: "not a number".into(),
        scope: book::Scope::default(),
    };
    book.portfolios[0].issues = vec![issue(7), issue(9)];
    let night = night(&book, date(LAST)).await;
    let error = night.error("market_data_update");
    assert!(error.message.contains("positions.csv:7") && error.message.contains("(and 1 more)"), "{}", error.message);
    assert_eq!(error.category, ErrorCategory::Permanent);
}

#[tokio::test]
async fn portfolios_without_public_positions_succeed() {
    let empty = night(&small(Some(1_000.0), Vec::new()), date(LAST)).await;
    assert!(empty.outcomes.values().all(Result::is_ok));
    assert_eq!(empty.number("/factors/portfolio/0/exposure_dollar"), 0.0);
    assert_eq!(empty.number("/stress/0/correlated_pnl"), 0.0);
    assert_eq!(empty.ok("market_data_update").quality.as_ref().unwrap().flag, QualityFlag::Full);
    let private = night(&small(Some(1_000.0), lots()[3..4].to_vec()), date(LAST)).await;
    assert!(private.outcomes.values().all(Result::is_ok));
    assert_eq!(private.ok("market_data_update").quality.as_ref().unwrap().flag, QualityFlag::Failed);
}

#[tokio::test]
async fn lots_of_other_terms_are_rows_of_their_own() {
    let other = Lot { multiplier: 10.0, ..lot("AAA", 1.0, 1.0) };
    let night = night(&small(Some(1_000.0), vec![lot("AAA", 1.0, 1.0), other]), date(LAST)).await;
    assert_eq!(night.results["positions"].as_array().unwrap().len(), 2);
    assert_eq!(night.results["correlations"]["symbols"], serde_json::json!(["AAA"]));
}

#[tokio::test]
async fn a_rerun_gives_the_same_bytes() {
    let pinned = pin(&small(Some(1_000.0), lots()), date(LAST)).await;
    let (first, second) = (run(&pinned, date(LAST)).await, run(&pinned, date(LAST)).await);
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(pinned.snapshot, pin(&small(Some(1_000.0), lots()), date(LAST)).await.snapshot);
}

#[tokio::test]
async fn a_closed_portfolio_is_left_out_from_its_closing_date_on() {
    let closed_on = |day: &str| {
        let mut book = small(Some(1_000.0), lots());
        book.portfolios[0].closed_on = Some(date(day));
        book
    };
    let members = async |book: &Book| {
        let pinned = pin(book, date(LAST)).await;
        let members = pinned.night.unwrap().members;
        (pinned.portfolios.len(), members.open.len(), members.closures.len())
    };
    assert_eq!(members(&small(Some(1_000.0), lots())).await, (1, 1, 0));
    assert_eq!(members(&closed_on(LAST)).await, (0, 0, 1));
    assert_eq!(members(&closed_on("2024-07-01")).await, (1, 1, 1), "a later closure is known, and not in force yet");
}
