//! What `doctor` verifies through the ports, whatever the backend: reading verifies each thing by its hash, and what is
//! said twice has to be said alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::chain::RootsBuilder;
use domain::fold::{Fold, FoldEntry};
use domain::ids::{ContentHash, PortfolioId, RunId, ScheduleName};
use domain::night::{Night, NightHead, NightKey, refold, runs_of};
use domain::note::RunNotes;
use domain::ports::{AlertBooks, Documents, NightQuery, RecordQuery, RunQuery, RunStore, StoreError, StoredRun};
use domain::run::{PlannedPortfolio, Run, SealedPlan};
use domain::summary::{RunSummary, disagreement};
use domain::words::JobStatus;
use domain::work_item::{ItemKey, ItemState, Place, WorkItem};
use futures::stream::{self, StreamExt as _};

mod chain;

use self::chain::ExaminedRun;

/// Buckets of one run that are examined at the same time.
const BUCKETS_AT_ONCE: usize = 2;

/// Results documents of one bucket that are read at the same time.
const RESULTS_AT_ONCE: usize = 8;

/// What `doctor` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoctorReport {
    /// What was verified, and how many of it.
    pub checked: std::collections::BTreeMap<String, u64>,
    /// What is not in order, one sentence each.
    pub problems: Vec<String>,
    /// The hashes of the links of the chain of closed runs, the newest last.
    pub links: Vec<ContentHash>,
}

impl DoctorReport {
    pub(crate) fn count(&mut self, what: &str, number: usize) {
        *self.checked.entry(what.to_owned()).or_default() += number as u64;
    }

    pub(crate) fn note<T>(&mut self, outcome: Result<T, StoreError>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let told = format!("{error}{cause}");
                // What is read twice in a row is told once.
                if self.problems.last() != Some(&told) {
                    self.problems.push(told);
                }
                None
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (what, number) in other.checked {
            *self.checked.entry(what).or_default() += number;
        }
        self.problems.extend(other.problems);
        self.links.extend(other.links);
    }
}

/// A folded night as it is stored. `None` if the document is gone.
async fn night_document(store: &dyn RunStore, hash: &ContentHash) -> Result<Option<Night>, StoreError> {
    let Some(bytes) = store.night_document(hash).await? else { return Ok(None) };
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        what: format!("the document {} of a night", hash.short()),
        detail: error.to_string(),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Whether two folds say the same, but for why figures changed: pinned inputs are retired before the night.
fn same_night(folded: &Night, stored: &Night) -> bool {
    let mut folded = folded.clone();
    for (edition, known) in folded.editions.iter_mut().zip(&stored.editions) {
        edition.why.clone_from(&known.why);
    }
    folded == *stored
}

/// Looks for the results of a work item.
#[async_trait]
pub(crate) trait LooksForResults: Send + Sync {
    /// Whether results with this hash are there. What is found is verified here or elsewhere in the same examination.
    async fn has_results(&self, key: &ItemKey, hash: &ContentHash) -> Result<bool, StoreError>;
}

/// What has to be there of a run; the rest may have been retired.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Manifests, work items and records.
    pub(crate) records: bool,
    /// The counts of buckets.
    pub(crate) counts: bool,
    /// The results of portfolios that ended at this instant or later.
    pub(crate) results_since: DateTime<Utc>,
    /// The pinned inputs.
    pub(crate) inputs: bool,
}

/// An examination of a store through its ports.
pub(crate) struct Examination<'a> {
    store: &'a dyn RunStore,
    notes: &'a dyn RunNotes,
    documents: &'a dyn Documents,
    results: &'a dyn LooksForResults,
    /// Pinned inputs that were read: reruns share them.
    inputs: Mutex<BTreeSet<ContentHash>>,
    /// What the chain has to say about the runs that were examined.
    runs: Mutex<BTreeMap<RunId, ExaminedRun>>,
}

/// What a bucket was found to hold.
struct Bucket {
    report: DoctorReport,
    /// What its items add up to, once they have all ended and could all be read.
    counted: Option<Fold>,
    /// The roots of its items, once they could all be read.
    roots: Option<RootsBuilder>,
}

impl<'a> Examination<'a> {
    pub(crate) fn new(
        store: &'a dyn RunStore,
        notes: &'a dyn RunNotes,
        documents: &'a dyn Documents,
        results: &'a dyn LooksForResults,
    ) -> Self {
        Self { store, notes, documents, results, inputs: Mutex::default(), runs: Mutex::default() }
    }

