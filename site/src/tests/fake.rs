//! A clock that stands still, a site that remembers the order of the writes, and what a run is made of.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use backends::memory;
use chrono::{DateTime, NaiveDate, TimeZone as _, Utc};
use domain::ids::JobName;
use domain::job::JobSpec;
use domain::ports::*;
use domain::run::{PlannedPortfolio, Run};
use domain::summary::RunSummary;
use domain::words::JobType;
use domain::work_item::WorkItem;

/// What a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) run: Run,
    pub(crate) summary: Option<RunSummary>,
    pub(crate) items: Vec<WorkItem>,
    pub(crate) planned: Vec<PlannedPortfolio>,
}

/// Puts a run into a store.
pub(crate) fn put(store: &memory::MemoryStore, entry: Entry) {
    let id = entry.run.batch_run_id;
    store.put(entry.run, entry.items, entry.summary);
    for (bucket, chunk) in entry.planned.chunks(100).enumerate() {
        futures::executor::block_on(store.put_manifest(id, 1, bucket as u32, chunk)).unwrap();
    }
}

/// A site in memory; remembers the order of the writes.
#[derive(Debug, Default)]
pub(crate) struct MemorySite {
    pub(crate) site: memory::MemorySite,
    pub(crate) log: Mutex<Vec<String>>,
}

impl MemorySite {
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.site.files()
    }
}

#[async_trait]
impl SiteStore for MemorySite {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.site.read(path).await
    }
    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        let written = self.site.write(file, condition).await?;
        if written == Written::Written {
            self.log.lock().unwrap().push(file.path.clone());
        }
        Ok(written)
    }
    async fn list(&self) -> Result<Vec<String>, StoreError> {
        self.site.list().await
    }
    async fn damaged(&self) -> Result<Vec<String>, StoreError> {
        self.site.damaged().await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.site.remove(path).await
    }
    async fn flush(&self) -> Result<(), StoreError> {
        self.log.lock().unwrap().push("flush".into());
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct At(pub(crate) DateTime<Utc>);

impl Clock for At {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

pub(crate) fn date(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
}

pub(crate) fn slot(day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, day, 23, 30, 0).single().unwrap()
}

const JOBS: [(&str, JobType, &[&str]); 9] = [
    ("market_data_update", JobType::MarketData, &[]),
    ("position_values_update", JobType::Valuation, &["market_data_update"]),
    ("portfolio_aggregation", JobType::Valuation, &["position_values_update"]),
    ("greeks_calculation", JobType::RiskMetrics, &["market_data_update"]),
    ("factor_analysis", JobType::RiskMetrics, &["market_data_update", "portfolio_aggregation"]),
    ("market_risk_scenarios", JobType::RiskMetrics, &["factor_analysis"]),
    ("stress_testing", JobType::RiskMetrics, &["factor_analysis"]),
    ("portfolio_snapshot", JobType::Snapshots, &["position_values_update"]),
    ("position_correlations", JobType::RiskMetrics, &["position_values_update"]),
];

pub(crate) fn jobs() -> Vec<JobSpec> {
    let name = |text: &str| JobName::new(text).unwrap();
    let spec = |(at, (job, job_type, needs)): (usize, &(&str, JobType, &[&str]))| JobSpec {
        name: name(job),
        job_type: *job_type,
        critical: at == 0 || at == 2,
        needs: needs.iter().map(|need| name(need)).collect(),
        run_level: at == 0,
        time_limit_seconds: 300,
    };
    JOBS.iter().enumerate().map(spec).collect()
}
