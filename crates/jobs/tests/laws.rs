//! What holds for every book.

#![allow(clippy::unwrap_used, clippy::clone_on_ref_ptr)]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use book::{Book, Class, Lot, Right, Scenario, Shock};
use chrono::{Days, NaiveDate};
use common::{Memory, Still, book, date, follow, id, lot, near, night, noise, option, pin, pin_behind, sealed};
use domain::ids::PortfolioId;
use domain::job_context::JobContext;
use domain::ports::{JobRunner, RunInputs};
use domain::record::JobError;
use domain::words::ErrorCategory;
use jobs::{Fetched, PriceGate, Runner, Snapshot, SnapshotInputs};
use proptest::prelude::*;
use serde_json::Value;

const LAST: &str = "2024-06-28";

/// Eight factors and four stocks that follow them, over 300 sessions without a gap.
fn whole(lots: Vec<Lot>) -> Book {
    let n = 300;
    let scaled = |seed: u64, by: f64| noise(seed, n).into_iter().map(|value| value * by).collect::<Vec<f64>>();
    let market = scaled(1, 0.01);
    let mix = |seed: u64, share: f64| -> Vec<f64> {
        scaled(seed, 0.01).iter().zip(&market).map(|(own, market)| own + share * market).collect()
    };
    let proxies = ["SPY", "VTV", "VUG", "MTUM", "QUAL", "IWM", "USMV", "TLT"];
    let mut closes: Vec<(&str, Vec<f64>)> =
        proxies.iter().zip(2..).map(|(proxy, seed)| (*proxy, follow(&mix(seed, 0.7)))).collect();
    closes.extend(
        ["AAA", "BBB", "CCC", "DDD"].into_iter().zip(50..).map(|(stock, seed)| (stock, follow(&mix(seed, 1.2)))),
    );
    book(Some(50_000.0), lots, date(LAST), &closes)
}

fn stocks() -> Vec<Lot> {
    let call = option("AAA240920C00100000", 2.0, "AAA", Right::Call, 100.0, "2024-09-20");
    vec![lot("AAA", 100.0, 90.0), lot("BBB", -50.0, 90.0), lot("CCC", 200.0, 90.0), call]
}

/// The shock of one factor, the others at their conditional expectation, is the univariate exposure times the shock.
#[tokio::test]
async fn one_factor_stress_is_the_univariate_exposure() {
    let mut book = whole(stocks());
    let one = |factor: &str| Scenario {
        id: factor.into(),
        name: factor.into(),
        category: "law".into(),
        severity: "mild".into(),
        shocks: vec![Shock { factor: factor.into(), change: -0.03 }],
    };
    book.settings.scenarios = book.settings.factors.iter().map(|factor| one(&factor.name)).collect();
    let night = night(&book, date(LAST)).await;
    for (at, factor) in book.settings.factors.iter().enumerate() {
        let shock = if factor.name == "Interest Rate" { 17.0 * 0.03 } else { -0.03 };
        let expected = night.number(&format!("/factors/portfolio/{at}/exposure_dollar_raw")) * shock;
        let correlated = night.number(&format!("/stress/{at}/correlated_pnl"));
        assert!(near(correlated, expected), "{}: {correlated} is not {expected}", factor.name);
    }
    assert!(night.number("/snapshot/var_99") <= night.number("/snapshot/var_95"));
    assert!(near(night.number("/snapshot/coverage"), 1.0));
    assert_eq!(night.results["snapshot"]["data_days"], 252);
}

/// Two names for one proxy: scenarios of one factor still have a figure, the others say why not.
#[tokio::test]
async fn dependent_factors_leave_the_scenarios_of_one_factor() {
    let mut book = whole(stocks());
    book.settings.factors[1].proxy = "SPY".into();
    let night = night(&book, date(LAST)).await;
    let rows = night.results["stress"].as_array().unwrap();
    for row in rows {
        let single = row["shocks"].as_array().unwrap().len() == 1;
        assert_eq!(row["status"] == "computed", single, "{row}");
        assert!(single || row["reason"].as_str().unwrap().contains("dependent"));
    }
    let raw = night.number("/factors/portfolio/0/exposure_dollar_raw");
    assert!(near(night.number("/stress/0/correlated_pnl"), raw * 0.1));
    assert!(night.results["factors"]["portfolio"][0]["exposure_dollar_multivariate"].is_null());
}