    /// Verifies what belongs to a run.
    pub(crate) async fn run(&self, stored: &StoredRun, kept: Kept) -> DoctorReport {
        let mut report = DoctorReport::default();
        let run = &stored.run;
        let id = run.batch_run_id;
        if let Some(notes) = report.note(self.notes.notes(id).await).filter(|notes| !notes.is_empty()) {
            report.count("notes", notes.len());
        }
        if run.is_closed() && stored.summary.is_none() {
            report.problems.push(format!("the summary of run {id} is gone, and the run is closed"));
        }
        let plan = run.plan.as_ref();
        if let (Some(plan), Some(summary)) = (plan, &stored.summary) {
            examine_plan(plan, summary, &mut report);
        }
        let mut counted = Vec::new();
        let mut roots = kept.records.then(RootsBuilder::default);
        if let Some(plan) = plan.filter(|_| kept.records) {
            let buckets = stream::iter(0..plan.buckets()).map(|bucket| self.bucket(run, plan, bucket, kept));
            for bucket in buckets.buffered(BUCKETS_AT_ONCE).collect::<Vec<_>>().await {
                report.add(bucket.report);
                counted.extend(bucket.counted);
                match (&mut roots, bucket.roots) {
                    (Some(roots), Some(next)) => roots.append(&next),
                    _ => roots = None,
                }
            }
        } else if plan.is_some() {
            report.count("runs whose records were retired", 1);
        }
        if kept.counts {
            self.counts(stored, &counted, &mut report).await;
        }
        if kept.records && report.problems.is_empty() {
            self.questions(stored, &mut report).await;
        }
        if let Some(sealed) = plan.filter(|_| kept.records).and_then(|plan| plan.night.as_ref()) {
            report.count("sealed documents of nights", 1);
            if report.note(self.store.night_document(&sealed.members).await).is_some_and(|document| document.is_none())
            {
                report.problems.push(format!("the document that the plan of run {id} sealed for its night is gone"));
            }
        }
        self.remember(stored, roots, &mut report);
        let inputs = plan.filter(|_| kept.inputs).map(|plan| &plan.snapshot);
        if let Some(hash) = inputs.filter(|hash| self.is_new(hash)) {
            report.count("pinned inputs", 1);
            report.note(self.documents.snapshot(hash).await);
        }
        report
    }

    fn remember(&self, stored: &StoredRun, roots: Option<RootsBuilder>, report: &mut DoctorReport) {
        let run = &stored.run;
        match ExaminedRun::of(stored, roots) {
            Ok(examined) => {
                self.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(run.batch_run_id, examined);
            }
            Err(error) => report.problems.push(format!("the summary of run {}: {error}", run.batch_run_id)),
        }
    }

    /// Verifies the chain of closed runs against the runs that were examined. `since`: runs that were closed at this
    /// instant or later have a link, if it is known.
    pub(crate) async fn chain(&self, since: Option<DateTime<Utc>>, report: &mut DoctorReport) {
        let runs = std::mem::take(&mut *self.runs.lock().unwrap_or_else(PoisonError::into_inner));
        chain::examine(self.store, &runs, since, report).await;
    }

    /// Verifies the alert books.
    pub(crate) async fn books(books: &dyn AlertBooks, report: &mut DoctorReport) {
        for schedule in report.note(books.alert_schedules().await).unwrap_or_default() {
            report.count("alert books", 1);
            report.note(books.alert_book(&schedule).await);
        }
    }

    /// Verifies the nights: each head, its document, and that they say the same. `is_kept` says whether all records of a run are
    /// kept: then the head is what its runs come to.
    pub(crate) async fn nights(store: &dyn RunStore, is_kept: impl Fn(&Run) -> bool, report: &mut DoctorReport) {
        for series in report.note(store.night_series().await).unwrap_or_default() {
            let query = NightQuery { series: series.clone(), from: None, to: None, limit: 0 };
            let heads = match store.nights(&query).await {
                Ok(heads) => heads,
                // One that is damaged hides the others, so each is read by itself.
                Err(error) => {
                    report.note::<()>(Err(error));
                    Self::heads_one_by_one(store, &series, report).await
                }
            };
            for head in heads {
                report.count("nights", 1);
                let (key, as_of) = (head.key(), head.as_of);
                let Some(document) = report.note(night_document(store, &head.document).await) else { continue };
                let Some(night) = document else {
                    report.problems.push(format!("the document of the night of {as_of} ({series}) is gone"));
                    continue;
                };
                if !head.is_of(&night) {
                    report.problems.push(format!("the night of {as_of} ({series}) is not what its document says"));
                }
                let Some(runs) = report.note(runs_of(store, &key).await) else { continue };
                if !runs.iter().all(|stored| is_kept(&stored.run)) || runs.iter().any(|stored| stored.summary.is_none())
                {
                    continue;
                }
                let folded = report.note(refold(store, &key, head.acceptances.clone()).await).flatten();
                if folded.is_some_and(|folded| !same_night(&folded, &night)) {
                    report.problems.push(format!("the night of {as_of} ({series}) is not what its runs come to"));
                }
            }
        }
    }

