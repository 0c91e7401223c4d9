//! A store whose calls are counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use backends::local::LocalStore;
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

/// A store whose calls are counted.
pub(crate) struct Counted {
    pub(crate) inner: LocalStore,
    pub(crate) calls: AtomicU64,
}

impl Counted {
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

macro_rules! counted {
    ($($port:ident { $($call:ident($($argument:ident: $of:ty),*) -> $answer:ty;)* })*) => {
        $(#[async_trait]
        impl $port for Counted {
            $(async fn $call(&self, $($argument: $of),*) -> Result<$answer, StoreError> {
                self.calls.fetch_add(1, Ordering::Relaxed);
                self.inner.$call($($argument),*).await
            })*
        })*
    };
}

counted! {
    Chain {
        newest_link() -> Option<Link>;
        link_of(run: RunId) -> Option<Link>;
        append_link(link: &Link) -> Appended;
        links(after: u64, limit: usize) -> Vec<Link>;
    }
    Runs {
        create_run(run: &Run) -> Creation<Run>;
        apply_run(id: RunId, event: &RunEvent) -> Change<Run, RunRefusal>;
        run(id: RunId) -> Option<StoredRun>;
        put_manifest(run: RunId, epoch: u32, bucket: u32, chunk: &[PlannedPortfolio]) -> ();
        manifest(run: RunId, epoch: u32, bucket: u32) -> Vec<PlannedPortfolio>;
        put_summary(summary: &RunSummary) -> Creation<RunSummary>;
        apply_alert(run: RunId, event: &AlertEvent) -> Change<AlertState, AlertRefusal>;
        runs(query: &RunQuery) -> RunPage;
        open_runs() -> Vec<Run>;
        undelivered() -> Vec<StoredRun>;
    }
    WorkItems {
        apply_item(key: &ItemKey, name: &str, place: Place, event: &ItemEvent) -> Change<WorkItem, ItemRefusal>;
        item(key: &ItemKey) -> Option<WorkItem>;
        items(run: RunId, bucket: u32) -> Vec<WorkItem>;
    }
    Nights {
        night(key: &NightKey) -> Option<NightHead>;
        put_night(head: &NightHead) -> bool;
        nights(query: &NightQuery) -> Vec<NightHead>;
        put_night_document(bytes: Vec<u8>, keep: domain::ports::Keep) -> ContentHash;
        night_document(hash: &ContentHash) -> Option<Vec<u8>>;
        night_series() -> Vec<ScheduleName>;
    }
    Tallies {
        fold(run: RunId, bucket: u32, entry: &FoldEntry) -> Fold;
        folds(run: RunId) -> Vec<Fold>;
        mark_full(run: RunId, bucket: u32) -> u32;
    }
    History {
        records(run: RunId, query: &RecordQuery) -> Vec<JobRecord>;
        records_page(run: RunId, query: &RecordQuery, after: Option<RecordCursor>, limit: usize) -> RecordPage;
        portfolio_runs(portfolio: &PortfolioId, limit: usize) -> Vec<PortfolioRun>;
        job_runs(job: &JobName, limit: usize) -> Vec<JobRun>;
        last_success(job: &JobName, portfolio: Option<&PortfolioId>) -> Option<JobRecord>;
        failures(since: Option<DateTime<Utc>>, fingerprint: Option<&Fingerprint>) -> Vec<FailureSighting>;
        first_seen(causes: &[Fingerprint]) -> BTreeMap<Fingerprint, RunId>;
    }
}
