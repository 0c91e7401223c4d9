//! `doctor`: verifies everything that is stored, and names what is not in order. It goes by the lists of runs, and scans
//! nothing: what no list and no run names is not found.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use domain::ids::{ContentHash, Fingerprint, JobName, RunId};
use domain::ports::{Documents, JobRun, StoreError, StoredRun, month_of};
use domain::run::Run;
use domain::summary::RunSummary;
use domain::work_item::ItemKey;
use futures::stream::{self, StreamExt as _};

use super::DynamoStore;
use super::dictionary;
use super::document::{Item, open, text_of};
use super::keys::{self, Key, SK};
use super::meta::{Meta, meta_of};
use super::run_list::Row;
use super::summaries::{beside_summary, summary_of};
use super::table::{Pages, Range};
use crate::examine::{DoctorReport, Examination, Kept, LooksForResults};

/// Runs that are examined at the same time. Each reads two buckets, and of each the results of eight portfolios.
const RUNS_AT_ONCE: usize = 4;

/// Lists that are read at the same time.
const LISTS_AT_ONCE: usize = 8;

/// Reads the results, and so verifies them.
struct Read<'a>(&'a dyn Documents);

#[async_trait]
impl LooksForResults for Read<'_> {
    async fn has_results(&self, key: &ItemKey, hash: &ContentHash) -> Result<bool, StoreError> {
        Ok(self.0.results(key, hash).await?.is_some())
    }
}

/// What was found of a run.
enum Found {
    /// A list names it, and it was never recorded: whoever made it then died in between.
    Nothing,
    /// It is damaged, which has been said.
    Damaged,
    /// It is there.
    Run { is_closed: bool, summary: Option<Box<RunSummary>> },
}

/// What the lists of runs name.
#[derive(Default)]
struct Lists {
    /// The rows, each with the trading date that it says.
    rows: BTreeMap<Key, Option<NaiveDate>>,
    /// The runs, each once, in the order in which they are to be examined.
    ids: Vec<RunId>,
    known: BTreeSet<RunId>,
    months: BTreeSet<String>,
}

impl Lists {
    fn add(&mut self, pk: &str, rows: &[Item], report: &mut DoctorReport) {
        for row in rows {
            let sk = text_of(row, SK).unwrap_or_default();
            // The list of what is left to be done has no times.
            let found = Row::of(row).map(|row| (row.id, row.as_of)).or_else(|| Some((sk.parse().ok()?, None)));
            let Some((id, as_of)) = found else {
                report.problems.push(format!("the list {pk} has an entry that names no run: {sk:?}"));
                continue;
            };
            self.rows.insert(Key { pk: pk.to_owned(), sk: sk.to_owned() }, as_of);
            self.months.extend(as_of.map(month_of));
            if self.known.insert(id) {
                self.ids.push(id);
            }
        }
    }
}

impl DynamoStore {
    /// Verifies everything that is stored: the table, and the documents that it names. Results of portfolios that ended
    /// more than `results_days` ago may be gone.
    ///
    /// # Errors
    /// Only where the lists of runs cannot be read at all; what is damaged is in the report.
    pub async fn doctor(&self, documents: &dyn Documents, results_days: u32) -> Result<DoctorReport, StoreError> {
        let mut report = DoctorReport::default();
        let lists = self.lists(&mut report).await?;
        let results = Read(documents);
        let examination = Examination::new(self, self, documents, &results);
        let results_since = self.table.now() - TimeDelta::days(i64::from(results_days));
        let examined = stream::iter(lists.ids.iter().copied()).map(|id| {
            let (examination, lists) = (&examination, &lists);
            async move {
                let mut report = DoctorReport::default();
                let found = self.examine(id, lists, &mut report).await;
                let found = match found {
                    Err(found) => found,
                    Ok(stored) => {
                        let records = !self.is_retired(&stored.run);
                        let kept = Kept { records, counts: records, results_since, inputs: true };
                        report.add(examination.run(&stored, kept).await);
                        Found::Run { is_closed: stored.run.is_closed(), summary: stored.summary.map(Box::new) }
                    }
                };
                (id, found, report)
            }
        });
        let mut runs = BTreeMap::new();
        let mut examined = std::pin::pin!(examined.buffered(RUNS_AT_ONCE));
        while let Some((id, found, of_run)) = examined.next().await {
            report.add(of_run);
            runs.insert(id, found);
        }
        report.count("entries of lists", lists.rows.len());
        let mut strangers = self.examine_jobs(&runs, &mut report).await;
        strangers.extend(self.examine_causes(&runs, &mut report).await);
        for id in strangers {
            // It began since the lists were read, or no list names it, which is told here.
            if let Err(Found::Nothing) = self.examine(id, &Lists::default(), &mut report).await {
                report.problems.push(format!("lines of jobs or causes are of run {id}, and there is no such run"));
            }
        }
        if runs.values().any(|found| matches!(found, Found::Run { .. })) {
            self.examine_dictionary(&mut report).await;
        }
        examination.chain(None, &mut report).await;
        Examination::books(self, &mut report).await;
        Examination::nights(self, |run| !self.is_retired(run), &mut report).await;
        Ok(report)
    }