    async fn heads_one_by_one(
        store: &dyn RunStore,
        series: &ScheduleName,
        report: &mut DoctorReport,
    ) -> Vec<NightHead> {
        let runs = report.note(store.runs(&RunQuery::default()).await).map(|page| page.runs).unwrap_or_default();
        let of_series = runs.iter().filter(|stored| stored.run.night_series() == series);
        let dates: BTreeSet<NaiveDate> = of_series.map(|stored| stored.run.as_of).collect();
        let mut heads = Vec::new();
        for as_of in dates {
            let key = NightKey { series: series.clone(), as_of };
            heads.extend(report.note(store.night(&key).await).flatten());
        }
        heads
    }

    fn is_new(&self, inputs: &ContentHash) -> bool {
        // A set of what was seen is never half changed.
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).insert(inputs.clone())
    }

    async fn bucket(&self, run: &Run, plan: &SealedPlan, bucket: u32, kept: Kept) -> Bucket {
        let mut report = DoctorReport::default();
        let id = run.batch_run_id;
        let listed = report.note(self.store.manifest(id, plan.epoch, bucket).await);
        if let Some(listed) = &listed {
            report.count("portfolios in lists", listed.len());
            let expected = plan.bucket_len(bucket) as usize;
            if listed.len() != expected {
                let there = listed.len();
                report
                    .problems
                    .push(format!("bucket {bucket} of the portfolios of run {id} holds {there} of {expected}"));
            }
        }
        let listed = listed.unwrap_or_default();
        let (items, unread) = self.items(id, bucket, &listed, &mut report).await;
        report.count("work items", items.len());
        for (index, planned) in (0..).zip(&listed) {
            let told = |what: &str| format!("the work item of portfolio {} in run {id} {what}", planned.id);
            match items.iter().find(|item| item.key.portfolio == planned.id) {
                Some(item) if item.place != (Place { bucket, index }) => {
                    report.problems.push(told("is at another place than in the list of portfolios"));
                }
                Some(item) if run.is_closed() && !item.state.is_terminal() => {
                    report.problems.push(told("has not ended, and the run is closed"));
                }
                None if run.is_closed() && !unread.contains(&planned.id) => {
                    report.problems.push(told("is gone, and the run is closed"));
                }
                Some(_) | None => {}
            }
        }
        for item in &items {
            examine_records(item, plan, &mut report);
        }
        self.results(&items, kept, &mut report).await;
        let places: BTreeSet<u32> = items.iter().map(|item| item.place.index).collect();
        let whole = run.is_closed() && unread.is_empty() && places.len() == items.len();
        let counted = whole.then(|| {
            let mut fold = Fold::empty(bucket);
            for entry in items.iter().filter_map(|item| FoldEntry::of(item, plan.jobs.len())) {
                fold.count(&entry);
            }
            fold
        });
        let roots = unread.is_empty().then(|| {
            let mut roots = RootsBuilder::default();
            items.iter().try_for_each(|item| roots.add(item)).map(|()| roots)
        });
        Bucket { report, counted, roots: roots.and_then(Result::ok) }
    }

    /// The items of a bucket; and the portfolios of those that could not be read.
    async fn items(
        &self,
        id: RunId,
        bucket: u32,
        listed: &[PlannedPortfolio],
        report: &mut DoctorReport,
    ) -> (Vec<WorkItem>, BTreeSet<PortfolioId>) {
        let whole = match self.store.items(id, bucket).await {
            Ok(items) => return (items, BTreeSet::new()),
            Err(error) => error,
        };
        // One that is damaged hides the others, so each is read by itself.
        let (mut items, mut unread) = (Vec::new(), BTreeSet::new());
        if matches!(whole, StoreError::Damaged { .. } | StoreError::TooNew(_)) {
            for planned in listed {
                let read = self.store.item(&ItemKey { run: id, portfolio: planned.id.clone() }).await;
                match report.note(read) {
                    Some(item) => items.extend(item),
                    None => {
                        unread.insert(planned.id.clone());
                    }
                }
            }
        }
        if unread.is_empty() {
            report.note::<()>(Err(whole));
            unread.extend(listed.iter().map(|planned| planned.id.clone()));
        }
        (items, unread)
    }

    /// Every item that ended with results has them, until they may be retired.
    async fn results(&self, items: &[WorkItem], kept: Kept, report: &mut DoctorReport) {
        let named: Vec<(ItemKey, ContentHash, Option<DateTime<Utc>>)> =
            items.iter().filter_map(|item| Some((item.key.clone(), item.results.clone()?, item.heartbeat))).collect();
        let look = |(key, hash, ended): (ItemKey, ContentHash, Option<DateTime<Utc>>)| async move {
            (self.results.has_results(&key, &hash).await, key, ended)
        };
        let mut looks = stream::iter(named).map(look).buffered(RESULTS_AT_ONCE);
        while let Some((outcome, key, ended)) = looks.next().await {
            match report.note(outcome) {
                Some(false) if ended.is_some_and(|at| at < kept.results_since) => report.count("retired results", 1),
                Some(false) => {
                    let (portfolio, run) = (&key.portfolio, key.run);
                    report.problems.push(format!("the results of portfolio {portfolio} in run {run} are gone"));
                }
                Some(true) | None => report.count("results", 1),
            }
        }
    }

    /// The counts are those of the work items, and add up to the summary.
    async fn counts(&self, stored: &StoredRun, counted: &[Fold], report: &mut DoctorReport) {
        let id = stored.run.batch_run_id;
        let Some(folds) = report.note(self.store.folds(id).await) else { return };
        report.count("counts", folds.len());
        for expected in counted {
            let bucket = expected.bucket;
            let told = match folds.iter().find(|fold| fold.bucket == bucket) {
                Some(fold) if fold == expected => continue,
                Some(_) => "is not what its work items add up to",
                None => "is gone",
            };
            report.problems.push(format!("the count of bucket {bucket} of run {id} {told}"));
        }
        if let Some(text) = stored.summary.as_ref().and_then(|summary| disagreement(summary, &folds)) {
            report.problems.push(format!("the counts of run {id} do not add up to its summary: {text}"));
        }
    }

    /// Who asks for what did not succeed finds as many records as the summary counts.
    async fn questions(&self, stored: &StoredRun, report: &mut DoctorReport) {
        let id = stored.run.batch_run_id;
        let Some(summary) = stored.summary.as_ref().filter(|_| stored.run.is_closed()) else { return };
        let counted = [(JobStatus::Failed, summary.failed_jobs), (JobStatus::Skipped, summary.skipped_jobs)];
        // That there is none was seen by counting all.
        for (status, expected) in counted.into_iter().filter(|(_, expected)| *expected > 0) {
            let query = RecordQuery { status: Some(status), ..RecordQuery::default() };
            let Some(found) = report.note(self.store.records(id, &query).await) else { return };
            if found.len() as u64 != expected {
                let found = found.len();
                report.problems.push(format!(
                    "who asks for the {status} records of run {id} finds {found}, and its summary counts {expected}"
                ));
            }
        }
    }
}

