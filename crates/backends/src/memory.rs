//! Everything in memory, for tests: the plainest reading of the rules in `domain::conformance`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::alert::is_delivered;
use domain::alert::{AlertEvent, AlertRefusal, AlertState};
use domain::alert_book::AlertBook;
use domain::fold::{Fold, FoldEntry};
use domain::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId, ScheduleName};
use domain::note::{Note, RunNotes};
use domain::ports::{
    AlertBooks, Cell, Change, Creation, Documents, FailureSighting, JobRun, PortfolioRun, RecordQuery, RunPage,
    RunQuery, RunStore, SiteFile, SiteStore, StoreError, StoredRun, WriteIf, Written,
};
use domain::record::JobRecord;
use domain::run::{PlannedPortfolio, Run, RunEvent, RunRefusal};
use domain::summary::RunSummary;
use domain::words::{JobStatus, RunStatus};
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};

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
}

/// Newest first: by `scheduled_for`, then `started_at`, then id.
fn age(run: &Run) -> (DateTime<Utc>, DateTime<Utc>, RunId) {
    (run.scheduled_for, run.started_at, run.batch_run_id)
}

fn page_after(run: &Run) -> String {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
    format!("{}_{}_{}", text(run.scheduled_for), text(run.started_at), run.batch_run_id)
}

fn place_of_page(after: &str) -> Result<(DateTime<Utc>, DateTime<Utc>, RunId), StoreError> {
    let parts: Vec<&str> = after.split('_').collect();
    let place = match parts.as_slice() {
        [scheduled_for, started_at, id] => scheduled_for
            .parse()
            .ok()
            .zip(started_at.parse().ok())
            .zip(id.parse().ok())
            .map(|((scheduled_for, started_at), id)| (scheduled_for, started_at, id)),
        _ => None,
    };
    place.ok_or_else(|| StoreError::NotFound { what: format!("page {after:?}") })
}

impl State {
    fn need_run(&self, id: RunId) -> Result<&Run, StoreError> {
        self.runs.get(&id).ok_or_else(|| StoreError::NotFound { what: format!("run {id}") })
    }

    fn summary(&self, run: &Run) -> Option<RunSummary> {
        let summary = self.summaries.get(&run.batch_run_id)?;
        Some(RunSummary { publication: run.publication.clone(), ..summary.clone() })
    }

    fn stored(&self, run: &Run) -> StoredRun {
        StoredRun { run: run.clone(), summary: self.summary(run) }
    }

    fn status(&self, run: &Run) -> RunStatus {
        self.stored(run).status()
    }

    fn fits(&self, run: &Run, query: &RunQuery) -> bool {
        query.status.is_none_or(|status| self.status(run) == status)
            && query.month.as_ref().is_none_or(|month| run.as_of.format("%Y-%m").to_string() == *month)
            && query.as_of.is_none_or(|as_of| run.as_of == as_of)
            && query.rerun_of.is_none_or(|of| run.rerun_of == Some(of))
            && query.started_since.is_none_or(|since| run.started_at >= since)
    }

