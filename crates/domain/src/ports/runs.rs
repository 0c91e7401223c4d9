//! The runs: their states, manifests, summaries and alerts.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

use super::{Change, Creation, StoreError};
use crate::alert::{AlertEvent, AlertRefusal, AlertState};
use crate::ids::RunId;
use crate::run::{PlannedPortfolio, Run, RunEvent, RunRefusal};
use crate::summary::RunSummary;
use crate::words::RunStatus;

/// A filter for runs. A run is selected when it matches every field that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Runs of this status. `Running` are the open ones.
    pub status: Option<RunStatus>,
    /// Runs whose `as_of` lies in this month, as `yyyy-mm`.
    pub month: Option<String>,
    /// Runs of exactly this trading date.
    pub as_of: Option<NaiveDate>,
    /// Runs that repeat this run.
    pub rerun_of: Option<RunId>,
    /// Runs that began at this instant or later.
    pub started_since: Option<DateTime<Utc>>,
    /// Maximum number of runs on the page; 0 means no maximum.
    pub limit: usize,
    /// Start after this cursor: a [`RunCursor`] as text, from [`RunPage::next`].
    pub after: Option<String>,
}

/// A run as it is stored, with its summary once it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The run.
    pub run: Run,
    /// Its summary. `publication` is the current one of the run, not the one at the time of writing.
    pub summary: Option<RunSummary>,
}

impl StoredRun {
    /// A run with its summary as it was written.
    #[must_use]
    pub fn new(run: Run, summary: Option<RunSummary>) -> Self {
        let summary = summary.map(|summary| RunSummary { publication: run.publication.clone(), ..summary });
        Self { run, summary }
    }

    /// The status of the run: that of its summary once it has one, else [`Run::status_before_summary`].
    #[must_use]
    pub fn status(&self) -> RunStatus {
        self.summary.as_ref().map_or_else(|| self.run.status_before_summary(), |summary| summary.status)
    }
}

impl RunQuery {
    /// Whether a run of this [status](StoredRun::status) is selected. `after` is the [parsed cursor](Self::cursor).
    #[must_use]
    pub fn selects(&self, run: &Run, status: RunStatus, after: Option<RunCursor>) -> bool {
        after.is_none_or(|after| RunCursor::of(run) < after)
            && self.status.is_none_or(|wanted| status == wanted)
            && self.month.as_ref().is_none_or(|month| month_of(run.as_of) == *month)
            && self.as_of.is_none_or(|as_of| run.as_of == as_of)
            && self.rerun_of.is_none_or(|of| run.rerun_of == Some(of))
            && self.started_since.is_none_or(|since| run.started_at >= since)
    }

    /// The parsed cursor of the query; none for the first page.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the text is no cursor.
    pub fn cursor(&self) -> Result<Option<RunCursor>, StoreError> {
        self.after.as_deref().map(str::parse).transpose()
    }
}

/// The month of a trading date as [`RunQuery::month`] has it: `yyyy-mm`.
#[must_use]
pub fn month_of(as_of: NaiveDate) -> String {
    as_of.format("%Y-%m").to_string()
}

/// The position of a run in the list of all runs, which is ordered by `scheduled_for`, `started_at` and id.
///
/// As text: the three parts joined by `_`, times in UTC to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunCursor {
    /// Slot of the run.
    pub scheduled_for: DateTime<Utc>,
    /// Start of the run.
    pub started_at: DateTime<Utc>,
    /// Id of the run.
    pub run: RunId,
}

impl RunCursor {
    /// The position of this run.
    #[must_use]
    pub const fn of(run: &Run) -> Self {
        Self { scheduled_for: run.scheduled_for, started_at: run.started_at, run: run.batch_run_id }
    }
}

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
        write!(f, "{}_{}_{}", text(self.scheduled_for), text(self.started_at), self.run)
    }
}

impl FromStr for RunCursor {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let parse = || {
            let mut parts = text.split('_');
            let [slot, start, id] = [parts.next()?, parts.next()?, parts.next()?];
            let [scheduled_for, started_at] = [slot, start].map(|part| part.parse().ok());
            parts.next().is_none().then_some(())?;
            Some(Self { scheduled_for: scheduled_for?, started_at: started_at?, run: id.parse().ok()? })
        };
        parse().ok_or_else(|| StoreError::NotFound { what: format!("page {text:?}") })
    }
}

/// A page of runs, newest first: by `scheduled_for`, then `started_at`, then id.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<StoredRun>,
    /// The cursor of the next page; none on the last page.
    pub next: Option<String>,
}

impl RunPage {
    /// The first `limit` (0: all) of these runs, which are in order, as a page.
    #[must_use]
    pub fn cut(mut runs: Vec<StoredRun>, limit: usize) -> Self {
        if limit == 0 || runs.len() <= limit {
            return Self { runs, next: None };
        }
        runs.truncate(limit);
        let next = runs.last().map(|last| RunCursor::of(&last.run).to_string());
        Self { runs, next }
    }
}

/// The runs: their states, manifests, summaries and alerts.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Writes a run unless one with its id exists (P1).
    async fn create_run(&self, run: &Run) -> Result<Creation<Run>, StoreError>;
    /// Applies an event to a run, all or nothing.
    async fn apply_run(&self, id: RunId, event: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError>;
    /// A run, with its summary once it has one.
    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError>;
    /// Writes a bucket of a manifest under a planner's epoch (P3).
    async fn put_manifest(
        &self,
        run: RunId,
        epoch: u32,
        bucket: u32,
        chunk: &[PlannedPortfolio],
    ) -> Result<(), StoreError>;
    /// A bucket of the manifest; empty if it was never written.
    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError>;
    /// Writes the summary of a run unless it has one (F2), and the rows that [`History`](super::History) reads of it.
    async fn put_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError>;
    /// Applies an event to the alert of a run.
    async fn apply_alert(&self, run: RunId, event: &AlertEvent)
    -> Result<Change<AlertState, AlertRefusal>, StoreError>;
    /// A page of the selected runs, newest first.
    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError>;
    /// Runs that have not ended, oldest first.
    async fn open_runs(&self) -> Result<Vec<Run>, StoreError>;
    /// Ended runs that are not [delivered](crate::alert::is_delivered), oldest first.
    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError>;
}
