//! The summary as a pure function of a run and its work items.

use std::collections::{BTreeMap, BTreeSet};

use super::{FailureCluster, JobSummary, QualitySummary, RunSummary};
use crate::fingerprint::fingerprint;
use crate::fold::{JobCounts, portfolio_quality};
use crate::ids::{Fingerprint, JobName, RunId};
use crate::job::{JobSpec, RUN_LEVEL_JOB};
use crate::record::{JobRecord, RecordedError};
use crate::run::{AbandonReason, Publication, Run, RunPhase};
use crate::words::{ErrorCategory, JobStatus, QualityFlag, RunStatus};
use crate::work_item::{ItemState, WorkItem};

/// The summary of a run and its work items.
///
/// Pure: the same run and items give the same summary, whoever computes it. `items` are those that have been touched,
/// in any order; a portfolio without an item counts as missing. `first_seen` says in which earlier run each
/// fingerprint was first seen; one that it does not know is new. While the run is not closed, what has not ended
/// counts as missing, so that the totals always add up.
#[must_use]
pub fn summarise(run: &Run, items: &[WorkItem], first_seen: &BTreeMap<Fingerprint, RunId>) -> RunSummary {
    let mut sorted: Vec<&WorkItem> = items.iter().collect();
    sorted.sort_unstable_by_key(|item| item.place);
    let jobs: &[JobSpec] = run.plan.as_ref().map_or(&[], |plan| &plan.jobs);
    let expected = run.plan.as_ref().map_or(0, |plan| u64::from(plan.portfolios));
    let mut sums = Sums::new(jobs);
    for item in &sorted {
        sums.add(item, |fingerprint| seen_before(run, first_seen, fingerprint));
    }
    let untouched = expected.saturating_sub(sorted.len() as u64);
    let (job_summary, counts) = sums.job_lines(expected, untouched);
    if let Some(plan) = run.plan.as_ref().filter(|plan| plan.jobs.iter().any(|job| job.run_level)) {
        sums.work += plan.market_data.duration_seconds();
    }
    let mut failures = sums.failures();
    failures.extend(abandoned_failure(run, first_seen));

    RunSummary {
        batch_run_id: run.batch_run_id,
        schedule: run.schedule.clone(),
        trigger: run.trigger.clone(),
        rerun_of: run.rerun_of,
        as_of: run.as_of,
        scheduled_for: run.scheduled_for,
        started_at: run.started_at,
        closed_at: run.closed_at,
        status: match (&run.phase, run.closed_at) {
            (RunPhase::Missed, _) | (_, None) => run.status_before_summary(),
            (_, Some(_)) => verdict_of(&counts, sums.wholly),
        },
        portfolios_expected: expected,
        portfolios_processed: sums.processed,
        total_jobs: expected * jobs.len() as u64,
        successful_jobs: counts.success,
        failed_jobs: counts.failed,
        skipped_jobs: counts.skipped,
        missing_jobs: counts.missing,
        total_duration: sums.work,
        wall_seconds: run.closed_at.map(|closed| crate::run::seconds_between(run.started_at, closed)),
        job_summary,
        data_quality: sums.quality(),
        failures,
        market_snapshot: run.plan.as_ref().map(|plan| plan.snapshot.clone()),
        book: run.plan.as_ref().map(|plan| plan.book.clone()),
        abandoned: run.abandoned.clone(),
        cancelled_at: run.cancelled_at,
        // The closer adds what the plan sealed about the inputs.
        controls: Vec::new(),
        control_failures: 0,
        control_warnings: 0,
        // Not part of what is computed: the store adds how the site stands when it is asked.
        publication: Publication::Pending,
    }
}

/// `success` when every job succeeded, `failed` when no portfolio succeeded wholly or there was none, else `partial`.
const fn verdict_of(counts: &JobCounts, wholly: u64) -> RunStatus {
    if counts.total() > 0 && counts.success == counts.total() {
        RunStatus::Success
    } else if wholly == 0 {
        RunStatus::Failed
    } else {
        RunStatus::Partial
    }
}

