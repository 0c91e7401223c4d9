//! What can happen to a run, and why it is refused.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AbandonReason, PagesThere, Publication, SealedPlan};
use crate::ids::Owner;
use crate::record::RecordedError;

/// What can happen to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// Another planner takes over from one whose lease has passed, or that is known to be dead.
    TakeOverPlan {
        /// The new planner.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The new lease.
        lease_until: DateTime<Utc>,
    },
    /// The plan is complete.
    Seal {
        /// What is fixed; its epoch must be the current one.
        plan: Box<SealedPlan>,
    },
    /// The run ends without a plan. The phase is the fence: a later [`RunEvent::Seal`] is refused, even from
    /// the holder of the lease.
    AbandonPlan {
        /// The caller's clock.
        now: DateTime<Utc>,
        /// Why.
        reason: AbandonReason,
    },
    /// The planner could not read the inputs, and gives its lease back so that the next one can try again.
    ReleasePlan {
        /// The planner's epoch.
        epoch: u32,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// Why the inputs could not be read.
        error: RecordedError,
    },
    /// Somebody asks to end it early: a run without a plan is abandoned, a sealed one gives up what has not ended.
    Cancel {
        /// The caller's clock.
        now: DateTime<Utc>,
    },
    /// A closer begins, or takes over from one whose lease has passed. The caller has read that every bucket is full,
    /// which can only stay so.
    ClaimClose {
        /// The closer.
        owner: Owner,
        /// The caller's clock.
        now: DateTime<Utc>,
        /// The lease.
        lease_until: DateTime<Utc>,
    },
    /// The closer is done.
    Close {
        /// The closer's epoch.
        epoch: u32,
    },
    /// The pages were written, or not. Allowed in every phase: publication has a status of its own.
    Publish {
        /// The outcome.
        publication: Publication,
        /// The planner's epoch as the publisher read it: what was published of a missed slot says nothing of its late
        /// run.
        plan_epoch: u32,
    },
    /// The pages of its portfolios are to be written by messages, one for each bucket that is left. Allowed in every
    /// phase of a run that was sealed.
    SpreadPages {
        /// The caller's clock.
        now: DateTime<Utc>,
        /// Files that were written for it until now.
        files_written: u64,
        /// The planner's epoch as the publisher read it.
        plan_epoch: u32,
    },
    /// The pages of the portfolios of a bucket were written.
    BucketWritten {
        /// The bucket.
        bucket: u32,
        /// Files that were written for it.
        files_written: u64,
        /// The planner's epoch as the publisher read it.
        plan_epoch: u32,
    },
    /// Pages of the run are there from now on. Allowed in every phase.
    PagesWritten {
        /// Which.
        pages: PagesThere,
        /// The caller's clock.
        now: DateTime<Utc>,
    },
    /// The closer is still at it.
    KeepClose {
        /// The closer's epoch.
        epoch: u32,
        /// The lease, renewed.
        lease_until: DateTime<Utc>,
    },
    /// The process that held the planner's or closer's lease is proven dead.
    VoidLease {
        /// The caller's clock.
        now: DateTime<Utc>,
    },
}

/// Why an event was refused. A refusal changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunRefusal {
    /// Somebody else's lease has not passed yet.
    #[error("another owner holds the lease")]
    LeaseHeld,
    /// The caller's epoch is not the current one: somebody took over.
    #[error("another owner took over")]
    Superseded,
    /// The run is not in a phase in which this can happen.
    #[error("the run is not in a phase in which this can happen")]
    WrongPhase,
    /// The run is closed.
    #[error("the run is closed")]
    Closed,
}
