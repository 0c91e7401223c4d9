//! The history: records of runs, and what portfolios, jobs and causes were in past runs. Every question is one indexed
//! read.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{Cell, StoreError};
use crate::ids::{Fingerprint, JobName, PortfolioId, RunId};
use crate::record::JobRecord;
use crate::run::Run;
use crate::summary::{JobSummary, RunSummary};
use crate::words::{ErrorCategory, JobStatus, JobType};
use crate::work_item::{Place, WorkItem};

/// A filter for the records of a run. A record is selected when it matches every field that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordQuery {
    /// Only this portfolio.
    pub portfolio: Option<PortfolioId>,
    /// Only this job.
    pub job: Option<JobName>,
    /// Only jobs of this family.
    pub job_type: Option<JobType>,
    /// Only this status.
    pub status: Option<JobStatus>,
}

impl RecordQuery {
    /// Whether this record is selected.
    #[must_use]
    pub fn selects(&self, record: &JobRecord) -> bool {
        self.portfolio.as_ref().is_none_or(|id| record.portfolio_id == *id)
            && self.job.as_ref().is_none_or(|name| record.job_name == *name)
            && self.job_type.is_none_or(|family| record.job_type == family)
            && self.status.is_none_or(|status| record.status == status)
    }
}

/// The position of a record in its run: by portfolio, then in the order of the portfolio's records.
///
/// As text: `bucket.index.order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordCursor {
    /// Position of the portfolio in the manifest.
    pub place: Place,
    /// Position among the records of the portfolio, from 0.
    pub order: u32,
}

impl RecordCursor {
    /// The records of an item, in order, with their positions.
    pub fn each_of(item: &WorkItem) -> impl Iterator<Item = (Self, &JobRecord)> {
        let place = item.place;
        (0..).zip(&item.records).map(move |(order, record)| (Self { place, order }, record))
    }
}

impl fmt::Display for RecordCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.place.bucket, self.place.index, self.order)
    }
}

/// A text that is no [`RecordCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the cursor of a record: three numbers, as in `0.12.3`")]
pub struct NotARecordCursor;

impl FromStr for RecordCursor {
    type Err = NotARecordCursor;

    fn from_str(text: &str) -> Result<Self, NotARecordCursor> {
        let mut parts = text.split('.').map(|part| part.parse().map_err(|_| NotARecordCursor));
        let mut next = || parts.next().ok_or(NotARecordCursor)?;
        let (bucket, index, order) = (next()?, next()?, next()?);
        match parts.next() {
            None => Ok(Self { place: Place { bucket, index }, order }),
            Some(_) => Err(NotARecordCursor),
        }
    }
}

/// A page of records, by portfolio and order of the jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordPage {
    /// The records.
    pub records: Vec<JobRecord>,
    /// The cursor of the last record of the page, to continue after; none on the last page.
    pub next: Option<RecordCursor>,
}

impl RecordPage {
    /// The first `limit` (0: all) of these records, which are in order, as a page. It consumes `limit` of them and
    /// looks at one more, to know whether another page follows.
    pub fn cut(records: impl IntoIterator<Item = (RecordCursor, JobRecord)>, limit: usize) -> Self {
        let mut page = Self::default();
        let mut last = None;
        for (cursor, record) in records {
            if limit > 0 && page.records.len() == limit {
                page.next = last;
                break;
            }
            page.records.push(record);
            last = Some(cursor);
        }
        page
    }
}

/// A portfolio in one run, as its history shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortfolioRun {
    /// The run.
    pub batch_run_id: RunId,
    /// Its trading date.
    pub as_of: NaiveDate,
    /// Its slot.
    pub scheduled_for: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The portfolio's name then.
    pub portfolio_name: String,
    /// Its place in the run.
    pub place: Place,
    /// One cell for each job that has a record.
    pub cells: Vec<Cell>,
}

impl PortfolioRun {
    /// The portfolio of a work item in its run.
    #[must_use]
    pub fn of(run: &Run, item: &WorkItem) -> Self {
        Self {
            batch_run_id: run.batch_run_id,
            as_of: run.as_of,
            scheduled_for: run.scheduled_for,
            started_at: run.started_at,
            portfolio_name: item.portfolio_name.clone(),
            place: item.place,
            cells: item.records.iter().map(Cell::of).collect(),
        }
    }
}

/// A job in one closed run, as its history shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRun {
    /// The run.
    pub batch_run_id: RunId,
    /// Its trading date.
    pub as_of: NaiveDate,
    /// Its slot.
    pub scheduled_for: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The job's line of the summary.
    pub line: JobSummary,
}

impl JobRun {
    /// A job of a run, by its line of the summary.
    #[must_use]
    pub fn of(summary: &RunSummary, line: &JobSummary) -> Self {
        Self {
            batch_run_id: summary.batch_run_id,
            as_of: summary.as_of,
            scheduled_for: summary.scheduled_for,
            started_at: summary.started_at,
            line: line.clone(),
        }
    }
}

/// One cause in one closed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailureSighting {
    /// The run.
    pub batch_run_id: RunId,
    /// Its trading date.
    pub as_of: NaiveDate,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The cause.
    pub fingerprint: Fingerprint,
    /// What kind of fault.
    pub category: ErrorCategory,
    /// The job that failed.
    pub job: JobName,
    /// The message of the first affected portfolio.
    pub message: String,
    /// Failed records with this cause.
    pub count: u64,
    /// Affected portfolios, sorted.
    pub portfolios: Vec<PortfolioId>,
}

impl FailureSighting {
    /// The causes of a summary.
    pub fn all_of(summary: &RunSummary) -> impl Iterator<Item = Self> {
        summary.failures.iter().map(|cause| Self {
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

    /// The order of [`History::failures`]: newest run first, then by fingerprint.
    #[must_use]
    pub fn newest_first(&self, other: &Self) -> Ordering {
        other.started_at.cmp(&self.started_at).then_with(|| self.fingerprint.cmp(&other.fingerprint))
    }
}

/// Records of runs, and what portfolios, jobs and causes were in past runs.
#[async_trait]
pub trait History: Send + Sync {
    /// The selected records of ended work items of a run, by place of the portfolio and order of the jobs.
    async fn records(&self, run: RunId, query: &RecordQuery) -> Result<Vec<JobRecord>, StoreError> {
        Ok(self.records_page(run, query, None, 0).await?.records)
    }
    /// At most `limit` (0: all) of the [`records`](Self::records) of a run, after this cursor.
    ///
    /// The cost depends on the page, not on the run: `SQLite` reads the records of the page by an index, `DynamoDB` the
    /// buckets that hold them. A filter on a status of `success`, or on the family only, reads what it passes over.
    async fn records_page(
        &self,
        run: RunId,
        query: &RecordQuery,
        after: Option<RecordCursor>,
        limit: usize,
    ) -> Result<RecordPage, StoreError>;
    /// A portfolio's newest runs (by `scheduled_for`, then `started_at`), newest first.
    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError>;
    /// A job's newest closed runs, newest first.
    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError>;
    /// The newest record (by `as_of`, then `started_at` of the run) of a success of the job, for one portfolio or for
    /// all. A success does not count if the job did not succeed in a newer run of the same portfolio and `as_of`.
    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError>;
    /// Causes of failures in closed runs that began at this instant or later, newest run first.
    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError>;
    /// For each of these causes, the run with the earliest start that saw it.
    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError>;
}
