//! Requests and outcomes, as plain values: they also travel between processes as JSON.

use chrono::NaiveDate;
use domain::ids::{PortfolioId, RunId};
use serde::{Deserialize, Serialize};

/// A run by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The trading date; `None`: the last completed session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<NaiveDate>,
    /// The portfolios; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub portfolios: Vec<PortfolioId>,
    /// What started the run, as its record shows it: 1 to 64 characters.
    pub trigger: String,
    /// Whether to run again although the same run is finished.
    #[serde(default)]
    pub again: bool,
}

/// A closed run again, on its pinned inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerunRequest {
    /// The run to repeat.
    pub run: RunId,
    /// Whether to repeat only the portfolios with failed, skipped or missing jobs.
    #[serde(default)]
    pub failed_only: bool,
}

/// An early end of an open run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// The run to end.
    pub run: RunId,
}

/// What a request led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "batch_run_id", rename_all = "snake_case")]
pub enum Accepted {
    /// A new run begins.
    Begun(RunId),
    /// The same run exists and is still open: it continues.
    Continued(RunId),
    /// The same run exists and is closed.
    Finished(RunId),
    /// Every job of this run succeeded, so a rerun of its failures has nothing to do.
    NothingToRepeat(RunId),
    /// The run ends early.
    Canceling(RunId),
}

impl Accepted {
    /// The run that the outcome is about.
    #[must_use]
    pub const fn run(&self) -> RunId {
        match self {
            Self::Begun(run)
            | Self::Continued(run)
            | Self::Finished(run)
            | Self::NothingToRepeat(run)
            | Self::Canceling(run) => *run,
        }
    }
}