/// The run in which a cause was first seen, and whether that is this one.
fn seen_before(run: &Run, first_seen: &BTreeMap<Fingerprint, RunId>, cause: &Fingerprint) -> (RunId, bool) {
    let first = first_seen.get(cause).copied().unwrap_or(run.batch_run_id);
    (first, first == run.batch_run_id)
}

/// The cause of a run that was abandoned: one failure without a portfolio. None for a run that somebody canceled.
fn abandoned_failure(run: &Run, first_seen: &BTreeMap<Fingerprint, RunId>) -> Option<FailureCluster> {
    let error = abandoned_error(run)?;
    let (first_seen_run, new) = seen_before(run, first_seen, &error.fingerprint);
    Some(FailureCluster {
        job: JobName::new(RUN_LEVEL_JOB).ok()?,
        category: error.category,
        message: error.message,
        count: 1,
        skipped: 0,
        portfolios: Vec::new(),
        first_seen_run,
        new,
        fingerprint: error.fingerprint,
    })
}

/// The error for which a run was abandoned: the last one of its planner, where there was any.
pub(crate) fn abandoned_error(run: &Run) -> Option<RecordedError> {
    match (&run.abandoned.as_ref()?.reason, &run.planning_error) {
        (AbandonReason::Canceled, _) => None,
        (AbandonReason::Inputs { error }, _) | (AbandonReason::Overdue, Some(error)) => Some(error.clone()),
        (AbandonReason::Overdue, None) => {
            let message = "nobody planned the run before its planning deadline: check that the process that starts \
                           runs is up, and that the book can be read";
            let category = ErrorCategory::Timeout;
            let job = JobName::new(RUN_LEVEL_JOB).ok()?;
            let fingerprint = fingerprint(&job, category, message, &[]);
            Some(RecordedError { category, message: message.to_owned(), chain: Vec::new(), fingerprint, masked: None })
        }
    }
}

/// One job over the items that were added so far.
#[derive(Default)]
struct JobSums {
    counts: JobCounts,
    durations: Vec<f64>,
    retried: u64,
}

/// The items that were added so far.
struct Sums<'a> {
    jobs: &'a [JobSpec],
    per_job: Vec<JobSums>,
    clusters: BTreeMap<Fingerprint, FailureCluster>,
    quality: QualitySummary,
    /// Days of data, and how many portfolios reported any.
    days: (u64, u64),
    /// Portfolios that came to an end of their own.
    processed: u64,
    /// Portfolios whose every job succeeded.
    wholly: u64,
    /// Seconds of work.
    work: f64,
}

impl<'a> Sums<'a> {
    fn new(jobs: &'a [JobSpec]) -> Self {
        Self {
            jobs,
            per_job: jobs.iter().map(|_| JobSums::default()).collect(),
            clusters: BTreeMap::new(),
            quality: QualitySummary::default(),
            days: (0, 0),
            processed: 0,
            wholly: 0,
            work: 0.0,
        }
    }

    fn add(&mut self, item: &WorkItem, seen_before: impl Fn(&Fingerprint) -> (RunId, bool)) {
        let done = item.state == ItemState::Done;
        self.processed += u64::from(done);
        let mut whole = true;
        let mut causes: BTreeMap<&JobName, Fingerprint> = BTreeMap::new();
        for (job, sums) in self.jobs.iter().zip(&mut self.per_job) {
            let record = item.records.iter().find(|record| record.job_name == job.name);
            let status = record.map_or(JobStatus::Missing, |record| record.status);
            sums.counts.add(status);
            whole &= status == JobStatus::Success;
            let Some(record) = record else { continue };
            if matches!(status, JobStatus::Success | JobStatus::Failed)
                && let Some(duration) = record.duration_seconds
            {
                sums.durations.push(duration);
                if !job.run_level {
                    self.work += duration;
                }
            }
            sums.retried += u64::from(status == JobStatus::Success && record.attempt > 1);
            if let Some(error) = record.error.as_ref().filter(|_| status == JobStatus::Failed) {
                causes.insert(&job.name, error.fingerprint.clone());
                let cluster = self
                    .clusters
                    .entry(error.fingerprint.clone())
                    .or_insert_with(|| new_cluster(job, error, seen_before(&error.fingerprint)));
                cluster.count += 1;
                cluster.portfolios.push(item.key.portfolio.clone());
            }
            if let Some(because) = record.skipped_because.as_ref().filter(|_| status == JobStatus::Skipped)
                && let Some(cluster) = causes.get(&because.job).and_then(|cause| self.clusters.get_mut(cause))
            {
                cluster.skipped += 1;
            }
        }
        self.wholly += u64::from(whole && done);
        self.add_quality(item);
    }

