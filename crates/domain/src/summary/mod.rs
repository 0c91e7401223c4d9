//! The run summary: a pure function of a run and its work items, the one arithmetic behind every surface.

mod summarise;
#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

pub(crate) use self::summarise::abandoned_error;
pub use self::summarise::summarise;
use crate::fold::{Fold, JobCounts};
use crate::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId, ScheduleName};
use crate::job::JobSpec;
use crate::night::{Control, ControlResult, Level};
use crate::record::JobRecord;
use crate::run::{AbandonReason, Abandoned, Publication};
use crate::words::{ErrorCategory, JobStatus, RunStatus};
use crate::work_item::WorkItem;

/// One job over all portfolios of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobSummary {
    /// The job.
    pub job: JobName,
    /// Portfolios expected.
    pub portfolios: u64,
    /// Ended well.
    pub success: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Not run.
    pub skipped: u64,
    /// Without a record.
    pub missing: u64,
    /// Median duration of those that ran; none where none ran.
    pub p50_seconds: Option<f64>,
    /// 95th percentile (nearest rank).
    pub p95_seconds: Option<f64>,
    /// The longest.
    pub max_seconds: Option<f64>,
    /// How many succeeded only after more than one attempt.
    #[serde(default)]
    pub retried: u64,
}

/// The data quality of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QualitySummary {
    /// Portfolios with full data.
    pub full: u64,
    /// Portfolios with limited data.
    pub limited: u64,
    /// Portfolios with nothing usable.
    pub failed: u64,
    /// Positions that went into results, over all portfolios.
    pub positions_processed: u64,
    /// Mean days of data over the portfolios that reported any.
    pub average_data_days: Option<f64>,
}

/// One cause of failures in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailureCluster {
    /// The cause.
    pub fingerprint: Fingerprint,
    /// What kind of fault.
    pub category: ErrorCategory,
    /// The job that failed.
    pub job: JobName,
    /// The message of the first affected portfolio.
    pub message: String,
    /// Failed job records with this cause; 1 for the cause of a run that was abandoned.
    pub count: u64,
    /// Jobs that were skipped because of them.
    #[serde(default)]
    pub skipped: u64,
    /// Affected portfolios, sorted.
    pub portfolios: Vec<PortfolioId>,
    /// The run in which it was first seen.
    pub first_seen_run: RunId,
    /// Whether that is this run.
    pub new: bool,
}

/// The summary of a run. The names of the fields are a contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunSummary {
    /// The run.
    pub batch_run_id: RunId,
    /// Its schedule.
    pub schedule: ScheduleName,
    /// What started it.
    pub trigger: String,
    /// The run it repeats.
    #[serde(default)]
    pub rerun_of: Option<RunId>,
    /// The trading date.
    pub as_of: NaiveDate,
    /// The slot.
    pub scheduled_for: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was closed; none while it runs.
    pub closed_at: Option<DateTime<Utc>>,
    /// How it stands or ended.
    pub status: RunStatus,
    /// Portfolios that the run was for.
    pub portfolios_expected: u64,
    /// Portfolios that came to an end of their own.
    pub portfolios_processed: u64,
    /// Portfolios expected times jobs of the run.
    pub total_jobs: u64,
    /// Ended well.
    pub successful_jobs: u64,
    /// Ended with an error.
    pub failed_jobs: u64,
    /// Not run.
    pub skipped_jobs: u64,
    /// Without a record.
    pub missing_jobs: u64,
    /// Seconds of work: the durations of all jobs, with the work done once for the run counted once.
    pub total_duration: f64,
    /// Seconds from start to close; none while it runs.
    #[serde(default)]
    pub wall_seconds: Option<f64>,
    /// By job, in the order of the job list.
    pub job_summary: Vec<JobSummary>,
    /// The data quality.
    pub data_quality: QualitySummary,
    /// Causes of failures, the largest first.
    pub failures: Vec<FailureCluster>,
    /// Content hash of the pinned inputs; none until they are.
    pub market_snapshot: Option<ContentHash>,
    /// Content hash of the book.
    #[serde(default)]
    pub book: Option<ContentHash>,
    /// Why it ended without a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<Abandoned>,
    /// When somebody asked to end it early.
    #[serde(default)]
    pub cancelled_at: Option<DateTime<Utc>>,
    /// Control results other than `ok`: all about the run, then the worst about portfolios, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<ControlResult>,
    /// The number of control results that are failures, shown or not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub control_failures: u64,
    /// The number of control results that are warnings, shown or not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub control_warnings: u64,
    /// How the site stands towards it.
    pub publication: Publication,
}

/// Portfolio results of controls that a summary holds.
const MOST_PORTFOLIO_RESULTS: usize = 100;

