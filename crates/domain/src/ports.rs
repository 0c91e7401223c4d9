//! The ports: what the use cases need from outside, in domain types only.
//!
//! A store takes events and answers with what became of them; the decision is [`crate::run::Run::next`] and
//! [`crate::work_item::WorkItem::next`], which a backend either calls inside a transaction or translates into
//! conditional writes. The rules are in `domain::conformance` (a feature of this crate).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::alert::{AlertEvent, AlertRefusal, AlertState, RunAlert};
use crate::alert_book::AlertBook;
use crate::alert_message::AlertMessage;
use crate::alert_rules::Severity;
use crate::fold::{Fold, FoldEntry};
use crate::ids::{ChannelName, ContentHash, Fingerprint, JobName, Owner, PortfolioId, RunId, ScheduleName};
use crate::job::JobSpec;
use crate::job_context::JobContext;
use crate::record::{JobError, JobOutput, JobRecord};
use crate::retry::RetryPolicy;
use crate::run::{PlannedPortfolio, Run, RunEvent, RunLevelWork, RunRefusal};
use crate::summary::{JobSummary, RunSummary};
use crate::words::{ErrorCategory, JobStatus, JobType, QualityFlag, RunStatus};
use crate::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};

/// What can go wrong with a store, whichever it is.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be reached or written; trying again may help.
    #[error("the store could not {doing}")]
    Unavailable {
        /// What was tried, for example "write the records of portfolio a".
        doing: String,
        /// The backend's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something that was stored is not what it was: its content hash does not fit, or it cannot be read.
    #[error("{what} is damaged: {detail}; run `nightbook doctor` for the full list")]
    Damaged {
        /// What is damaged, for example "the results of portfolio a in run 7d0a...".
        what: String,
        /// How it shows.
        detail: String,
    },
    /// Something that must be there is not.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The store was written by a newer release.
    #[error("{0}")]
    TooNew(String),
}

/// What became of an event: the state after it, or the state as it is and why the event was refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T, R> {
    /// It happened; this is the state now.
    Applied(T),
    /// It was refused; this is the state as it is.
    Refused(T, R),
}

/// Whether a create-if-absent created.
#[derive(Debug, Clone, PartialEq)]
pub enum Creation<T> {
    /// It was not there and is now.
    Created,
    /// It was there already, as this.
    Existing(T),
}

/// Which runs: everything given must fit.
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
    /// At most so many; 0: all.
    pub limit: usize,
    /// Continue after this place, as [`RunPage::next`] gave it.
    pub after: Option<String>,
}

/// A run as it is stored, with its summary once it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The run.
    pub run: Run,
    /// Its summary, with `publication` as the run has it now.
    pub summary: Option<RunSummary>,
}

impl StoredRun {
    /// The status of the run: that of its summary, once it has one.
    #[must_use]
    pub const fn status(&self) -> RunStatus {
        match &self.summary {
            Some(summary) => summary.status,
            None => self.run.status_before_summary(),
        }
    }
}

/// A page of runs, newest first: by `scheduled_for`, then `started_at`, then id.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<StoredRun>,
    /// Where the next page begins; none on the last.
    pub next: Option<String>,
}

/// Which records of a run: everything given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordQuery {
    /// Only this portfolio.
    pub portfolio: Option<PortfolioId>,
    /// Only this job.
    pub job: Option<JobName>,
    /// Only this family.
    pub job_type: Option<JobType>,
    /// Only this status.
    pub status: Option<JobStatus>,
}

/// One job of one portfolio in one run, as a grid shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cell {
    /// The job.
    pub job: JobName,
    /// How it stands.
    pub status: JobStatus,
    /// The attempt that the record tells of.
    pub attempt: u32,
    /// How long it took.
    pub duration_seconds: Option<f64>,
    /// How good its data was.
    pub quality: Option<QualityFlag>,
    /// The cause, of a failure.
    pub fingerprint: Option<Fingerprint>,
    /// Those of its results in brief that [`KEY_FIGURES`] names, so that a history of them needs no result documents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
}

/// The results in brief (`job_metadata`) whose history pages show. Money is in the portfolio's currency, returns,
/// volatility, values at risk and `coverage` are shares of 1, `data_days` are trading days.
pub const KEY_FIGURES: [&str; 15] = [
    "coverage",
    "daily_pnl",
    "daily_return",
    "es_95",
    "gross",
    "leverage",
    "market_beta",
    "market_value",
    "max_drawdown",
    "net",
    "total_value",
    "var_95",
    "var_99",
    "volatility",
    "worst_case_pnl",
];

