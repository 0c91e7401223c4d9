//! The publication of a run: a status of its own, and the pages that exist.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How the site stands towards a run. A failed publication never changes the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(tag = "state", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Publication {
    /// Not tried yet.
    #[default]
    Pending,
    /// The pages of its portfolios are being written by messages, bucket by bucket; whoever writes the last ends it.
    UnderWay {
        /// When the messages were sent, the last time.
        since: DateTime<Utc>,
        /// Files that were written so far.
        files_written: u64,
    },
    /// The pages of this run are there.
    Published {
        /// When.
        at: DateTime<Utc>,
        /// Files that were written, unchanged ones not counted.
        files_written: u64,
    },
    /// The last try failed; `watch` and `nightbook publish` try again.
    Failed {
        /// When.
        at: DateTime<Utc>,
        /// Why, masked.
        error: String,
    },
}

impl Publication {
    /// Files that were written for a publication that is under way.
    #[must_use]
    pub const fn files_under_way(&self) -> u64 {
        match self {
            Self::UnderWay { files_written, .. } => *files_written,
            Self::Pending | Self::Published { .. } | Self::Failed { .. } => 0,
        }
    }
}

/// Which pages of a run are there. It only grows, whatever becomes of a publication: others may link to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PagesThere {
    /// None: nothing may link to the run.
    #[default]
    Nothing,
    /// The page of the run, and the pages of its jobs and its month.
    Run,
    /// Those, and a page for each of its portfolios.
    Portfolios,
}
