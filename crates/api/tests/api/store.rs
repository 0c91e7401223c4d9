//! A store that counts what it is asked, and does not change anything.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use backends::memory::MemoryStore;
use chrono::{DateTime, Utc};
use domain::alert::{AlertEvent, AlertRefusal, AlertState};
use domain::chain::{Appended, Link};
use domain::fold::{Fold, FoldEntry};
use domain::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId, ScheduleName};
use domain::night::{NightHead, NightKey};
use domain::ports::{
    Chain, Change, Creation, FailureSighting, History, JobRun, NightQuery, Nights, PortfolioRun, RecordCursor,
    RecordPage, RecordQuery, RunPage, RunQuery, Runs, StoreError, StoredRun, Tallies, WorkItems,
};
use domain::record::JobRecord;
use domain::run::{PlannedPortfolio, Run, RunEvent, RunRefusal};
use domain::summary::RunSummary;
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};

/// See above.
pub(crate) struct Counting {
    inner: MemoryStore,
    asked: Mutex<Vec<&'static str>>,
    records_read: AtomicUsize,
}

impl Counting {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self { inner, asked: Mutex::default(), records_read: AtomicUsize::new(0) }
    }

    /// What was asked since the last time.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Records that pages of records held, so far.
    pub(crate) fn records_read(&self) -> usize {
        self.records_read.load(Ordering::Relaxed)
    }

    fn note(&self, what: &'static str) -> &MemoryStore {
        self.asked.lock().unwrap().push(what);
        &self.inner
    }
}

fn never<T>() -> Result<T, StoreError> {
    panic!("the API wrote to the store")
}

#[async_trait]
impl Runs for Counting {
    async fn create_run(&self, _: &Run) -> Result<Creation<Run>, StoreError> {
        never()
    }
    async fn apply_run(&self, _: RunId, _: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError> {
        never()
    }
    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        self.note("run").run(id).await
    }
    async fn put_manifest(&self, _: RunId, _: u32, _: u32, _: &[PlannedPortfolio]) -> Result<(), StoreError> {
        never()
    }
    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
        self.note("manifest").manifest(run, epoch, bucket).await
    }
    async fn put_summary(&self, _: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        never()
    }
    async fn apply_alert(&self, _: RunId, _: &AlertEvent) -> Result<Change<AlertState, AlertRefusal>, StoreError> {
        never()
    }
    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        // The fold of a night reads the runs of one date, all of them.
        assert!(query.limit > 0 || query.as_of.is_some(), "a question without a limit: {query:?}");
        self.note("runs").runs(query).await
    }
    async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        self.note("open_runs").open_runs().await
    }
    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError> {
        self.note("undelivered").undelivered().await
    }
}

#[async_trait]
impl WorkItems for Counting {
    async fn apply_item(
        &self,
        _: &ItemKey,
        _: &str,
        _: Place,
        _: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError> {
        never()
    }
    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError> {
        self.note("item").item(key).await
    }
    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
        self.note("items").items(run, bucket).await
    }
}

#[async_trait]
impl Tallies for Counting {
    async fn fold(&self, _: RunId, _: u32, _: &FoldEntry) -> Result<Fold, StoreError> {
        never()
    }
    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError> {
        self.note("folds").folds(run).await
    }
    async fn mark_full(&self, _: RunId, _: u32) -> Result<u32, StoreError> {
        never()
    }
}

#[async_trait]
impl History for Counting {
    async fn records(&self, run: RunId, query: &RecordQuery) -> Result<Vec<JobRecord>, StoreError> {
        self.note("records").records(run, query).await
    }
    async fn records_page(
        &self,
        run: RunId,
        query: &RecordQuery,
        after: Option<RecordCursor>,
        limit: usize,
    ) -> Result<RecordPage, StoreError> {
        let page = self.note("records_page").records_page(run, query, after, limit).await?;
        self.records_read.fetch_add(page.records.len(), Ordering::Relaxed);
        Ok(page)
    }
    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        self.note("portfolio_runs").portfolio_runs(portfolio, limit).await
    }
    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        self.note("job_runs").job_runs(job, limit).await
    }
    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        self.note("last_success").last_success(job, portfolio).await
    }
    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        self.note("failures").failures(since, fingerprint).await
    }
    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        self.note("first_seen").first_seen(causes).await
    }
}

#[async_trait]
impl Chain for Counting {
    async fn newest_link(&self) -> Result<Option<Link>, StoreError> {
        never()
    }
    async fn link_of(&self, _: RunId) -> Result<Option<Link>, StoreError> {
        never()
    }
    async fn append_link(&self, _: &Link) -> Result<Appended, StoreError> {
        never()
    }
    async fn links(&self, _: u64, _: usize) -> Result<Vec<Link>, StoreError> {
        never()
    }
}

#[async_trait]
impl Nights for Counting {
    async fn night(&self, key: &NightKey) -> Result<Option<NightHead>, StoreError> {
        self.note("night").night(key).await
    }
    async fn put_night(&self, _: &NightHead) -> Result<bool, StoreError> {
        never()
    }
    async fn nights(&self, query: &NightQuery) -> Result<Vec<NightHead>, StoreError> {
        self.note("nights").nights(query).await
    }
    async fn night_series(&self) -> Result<Vec<ScheduleName>, StoreError> {
        self.note("night_series").night_series().await
    }

    async fn put_night_document(&self, _: Vec<u8>, _: domain::ports::Keep) -> Result<ContentHash, StoreError> {
        never()
    }
    async fn night_document(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.note("night_document").night_document(hash).await
    }
}
