//! Runs on record as the fold of a night reads them.

use std::collections::{BTreeMap, BTreeSet};

use super::Night;
use super::controls::{Control, ControlResult};
use super::editions::DEFAULT_TOLERANCE;
use super::input::{Failure, JobResult, NightJob, NightPlan, NightRun, NightRunState, PortfolioRun};
use super::limits;
use super::members::NightMembers;
use crate::ids::{ContentHash, JobName, PortfolioId};
use crate::ports::{Cell, StoredRun};
use crate::record::{JobRecord, RecordedError};
use crate::run::{AbandonReason, Abandoned, Run, RunPhase, SealedPlan};
use crate::summary::abandoned_error;
use crate::words::{ErrorCategory, JobStatus};
use crate::work_item::{ItemState, WorkItem};

impl Failure {
    /// A recorded error as the fold reads it.
    #[must_use]
    pub fn of(error: &RecordedError) -> Self {
        Self { category: error.category, message: error.message.clone(), masked: error.masked() }
    }
}

/// A run on record as the fold reads it.
///
/// `items` are all of its portfolios, untouched ones included ([`crate::expected_items`]); those of an open run may be
/// left out. `members` is what its plan sealed; none for runs of releases that sealed nothing: then the portfolios of
/// the run are the open ones.
#[must_use]
pub fn night_run(stored: &StoredRun, items: &[WorkItem], members: Option<&NightMembers>) -> NightRun {
    let run = &stored.run;
    let portfolios: BTreeMap<PortfolioId, PortfolioRun> =
        items.iter().map(|item| (item.key.portfolio.clone(), portfolio_run(item))).collect();
    NightRun {
        id: run.batch_run_id,
        started_at: run.started_at,
        trigger: run.trigger.clone(),
        rerun_of: run.rerun_of,
        filter: run.filter.clone(),
        state: state(stored),
        plan: run.plan.as_ref().map(|plan| night_plan(plan, items, members)),
        controls: of_plan_and_figures(run, members, &portfolios),
        portfolios,
    }
}

/// A run as if it were all that is known of its date: what it left undone, and what to do about it. `items` as for
/// [`night_run`].
#[must_use]
pub fn night_of_run(stored: &StoredRun, items: &[WorkItem]) -> Option<Night> {
    let controls = stored.summary.as_ref().map(|summary| summary.controls.clone()).unwrap_or_default();
    let run = NightRun { controls, ..night_run(stored, items, None) };
    Night::of(stored.run.night_series(), stored.run.as_of, &[run], &[])
}

/// A run whose records were retired: that it took place is all that is known.
pub(super) fn retired_run(stored: &StoredRun) -> NightRun {
    NightRun { plan: None, controls: Vec::new(), ..night_run(stored, &[], None) }
}

/// How far a run is. A run with a summary has its outcome: what is left are its pages and its alert.
fn state(stored: &StoredRun) -> NightRunState {
    let run = &stored.run;
    let ended_at = stored.summary.as_ref().and_then(|summary| summary.closed_at).or(run.closed_at);
    match (&run.phase, &run.abandoned) {
        (RunPhase::Missed, _) => NightRunState::Missed,
        (_, Some(abandoned)) if stored.summary.is_some() || run.is_closed() => {
            NightRunState::Abandoned { at: abandoned.at, failure: abandoned_failure(run, abandoned) }
        }
        _ if stored.summary.is_some() || run.is_closed() => NightRunState::Ended {
            at: ended_at.unwrap_or(run.started_at),
            canceled: run.cancelled_at.is_some() && stored.summary.as_ref().is_none_or(has_missing_jobs),
        },
        _ => NightRunState::Open,
    }
}

/// Whether a cancellation ended the run before all of its work was done.
const fn has_missing_jobs(summary: &crate::summary::RunSummary) -> bool {
    summary.portfolios_processed < summary.portfolios_expected
}

fn abandoned_failure(run: &Run, abandoned: &Abandoned) -> Failure {
    if let Some(error) = abandoned_error(run) {
        return Failure::of(&error);
    }
    let message = match &abandoned.reason {
        AbandonReason::Inputs { error } => error.message.clone(),
        AbandonReason::Canceled => "the run was canceled before it started".to_owned(),
        AbandonReason::Overdue => "the run has not started in time".to_owned(),
    };
    Failure { category: ErrorCategory::Transient, masked: message.clone(), message }
}