/// The summary is of this plan.
fn examine_plan(plan: &SealedPlan, summary: &RunSummary, report: &mut DoctorReport) {
    let told = (summary.portfolios_expected, summary.total_jobs);
    let planned = (u64::from(plan.portfolios), plan.total_jobs());
    if told != planned {
        report.problems.push(format!(
            "the summary of run {} is of {} portfolios and {} jobs, planned were {} and {}",
            summary.batch_run_id, told.0, told.1, planned.0, planned.1
        ));
    }
}

/// An item that came to an end of its own has a record for each job of the plan, and none has another's.
fn examine_records(item: &WorkItem, plan: &SealedPlan, report: &mut DoctorReport) {
    let WorkItem { key: ItemKey { run, portfolio }, records, .. } = item;
    if !item.state.is_terminal() {
        return;
    }
    report.count("records", records.len());
    let named = || plan.jobs.iter().map(|job| &job.name);
    if item.state == ItemState::Done && !records.iter().map(|record| &record.job_name).eq(named()) {
        let (there, expected) = (records.len(), plan.jobs.len());
        report.problems.push(format!(
            "the {there} records of portfolio {portfolio} in run {run} are not those of its {expected} jobs"
        ));
    }
    for record in records.iter().filter(|record| record.batch_run_id != *run || record.portfolio_id != *portfolio) {
        report.problems.push(format!(
            "the record of {} of portfolio {portfolio} in run {run} says that it is of portfolio {} in run {}",
            record.job_name, record.portfolio_id, record.batch_run_id
        ));
    }
}
