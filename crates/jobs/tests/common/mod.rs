//! Small books, and a run on them without a store.
#![allow(dead_code, missing_docs, unreachable_pub, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::clone_on_ref_ptr)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use book::{Book, Class, Lot, MemorySource, OptionTerms, Right};
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{ContentHash, Owner, PortfolioId, RunId, ScheduleName};
use domain::job_context::JobContext;
use domain::ports::{Clock, Documents, JobRunner, PinnedInputs, Randomness, RunInputs, Sleeper, StoreError};
use domain::record::{JobError, JobOutput};
use domain::run::{Run, RunPhase, SealedPlan};
use domain::work_item::ItemKey;
use jobs::{BookInputs, NoGate, PriceGate, Runner};
use serde_json::Value;

pub struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
}

#[async_trait]
impl Sleeper for Still {
    async fn sleep(&self, _time: Duration) {}
}

impl Randomness for Still {
    fn owner(&self) -> Owner {
        "00000000-0000-0000-0000-000000000001".parse::<RunId>().map(|id| Owner(id.0)).unwrap()
    }
    fn jitter(&self) -> f64 {
        0.5
    }
}

/// Documents in memory; counts how often a snapshot is read.
#[derive(Default)]
pub struct Memory {
    pub snapshots: Mutex<BTreeMap<ContentHash, Vec<u8>>>,
    pub reads: Mutex<u32>,
}

#[async_trait]
impl Documents for Memory {
    async fn put_results(&self, _key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError> {
        Ok(ContentHash::of(&json))
    }
    async fn results(&self, _key: &ItemKey, _hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        self.snapshots.lock().unwrap().insert(hash.clone(), bytes);
        Ok(hash)
    }
    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        *self.reads.lock().unwrap() += 1;
        let found = self.snapshots.lock().unwrap().get(hash).cloned();
        found.ok_or_else(|| StoreError::NotFound { what: "snapshot".into() })
    }
}

pub fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub fn id(text: &str) -> PortfolioId {
    PortfolioId::new(text).unwrap()
}

/// A public lot entered long ago.
pub fn lot(symbol: &str, quantity: f64, entry_price: f64) -> Lot {
    Lot {
        symbol: symbol.into(),
        quantity,
        entry_price,
        entry_date: date("2020-01-02"),
        exit_date: None,
        class: Class::Public,
        option: None,
        multiplier: 1.0,
        implied_vol: None,
        mark: None,
        sector: None,
    }
}

pub fn option(symbol: &str, quantity: f64, underlying: &str, right: Right, strike: f64, expiry: &str) -> Lot {
    let terms = OptionTerms { underlying: underlying.into(), right, strike, expiry: date(expiry) };
    Lot { class: Class::Option, option: Some(terms), multiplier: 100.0, ..lot(symbol, quantity, 1.0) }
}

/// A book of one portfolio `p`; `closes` by symbol, ending on the last weekday given, NaN where there is none.
pub fn book(equity: Option<f64>, lots: Vec<Lot>, last: NaiveDate, closes: &[(&str, Vec<f64>)]) -> Book {
    let mut prices = String::from("date,symbol,close\n");
    for (symbol, series) in closes {
        let days = book::Calendar::Weekdays.last_sessions(last, series.len());
        for (day, close) in days.iter().zip(series).filter(|(_, close)| close.is_finite()) {
            prices.push_str(&format!("{day},{symbol},{close}\n"));
        }
    }
    let mut source = MemorySource::new(BTreeMap::new());
    source.insert("nightbook.toml", "[schedule]\ncalendar = \"weekdays\"\n");
    source.insert("portfolios.csv", "portfolio_id,name,equity\np,P,1\n");
    source.insert("positions.csv", "portfolio_id,symbol,quantity,entry_price,entry_date\n");
    source.insert("prices.csv", prices);
    let reading = book::read(&source).unwrap();
    let mut book = reading.book.unwrap_or_else(|| panic!("{:?}", reading.errors));
    book.portfolios[0].equity = equity;
    book.portfolios[0].positions = lots;
    book
}

