//! Everything in memory, for tests: the simplest implementation of the rules in `domain::conformance`. One file for each
//! port.

mod alert_books;
mod chain;
mod documents;
mod history;
mod nights;
mod notes;
mod runs;
mod site;
mod tallies;
mod work_items;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::alert::AlertState;
use domain::alert_book::AlertBook;
use domain::chain::Link;
use domain::fold::Fold;
use domain::ids::{ContentHash, RunId, ScheduleName};
use domain::night::{NightHead, NightKey};
use domain::note::Note;
use domain::ports::{FailureSighting, RunCursor, StoreError, StoredRun};
use domain::record::JobRecord;
use domain::run::{PlannedPortfolio, Run};
use domain::summary::RunSummary;
use domain::words::RunStatus;
use domain::work_item::{ItemKey, WorkItem};

pub use site::MemorySite;

/// Records and documents in memory. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<RunId, Run>,
    summaries: BTreeMap<RunId, RunSummary>,
    alerts: BTreeMap<RunId, AlertState>,
    manifests: BTreeMap<(RunId, u32, u32), Vec<PlannedPortfolio>>,
    items: BTreeMap<ItemKey, WorkItem>,
    folds: BTreeMap<(RunId, u32), Fold>,
    full: BTreeSet<(RunId, u32)>,
    results: BTreeMap<(ItemKey, ContentHash), Vec<u8>>,
    snapshots: BTreeMap<ContentHash, Vec<u8>>,
    alert_books: BTreeMap<ScheduleName, AlertBook>,
    notes: BTreeMap<RunId, Vec<Note>>,
    nights: BTreeMap<NightKey, NightHead>,
    night_documents: BTreeMap<ContentHash, Vec<u8>>,
    chain: BTreeMap<u64, Link>,
}

impl State {
    fn need_run(&self, id: RunId) -> Result<&Run, StoreError> {
        self.runs.get(&id).ok_or_else(|| StoreError::NotFound { what: format!("run {id}") })
    }

    fn stored(&self, run: &Run) -> StoredRun {
        StoredRun::new(run.clone(), self.summaries.get(&run.batch_run_id).cloned())
    }

    fn status(&self, run: &Run) -> RunStatus {
        let summary = self.summaries.get(&run.batch_run_id);
        summary.map_or_else(|| run.status_before_summary(), |summary| summary.status)
    }

    /// Runs, newest first.
    fn newest(&self) -> Vec<&Run> {
        let mut runs: Vec<&Run> = self.runs.values().collect();
        runs.sort_unstable_by_key(|run| std::cmp::Reverse(RunCursor::of(run)));
        runs
    }

    /// The records of ended items, with their runs.
    fn ended(&self) -> impl Iterator<Item = (&Run, &JobRecord)> {
        self.items
            .values()
            .filter(|item| item.state.is_terminal())
            .filter_map(|item| Some((self.runs.get(&item.key.run)?, item)))
            .flat_map(|(run, item)| item.records.iter().map(move |record| (run, record)))
    }

    /// The items of a run, in the order of their places.
    fn of_run(&self, run: RunId) -> Vec<&WorkItem> {
        let mut items: Vec<&WorkItem> = self.items.values().filter(|item| item.key.run == run).collect();
        items.sort_by_key(|item| item.place);
        items
    }

    /// Every cause in every summary, newest run first.
    fn causes(&self) -> Vec<FailureSighting> {
        let mut found: Vec<FailureSighting> = self.summaries.values().flat_map(FailureSighting::all_of).collect();
        found.sort_by(FailureSighting::newest_first);
        found
    }
}

impl MemoryStore {
    /// Puts a run, its items and its summary there as they are, past every rule: for tests that need a history and not
    /// the making of it.
    pub fn put(&self, run: Run, items: Vec<WorkItem>, summary: Option<RunSummary>) {
        let mut state = self.state();
        state.items.extend(items.into_iter().map(|item| (item.key.clone(), item)));
        state.summaries.extend(summary.map(|summary| (run.batch_run_id, summary)));
        state.runs.insert(run.batch_run_id, run);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked has nothing half written: each change is one insert.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