// serde calls it with a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RunSummary {
    /// The summary with the control results of the run: all about the run, and the worst 100 about portfolios.
    #[must_use]
    pub fn with_controls(self, results: Vec<ControlResult>) -> Self {
        let of_level = |level: Level| results.iter().filter(|result| result.level == level).count() as u64;
        let (control_failures, control_warnings) = (of_level(Level::Failure), of_level(Level::Warning));
        let (mut controls, mut of_portfolios): (Vec<_>, Vec<_>) = results
            .into_iter()
            .filter(|result| result.level > Level::Ok)
            .partition(|result| result.portfolio_id.is_none());
        // Stable: results of one level stay in the order of the controls.
        of_portfolios.sort_by_key(|result| std::cmp::Reverse(result.level));
        of_portfolios.truncate(MOST_PORTFOLIO_RESULTS);
        controls.extend(of_portfolios);
        Self { controls, control_failures, control_warnings, ..self }
    }

    /// Whether every portfolio of the run succeeded and no control failed: `run` and `rerun` exit with 0 then.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.status == RunStatus::Success && self.control_failures == 0
    }

    /// Whether this portfolio of the run succeeded and no control failed for it or for the run as a whole. `records` are
    /// those of the portfolio in this run.
    ///
    /// `portfolios` and `orphans` are about the whole book: a question about one portfolio does not evaluate them.
    #[must_use]
    pub fn is_good_for(&self, portfolio: &PortfolioId, records: &[JobRecord]) -> bool {
        let about_book = |control: Control| matches!(control, Control::Portfolios | Control::Orphans);
        let concerns = |result: &ControlResult| {
            result.portfolio_id.as_ref().is_none_or(|id| id == portfolio) && !about_book(result.control)
        };
        records.len() == self.job_summary.len()
            && records.iter().all(|record| record.status == JobStatus::Success)
            && !self.controls.iter().any(|result| result.level == Level::Failure && concerns(result))
    }

    /// All job counts.
    #[must_use]
    pub const fn counts(&self) -> JobCounts {
        JobCounts {
            success: self.successful_jobs,
            failed: self.failed_jobs,
            skipped: self.skipped_jobs,
            missing: self.missing_jobs,
        }
    }

    /// The verdict in one sentence, as pages, alerts and the terminal say it.
    #[must_use]
    pub fn verdict(&self) -> String {
        let of = format!("{} of {} jobs succeeded", self.successful_jobs, self.total_jobs);
        let cause = || {
            let explained: u64 =
                self.failures.first().map_or(0, |cluster| cluster.count.saturating_add(cluster.skipped));
            let bad = self.failed_jobs.saturating_add(self.skipped_jobs);
            match (self.failures.len(), bad) {
                (0, _) => String::new(),
                (1, _) => format!(", 1 cause explains all {bad} that failed or were skipped"),
                (n, _) => format!(", {n} causes, the largest explains {explained} of {bad}"),
            }
        };
        let missing = match self.missing_jobs {
            0 => String::new(),
            1 => ", 1 has no record".to_owned(),
            n => format!(", {n} have no record"),
        };
        match self.status {
            RunStatus::Success => format!("All good: {of} for {} portfolios", self.portfolios_expected),
            RunStatus::Failed if self.abandoned.is_some() => format!("Failed: {}", self.abandoned_because()),
            RunStatus::Failed if self.portfolios_expected == 0 => {
                "Failed: there was no portfolio to process".to_owned()
            }
            RunStatus::Failed => format!("Failed: {of}{}{missing}", cause()),
            RunStatus::Partial => format!("Partial: {of}{}{missing}", cause()),
            RunStatus::Running => format!("Running: {of} so far"),
            RunStatus::Missed => format!("Missed: the run of {} did not take place", self.as_of),
        }
    }
}

impl RunSummary {
    /// Why a run that was abandoned has not started, as a clause.
    fn abandoned_because(&self) -> String {
        match (self.abandoned.as_ref().map(|abandoned| &abandoned.reason), self.failures.first()) {
            (Some(AbandonReason::Canceled), _) | (None, _) => "the run was canceled before it started".to_owned(),
            (Some(AbandonReason::Inputs { error }), _) => {
                format!("the run has not started; its inputs could not be read: {}", error.message)
            }
            (Some(AbandonReason::Overdue), Some(cause)) => {
                format!("the run has not started in time: {}", cause.message)
            }
            (Some(AbandonReason::Overdue), None) => "the run has not started in time".to_owned(),
        }
    }
}

/// The records of an item as every surface shows them: one for each job of the list, in its order.
///
/// A job without a
/// record is `running` where it is in hand, `pending` while the item has not ended, and `missing` after.
#[must_use]
pub fn complete_records(item: &WorkItem, jobs: &[JobSpec]) -> Vec<JobRecord> {
    jobs.iter()
        .map(|job| {
            if let Some(record) = item.records.iter().find(|record| record.job_name == job.name) {
                return record.clone();
            }
            let status = if item.state.is_terminal() { JobStatus::Missing } else { JobStatus::Pending };
            let mut record = JobRecord::blank(item.key.run, &item.key.portfolio, &item.portfolio_name, job, status);
            if let Some(hand) = item.in_hand.as_ref().filter(|hand| hand.job == job.name) {
                record.status = JobStatus::Running;
                record.attempt = hand.attempt;
                record.started_at = Some(hand.started_at);
                record.progress.clone_from(&hand.progress);
            }
            record
        })
        .collect()
}

/// Where folds and records disagree: a defect of ours, never of the data. Empty when they agree.
#[must_use]
pub fn disagreement(summary: &RunSummary, folds: &[Fold]) -> Option<String> {
    let mut jobs = JobCounts::default();
    let (mut done, mut processed) = (0u64, 0u64);
    for fold in folds {
        jobs.add_all(&fold.jobs);
        done += fold.done.len() as u64;
        processed += u64::from(fold.processed);
    }
    let told = (jobs, done, processed);
    let counted = (summary.counts(), summary.portfolios_expected, summary.portfolios_processed);
    (told != counted).then(|| format!("folds say {told:?}, records say {counted:?}"))
}
