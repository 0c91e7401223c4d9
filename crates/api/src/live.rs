//! The port of this crate: what knows which jobs are in hand.

use chrono::{DateTime, Utc};
use domain::ids::{JobName, PortfolioId};
use domain::record::Progress;

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
