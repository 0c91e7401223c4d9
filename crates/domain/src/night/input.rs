//! What a night is folded from: its runs, as far as the fold needs them, and the acceptances of its control results.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::controls::ControlResult;
use super::editions::RecordedFigures;
use crate::ids::{ContentHash, JobName, PortfolioId, RunId};
use crate::words::{ErrorCategory, JobStatus, JobType};

/// One run of a trading date, or one recorded missed slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightRun {
    /// The run. The runs of a night have different ids.
    pub id: RunId,
    /// When it started. Runs are ordered by this, then by id.
    pub started_at: DateTime<Utc>,
    /// `schedule`, or the name that was given by hand.
    pub trigger: String,
    /// The run that it repeats.
    pub rerun_of: Option<RunId>,
    /// The portfolios that it was started for. Empty: all, which makes it a full run.
    pub filter: Vec<PortfolioId>,
    /// How far it is.
    pub state: NightRunState,
    /// What was sealed; none for a run without a plan.
    pub plan: Option<NightPlan>,
    /// Every portfolio of the run, also one without any record.
    pub portfolios: BTreeMap<PortfolioId, PortfolioRun>,
    /// Control results other than `ok`.
    pub controls: Vec<ControlResult>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum NightRunState {
    /// It is planned, worked on or being closed.
    Open,
    /// It is closed.
    Ended {
        /// When it was closed.
        at: DateTime<Utc>,
        /// Whether a cancellation closed it before all of its work was done.
        canceled: bool,
    },
    /// Its inputs could not be read or pinned, so it has no plan and never will.
    Abandoned {
        /// When it was given up.
        at: DateTime<Utc>,
        /// Why.
        failure: Failure,
    },
    /// The slot passed and nothing ran.
    Missed,
}

/// What the plan of a run seals for the night. It never changes afterwards, and no other night changes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightPlan {
    /// The open portfolios of the whole book, also where the run is filtered.
    pub open: BTreeSet<PortfolioId>,
    /// Declared closures: the first trading date on which the portfolio is closed.
    pub closures: BTreeMap<PortfolioId, NaiveDate>,
    /// The expected portfolios of the newest earlier night, as it was when this run was planned.
    pub expected_before: BTreeSet<PortfolioId>,
    /// The job list, in its order.
    pub jobs: Vec<NightJob>,
    /// Hash of everything that the run can see.
    pub inputs: ContentHash,
    /// The newest date with a close that is not after the trading date; `None` if there is no close.
    pub newest_close: Option<NaiveDate>,
    /// The version of Nightbook that made the plan.
    pub nightbook_version: String,
    /// The relative difference up to which two figures are the same ([`super::editions`]).
    pub restatement_tolerance: f64,
}

/// A job of a job list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NightJob {
    /// Its name.
    pub name: JobName,
    /// Its family, from which the headline derives what is missing.
    pub job_type: JobType,
}

/// One portfolio in one run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PortfolioRun {
    /// Whether its work item ended on its own: not lost, not timed out, not canceled.
    pub ended_on_its_own: bool,
    /// The recorded jobs; at most one of each name.
    pub jobs: Vec<JobResult>,
    /// The recorded figures of the jobs that succeeded.
    #[serde(default)]
    pub figures: RecordedFigures,
}

/// The recorded outcome of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// The job.
    pub job: JobName,
    /// How it ended. `pending`, `running` and `missing` count as no record.
    pub status: JobStatus,
    /// What went wrong, where it failed.
    pub failure: Option<Failure>,
    /// The job that stopped it, where it was skipped.
    pub skipped_because: Option<JobName>,
}

/// What went wrong, in two forms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of fault.
    pub category: ErrorCategory,
    /// The message as recorded: secrets are masked, ids and locations are not.
    pub message: String,
    /// The message with ids, numbers, dates and locations masked ([`crate::fingerprint::masked`]): the same for the same
    /// cause everywhere.
    pub masked: String,
}

/// One person's decision that a control result is right, or does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The control.
    pub control: super::controls::Control,
    /// The portfolio whose results are accepted; none: all results of the control.
    pub portfolio: Option<PortfolioId>,
    /// Who accepted.
    pub author: String,
    /// Why.
    pub note: String,
    /// When. A result that nobody could have seen by then is not accepted.
    pub at: DateTime<Utc>,
}

/// How an open run was started: what a command must name to continue it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRun {
    /// The run.
    pub id: RunId,
    /// `schedule`, or the name that was given by hand.
    pub trigger: String,
    /// Whether it repeats another run.
    pub is_rerun: bool,
    /// The portfolios that it was started for. Empty: all.
    pub filter: Vec<PortfolioId>,
}

impl OpenRun {
    /// That of an open run.
    #[must_use]
    pub fn of(run: &NightRun) -> Self {
        let (trigger, filter) = (run.trigger.clone(), run.filter.clone());
        Self { id: run.id, trigger, is_rerun: run.rerun_of.is_some(), filter }
    }
}

impl NightRun {
    /// Whether the run was started for all portfolios.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.filter.is_empty()
    }

    /// Whether the run is not closed yet.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, NightRunState::Open)
    }

    /// Whether the run is closed, canceled or not. Abandoned plans and missed slots are not runs that ended.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.state, NightRunState::Ended { .. })
    }

    /// When the run was closed, if it was.
    #[must_use]
    pub const fn ended_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            NightRunState::Ended { at, .. } => Some(at),
            NightRunState::Open | NightRunState::Abandoned { .. } | NightRunState::Missed => None,
        }
    }

    /// Whether the run as a whole can change a night that has another run: it has a plan, ended, was not canceled, and
    /// a work item ended on its own unless there was none. A canceled, lost or unplanned rerun changes nothing.
    #[must_use]
    pub fn counts(&self) -> bool {
        matches!(self.state, NightRunState::Ended { canceled: false, .. })
            && self.plan.is_some()
            && (self.portfolios.is_empty() || self.portfolios.values().any(|portfolio| portfolio.ended_on_its_own))
    }

    /// The order of runs: by start, then by id.
    #[must_use]
    pub const fn order(&self) -> (DateTime<Utc>, RunId) {
        (self.started_at, self.id)
    }
}

impl PortfolioRun {
    /// The record of a job, if there is a final one.
    #[must_use]
    pub fn record(&self, job: &JobName) -> Option<&JobResult> {
        let is_final =
            |result: &JobResult| matches!(result.status, JobStatus::Success | JobStatus::Failed | JobStatus::Skipped);
        self.jobs.iter().find(|result| result.job == *job && is_final(result))
    }
}
