//! Summaries, and what the questions about jobs and causes need of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::ids::{Fingerprint, JobName, RunId};
use domain::ports::{Creation, FailureSighting, JobRun, StoreError, StoredRun};
use domain::run::Run;
use domain::summary::{JobSummary, RunSummary};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::DynamoStore;
use super::document::{ITEM_LIMIT, Item, belongs, fill, number, open, text, text_of};
use super::keys::{self, PK, SK, time_text};
use super::run_list::Row;
use super::table::{Pages, Range, Written, is_by, new_writer, sign};

/// Rows that are written, or causes that are asked for, at the same time.
const AT_ONCE: usize = 8;

/// The summary of an item.
pub(super) fn summary_of(item: &Item) -> Result<RunSummary, StoreError> {
    let what = || format!("the summary {}", text_of(item, PK).unwrap_or("of a run"));
    let summary: RunSummary = open(item, what)?;
    belongs(item, text_of(item, PK) == Some(&keys::run_partition(summary.batch_run_id)), what)?;
    Ok(summary)
}

/// What stands beside the document of a summary.
pub(super) fn beside_summary(summary: &RunSummary) -> Item {
    Item::from([
        ("status".to_owned(), text(summary.status.as_str())),
        ("as_of".to_owned(), text(summary.as_of.to_string())),
        ("portfolios_expected".to_owned(), number(summary.portfolios_expected)),
        ("total_jobs".to_owned(), number(summary.total_jobs)),
        ("successful_jobs".to_owned(), number(summary.successful_jobs)),
        ("failed_jobs".to_owned(), number(summary.failed_jobs)),
        ("skipped_jobs".to_owned(), number(summary.skipped_jobs)),
        ("missing_jobs".to_owned(), number(summary.missing_jobs)),
    ])
}

/// The causes of a summary.
fn sightings(summary: &RunSummary) -> impl Iterator<Item = FailureSighting> {
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
}

impl DynamoStore {
    /// The summary of a run as it was written.
    pub(super) async fn summary(&self, id: RunId) -> Result<Option<RunSummary>, StoreError> {
        let item = self.table.get(&keys::summary(id), || format!("read the summary of run {id}")).await?;
        item.as_ref().map(summary_of).transpose()
    }

    pub(super) async fn write_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        let id = summary.batch_run_id;
        let run = self.need_meta(id).await?.run;
        let there = match self.summary(id).await? {
            Some(there) => Some(there),
            None => self.create_summary(summary).await?,
        };
        match there {
            Some(there) => {
                // Whoever wrote it may have died before the rows.
                if !run.is_closed() {
                    self.write_rows(&there).await?;
                }
                Ok(Creation::Existing(of_run(there, &run)))
            }
            None => {
                self.write_rows(summary).await?;
                Ok(Creation::Created)
            }
        }
    }

    /// Writes a summary if there is none (F2 of the protocol); gives the one that somebody else wrote.
    async fn create_summary(&self, summary: &RunSummary) -> Result<Option<RunSummary>, StoreError> {
        let id = summary.batch_run_id;
        let mut item = beside_summary(summary);
        let writer = new_writer();
        sign(&mut item, 1, &writer);
        let parts = fill(&mut item, &keys::summary(id), summary, ITEM_LIMIT)?;
        let doing = || format!("write the summary of run {id}");
        match self.table.put_if(item, parts, self.table.absent(), doing).await? {
            Written::Done(_) => Ok(None),
            Written::Refused(there) if is_by(there.as_ref(), &writer) => Ok(None),
            Written::Refused(there) => there.as_ref().map(summary_of).transpose(),
        }
    }

    /// The line of a job as its list has it.
    pub(super) fn line_of(summary: &RunSummary, line: &JobSummary) -> JobRun {
        JobRun {
            batch_run_id: summary.batch_run_id,
            as_of: summary.as_of,
            scheduled_for: summary.scheduled_for,
            started_at: summary.started_at,
            line: line.clone(),
        }
    }

    /// A row for each job, with its line, and one for each cause.
    async fn write_rows(&self, summary: &RunSummary) -> Result<(), StoreError> {
        let id = summary.batch_run_id;
        let (slot, start) = (summary.scheduled_for, summary.started_at);
        let mut rows = Vec::new();
        for line in &summary.job_summary {
            let mut item = Item::new();
            let told = Self::line_of(summary, line);
            rows.extend(fill(&mut item, &keys::job_run(&line.job, slot, start, id), &told, ITEM_LIMIT)?);
            rows.push(item);
        }
        let causes: BTreeSet<&Fingerprint> = summary.failures.iter().map(|cause| &cause.fingerprint).collect();
        rows.extend(causes.into_iter().map(|cause| keys::sighting(cause, start, id).attributes()));
        let doing = || format!("write what the summary of run {id} says of jobs and causes");
        stream::iter(rows).map(|row| self.table.put(row, doing)).buffered(AT_ONCE).try_collect().await
    }

    pub(super) async fn runs_of_job(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        let doing = || format!("read the runs of {job}");
        let mut pages = Pages::of(keys::job_partition(job), Range::All).newest_first(limit);
        let mut runs = Vec::new();
        while runs.len() < limit && !pages.ended() {
            for item in self.table.page(&mut pages, doing).await? {
                runs.push(open(&item, || format!("the line of {job} at {}", text_of(&item, SK).unwrap_or("?")))?);
            }
        }
        runs.truncate(limit);
        Ok(runs)
    }

    pub(super) async fn find_failures(
        &self,
        since: Option<DateTime<Utc>>,
        cause: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        let runs: Vec<StoredRun> = match cause {
            None => self.runs_since(since).await?,
            Some(cause) => {
                let range = since.map_or(Range::All, |since| Range::From(time_text(since)));
                let doing = || format!("read where the cause {cause} was seen");
                let rows = self.table.all(Pages::of(keys::cause_partition(cause), range), doing).await?;
                let ids: Vec<RunId> = rows.iter().filter_map(Row::of).map(|row| row.id).collect();
                self.load_runs(ids).await?.into_values().map(|(stored, _)| stored).collect()
            }
        };
        let summaries = runs.into_iter().filter_map(|stored| stored.summary);
        let mut found: Vec<FailureSighting> =
            summaries.flat_map(|summary| sightings(&summary).collect::<Vec<_>>()).collect();
        found.retain(|seen| {
            since.is_none_or(|since| seen.started_at >= since) && cause.is_none_or(|cause| seen.fingerprint == *cause)
        });
        found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Ok(found)
    }

    pub(super) async fn first_sightings(
        &self,
        causes: &[Fingerprint],
    ) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        let first = async |cause: Fingerprint| -> Result<Option<(Fingerprint, RunId)>, StoreError> {
            let mut pages = Pages::of(keys::cause_partition(&cause), Range::All).one();
            let doing = || format!("read where the cause {cause} was first seen");
            let row = self.table.page(&mut pages, doing).await?;
            Ok(row.first().and_then(Row::of).map(|row| (cause, row.id)))
        };
        let asked = stream::iter(causes.iter().cloned()).map(first).buffered(AT_ONCE);
        let found: Vec<Option<(Fingerprint, RunId)>> = asked.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// A summary with the publication as the run has it now.
fn of_run(summary: RunSummary, run: &Run) -> RunSummary {
    RunSummary { publication: run.publication.clone(), ..summary }
}