/// The names under which a cell carries the days of data that were there and those that were asked for.
pub const DATA_DAYS: [&str; 2] = ["data_days", "required_days"];

impl Cell {
    /// The cell of a record.
    #[must_use]
    pub fn of(record: &JobRecord) -> Self {
        let brief = |name: &&str| Some(((*name).to_owned(), record.job_metadata.get(*name)?.as_f64()?));
        let mut figures: BTreeMap<String, f64> = KEY_FIGURES.iter().filter_map(brief).collect();
        if let Some(quality) = record.quality.as_ref().filter(|quality| quality.required_days > 0) {
            figures.extend(
                DATA_DAYS.map(str::to_owned).into_iter().zip([quality.data_days, quality.required_days].map(f64::from)),
            );
        }
        Self {
            job: record.job_name.clone(),
            status: record.status,
            attempt: record.attempt,
            duration_seconds: record.duration_seconds,
            quality: record.quality.as_ref().map(|quality| quality.flag),
            fingerprint: record.error.as_ref().map(|error| error.fingerprint.clone()),
            figures,
        }
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

/// The records: runs, work items, folds, summaries. Every question is one indexed read.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Writes a run that is not there yet (P1).
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
    /// A bucket of the manifest; empty where there is none.
    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError>;

    /// Applies an event to a work item, all or nothing. An item that is not there yet is
    /// [`WorkItem::untouched`] with this name and place. A lost reply is recognised by [`WorkItem::is_result_of`].
    async fn apply_item(
        &self,
        key: &ItemKey,
        name: &str,
        place: Place,
        event: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError>;
    /// A work item; none where nobody has touched it.
    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError>;
    /// The touched items of one bucket, in the order of their places, with their records.
    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError>;

    /// Counts an ended item in its fold, once (T1), and gives the fold as it is then.
    async fn fold(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError>;
    /// The folds of a run that have counted anything, by bucket.
    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError>;
    /// Marks a bucket as full (T2), and gives how many are.
    async fn mark_full(&self, run: RunId, bucket: u32) -> Result<u32, StoreError>;

    /// Writes the summary of a run if it has none (F2), with what the history questions need of it. Gives the one
    /// that is there.
    async fn put_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError>;
    /// Applies an event to the alert of a run.
    async fn apply_alert(&self, run: RunId, event: &AlertEvent)
    -> Result<Change<AlertState, AlertRefusal>, StoreError>;

    /// Runs, newest first, page by page.
    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError>;
    /// Runs that have not ended, oldest first.
    async fn open_runs(&self) -> Result<Vec<Run>, StoreError>;
    /// Runs that have ended and whose pages are not published, or whose alert is not out of the way; oldest first.
    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError>;
    /// Records of a run, by place of the portfolio and order of the jobs. Only those that exist.
    async fn records(&self, run: RunId, query: &RecordQuery) -> Result<Vec<JobRecord>, StoreError>;
    /// A portfolio's newest runs (by `scheduled_for`, then `started_at`), newest first.
    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError>;
    /// A job's newest closed runs, newest first.
    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError>;
    /// The newest record (by `as_of`, then `started_at` of the run) in which the job succeeded, for one portfolio or
    /// overall, where a newer run of the same portfolio and `as_of` did not end otherwise.
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
    /// For each of these causes the run that began first of those in which it was seen.
    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError>;
}

/// The documents: full results of portfolios, and the pinned inputs of runs.
#[async_trait]
pub trait Documents: Send + Sync {
    /// Stores the results document of a portfolio; durable when it returns. The same again is harmless.
    async fn put_results(&self, key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError>;
    /// The results document with this hash, verified; none where it was never stored or has been retired.
    async fn results(&self, key: &ItemKey, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError>;
    /// Stores a snapshot of inputs under the hash of its content; durable when it returns.
    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError>;
    /// The snapshot with this hash, verified.
    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError>;
}

/// A message: process this portfolio of this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkMessage {
    /// The work item.
    pub key: ItemKey,
    /// The portfolio's name.
    pub name: String,
    /// Its place.
    pub place: Place,
}

/// Sends messages. Delivery is at least once and in any order.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Sends work.
    async fn send_work(&self, messages: Vec<WorkMessage>) -> Result<(), StoreError>;
    /// About how many messages for work wait to be received; none where the queue cannot tell.
    async fn waiting_work(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
    /// Asks for the close of a run.
    async fn send_close(&self, run: RunId) -> Result<(), StoreError>;
    /// Asks for the pages of the portfolios of these buckets of a run, each by a message of its own. Only a publisher
    /// that [spreads](Publisher::spreads) runs has them sent.
    async fn send_pages(&self, run: RunId, buckets: Vec<u32>) -> Result<(), StoreError>;
}

/// The inputs of a run, read and pinned.
#[derive(Debug, Clone, PartialEq)]
pub struct PinnedInputs {
    /// Content hash of the book.
    pub book: ContentHash,
    /// The portfolios to process, in the order of their ids.
    pub portfolios: Vec<PlannedPortfolio>,
    /// The job list.
    pub jobs: Vec<JobSpec>,
    /// How failures are tried again.
    pub retry: RetryPolicy,
    /// Minutes from the seal to the deadline.
    pub deadline_minutes: u32,
    /// The pinned inputs themselves.
    pub snapshot: Vec<u8>,
    /// The work that was done once.
    pub market_data: RunLevelWork,
}

/// Reads and pins the inputs of a run.
#[async_trait]
pub trait RunInputs: Send + Sync {
    /// The inputs as of this date, of these portfolios (empty: all).
    ///
    /// A failure of the price source is no error here but the outcome of [`PinnedInputs::market_data`].
    async fn pin(&self, as_of: NaiveDate, filter: &[PortfolioId]) -> Result<PinnedInputs, JobError>;
}

/// Runs jobs of a run on its pinned inputs.
#[async_trait]
pub trait JobRunner: Send + Sync {
    /// Prepares a portfolio; what all portfolios of a run share is prepared once.
    async fn open(&self, run: &Run, portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError>;
}

/// The jobs of one portfolio in one run. Outputs of earlier jobs are kept for later ones.
#[async_trait]
pub trait PortfolioJobs: Send + Sync {
    /// Runs one attempt of a job. A panic is an `internal` error. The time limit is the caller's: it cancels the
    /// context, and drops the future of a job that does not listen; its late output is thrown away.
    async fn run(&self, job: &JobName, context: JobContext) -> Result<JobOutput, JobError>;
    /// The full results so far, as one JSON document; none where no job has any.
    fn results(&self) -> Result<Option<Vec<u8>>, JobError>;
    /// Ids and symbols of the portfolio, which fingerprints must not depend on.
    fn known_ids(&self) -> Vec<String>;
}

/// Publishes the pages that a run changed: all at once, or in three steps where a run is too large for that. Every step
/// says how many files were written, and may be repeated.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes for this run.
    async fn publish(&self, run: RunId) -> Result<u64, PublishError>;
    /// Whether the pages of the portfolios of this run are written by messages, one for each bucket.
    fn spreads(&self, _run: &Run) -> bool {
        false
    }
    /// The first step of a publication that is spread: what the pages of portfolios lead to.
    async fn begin(&self, _run: RunId) -> Result<u64, PublishError> {
        Ok(0)
    }
    /// The second, for each bucket: the pages of its portfolios.
    async fn publish_bucket(&self, _run: RunId, _bucket: u32) -> Result<u64, PublishError> {
        Ok(0)
    }
    /// The third, once every bucket is there: what leads to the pages of portfolios, and last the index.
    async fn finish(&self, run: RunId) -> Result<u64, PublishError> {
        self.publish(run).await
    }
}

/// Why the site could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The records could not be read.
    #[error("cannot read the records to publish")]
    Records(#[from] StoreError),
    /// It went on for so long that the run was closed without it.
    #[error("publishing took longer than {minutes} minutes and was given up")]
    TooSlow {
        /// The limit.
        minutes: u64,
    },
    /// A page could not be rendered or written.
    #[error("cannot publish {path}")]
    Page {
        /// The page.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Tells people about a run that did not go well.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// The address of the site, for links.
    fn site_base(&self) -> String;
    /// Delivers an alert. An error means that it was not delivered and should be tried again.
    async fn notify(&self, alert: &RunAlert) -> Result<(), JobError>;
    /// Tells what there is to tell of a run that has ended. An error means that it should be tried again; the same run
    /// again tells nothing twice. A notifier that knows of no other run tells of one that did not go well.
    async fn tell(&self, summary: &RunSummary) -> Result<(), JobError> {
        match RunAlert::of(summary, &self.site_base()) {
            Some(alert) => self.notify(&alert).await,
            None => Ok(()),
        }
    }
    /// Tells what has become due since: what was put off or could not be delivered, and runs that are overdue. Called
    /// by the watch in each round.
    async fn catch_up(&self) -> Result<(), JobError> {
        Ok(())
    }
}

/// The alert books: one document for each schedule.
#[async_trait]
pub trait AlertBooks: Send + Sync {
    /// The book of a schedule; [`AlertBook::empty`] where there is none.
    async fn alert_book(&self, schedule: &ScheduleName) -> Result<AlertBook, StoreError>;
    /// Writes a book, if the stored one still has its version; it is stored with the next one. Says whether it was
    /// written.
    async fn put_alert_book(&self, book: &AlertBook) -> Result<bool, StoreError>;
    /// The schedules that have a book, sorted.
    async fn alert_schedules(&self) -> Result<Vec<ScheduleName>, StoreError>;
}

/// Why a message did not get through a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelError {
    /// What happened, to what, without secrets.
    pub message: String,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether this message will never get through, however often it is tried.
    pub is_final: bool,
}

/// A way to people.
#[async_trait]
pub trait AlertChannel: Send + Sync {
    /// Its name in the settings.
    fn name(&self) -> &ChannelName;
    /// Messages that matter less do not come through it.
    fn min_severity(&self) -> Severity;
    /// Delivers a message. Must come back within two minutes.
    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError>;
}

/// A file of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFile {
    /// Path below the root, with `/`, for example `runs/<id>/index.html`.
    pub path: String,
    /// Media type, for example `text/html; charset=utf-8`.
    pub content_type: &'static str,
    /// Content.
    pub body: Vec<u8>,
}

impl SiteFile {
    /// How long a reader may keep it, as a `Cache-Control` header says it.
    ///
    /// What tells how things stand is asked for again after half a minute; pages of runs that are over change only with
    /// a new release, a rebuild or a setting, so they are kept for an hour and then asked for by their `ETag`.
    #[must_use]
    pub fn cache_control(&self) -> &'static str {
        if self.path.starts_with("runs/") || self.path.starts_with("schemas/") {
            "public, max-age=3600"
        } else {
            "public, max-age=30"
        }
    }

    /// Whether it becomes smaller when it is compressed: all texts do.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let kind = self.content_type.split(';').next().unwrap_or_default();
        kind.starts_with("text/") || ["application/json", "application/atom+xml", "image/svg+xml"].contains(&kind)
    }
}

/// What may be overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteIf {
    /// Whatever is there.
    Always,
    /// Only if the file is still the one that was read: its hash, or none where there was none.
    Unchanged(Option<ContentHash>),
}