    /// Runs, newest first.
    fn newest(&self) -> Vec<&Run> {
        let mut runs: Vec<&Run> = self.runs.values().collect();
        runs.sort_unstable_by_key(|run| std::cmp::Reverse(age(run)));
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
        let mut found: Vec<FailureSighting> = self
            .summaries
            .values()
            .flat_map(|summary| {
                summary.failures.iter().map(|cause| FailureSighting {
                    batch_run_id: summary.batch_run_id,
                    as_of: summary.as_of,
                    started_at: summary.started_at,
                    fingerprint: cause.fingerprint.clone(),
                    category: cause.category,
                    job: cause.job.clone(),
                    message: cause.message.clone(),
                    count: cause.count,
                    portfolios: cause.portfolios.clone(),
                })
            })
            .collect();
        found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
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

#[async_trait]
impl RunStore for MemoryStore {
    async fn create_run(&self, run: &Run) -> Result<Creation<Run>, StoreError> {
        let mut state = self.state();
        if let Some(existing) = state.runs.get(&run.batch_run_id) {
            return Ok(Creation::Existing(existing.clone()));
        }
        state.runs.insert(run.batch_run_id, run.clone());
        Ok(Creation::Created)
    }

    async fn apply_run(&self, id: RunId, event: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError> {
        let mut state = self.state();
        let run = state.need_run(id)?.clone();
        match run.next(event) {
            Err(refusal) => Ok(Change::Refused(run, refusal)),
            Ok(next) => {
                state.runs.insert(id, next.clone());
                Ok(Change::Applied(next))
            }
        }
    }

    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        let state = self.state();
        Ok(state.runs.get(&id).map(|run| state.stored(run)))
    }

    async fn put_manifest(
        &self,
        run: RunId,
        epoch: u32,
        bucket: u32,
        chunk: &[PlannedPortfolio],
    ) -> Result<(), StoreError> {
        self.state().manifests.insert((run, epoch, bucket), chunk.to_vec());
        Ok(())
    }

    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
        Ok(self.state().manifests.get(&(run, epoch, bucket)).cloned().unwrap_or_default())
    }

    async fn apply_item(
        &self,
        key: &ItemKey,
        name: &str,
        place: Place,
        event: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError> {
        let mut state = self.state();
        let item = state.items.get(key).cloned();
        let item = item.unwrap_or_else(|| WorkItem::untouched(key.clone(), name.to_owned(), place));
        match item.next(event) {
            Ok(next) => {
                state.need_run(key.run)?;
                state.items.insert(key.clone(), next.clone());
                Ok(Change::Applied(next))
            }
            // The reply was lost, and the request came again.
            Err(_) if item.is_result_of(event) => Ok(Change::Applied(item)),
            Err(refusal) => Ok(Change::Refused(item, refusal)),
        }
    }

    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError> {
        Ok(self.state().items.get(key).cloned())
    }

    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
        let state = self.state();
        Ok(state.of_run(run).into_iter().filter(|item| item.place.bucket == bucket).cloned().collect())
    }

    async fn fold(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError> {
        let mut state = self.state();
        let fold = state.folds.entry((run, bucket)).or_insert_with(|| Fold::empty(bucket));
        fold.count(entry);
        Ok(fold.clone())
    }

    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError> {
        Ok(self.state().folds.range((run, 0)..=(run, u32::MAX)).map(|(_, fold)| fold.clone()).collect())
    }

    async fn mark_full(&self, run: RunId, bucket: u32) -> Result<u32, StoreError> {
        let mut state = self.state();
        if state.folds.contains_key(&(run, bucket)) {
            state.full.insert((run, bucket));
        }
        let full = state.full.range((run, 0)..=(run, u32::MAX)).count();
        Ok(u32::try_from(full).unwrap_or(u32::MAX))
    }

    async fn put_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        let mut state = self.state();
        let run = state.need_run(summary.batch_run_id)?;
        if let Some(existing) = state.summary(run) {
            return Ok(Creation::Existing(existing));
        }
        state.summaries.insert(summary.batch_run_id, summary.clone());
        Ok(Creation::Created)
    }

    async fn apply_alert(
        &self,
        run: RunId,
        event: &AlertEvent,
    ) -> Result<Change<AlertState, AlertRefusal>, StoreError> {
        let mut state = self.state();
        state.need_run(run)?;
        let alert = state.alerts.entry(run).or_default();
        match alert.next(event) {
            Err(refusal) => Ok(Change::Refused(*alert, refusal)),
            Ok(next) => {
                *alert = next;
                Ok(Change::Applied(next))
            }
        }
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        let after = query.after.as_deref().map(place_of_page).transpose()?;
        let state = self.state();
        let fitting = state
            .newest()
            .into_iter()
            .filter(|run| after.is_none_or(|after| age(run) < after) && state.fits(run, query));
        let mut page = RunPage::default();
        for run in fitting {
            if query.limit > 0 && page.runs.len() == query.limit {
                page.next = page.runs.last().map(|last| page_after(&last.run));
                break;
            }
            page.runs.push(state.stored(run));
        }
        Ok(page)
    }

    async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        let mut runs: Vec<Run> = self.state().runs.values().filter(|run| !run.has_ended()).cloned().collect();
        runs.sort_by_key(|run| run.started_at);
        Ok(runs)
    }

    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError> {
        let state = self.state();
        let delivered = |run: &Run| {
            let alert = state.alerts.get(&run.batch_run_id).copied().unwrap_or_default();
            is_delivered(run, alert)
        };
        let mut runs: Vec<StoredRun> =
            state.runs.values().filter(|run| run.has_ended() && !delivered(run)).map(|run| state.stored(run)).collect();
        runs.sort_by_key(|stored| stored.run.started_at);
        Ok(runs)
    }