pub async fn pin_behind(book: &Book, as_of: NaiveDate, gate: Arc<dyn PriceGate>) -> Result<PinnedInputs, JobError> {
    let still = Arc::new(Still);
    BookInputs::new(Arc::new(book.clone()), still.clone(), gate, still.clone(), still)
        .pin(as_of, &[], &domain::night::NightBefore::default())
        .await
}

pub async fn pin(book: &Book, as_of: NaiveDate) -> PinnedInputs {
    pin_behind(book, as_of, Arc::new(NoGate)).await.unwrap()
}

/// The run that these inputs make, its snapshot stored.
pub async fn sealed(pinned: &PinnedInputs, as_of: NaiveDate, documents: &Memory) -> Run {
    let snapshot = documents.put_snapshot(pinned.snapshot.clone()).await.unwrap();
    let plan = SealedPlan {
        night: None,
        epoch: 1,
        portfolios: 1,
        jobs: pinned.jobs.clone(),
        retry: pinned.retry,
        book: pinned.book.clone(),
        snapshot,
        market_data: pinned.market_data.clone(),
        sealed_at: DateTime::UNIX_EPOCH,
        deadline: DateTime::UNIX_EPOCH + chrono::Duration::hours(2),
    };
    let start = domain::start_run::StartRun {
        id: "7d0a1c2e-5b3f-5a6d-9c1b-2f4e6a8b0c1d".parse().unwrap(),
        schedule: ScheduleName::new("nightly").unwrap(),
        night_series: ScheduleName::new("nightly").unwrap(),
        trigger: "manual".into(),
        as_of,
        scheduled_for: DateTime::UNIX_EPOCH,
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    };
    Run { plan: Some(plan), ..Run::new(&start, RunPhase::Running, DateTime::UNIX_EPOCH) }
}

/// What the jobs of a portfolio came to.
pub struct Night {
    pub outcomes: BTreeMap<String, Result<JobOutput, JobError>>,
    pub bytes: Option<Vec<u8>>,
    pub results: Value,
}

impl Night {
    pub fn ok(&self, job: &str) -> &JobOutput {
        self.outcomes[job].as_ref().unwrap()
    }
    pub fn error(&self, job: &str) -> &JobError {
        self.outcomes[job].as_ref().unwrap_err()
    }
    pub fn number(&self, pointer: &str) -> f64 {
        self.results
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.results))
    }
}

/// Runs every job of portfolio `p`, whatever became of those before.
pub async fn run(pinned: &PinnedInputs, as_of: NaiveDate) -> Night {
    let documents = Arc::new(Memory::default());
    let run = sealed(pinned, as_of, &documents).await;
    let session = Runner::new(documents, 2).open(&run, &id("p")).await.unwrap();
    let mut outcomes = BTreeMap::new();
    for job in &pinned.jobs {
        let outcome = session.run(&job.name, JobContext::new(Arc::new(Still))).await;
        outcomes.insert(job.name.to_string(), outcome);
    }
    let bytes = session.results().unwrap();
    let results = bytes.as_ref().map_or(Value::Null, |bytes| serde_json::from_slice(bytes).unwrap());
    Night { outcomes, bytes, results }
}

pub async fn night(book: &Book, as_of: NaiveDate) -> Night {
    run(&pin(book, as_of).await, as_of).await
}

/// Closes that follow these returns from 100.
pub fn follow(returns: &[f64]) -> Vec<f64> {
    let mut closes = vec![100.0];
    for r in returns {
        closes.push(closes[closes.len() - 1] * (1.0 + r));
    }
    closes
}

/// Numbers in [-1, 1), the same for the same seed.
pub fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..n).map(next).collect()
}

pub fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}