/// Fails so often before it opens.
struct Failing(u32, ErrorCategory);

#[async_trait]
impl PriceGate for Failing {
    async fn open(&self, _book: &Book, _as_of: NaiveDate, attempt: u32) -> Result<Fetched, JobError> {
        if attempt <= self.0 { Err(JobError::new(self.1, "the source did not answer")) } else { Ok(Fetched::default()) }
    }
}

#[tokio::test]
async fn the_price_source_is_asked_again_for_the_run() {
    let book = whole(stocks());
    for (failures, category, attempts, fails) in [
        (0, ErrorCategory::Transient, 1, false),
        (2, ErrorCategory::Transient, 3, false),
        (9, ErrorCategory::Transient, 3, true),
        (9, ErrorCategory::Permanent, 1, true),
    ] {
        let pinned = pin_behind(&book, date(LAST), Arc::new(Failing(failures, category))).await.unwrap();
        assert_eq!(pinned.market_data.attempts, attempts);
        assert_eq!(pinned.market_data.error.is_some(), fails);
    }
}

#[tokio::test]
async fn a_rerun_has_the_inputs_of_the_original() {
    let book = whole(stocks());
    let pinned = pin(&book, date(LAST)).await;
    let documents = Arc::new(Memory::default());
    let original = sealed(&pinned, date(LAST), &documents).await;
    let again = |portfolios: Vec<PortfolioId>| SnapshotInputs::new(documents.clone(), original.clone(), portfolios);
    let whole = domain::ports::PinnedInputs { night: None, ..pinned };
    assert_eq!(again(Vec::new()).pin(date(LAST), &[], &domain::night::NightBefore::default()).await.unwrap(), whole);
    let error =
        again(vec![id("other")]).pin(date(LAST), &[], &domain::night::NightBefore::default()).await.unwrap_err();
    assert!(error.category == ErrorCategory::Permanent && error.message.contains("other"));
    assert!(again(Vec::new()).pin(date("2024-06-27"), &[], &domain::night::NightBefore::default()).await.is_err());
}

#[tokio::test]
async fn a_snapshot_is_decoded_once_for_the_run() {
    let pinned = pin(&whole(stocks()), date(LAST)).await;
    let documents = Arc::new(Memory::default());
    let run = sealed(&pinned, date(LAST), &documents).await;
    let runner = Runner::new(documents.clone(), 2);
    let p = id("p");
    let (a, b, c) = tokio::join!(runner.open(&run, &p), runner.open(&run, &p), runner.open(&run, &p));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(*documents.reads.lock().unwrap(), 1);
    let unknown = runner.open(&run, &id("q")).await.err().unwrap();
    assert_eq!(unknown.category, ErrorCategory::Permanent);
    let stopped = JobContext::new(Arc::new(Still));
    stopped.time_is_up();
    let job = &pinned.jobs[0].name;
    assert_eq!(a.unwrap().run(job, stopped).await.unwrap_err().category, ErrorCategory::Timeout);
}

#[test]
fn other_bytes_are_no_snapshot() {
    assert!(Snapshot::decode(b"").is_err());
    let bytes = Snapshot::of(&whole(stocks()), date(LAST), &[]).encode().unwrap();
    assert!(Snapshot::decode(&bytes[..bytes.len() - 9]).is_err());
    let decoded = Snapshot::decode(&bytes).unwrap();
    assert_eq!(decoded.encode().unwrap(), bytes);
}

fn any_lot() -> impl Strategy<Value = Lot> {
    let symbol = prop::sample::select(vec!["AAA", "BBB", "CCC", "NONE"]);
    let size = prop_oneof![Just(1.0), -1e3..1e3f64, Just(1e300)];
    (symbol, size, 0.0..500.0f64, 0u64..400, 0u8..6, prop::option::of(0.0..100.0f64)).prop_map(
        |(symbol, quantity, price, age, kind, mark)| {
            let quantity = if quantity == 0.0 { 1.0 } else { quantity };
            let entry_date = date(LAST).checked_sub_days(Days::new(age)).unwrap();
            let expiry = date(LAST).checked_add_days(Days::new(age)).unwrap().to_string();
            let lot = Lot { entry_date, mark, ..lot(symbol, quantity, price) };
            match kind {
                0 => Lot { class: Class::Private, ..lot },
                1 => Lot { class: Class::Cash, ..lot },
                2 => Lot { mark, ..option("OPT", quantity, symbol, Right::Put, price + 1.0, &expiry) },
                3 => Lot { mark, ..option("OLD", quantity, symbol, Right::Call, price + 1.0, "2024-06-27") },
                _ => lot,
            }
        },
    )
}

