//! The job record: the persisted outcome of one job of one portfolio in one run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::fingerprint::{fingerprint, masked};
use crate::ids::{Fingerprint, JobName, PortfolioId, RunId};
use crate::job::JobSpec;
use crate::redact::{redact, redact_line};
use crate::words::{ErrorCategory, JobStatus, JobType, QualityFlag};

/// How far a job is, as it last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// The unit in hand, for example `position 15/75 AAPL`.
    pub item: String,
    /// When the job said so.
    pub at: DateTime<Utc>,
}

/// An error as it is recorded: plain data, masked, with its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordedError {
    /// What kind of fault it is.
    pub category: ErrorCategory,
    /// What happened, to what, and what to do. Secrets are masked; at most 1,000 characters.
    pub message: String,
    /// The causes, outermost first, without the message itself.
    pub chain: Vec<String>,
    /// The same for the same cause in every portfolio and run.
    pub fingerprint: Fingerprint,
    /// The message with everything masked that varies from portfolio to portfolio. `None` if
    /// [`masked`] without known ids gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<String>,
}

impl RecordedError {
    /// The message with everything masked that varies from portfolio to portfolio.
    #[must_use]
    pub fn masked(&self) -> String {
        self.masked.clone().unwrap_or_else(|| masked(&self.message, &[]))
    }
}

/// How good the data under a result was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quality {
    /// The flag.
    pub flag: QualityFlag,
    /// Returns that the scarcest used position has in the window.
    pub data_days: u32,
    /// Returns that the window asks for.
    pub required_days: u32,
    /// Positions that went into the result.
    pub positions_processed: u32,
    /// Positions that could have.
    pub positions_total: u32,
    /// Symbols that were left out, sorted; at most 50 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols_missing: Vec<String>,
    /// What a reader should know, one sentence each; at most 20 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why a job was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SkippedBecause {
    /// The job that failed and so caused this, through however many others.
    pub job: JobName,
    /// The sentence for a reader.
    pub reason: String,
}

/// The outcome of one job of one portfolio in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobRecord {
    /// The run.
    pub batch_run_id: RunId,
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// Its name at the time of the run.
    pub portfolio_name: String,
    /// The job.
    pub job_name: JobName,
    /// Its family.
    pub job_type: JobType,
    /// How it stands.
    pub status: JobStatus,
    /// The attempt that the record tells of, from 1; 0 where there was none.
    pub attempt: u32,
    /// Start of the first attempt.
    pub started_at: Option<DateTime<Utc>>,
    /// End of the last attempt.
    pub completed_at: Option<DateTime<Utc>>,
    /// From start to end, waits between attempts included, waits for a core not.
    pub duration_seconds: Option<f64>,
    /// How long it waited for a core, in seconds; `None`: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<f64>,
    /// Units that were processed, as the job counts them.
    pub records_processed: u64,
    /// How far it is, or was at its end.
    pub progress: Option<Progress>,
    /// What went wrong on the last attempt.
    pub error: Option<RecordedError>,
    /// Why it was not run.
    pub skipped_because: Option<SkippedBecause>,
    /// How good the data was.
    pub quality: Option<Quality>,
    /// Results in brief.
    pub job_metadata: serde_json::Map<String, serde_json::Value>,
}

impl JobRecord {
    /// A record of a job that has no other yet, in the given status.
    #[must_use]
    pub fn blank(run: RunId, portfolio: &PortfolioId, name: &str, job: &JobSpec, status: JobStatus) -> Self {
        Self {
            batch_run_id: run,
            portfolio_id: portfolio.clone(),
            portfolio_name: name.to_owned(),
            job_name: job.name.clone(),
            job_type: job.job_type,
            status,
            attempt: 0,
            started_at: None,
            completed_at: None,
            duration_seconds: None,
            waited_seconds: None,
            records_processed: 0,
            progress: None,
            error: None,
            skipped_because: None,
            quality: None,
            job_metadata: serde_json::Map::new(),
        }
    }
}

/// What a job returns when it ends well.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobOutput {
    /// Units that were processed.
    pub records_processed: u64,
    /// How good the data was; none where the job uses none.
    pub quality: Option<Quality>,
    /// Results in brief, for the record.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// What a job returns when it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    /// What kind of fault it is.
    pub category: ErrorCategory,
    /// What happened, to what, and what to do.
    pub message: String,
    /// The causes, outermost first, without the message itself.
    pub chain: Vec<String>,
}

impl JobError {
    /// An error of this category with a message and no further cause.
    #[must_use]
    pub fn new(category: ErrorCategory, message: impl Into<String>) -> Self {
        Self { category, message: message.into(), chain: Vec::new() }
    }

    /// The error and all its causes, under a category that the caller knows from its type.
    #[must_use]
    pub fn from_error(category: ErrorCategory, error: &dyn std::error::Error) -> Self {
        let mut chain = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        Self { category, message: error.to_string(), chain }
    }

    /// The error as it is recorded: masked, cut, and with its fingerprint. `known` are texts that count as ids
    /// (portfolio ids and symbols of the portfolio), so that the same cause has one fingerprint everywhere.
    #[must_use]
    pub fn recorded(&self, job: &JobName, known: &[&str]) -> RecordedError {
        let message = redact(&self.message);
        let known_masked = masked(&self.message, known);
        RecordedError {
            category: self.category,
            masked: (known_masked != masked(&message, &[])).then_some(known_masked),
            message,
            chain: self.chain.iter().take(20).map(|cause| redact_line(cause)).collect(),
            fingerprint: fingerprint(job, self.category, &self.message, known),
        }
    }
}

impl std::fmt::Display for JobError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.category, self.message)
    }
}

impl std::error::Error for JobError {}
