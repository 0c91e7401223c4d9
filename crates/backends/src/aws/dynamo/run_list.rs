//! Lists of runs: which there are, and the questions about them.

use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::RunId;
use domain::ports::{RunCursor, RunPage, RunQuery, StoreError, StoredRun};

use super::DynamoStore;
use super::document::{Item, text_of};
use super::keys::{self, SK, time_text};
use super::table::{Pages, Range};

/// Rows that one page of the list of all runs has at least.
const PAGE: usize = 50;

/// A row of a list of runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// What the list is sorted by: slot, or start.
    pub(super) at: DateTime<Utc>,
    pub(super) id: RunId,
    pub(super) as_of: Option<NaiveDate>,
}

impl Row {
    /// The row of an item; none where it is something else.
    pub(super) fn of(item: &Item) -> Option<Self> {
        let sk = text_of(item, SK)?;
        let (at, id) = sk.strip_prefix(keys::RERUNS).unwrap_or(sk).split_once('#')?;
        let as_of = text_of(item, "as_of").and_then(|text| text.parse().ok());
        Some(Self { at: at.parse().ok()?, id: id.parse().ok()?, as_of })
    }
}

impl DynamoStore {
    /// Walks through all runs, newest first, until the page is full.
    pub(super) async fn walk_runs(&self, query: &RunQuery, after: Option<RunCursor>) -> Result<RunPage, StoreError> {
        // A sort key that is larger than all of the slot with which the page begins.
        let range = after.map_or(Range::All, |after| Range::UpTo(format!("{}#~", time_text(after.scheduled_for))));
        let size = if query.limit == 0 { 0 } else { (query.limit + 1).max(PAGE) };
        let mut pages = Pages::of(keys::RUNS, range).newest_first(size);
        let mut waiting: Vec<Row> = Vec::new();
        let mut runs: Vec<StoredRun> = Vec::new();
        while !pages.ended() && (query.limit == 0 || runs.len() <= query.limit) {
            let page = self.table.page(&mut pages, || "read the list of runs".to_owned()).await?;
            waiting.extend(page.iter().filter_map(Row::of));
            // Runs of one slot are sorted by their start, so they have to be there together.
            let complete = match waiting.last() {
                Some(last) if !pages.ended() => waiting.partition_point(|row| row.at > last.at),
                _ => waiting.len(),
            };
            let rows: Vec<Row> = waiting.drain(..complete).collect();
            let mut loaded: Vec<StoredRun> =
                self.load_runs(rows.iter().map(|row| row.id)).await?.into_values().map(|(stored, _)| stored).collect();
            // A list may name a run under a slot that it never had: whoever made it then was not the one who won.
            loaded.retain(|stored| {
                let slot = stored.run.scheduled_for;
                let id = stored.run.batch_run_id;
                query.selects(&stored.run, stored.status(), after)
                    && rows.iter().any(|row| row.id == id && row.at == slot)
            });
            loaded.sort_by_key(|stored| std::cmp::Reverse(RunCursor::of(&stored.run)));
            runs.extend(loaded);
        }
        Ok(RunPage::cut(runs, query.limit))
    }

    /// Every run that there is, as the list names it.
    pub(super) async fn all_rows(&self) -> Result<Vec<Row>, StoreError> {
        let rows = self.table.all(Pages::of(keys::RUNS, Range::All), || "read the list of runs".to_owned()).await?;
        Ok(rows.iter().filter_map(Row::of).collect())
    }

    /// Runs that began at this instant or later, with their summaries, newest start first.
    pub(super) async fn runs_since(&self, since: Option<DateTime<Utc>>) -> Result<Vec<StoredRun>, StoreError> {
        let range = since.map_or(Range::All, |since| Range::From(time_text(since)));
        let rows =
            self.table.all(Pages::of(keys::STARTED, range), || "read the list of runs by start".to_owned()).await?;
        let ids: Vec<RunId> = rows.iter().filter_map(Row::of).map(|row| row.id).collect();
        let mut runs: Vec<StoredRun> = self.load_runs(ids).await?.into_values().map(|(stored, _)| stored).collect();
        runs.retain(|stored| since.is_none_or(|since| stored.run.started_at >= since));
        runs.sort_by_key(|stored| std::cmp::Reverse((stored.run.started_at, stored.run.batch_run_id)));
        Ok(runs)
    }
}
