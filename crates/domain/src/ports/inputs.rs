//! The inputs of a run, read and pinned.

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::ids::{ContentHash, PortfolioId};
use crate::job::JobSpec;
use crate::night::{NightBefore, PinnedNight};
use crate::record::JobError;
use crate::retry::RetryPolicy;
use crate::run::{PlannedPortfolio, RunLevelWork};

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
    /// What the plan seals for the night; none for a rerun, which seals what its original did.
    pub night: Option<PinnedNight>,
}

/// Reads and pins the inputs of a run.
#[async_trait]
pub trait RunInputs: Send + Sync {
    /// The inputs as of this date, of these portfolios (empty: all). `before` is the newest earlier night of the series.
    ///
    /// A failure of the price source is no error here but the outcome of [`PinnedInputs::market_data`].
    async fn pin(
        &self,
        as_of: NaiveDate,
        filter: &[PortfolioId],
        before: &NightBefore,
    ) -> Result<PinnedInputs, JobError>;
}
