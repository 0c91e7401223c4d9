//! A run and its state machine: `planning -> running -> closing -> closed`, monotone.
//!
//! A run that is never planned is abandoned: it is `running` without a plan, and the ordinary closing path ends it. A
//! slot that passed without a run is `missed`, and may still be planned late.

mod abandoned;
mod event;
mod next;
mod plan;
mod publication;
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use self::abandoned::{AbandonReason, Abandoned};
pub use self::event::{RunEvent, RunRefusal};
pub use self::plan::{BUCKET_SIZE, PlannedPortfolio, RunLevelWork, SealedPlan, seconds_between};
pub use self::publication::{PagesThere, Publication};
use crate::guards::{self, Guard};
use crate::identity;
use crate::ids::{Owner, PortfolioId, RunId, ScheduleName};
use crate::night::NightKey;
use crate::record::RecordedError;
use crate::start_run::StartRun;
use crate::words::RunStatus;

/// After this time the messages of a publication that is not through are sent again.
const SPREAD_AGAIN: TimeDelta = TimeDelta::minutes(15);

/// Minutes that planning, and then the work, may take where the settings say nothing else.
pub const DEFAULT_DEADLINE_MINUTES: u32 = 120;

/// Where a run is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum RunPhase {
    /// Its inputs are being read; the planner holds a lease.
    Planning {
        /// The planner.
        owner: Owner,
        /// Until when.
        lease_until: DateTime<Utc>,
    },
    /// Sealed: the portfolios are being worked on.
    Running,
    /// Every portfolio has ended; a closer holds a lease.
    Closing {
        /// The closer.
        owner: Owner,
        /// Until when.
        lease_until: DateTime<Utc>,
    },
    /// Closed, for ever.
    Closed,
    /// Its slot passed and nothing ran. Whoever comes late may still plan it.
    Missed,
}

impl RunPhase {
    /// The word for the phase in the records.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Planning { .. } => "planning",
            Self::Running => "running",
            Self::Closing { .. } => "closing",
            Self::Closed => "closed",
            Self::Missed => "missed",
        }
    }

    /// Whether nothing more happens to a run in this phase unless a missed slot is run late.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self, Self::Closed | Self::Missed)
    }
}

/// One scheduled pass over all portfolios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub batch_run_id: RunId,
    /// The schedule that it belongs to.
    pub schedule: ScheduleName,
    /// The night series. `None` if it is the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub night_series: Option<ScheduleName>,
    /// What started it: `schedule`, or the name given by hand.
    pub trigger: String,
    /// The trading date it stands for.
    pub as_of: NaiveDate,
    /// The slot it stands for.
    pub scheduled_for: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The run it repeats, for a rerun.
    pub rerun_of: Option<RunId>,
    /// 0 for the first of its kind, one more for each `--again` or rerun.
    pub repeat: u32,
    /// The portfolios asked for; empty: all.
    pub filter: Vec<PortfolioId>,
    /// Where it is.
    #[serde(flatten)]
    pub phase: RunPhase,
    /// Counts planners: one more with each takeover.
    pub plan_epoch: u32,
    /// When an unplanned run is abandoned. None for runs that earlier releases recorded: see
    /// [`Run::planning_due_at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planning_deadline: Option<DateTime<Utc>>,
    /// Why the last planner could not read the inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planning_error: Option<RecordedError>,
    /// Counts closers: one more with each takeover.
    pub close_epoch: u32,
    /// What was sealed.
    pub plan: Option<SealedPlan>,
    /// Why it ends without a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<Abandoned>,
    /// When somebody asked to end it early.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// When the first closer began: the `closed_at` of the summary, the same for every closer.
    pub closed_at: Option<DateTime<Utc>>,
    /// How the site stands.
    pub publication: Publication,
    /// Which of its pages are there.
    #[serde(default)]
    pub pages: PagesThere,
    /// Since when the first of them is: what the site says of itself must not depend on when it is written again.
    #[serde(default)]
    pub pages_at: Option<DateTime<Utc>>,
    /// Buckets whose portfolios have no pages of this run yet, while its publication is spread over messages.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pages_left: BTreeSet<u32>,
}

