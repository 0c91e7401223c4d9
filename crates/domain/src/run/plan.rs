//! What is fixed when a run is sealed: its portfolios, its jobs, its pinned inputs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{ContentHash, PortfolioId};
use crate::job::JobSpec;
use crate::night::SealedNight;
use crate::record::{Quality, RecordedError};
use crate::retry::RetryPolicy;

/// Portfolios in one bucket: one fold, one chunk of the manifest.
pub const BUCKET_SIZE: u32 = 100;

/// A portfolio as the manifest of a run lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPortfolio {
    /// Its id.
    pub id: PortfolioId,
    /// Its name at the time of the run.
    pub name: String,
}

/// The work that is done once per run, and its outcome: reading the prices and pinning them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunLevelWork {
    /// Attempts that were made, from 1.
    pub attempts: u32,
    /// Start of the first.
    pub started_at: DateTime<Utc>,
    /// End of the last.
    pub completed_at: DateTime<Utc>,
    /// The error of the last, where it failed. Every portfolio's record then carries it.
    pub error: Option<RecordedError>,
    /// Results in brief, for the records.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Quality over the whole market data, where it is known.
    pub quality: Option<Quality>,
}

impl RunLevelWork {
    /// How long it took.
    #[must_use]
    pub fn duration_seconds(&self) -> f64 {
        seconds_between(self.started_at, self.completed_at)
    }
}

/// Seconds from one instant to another, never negative (a clock may be set back).
#[must_use]
pub fn seconds_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    let micros = (to - from).num_microseconds().unwrap_or(i64::MAX).max(0);
    micros as f64 / 1e6
}

/// What is fixed when a run is sealed, and never changes after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealedPlan {
    /// The planner's epoch: manifests of other epochs do not count.
    pub epoch: u32,
    /// Portfolios expected.
    pub portfolios: u32,
    /// The job list.
    pub jobs: Vec<JobSpec>,
    /// How failures are tried again.
    pub retry: RetryPolicy,
    /// Content hash of the book as it was read.
    pub book: ContentHash,
    /// Content hash of the pinned inputs.
    pub snapshot: ContentHash,
    /// The work done once.
    pub market_data: RunLevelWork,
    /// What it seals for the night; none in plans of releases that had no nights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub night: Option<SealedNight>,
    /// When the plan was sealed.
    pub sealed_at: DateTime<Utc>,
    /// When what is not finished is given up.
    pub deadline: DateTime<Utc>,
}

impl SealedPlan {
    /// Buckets of [`BUCKET_SIZE`] portfolios, the last one shorter.
    #[must_use]
    pub const fn buckets(&self) -> u32 {
        self.portfolios.div_ceil(BUCKET_SIZE)
    }

    /// Portfolios in this bucket.
    #[must_use]
    pub const fn bucket_len(&self, bucket: u32) -> u32 {
        let from = bucket * BUCKET_SIZE;
        if from >= self.portfolios {
            0
        } else if self.portfolios - from < BUCKET_SIZE {
            self.portfolios - from
        } else {
            BUCKET_SIZE
        }
    }

    /// Jobs in all: portfolios times jobs of the list.
    #[must_use]
    pub fn total_jobs(&self) -> u64 {
        u64::from(self.portfolios) * self.jobs.len() as u64
    }
}
