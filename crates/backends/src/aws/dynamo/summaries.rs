//! Summaries, and what the questions about jobs and causes need of them.

use std::collections::BTreeSet;

use domain::ids::{Fingerprint, RunId};
use domain::ports::{JobRun, StoreError};
use domain::summary::RunSummary;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::DynamoStore;
use super::document::{ITEM_LIMIT, Item, belongs, fill, number, open, text, text_of};
use super::keys::{self, PK};
use super::table::{Written, is_by, new_writer, sign};

/// Rows that are written at the same time.
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

impl DynamoStore {
    /// The summary of a run as it was written.
    pub(super) async fn summary(&self, id: RunId) -> Result<Option<RunSummary>, StoreError> {
        let item = self.table.get(&keys::summary(id), || format!("read the summary of run {id}")).await?;
        item.as_ref().map(summary_of).transpose()
    }

    /// Writes a summary if there is none (F2 of the protocol); gives the one that somebody else wrote.
    pub(super) async fn create_summary(&self, summary: &RunSummary) -> Result<Option<RunSummary>, StoreError> {
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

    /// A row for each job, with its line, and one for each cause.
    pub(super) async fn write_rows(&self, summary: &RunSummary) -> Result<(), StoreError> {
        let id = summary.batch_run_id;
        let (slot, start) = (summary.scheduled_for, summary.started_at);
        let mut rows = Vec::new();
        for line in &summary.job_summary {
            let mut item = Item::new();
            let told = JobRun::of(summary, line);
            rows.extend(fill(&mut item, &keys::job_run(&line.job, slot, start, id), &told, ITEM_LIMIT)?);
            rows.push(item);
        }
        let causes: BTreeSet<&Fingerprint> = summary.failures.iter().map(|cause| &cause.fingerprint).collect();
        rows.extend(causes.into_iter().map(|cause| keys::sighting(cause, start, id).attributes()));
        let doing = || format!("write what the summary of run {id} says of jobs and causes");
        stream::iter(rows).map(|row| self.table.put(row, doing)).buffered(AT_ONCE).try_collect().await
    }
}