impl Run {
    /// The run that this start asks for, in the given phase, begun at `started_at`.
    ///
    /// The planning deadline follows from the start. A missed slot has no planner yet, so its epoch is 0, and it ended
    /// when it was recorded.
    #[must_use]
    pub fn new(start: &StartRun, phase: RunPhase, started_at: DateTime<Utc>) -> Self {
        let missed = matches!(phase, RunPhase::Missed);
        Self {
            batch_run_id: start.id,
            schedule: start.schedule.clone(),
            night_series: (start.night_series != start.schedule).then(|| start.night_series.clone()),
            trigger: start.trigger.clone(),
            as_of: start.as_of,
            scheduled_for: start.scheduled_for,
            started_at,
            rerun_of: start.rerun_of,
            repeat: start.repeat,
            filter: start.filter.clone(),
            phase,
            plan_epoch: u32::from(!missed),
            planning_deadline: Some(started_at + TimeDelta::minutes(i64::from(start.deadline_minutes))),
            planning_error: None,
            close_epoch: 0,
            plan: None,
            abandoned: None,
            cancelled_at: None,
            closed_at: missed.then_some(started_at),
            publication: Publication::Pending,
            pages: PagesThere::Nothing,
            pages_at: None,
            pages_left: BTreeSet::new(),
        }
    }

    /// The night series: the name that the nights of the schedule keep when it is renamed.
    #[must_use]
    pub fn night_series(&self) -> &ScheduleName {
        self.night_series.as_ref().unwrap_or(&self.schedule)
    }

    /// The night that it belongs to.
    #[must_use]
    pub fn night(&self) -> NightKey {
        NightKey { series: self.night_series().clone(), as_of: self.as_of }
    }

    /// Whether it is the run of a slot, and not one that somebody asked for.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        self.batch_run_id == identity::scheduled(&self.schedule, self.scheduled_for)
    }

    /// When this run is abandoned unless it is planned before.
    #[must_use]
    pub fn planning_due_at(&self) -> DateTime<Utc> {
        self.planning_deadline.unwrap_or(self.started_at + TimeDelta::minutes(i64::from(DEFAULT_DEADLINE_MINUTES)))
    }

    /// Whether its planning deadline has passed at this instant.
    #[must_use]
    pub fn planning_is_overdue(&self, now: DateTime<Utc>) -> bool {
        guards::on(Guard::PlanningEnds) && self.planning_due_at() < now
    }

    /// Whether the run waits for a planner, and nobody plans it at this instant.
    #[must_use]
    pub fn waits_for_planner(&self, now: DateTime<Utc>) -> bool {
        matches!(self.phase, RunPhase::Planning { lease_until, .. } if lease_until < now)
    }

    /// Why this run must be abandoned at this instant. `None`: it must not.
    ///
    /// A planner that holds a lease may still seal after the deadline: the lease is short.
    #[must_use]
    pub fn must_be_abandoned(&self, now: DateTime<Utc>) -> Option<AbandonReason> {
        if !matches!(self.phase, RunPhase::Planning { .. }) {
            None
        } else if self.cancelled_at.is_some() {
            Some(AbandonReason::Canceled)
        } else if self.waits_for_planner(now) && self.planning_is_overdue(now) {
            Some(AbandonReason::Overdue)
        } else {
            None
        }
    }

    /// Whether the run has something to show: a plan, or why it ended without one.
    #[must_use]
    pub const fn has_outcome(&self) -> bool {
        self.plan.is_some() || self.abandoned.is_some()
    }

    /// The status of the run while it has no summary; [`crate::ports::StoredRun::status`] is the status of any run.
    #[must_use]
    pub const fn status_before_summary(&self) -> RunStatus {
        match self.phase {
            RunPhase::Missed => RunStatus::Missed,
            RunPhase::Planning { .. } | RunPhase::Running | RunPhase::Closing { .. } | RunPhase::Closed => {
                RunStatus::Running
            }
        }
    }

    /// Whether its pages are to be asked for, again where it was long ago: messages may be lost to the dead letters.
    #[must_use]
    pub fn wants_pages(&self, now: DateTime<Utc>) -> bool {
        match self.publication {
            Publication::Published { .. } => false,
            Publication::UnderWay { since, .. } => since + SPREAD_AGAIN < now,
            Publication::Pending | Publication::Failed { .. } => true,
        }
    }

    /// Whether nothing more is to be done for it: it is closed, or its slot was missed.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.phase.has_ended()
    }

    /// Whether it is closed for ever.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, RunPhase::Closed)
    }

    /// When what is not finished is given up: the deadline of the plan, or the moment somebody cancelled.
    #[must_use]
    pub fn gives_up_at(&self) -> Option<DateTime<Utc>> {
        let deadline = self.plan.as_ref().map(|plan| plan.deadline);
        match (deadline, self.cancelled_at) {
            (Some(deadline), Some(cancelled)) => Some(deadline.min(cancelled)),
            (deadline, cancelled) => deadline.or(cancelled),
        }
    }
}