    /// Whether the records of a run have expired, as its start tells: those of its first portfolios, or of all.
    fn is_retired(&self, run: &Run) -> bool {
        run.is_closed() && run.started_at + TimeDelta::days(i64::from(self.records_days)) <= self.table.now()
    }

    /// The lists of runs: all of time by slot and by start, those that are not through, and by month.
    async fn lists(&self, report: &mut DoctorReport) -> Result<Lists, StoreError> {
        let mut lists = Lists::default();
        for pk in [keys::RUNS, keys::STARTED, keys::ACTIVE] {
            let rows = self.table.all(Pages::of(pk, Range::All), || format!("read the list {pk}")).await?;
            lists.add(pk, &rows, report);
        }
        let months: Vec<String> = lists.months.iter().map(|month| keys::month_partition(month)).collect();
        let read = |pk: String| async move {
            let rows = self.table.all(Pages::of(&pk, Range::All), || format!("read the list {pk}")).await;
            (rows, pk)
        };
        let read: Vec<_> = stream::iter(months).map(read).buffered(LISTS_AT_ONCE).collect().await;
        for (rows, pk) in read {
            lists.add(&pk, &rows?, report);
        }
        Ok(lists)
    }

    /// Verifies the items of a run itself, and that the lists name it; gives it.
    async fn examine(&self, id: RunId, lists: &Lists, report: &mut DoctorReport) -> Result<StoredRun, Found> {
        let meta = self.table.get(&keys::meta(id), || format!("read run {id}")).await;
        let summary = self.table.get(&keys::summary(id), || format!("read the summary of run {id}")).await;
        let summary = report.note(summary).flatten();
        let item = match report.note(meta) {
            Some(Some(item)) => item,
            None => return Err(Found::Damaged),
            Some(None) if summary.is_none() => return Err(Found::Nothing),
            Some(None) => {
                report.problems.push(format!("run {id} is gone, and its summary is there"));
                return Err(Found::Damaged);
            }
        };
        report.count("runs", 1);
        let Some(meta) = report.note(meta_of(&item)) else { return Err(Found::Damaged) };
        examine_attributes(&format!("run {id}"), &item, &meta.attributes(), report);
        let summary = match summary {
            None => None,
            Some(item) => {
                report.count("summaries", 1);
                let Some(summary) = report.note(summary_of(&item)) else { return Err(Found::Damaged) };
                examine_attributes(&format!("the summary of run {id}"), &item, &beside_summary(&summary), report);
                Some(summary)
            }
        };
        self.examine_lists(&meta, lists, report).await;
        Ok(StoredRun { run: meta.run, summary })
    }

    /// Every list that has to name a run does.
    async fn examine_lists(&self, meta: &Meta, lists: &Lists, report: &mut DoctorReport) {
        let run = &meta.run;
        let id = run.batch_run_id;
        let active = (!meta.is_through()).then(|| keys::active(id));
        for key in Self::rows_of(run).into_iter().chain(active) {
            match lists.rows.get(&key) {
                Some(as_of) if key.pk == keys::ACTIVE || *as_of == Some(run.as_of) => {}
                Some(_) => report.problems.push(format!("the list {} says another date of run {id}", key.pk)),
                // It may have been written since the list was read.
                None => {
                    let there = self.table.get(&key, || format!("read the list {}", key.pk)).await;
                    if let Some(None) = report.note(there) {
                        report.problems.push(format!("the list {} does not name run {id}: {} is gone", key.pk, key.sk));
                    }
                }
            }
        }
    }

    /// The lines of jobs are those of the summaries. Gives the runs that no list named.
    async fn examine_jobs(&self, runs: &BTreeMap<RunId, Found>, report: &mut DoctorReport) -> BTreeSet<RunId> {
        let mut strangers = BTreeSet::new();
        let mut expected: BTreeMap<Key, (JobRun, bool)> = BTreeMap::new();
        for (summary, is_closed) in summaries(runs) {
            let (id, slot, start) = (summary.batch_run_id, summary.scheduled_for, summary.started_at);
            for line in &summary.job_summary {
                let told = JobRun::of(summary, line);
                expected.insert(keys::job_run(&line.job, slot, start, id), (told, is_closed));
            }
        }
        let jobs: BTreeSet<JobName> = expected.values().map(|(told, _)| told.line.job.clone()).collect();
        let partitions = jobs.iter().map(keys::job_partition).collect();
        let (rows, unread) = self.rows_in(partitions, report).await;
        for (key, row) in rows {
            let what = || format!("the line {} of {}", key.sk, key.pk);
            report.count("lines of jobs", 1);
            let Some(line) = report.note(open::<JobRun>(&row, what)) else {
                expected.remove(&key);
                continue;
            };
            match expected.remove(&key) {
                Some((told, _)) if told == line => {}
                None if is_unknown(runs, line.batch_run_id) => {}
                None if !runs.contains_key(&line.batch_run_id) => {
                    strangers.insert(line.batch_run_id);
                }
                Some(_) | None => report.problems.push(format!(
                    "the line of {} in run {} is not what the summary says",
                    line.line.job, line.batch_run_id
                )),
            }
        }
        for (key, (told, _)) in expected.into_iter().filter(|(_, (_, is_closed))| *is_closed) {
            if !unread.contains(&key.pk) {
                report.problems.push(format!("the line of {} in run {} is gone", told.line.job, told.batch_run_id));
            }
        }
        strangers
    }

