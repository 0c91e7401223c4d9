//! The end of a run that was never planned.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::record::RecordedError;

/// Why a run ends without a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AbandonReason {
    /// Its inputs could not be read or pinned.
    Inputs {
        /// Why.
        error: RecordedError,
    },
    /// Somebody canceled it before it had a plan.
    Canceled,
    /// Nobody sealed a plan before its planning deadline.
    Overdue,
}

impl AbandonReason {
    /// The reason as its serialized form names it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Inputs { .. } => "inputs",
            Self::Canceled => "canceled",
            Self::Overdue => "overdue",
        }
    }

    /// Why the inputs could not be read, where that is the reason.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Inputs { error } => Some(&error.message),
            Self::Canceled | Self::Overdue => None,
        }
    }
}

/// That a run ends without a plan: since when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Abandoned {
    /// When the run was abandoned.
    pub at: DateTime<Utc>,
    /// Why.
    #[serde(flatten)]
    pub reason: AbandonReason,
}
