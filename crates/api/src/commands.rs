//! The ports of this crate: what starts runs, and what knows what is in hand.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::ports::StoreError;
use domain::record::Progress;

/// Which run is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartAsked {
    /// The trading date; none: the last completed session.
    pub as_of: Option<NaiveDate>,
    /// The portfolios; empty: all.
    pub portfolios: Vec<PortfolioId>,
    /// What started it, as the record shows it.
    pub trigger: String,
    /// Whether to run again, though the same run is finished.
    pub again: bool,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is recorded and will be done.
    Begun(RunId),
    /// The same run is there, and is finished.
    Finished(RunId),
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A run is active.
    #[error("run {0} is active")]
    Active(RunId),
    /// It cannot be done as things stand; the sentence says why, and what to do.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for cannot be run; the sentence says why, and what is allowed.
    #[error("{0}")]
    Unusable(String),
    /// The store, or whatever else was needed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts, repeats and cancels runs.
///
/// The router has checked that the run is there and in a state in which this can be done, and that no other is active;
/// between that and the command others may come, so an implementation checks again.
#[async_trait]
pub trait Commands: Send + Sync {
    /// Records a run by hand, so that it will be done even if the process dies now.
    async fn start(&self, asked: &StartAsked) -> Result<Accepted, CommandError>;
    /// Records a rerun of a closed run: of all its portfolios, or only of those whose jobs did not all succeed.
    async fn rerun(&self, run: RunId, failed_only: bool) -> Result<Accepted, CommandError>;
    /// Records that an open run is to end early.
    async fn cancel(&self, run: RunId) -> Result<Accepted, CommandError>;
    /// A note was added: the page of the run is to show it. What goes wrong with that is not the client's affair.
    async fn annotated(&self, run: RunId);
}

/// A job in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    /// Of which portfolio.
    pub portfolio: PortfolioId,
    /// Which job.
    pub job: JobName,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How far it is.
    pub progress: Option<Progress>,
}

/// Knows what is in hand in this process.
pub trait Live: Send + Sync {
    /// What is in hand, the longest first.
    fn in_hand(&self) -> Vec<Hand>;
}