    fn add_quality(&mut self, item: &WorkItem) {
        match portfolio_quality(item) {
            Some(QualityFlag::Full) => self.quality.full += 1,
            Some(QualityFlag::Limited) => self.quality.limited += 1,
            Some(QualityFlag::Failed) => self.quality.failed += 1,
            None => {}
        }
        // The factor job, or whichever job looks at the most positions, speaks for the portfolio.
        let qualities = item.records.iter().filter_map(|record: &JobRecord| record.quality.as_ref());
        if let Some(most) = qualities.max_by_key(|quality| (quality.positions_processed, quality.required_days)) {
            self.quality.positions_processed += u64::from(most.positions_processed);
            if most.required_days > 0 {
                self.days.0 += u64::from(most.data_days);
                self.days.1 += 1;
            }
        }
    }

    /// A line for each job, and their sum. `untouched` portfolios have no item: all their jobs are missing.
    fn job_lines(&mut self, expected: u64, untouched: u64) -> (Vec<JobSummary>, JobCounts) {
        let mut all = JobCounts::default();
        let lines = self.jobs.iter().zip(&mut self.per_job).map(|(job, JobSums { counts, durations, retried })| {
            counts.missing += untouched;
            all.add_all(counts);
            durations.sort_unstable_by(f64::total_cmp);
            JobSummary {
                job: job.name.clone(),
                portfolios: expected,
                success: counts.success,
                failed: counts.failed,
                skipped: counts.skipped,
                missing: counts.missing,
                p50_seconds: nearest_rank(durations, 0.5),
                p95_seconds: nearest_rank(durations, 0.95),
                max_seconds: durations.last().copied(),
                retried: *retried,
            }
        });
        (lines.collect(), all)
    }

    fn quality(&self) -> QualitySummary {
        let (days, portfolios) = self.days;
        let average_data_days = (portfolios > 0).then(|| days as f64 / portfolios as f64);
        QualitySummary { average_data_days, ..self.quality }
    }

    /// The causes, the largest first.
    fn failures(&mut self) -> Vec<FailureCluster> {
        let mut failures: Vec<FailureCluster> = std::mem::take(&mut self.clusters).into_values().collect();
        for cluster in &mut failures {
            cluster.portfolios = cluster.portfolios.drain(..).collect::<BTreeSet<_>>().into_iter().collect();
        }
        failures.sort_by(|a, b| {
            (b.count + b.skipped).cmp(&(a.count + a.skipped)).then_with(|| a.fingerprint.cmp(&b.fingerprint))
        });
        failures
    }
}

fn new_cluster(job: &JobSpec, error: &RecordedError, (first_seen_run, new): (RunId, bool)) -> FailureCluster {
    FailureCluster {
        fingerprint: error.fingerprint.clone(),
        category: error.category,
        job: job.name.clone(),
        message: error.message.clone(),
        count: 0,
        skipped: 0,
        portfolios: Vec::new(),
        first_seen_run,
        new,
    }
}

/// The nearest-rank percentile of sorted values; none of nothing.
pub(super) fn nearest_rank(sorted: &[f64], share: f64) -> Option<f64> {
    if sorted.is_empty() {
        return None;
    }
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}