    async fn records(&self, run: RunId, query: &RecordQuery) -> Result<Vec<JobRecord>, StoreError> {
        let fits = |record: &JobRecord| {
            query.portfolio.as_ref().is_none_or(|portfolio| record.portfolio_id == *portfolio)
                && query.job.as_ref().is_none_or(|job| record.job_name == *job)
                && query.job_type.is_none_or(|family| record.job_type == family)
                && query.status.is_none_or(|status| record.status == status)
        };
        let state = self.state();
        let ended = state.of_run(run).into_iter().filter(|item| item.state.is_terminal());
        Ok(ended.flat_map(|item| &item.records).filter(|record| fits(record)).cloned().collect())
    }

    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        let state = self.state();
        let runs = state.newest().into_iter().filter_map(|run| {
            let item = state.items.get(&ItemKey { run: run.batch_run_id, portfolio: portfolio.clone() })?;
            Some(PortfolioRun {
                batch_run_id: run.batch_run_id,
                as_of: run.as_of,
                scheduled_for: run.scheduled_for,
                started_at: run.started_at,
                portfolio_name: item.portfolio_name.clone(),
                place: item.place,
                cells: item.records.iter().map(Cell::of).collect(),
            })
        });
        Ok(runs.take(limit).collect())
    }

    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        let state = self.state();
        let runs = state.newest().into_iter().filter_map(|run| {
            let summary = state.summaries.get(&run.batch_run_id)?;
            Some(JobRun {
                batch_run_id: run.batch_run_id,
                as_of: run.as_of,
                scheduled_for: run.scheduled_for,
                started_at: run.started_at,
                line: summary.job_summary.iter().find(|line| line.job == *job)?.clone(),
            })
        });
        Ok(runs.take(limit).collect())
    }

    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        let state = self.state();
        let of_job: Vec<(&Run, &JobRecord)> = state.ended().filter(|(_, record)| record.job_name == *job).collect();
        let superseded = |run: &Run, record: &JobRecord| {
            of_job.iter().any(|(newer, other)| {
                other.portfolio_id == record.portfolio_id
                    && newer.as_of == run.as_of
                    && newer.started_at > run.started_at
                    && other.status != JobStatus::Success
            })
        };
        let newest = of_job
            .iter()
            .filter(|(_, record)| portfolio.is_none_or(|portfolio| record.portfolio_id == *portfolio))
            .filter(|(run, record)| record.status == JobStatus::Success && !superseded(run, record))
            .max_by_key(|(run, _)| (run.as_of, run.started_at));
        Ok(newest.map(|(_, record)| (*record).clone()))
    }

    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        let mut found = self.state().causes();
        found.retain(|sighting| {
            since.is_none_or(|since| sighting.started_at >= since)
                && fingerprint.is_none_or(|fingerprint| sighting.fingerprint == *fingerprint)
        });
        Ok(found)
    }

    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        let found = self.state().causes();
        let first = |cause: &&Fingerprint| {
            let sightings = found.iter().filter(|sighting| sighting.fingerprint == **cause);
            sightings.map(|sighting| (sighting.started_at, sighting.batch_run_id)).min()
        };
        Ok(causes.iter().filter_map(|cause| Some((cause.clone(), first(&cause)?.1))).collect())
    }
}

#[async_trait]
impl AlertBooks for MemoryStore {
    async fn alert_book(&self, schedule: &ScheduleName) -> Result<AlertBook, StoreError> {
        let stored = self.state().alert_books.get(schedule).cloned();
        Ok(stored.unwrap_or_else(|| AlertBook::empty(schedule.clone())))
    }

    async fn put_alert_book(&self, book: &AlertBook) -> Result<bool, StoreError> {
        let mut state = self.state();
        let version = state.alert_books.get(&book.schedule).map_or(0, |stored| stored.version);
        if version != book.version {
            return Ok(false);
        }
        let next = AlertBook { version: version + 1, ..book.clone() };
        state.alert_books.insert(book.schedule.clone(), next);
        Ok(true)
    }

    async fn alert_schedules(&self) -> Result<Vec<ScheduleName>, StoreError> {
        Ok(self.state().alert_books.keys().cloned().collect())
    }
}

#[async_trait]
impl RunNotes for MemoryStore {
    async fn add_note(&self, note: &Note) -> Result<(), StoreError> {
        let mut state = self.state();
        state.need_run(note.batch_run_id)?;
        let notes = state.notes.entry(note.batch_run_id).or_default();
        if notes.iter().all(|known| known.id != note.id) {
            notes.push(note.clone());
            notes.sort_by_key(|note| (note.at, note.id));
        }
        Ok(())
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>, StoreError> {
        Ok(self.state().notes.get(&run).cloned().unwrap_or_default())
    }
}

#[async_trait]
impl Documents for MemoryStore {
    async fn put_results(&self, key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&json);
        self.state().results.insert((key.clone(), hash.clone()), json);
        Ok(hash)
    }

    async fn results(&self, key: &ItemKey, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().results.get(&(key.clone(), hash.clone())).cloned())
    }

    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        self.state().snapshots.insert(hash.clone(), bytes);
        Ok(hash)
    }

    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        let found = self.state().snapshots.get(hash).cloned();
        found.ok_or_else(|| StoreError::NotFound { what: format!("file of the pinned inputs {}", hash.short()) })
    }
}

/// A site in memory. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct MemorySite {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl MemorySite {
    /// Every file by its path.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inside(path: &str) -> Result<(), StoreError> {
    if !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it would lie outside of the site");
    Err(StoreError::Unavailable { doing: format!("write the page {path:?}"), source: Box::new(source) })
}

#[async_trait]
impl SiteStore for MemorySite {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        inside(path)?;
        Ok(self.lock().get(path).cloned())
    }

    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        inside(&file.path)?;
        let mut files = self.lock();
        let there = files.get(&file.path);
        if let WriteIf::Unchanged(expected) = condition
            && there.map(|bytes| ContentHash::of(bytes)) != *expected
        {
            return Ok(Written::Refused);
        }
        if there == Some(&file.body) {
            return Ok(Written::Unchanged);
        }
        files.insert(file.path.clone(), file.body.clone());
        Ok(Written::Written)
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