    /// The runs in which a cause was seen are those whose summaries say so. Gives the runs that no list named.
    async fn examine_causes(&self, runs: &BTreeMap<RunId, Found>, report: &mut DoctorReport) -> BTreeSet<RunId> {
        let mut strangers = BTreeSet::new();
        let mut expected: BTreeMap<Key, (Fingerprint, RunId, bool)> = BTreeMap::new();
        for (summary, is_closed) in summaries(runs) {
            for failure in &summary.failures {
                let (cause, id) = (failure.fingerprint.clone(), summary.batch_run_id);
                expected.insert(keys::sighting(&cause, summary.started_at, id), (cause, id, is_closed));
            }
        }
        let causes: BTreeSet<Fingerprint> = expected.values().map(|(cause, ..)| cause.clone()).collect();
        let partitions = causes.iter().map(keys::cause_partition).collect();
        let (rows, unread) = self.rows_in(partitions, report).await;
        for (key, row) in rows {
            report.count("sightings of causes", 1);
            if expected.remove(&key).is_some() {
                continue;
            }
            match Row::of(&row) {
                Some(row) if is_unknown(runs, row.id) => {}
                Some(row) if !runs.contains_key(&row.id) => {
                    strangers.insert(row.id);
                }
                Some(row) => report.problems.push(format!(
                    "{} names run {}, and no summary says that the cause was seen there",
                    key.pk, row.id
                )),
                None => report.problems.push(format!("{} has an entry that names no run: {:?}", key.pk, key.sk)),
            }
        }
        for (key, (cause, id, _)) in expected.into_iter().filter(|(_, (.., is_closed))| *is_closed) {
            if !unread.contains(&key.pk) {
                report.problems.push(format!("that the cause {cause} was seen in run {id} is gone from its list"));
            }
        }
        strangers
    }

    /// The rows of these partitions, and the partitions that could not be read.
    async fn rows_in(
        &self,
        partitions: Vec<String>,
        report: &mut DoctorReport,
    ) -> (Vec<(Key, Item)>, BTreeSet<String>) {
        let read = |pk: String| async move {
            let rows = self.table.all(Pages::of(&pk, Range::All), || format!("read {pk}")).await;
            (rows, pk)
        };
        let (mut found, mut unread) = (Vec::new(), BTreeSet::new());
        let mut reads = std::pin::pin!(stream::iter(partitions).map(read).buffered(LISTS_AT_ONCE));
        while let Some((rows, pk)) = reads.next().await {
            let Some(rows) = report.note(rows) else {
                unread.insert(pk);
                continue;
            };
            found.extend(rows.into_iter().map(|row| {
                let sk = text_of(&row, SK).unwrap_or_default().to_owned();
                (Key { pk: pk.clone(), sk }, row)
            }));
        }
        (found, unread)
    }

    /// The text that the records are compressed against is there for whoever reads them without this program.
    async fn examine_dictionary(&self, report: &mut DoctorReport) {
        let key = keys::dictionary(dictionary::NUMBER);
        let read = self.table.get(&key, || "read the dictionary of the records".to_owned()).await;
        let Some(item) = report.note(read) else { return };
        match item.as_ref().and_then(|item| text_of(item, dictionary::ATTRIBUTE)) {
            Some(text) if text == dictionary::TEXT => {}
            Some(_) => {
                report.problems.push(format!("the dictionary {} of the records was changed", dictionary::NUMBER))
            }
            None => report.problems.push(format!("the dictionary {} of the records is gone", dictionary::NUMBER)),
        }
    }
}

fn summaries(runs: &BTreeMap<RunId, Found>) -> impl Iterator<Item = (&RunSummary, bool)> {
    runs.values().filter_map(|found| match found {
        Found::Run { is_closed, summary } => Some((summary.as_deref()?, *is_closed)),
        Found::Nothing | Found::Damaged => None,
    })
}

/// Whether nothing can be said of what a row tells of this run: it is damaged, or had no summary when it was read.
fn is_unknown(runs: &BTreeMap<RunId, Found>, id: RunId) -> bool {
    match runs.get(&id) {
        Some(Found::Damaged) => true,
        Some(Found::Run { summary, is_closed }) => summary.is_none() && !is_closed,
        Some(Found::Nothing) | None => false,
    }
}

/// What stands beside a document says what the document says.
fn examine_attributes(what: &str, item: &Item, told: &Item, report: &mut DoctorReport) {
    let wrong: Vec<&str> =
        told.iter().filter(|(name, value)| item.get(*name) != Some(value)).map(|(name, _)| name.as_str()).collect();
    if !wrong.is_empty() {
        let names = wrong.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
        report.problems.push(format!("{what} is damaged: what stands beside its document differs from it in {names}"));
    }
}
