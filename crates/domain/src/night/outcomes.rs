//! The outcome of each job of each expected portfolio, over all runs of a night.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::input::{Failure, JobResult, NightJob, NightRun};
use crate::ids::{JobName, PortfolioId, RunId};
use crate::words::JobStatus;

/// The outcome of one job of one portfolio on a night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOutcome {
    /// `success`, `failed`, `skipped` or `missing`.
    pub status: JobStatus,
    /// The run whose record this is; `None` if the job is missing.
    pub run: Option<RunId>,
    /// What went wrong, where it failed.
    pub failure: Option<Failure>,
    /// The job that stopped it, where it was skipped.
    pub skipped_because: Option<JobName>,
}

/// The outcomes of one portfolio on a night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioOutcome {
    /// The newest run in which its work item ended on its own: it decides all jobs.
    pub decided_by: Option<RunId>,
    /// The newest ended run that held it, whether its work item ended on its own or not.
    pub newest_run: Option<RunId>,
    /// One outcome a job, in the order of the night's job list.
    pub jobs: Vec<JobOutcome>,
}

/// The job counts of a night. `success + failed + skipped + missing = total_jobs`, which is the number of expected
/// portfolios times the number of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = NightTotals))]
pub struct Totals {
    /// Jobs that succeeded.
    pub success: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// Jobs that were skipped.
    pub skipped: u64,
    /// Jobs without a record.
    pub missing: u64,
    /// Expected portfolios times jobs.
    pub total_jobs: u64,
}

impl JobOutcome {
    const MISSING: Self = Self { status: JobStatus::Missing, run: None, failure: None, skipped_because: None };

    fn of(run: RunId, record: &JobResult) -> Self {
        Self {
            status: record.status,
            run: Some(run),
            failure: record.failure.clone().filter(|_| record.status == JobStatus::Failed),
            skipped_because: record.skipped_because.clone().filter(|_| record.status == JobStatus::Skipped),
        }
    }
}

impl PortfolioOutcome {
    /// Whether every job succeeded. A portfolio without any job has not succeeded.
    #[must_use]
    pub fn succeeded_wholly(&self) -> bool {
        !self.jobs.is_empty() && self.jobs.iter().all(|job| job.status == JobStatus::Success)
    }

    /// The run to repeat for this portfolio: the one that decided it, else the newest that held it.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        self.decided_by.or(self.newest_run)
    }
}

impl Totals {
    /// Counts these outcomes.
    #[must_use]
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a PortfolioOutcome>) -> Self {
        let mut totals = Self::default();
        for job in outcomes.into_iter().flat_map(|portfolio| &portfolio.jobs) {
            totals.total_jobs += 1;
            match job.status {
                JobStatus::Success => totals.success += 1,
                JobStatus::Failed => totals.failed += 1,
                JobStatus::Skipped => totals.skipped += 1,
                JobStatus::Missing | JobStatus::Pending | JobStatus::Running => totals.missing += 1,
            }
        }
        totals
    }

    /// Jobs that did not succeed.
    #[must_use]
    pub const fn not_succeeded(&self) -> u64 {
        self.failed.saturating_add(self.skipped).saturating_add(self.missing)
    }
}

/// The outcomes of the expected portfolios.
///
/// The newest ended run in which the work item of a portfolio ended on its own decides all of its jobs. Where there is
/// none, each job has its newest record. A job without a record is `missing`. `runs` are in the order of
/// [`NightRun::order`]; open runs say nothing yet.
#[must_use]
pub fn outcomes(
    expected: &BTreeSet<PortfolioId>,
    jobs: &[NightJob],
    runs: &[&NightRun],
) -> BTreeMap<PortfolioId, PortfolioOutcome> {
    let newest_first: Vec<&NightRun> = runs.iter().rev().copied().filter(|run| run.is_ended()).collect();
    expected.iter().map(|id| (id.clone(), outcome(id, jobs, &newest_first))).collect()
}

fn outcome(id: &PortfolioId, jobs: &[NightJob], newest_first: &[&NightRun]) -> PortfolioOutcome {
    let held: Vec<_> =
        newest_first.iter().filter_map(|run| run.portfolios.get(id).map(|portfolio| (run.id, portfolio))).collect();
    let decided = held.iter().find(|(_, portfolio)| portfolio.ended_on_its_own);
    let sources = decided.map_or(held.as_slice(), std::slice::from_ref);
    let newest_record = |job: &JobName| {
        sources
            .iter()
            .find_map(|(run, portfolio)| portfolio.record(job).map(|record| JobOutcome::of(*run, record)))
            .unwrap_or(JobOutcome::MISSING)
    };
    PortfolioOutcome {
        decided_by: decided.map(|(run, _)| *run),
        newest_run: held.first().map(|(run, _)| *run),
        jobs: jobs.iter().map(|job| newest_record(&job.name)).collect(),
    }
}