fn night_plan(plan: &SealedPlan, items: &[WorkItem], members: Option<&NightMembers>) -> NightPlan {
    let jobs = plan.jobs.iter().map(|job| NightJob { name: job.name.clone(), job_type: job.job_type }).collect();
    let sealed = plan.night.as_ref();
    NightPlan {
        open: members.map_or_else(
            || items.iter().map(|item| item.key.portfolio.clone()).collect(),
            |members| members.open.keys().cloned().collect(),
        ),
        closures: members.map(|members| members.closures.clone()).unwrap_or_default(),
        expected_before: members.map_or_else(BTreeSet::new, |members| members.expected_before.clone()),
        jobs,
        inputs: sealed.map_or_else(|| plan.snapshot.clone(), |night| night.inputs.clone()),
        newest_close: sealed.and_then(|night| night.newest_close),
        nightbook_version: sealed.map(|night| night.nightbook_version.clone()).unwrap_or_default(),
        restatement_tolerance: sealed.map_or(DEFAULT_TOLERANCE, |night| night.restatement_tolerance),
    }
}

/// The control results of a run, from what its plan sealed and its portfolios recorded.
#[must_use]
pub fn controls_of_run(run: &Run, members: Option<&NightMembers>, items: &[WorkItem]) -> Vec<ControlResult> {
    let portfolios = items.iter().map(|item| (item.key.portfolio.clone(), portfolio_run(item))).collect();
    of_plan_and_figures(run, members, &portfolios)
}

fn of_plan_and_figures(
    run: &Run,
    members: Option<&NightMembers>,
    portfolios: &BTreeMap<PortfolioId, PortfolioRun>,
) -> Vec<ControlResult> {
    let judged = members.map(|members| limits::judge(members, portfolios)).unwrap_or_default();
    controls(run, members).into_iter().chain(judged).collect()
}

/// The control results that planning found, from what the plan sealed.
///
/// A rerun has the sealed inputs of its original. Where it is for some portfolios only, it has the results of these, and
/// no result of a control that judges the whole book.
fn controls(run: &Run, members: Option<&NightMembers>) -> Vec<ControlResult> {
    let Some(members) = members.filter(|_| run.plan.is_some()) else { return Vec::new() };
    let concerns = |result: &&ControlResult| match &result.portfolio_id {
        _ if matches!(result.control, Control::Portfolios | Control::Orphans) => run.filter.is_empty(),
        Some(id) => run.filter.is_empty() || run.filter.contains(id),
        None => true,
    };
    members.controls.iter().filter(concerns).cloned().collect()
}

fn portfolio_run(item: &WorkItem) -> PortfolioRun {
    PortfolioRun {
        ended_on_its_own: item.state == ItemState::Done,
        jobs: item.records.iter().map(job_result).collect(),
        figures: item.records.iter().filter_map(figures).collect(),
    }
}

/// The recorded figures of a job that succeeded.
fn figures(record: &JobRecord) -> Option<(JobName, BTreeMap<String, f64>)> {
    let figures = Cell::recorded_figures(record);
    (record.status == JobStatus::Success && !figures.is_empty()).then(|| (record.job_name.clone(), figures))
}

fn job_result(record: &JobRecord) -> JobResult {
    JobResult {
        job: record.job_name.clone(),
        status: record.status,
        failure: record.error.as_ref().map(Failure::of),
        skipped_because: record.skipped_because.as_ref().map(|because| because.job.clone()),
    }
}

/// The documents that the plans of these runs sealed.
pub(super) fn members_documents<'a>(runs: impl IntoIterator<Item = &'a StoredRun>) -> BTreeSet<ContentHash> {
    let plans = runs.into_iter().filter_map(|stored| stored.run.plan.as_ref());
    plans.filter_map(|plan| plan.night.as_ref()).map(|night| night.members.clone()).collect()
}

/// The documents by their hash.
pub(super) type Members = BTreeMap<ContentHash, NightMembers>;

/// What the plan of this run sealed, if it sealed anything.
pub(super) fn members_of<'a>(members: &'a Members, run: &Run) -> Option<&'a NightMembers> {
    members.get(&run.plan.as_ref()?.night.as_ref()?.members)
}