fn finite(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Array(values) => values.iter().all(finite),
        Value::Object(map) => map.values().all(finite),
        _ => true,
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever stands in a book: no job panics, every number is finite or null, and a rerun gives the same bytes.
    #[test]
    fn any_book_gives_numbers_or_reasons(
        lots in prop::collection::vec(any_lot(), 0..12),
        equity in prop::option::of(-10.0..1e6f64),
        gaps in prop::collection::vec((0usize..12, 0usize..300), 0..60),
        length in 1usize..300,
    ) {
        let symbols = ["SPY", "VTV", "VUG", "MTUM", "QUAL", "IWM", "USMV", "TLT", "AAA", "BBB", "CCC", "DDD"];
        let mut closes: Vec<(&str, Vec<f64>)> =
            symbols.into_iter().zip(7..).map(|(symbol, seed)| (symbol, follow(&noise(seed, length).iter().map(|r| r * 0.05).collect::<Vec<_>>()))).collect();
        for (symbol, day) in gaps {
            if let Some(close) = closes[symbol].1.get_mut(day) { *close = f64::NAN; }
        }
        closes[8].1 = vec![5.0; length];
        let book = book(equity, lots, date(LAST), &closes);
        wait(async {
            let pinned = pin(&book, date(LAST)).await;
            let first = common::run(&pinned, date(LAST)).await;
            for (job, outcome) in &first.outcomes {
                match outcome {
                    Ok(output) => prop_assert!(output.metadata.values().all(finite), "{job}"),
                    Err(error) => prop_assert_eq!(error.category, ErrorCategory::Permanent, "{}: {}", job, error),
                }
            }
            prop_assert!(finite(&first.results));
            prop_assert_eq!(first.bytes, common::run(&pinned, date(LAST)).await.bytes);
            Ok(())
        })?;
    }

    /// Prices, entries and exits after the date change no byte of what is pinned.
    #[test]
    fn nothing_after_the_date_is_seen(later in prop::collection::vec(any_lot(), 0..4), after in 1u64..60, back in 1u64..100) {
        let as_of = date(LAST).checked_sub_days(Days::new(back)).unwrap();
        let known = whole(stocks());
        let mut more = whole(stocks());
        let next = as_of.checked_add_days(Days::new(after)).unwrap();
        for lot in &mut more.portfolios[0].positions { lot.exit_date = Some(next); }
        more.portfolios[0].positions.extend(later.into_iter().map(|lot| Lot { entry_date: next, ..lot }));
        let cut = {
            let n = 301;
            let mut shorter = known.clone();
            let days = book::Calendar::Weekdays.last_sessions(date(LAST), n);
            let mut source = book::MemorySource::default();
            let mut prices = String::from("date,symbol,close\n");
            for symbol in known.prices.symbols() {
                let closes = known.prices.series(symbol).unwrap_or_default();
                for point in closes.iter().filter(|point| point.date <= as_of && days.contains(&point.date)) {
                    prices.push_str(&format!("{},{symbol},{}\n", point.date, point.close));
                }
            }
            source.insert("portfolios.csv", "portfolio_id,name,equity\np,P,1\n");
            source.insert("positions.csv", "portfolio_id,symbol,quantity,entry_price,entry_date\n");
            source.insert("nightbook.toml", "[schedule]\ncalendar = \"weekdays\"\n");
            source.insert("prices.csv", prices);
            shorter.prices = book::read(&source).unwrap().book.unwrap().prices;
            shorter
        };
        let bytes = |book: &Book| Snapshot::of(book, as_of, &[]).encode().unwrap();
        prop_assert_eq!(bytes(&known), bytes(&more));
        prop_assert_eq!(bytes(&known), bytes(&cut));
    }
}
