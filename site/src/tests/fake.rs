//! A store and a site in memory, and a sample book of runs.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, TimeZone as _, Utc};
use domain::alert::{AlertEvent, AlertRefusal, AlertState};
use domain::fold::{Fold, FoldEntry};
use domain::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId};
use domain::job::JobSpec;
use domain::ports::*;
use domain::record::JobRecord;
use domain::run::{PlannedPortfolio, Run, RunEvent, RunRefusal};
use domain::summary::RunSummary;
use domain::words::{JobStatus, JobType};
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};

/// What a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) run: Run,
    pub(crate) summary: Option<RunSummary>,
    pub(crate) items: Vec<WorkItem>,
    pub(crate) planned: Vec<PlannedPortfolio>,
}

#[derive(Debug, Default)]
pub(crate) struct FakeStore(pub(crate) Mutex<Vec<Entry>>);

impl FakeStore {
    fn newest_first(&self) -> Vec<Entry> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort_by_key(|e| std::cmp::Reverse((e.run.scheduled_for, e.run.started_at, e.run.batch_run_id)));
        all
    }
}

#[async_trait]
impl RunStore for FakeStore {
    async fn create_run(&self, _: &Run) -> Result<Creation<Run>, StoreError> {
        unimplemented!()
    }
    async fn apply_run(&self, id: RunId, event: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError> {
        let mut entries = self.0.lock().unwrap();
        let entry = entries.iter_mut().find(|entry| entry.run.batch_run_id == id).unwrap();
        entry.run = entry.run.next(event).unwrap();
        Ok(Change::Applied(entry.run.clone()))
    }
    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        let all = self.newest_first().into_iter().find(|e| e.run.batch_run_id == id);
        Ok(all.map(|e| StoredRun { run: e.run, summary: e.summary }))
    }
    async fn put_manifest(&self, _: RunId, _: u32, _: u32, _: &[PlannedPortfolio]) -> Result<(), StoreError> {
        unimplemented!()
    }
    async fn manifest(&self, run: RunId, _: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
        let entry = self.newest_first().into_iter().find(|e| e.run.batch_run_id == run);
        let chunk = |e: &Entry| e.planned.chunks(100).nth(bucket as usize).map(<[_]>::to_vec);
        Ok(entry.as_ref().and_then(chunk).unwrap_or_default())
    }
    async fn apply_item(
        &self,
        _: &ItemKey,
        _: &str,
        _: Place,
        _: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError> {
        unimplemented!()
    }
    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError> {
        Ok(self.0.lock().unwrap().iter().flat_map(|e| &e.items).find(|item| &item.key == key).cloned())
    }
    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
        let all = self.0.lock().unwrap();
        let of_run = all.iter().filter(|e| e.run.batch_run_id == run).flat_map(|e| &e.items);
        Ok(of_run.filter(|item| item.place.bucket == bucket).cloned().collect())
    }
    async fn fold(&self, _: RunId, _: u32, _: &FoldEntry) -> Result<Fold, StoreError> {
        unimplemented!()
    }
    async fn folds(&self, _: RunId) -> Result<Vec<Fold>, StoreError> {
        unimplemented!()
    }
    async fn mark_full(&self, _: RunId, _: u32) -> Result<u32, StoreError> {
        unimplemented!()
    }
    async fn put_summary(&self, _: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        unimplemented!()
    }
    async fn apply_alert(&self, _: RunId, _: &AlertEvent) -> Result<Change<AlertState, AlertRefusal>, StoreError> {
        unimplemented!()
    }
    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        let fits = |e: &Entry| {
            query.as_of.is_none_or(|date| e.run.as_of == date)
                && query.month.as_ref().is_none_or(|month| &e.run.as_of.format("%Y-%m").to_string() == month)
        };
        let mut runs: Vec<StoredRun> = self
            .newest_first()
            .into_iter()
            .filter(fits)
            .map(|e| StoredRun { run: e.run, summary: e.summary })
            .collect();
        if query.limit > 0 {
            runs.truncate(query.limit);
        }
        Ok(RunPage { runs, next: None })
    }
    async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        Ok(self.newest_first().into_iter().map(|e| e.run).filter(|run| !run.is_closed()).collect())
    }
    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError> {
        unimplemented!()
    }
    async fn records(&self, _: RunId, _: &RecordQuery) -> Result<Vec<JobRecord>, StoreError> {
        unimplemented!()
    }
    async fn portfolio_runs(&self, id: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        let of = |e: Entry| {
            let item = e.items.iter().find(|item| &item.key.portfolio == id)?;
            let cell = |r: &JobRecord| Cell {
                job: r.job_name.clone(),
                status: r.status,
                attempt: r.attempt,
                duration_seconds: r.duration_seconds,
                quality: r.quality.as_ref().map(|q| q.flag),
                fingerprint: r.error.as_ref().map(|e| e.fingerprint.clone()),
            };
            Some(PortfolioRun {
                batch_run_id: e.run.batch_run_id,
                as_of: e.run.as_of,
                scheduled_for: e.run.scheduled_for,
                started_at: e.run.started_at,
                portfolio_name: item.portfolio_name.clone(),
                cells: item.records.iter().map(cell).collect(),
            })
        };
        Ok(self.newest_first().into_iter().filter_map(of).take(limit).collect())
    }
    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        let of = |e: Entry| {
            let line = e.summary?.job_summary.into_iter().find(|line| &line.job == job)?;
            Some(JobRun {
                batch_run_id: e.run.batch_run_id,
                as_of: e.run.as_of,
                scheduled_for: e.run.scheduled_for,
                started_at: e.run.started_at,
                line,
            })
        };
        Ok(self.newest_first().into_iter().filter_map(of).take(limit).collect())
    }
    async fn last_success(&self, job: &JobName, of: Option<&PortfolioId>) -> Result<Option<JobRecord>, StoreError> {
        let fits = |r: &JobRecord| {
            &r.job_name == job && r.status == JobStatus::Success && of.is_none_or(|id| &r.portfolio_id == id)
        };
        Ok(self.newest_first().into_iter().flat_map(|e| e.items).flat_map(|item| item.records).find(fits))
    }
    async fn failures(
        &self,
        _: Option<DateTime<Utc>>,
        _: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        unimplemented!()
    }
    async fn first_seen(&self, _: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        Ok(BTreeMap::new())
    }
}

/// A site in memory; remembers the order of the writes.
#[derive(Debug, Default)]
pub(crate) struct MemorySite {
    pub(crate) files: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) log: Mutex<Vec<String>>,
}

#[async_trait]
impl SiteStore for MemorySite {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.files.lock().unwrap().get(path).cloned())
    }
    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        let mut files = self.files.lock().unwrap();
        let now = files.get(&file.path).cloned();
        if let WriteIf::Unchanged(hash) = condition
            && now.as_deref().map(ContentHash::of) != *hash
        {
            return Ok(Written::Refused);
        }
        if now.as_ref() == Some(&file.body) {
            return Ok(Written::Unchanged);
        }
        files.insert(file.path.clone(), file.body.clone());
        self.log.lock().unwrap().push(file.path.clone());
        Ok(Written::Written)
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