/// The folder or bucket that holds the site.
#[async_trait]
pub trait SiteStore: Send + Sync {
    /// A file, or none.
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes a file, atomically: a reader sees the old one or the new one. A file that is there with the same
    /// content is left alone. Says whether it was written; with [`WriteIf::Unchanged`], `Refused` when somebody else
    /// wrote in between.
    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError>;
    /// Makes everything written so far durable. Called once, before the index.
    async fn flush(&self) -> Result<(), StoreError>;
}

/// What became of a write to the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The file was written.
    Written,
    /// It was there already, the same.
    Unchanged,
    /// Somebody else wrote in between.
    Refused,
}

/// The time.
pub trait Clock: Send + Sync {
    /// Now, in UTC, to the microsecond.
    fn now(&self) -> DateTime<Utc>;
}

/// Waiting.
#[async_trait]
pub trait Sleeper: Send + Sync {
    /// Returns after this time.
    async fn sleep(&self, time: Duration);
}

/// Chance.
pub trait Randomness: Send + Sync {
    /// An owner that was never used before.
    fn owner(&self) -> Owner;
    /// Uniform in [0, 1).
    fn jitter(&self) -> f64;
}

/// All ports that the use cases share.
#[derive(Clone)]
pub struct Ports {
    /// Records.
    pub store: Arc<dyn RunStore>,
    /// Documents.
    pub documents: Arc<dyn Documents>,
    /// Messages.
    pub queue: Arc<dyn WorkQueue>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Waiting.
    pub sleeper: Arc<dyn Sleeper>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}
