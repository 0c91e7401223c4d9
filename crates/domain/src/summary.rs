//! The run summary: a pure function of a run and its work items, the one arithmetic behind every surface.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::fold::{Fold, JobCounts, portfolio_quality};
use crate::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId, ScheduleName};
use crate::job::JobSpec;
use crate::record::JobRecord;
use crate::run::{Publication, Run, RunPhase};
use crate::words::{ErrorCategory, JobStatus, QualityFlag, RunStatus};
use crate::work_item::{ItemState, WorkItem};

/// One job over all portfolios of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobSummary {
    /// The job.
    pub job: JobName,
    /// Portfolios expected.
    pub portfolios: u64,
    /// Ended well.
    pub success: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Not run.
    pub skipped: u64,
    /// Without a record.
    pub missing: u64,
    /// Median duration of those that ran; none where none ran.
    pub p50_seconds: Option<f64>,
    /// 95th percentile (nearest rank).
    pub p95_seconds: Option<f64>,
    /// The longest.
    pub max_seconds: Option<f64>,
    /// How many succeeded only after more than one attempt.
    #[serde(default)]
    pub retried: u64,
}

/// The data quality of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QualitySummary {
    /// Portfolios with full data.
    pub full: u64,
    /// Portfolios with limited data.
    pub limited: u64,
    /// Portfolios with nothing usable.
    pub failed: u64,
    /// Positions that went into results, over all portfolios.
    pub positions_processed: u64,
    /// Mean days of data over the portfolios that reported any.
    pub average_data_days: Option<f64>,
}

/// One cause of failures in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailureCluster {
    /// The cause.
    pub fingerprint: Fingerprint,
    /// What kind of fault.
    pub category: ErrorCategory,
    /// The job that failed.
    pub job: JobName,
    /// The message of the first affected portfolio.
    pub message: String,
    /// Failed job records with this cause.
    pub count: u64,
    /// Jobs that were skipped because of them.
    #[serde(default)]
    pub skipped: u64,
    /// Affected portfolios, sorted.
    pub portfolios: Vec<PortfolioId>,
    /// The run in which it was first seen.
    pub first_seen_run: RunId,
    /// Whether that is this run.
    pub new: bool,
}

/// The summary of a run. The names of the fields are a contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunSummary {
    /// The run.
    pub batch_run_id: RunId,
    /// Its schedule.
    pub schedule: ScheduleName,
    /// What started it.
    pub trigger: String,
    /// The run it repeats.
    #[serde(default)]
    pub rerun_of: Option<RunId>,
    /// The trading date.
    pub as_of: NaiveDate,
    /// The slot.
    pub scheduled_for: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was closed; none while it runs.
    pub closed_at: Option<DateTime<Utc>>,
    /// How it stands or ended.
    pub status: RunStatus,
    /// Portfolios that the run was for.
    pub portfolios_expected: u64,
    /// Portfolios that came to an end of their own.
    pub portfolios_processed: u64,
    /// Portfolios expected times jobs of the run.
    pub total_jobs: u64,
    /// Ended well.
    pub successful_jobs: u64,
    /// Ended with an error.
    pub failed_jobs: u64,
    /// Not run.
    pub skipped_jobs: u64,
    /// Without a record.
    pub missing_jobs: u64,
    /// Seconds of work: the durations of all jobs, with the work done once for the run counted once.
    pub total_duration: f64,
    /// Seconds from start to close; none while it runs.
    #[serde(default)]
    pub wall_seconds: Option<f64>,
    /// By job, in the order of the job list.
    pub job_summary: Vec<JobSummary>,
    /// The data quality.
    pub data_quality: QualitySummary,
    /// Causes of failures, the largest first.
    pub failures: Vec<FailureCluster>,
    /// Content hash of the pinned inputs; none until they are.
    pub market_snapshot: Option<ContentHash>,
    /// Content hash of the book.
    #[serde(default)]
    pub book: Option<ContentHash>,
    /// When somebody asked to end it early.
    #[serde(default)]
    pub cancelled_at: Option<DateTime<Utc>>,
    /// How the site stands towards it.
    pub publication: Publication,
}

impl RunSummary {
    /// All job counts.
    #[must_use]
    pub const fn counts(&self) -> JobCounts {
        JobCounts {
            success: self.successful_jobs,
            failed: self.failed_jobs,
            skipped: self.skipped_jobs,
            missing: self.missing_jobs,
        }
    }

    /// The verdict in one sentence, as pages, alerts and the terminal say it.
    #[must_use]
    pub fn verdict(&self) -> String {
        let of = format!("{} of {} jobs succeeded", self.successful_jobs, self.total_jobs);
        let cause = || {
            let explained: u64 =
                self.failures.first().map_or(0, |cluster| cluster.count.saturating_add(cluster.skipped));
            let bad = self.failed_jobs.saturating_add(self.skipped_jobs);
            match (self.failures.len(), bad) {
                (0, _) => String::new(),
                (1, _) => format!(", 1 cause explains all {bad} that failed or were skipped"),
                (n, _) => format!(", {n} causes, the largest explains {explained} of {bad}"),
            }
        };
        let missing = match self.missing_jobs {
            0 => String::new(),
            1 => ", 1 has no record".to_owned(),
            n => format!(", {n} have no record"),
        };
        match self.status {
            RunStatus::Success => format!("All good: {of} for {} portfolios", self.portfolios_expected),
            RunStatus::Failed if self.portfolios_expected == 0 => {
                "Failed: there was no portfolio to process".to_owned()
            }
            RunStatus::Failed => format!("Failed: {of}{}{missing}", cause()),
            RunStatus::Partial => format!("Partial: {of}{}{missing}", cause()),
            RunStatus::Running => format!("Running: {of} so far"),
            RunStatus::Missed => format!("Missed: the run of {} did not take place", self.as_of),
        }
    }
}

/// The records of an item as every surface shows them: one for each job of the list, in its order.
///
/// A job without a
/// record is `running` where it is in hand, `pending` while the item has not ended, and `missing` after.
#[must_use]
pub fn complete_records(item: &WorkItem, jobs: &[JobSpec]) -> Vec<JobRecord> {
    jobs.iter()
        .map(|job| {
            if let Some(record) = item.records.iter().find(|record| record.job_name == job.name) {
                return record.clone();
            }
            let status = if item.state.is_terminal() { JobStatus::Missing } else { JobStatus::Pending };
            let mut record = JobRecord::blank(item.key.run, &item.key.portfolio, &item.portfolio_name, job, status);
            if let Some(hand) = item.in_hand.as_ref().filter(|hand| hand.job == job.name) {
                record.status = JobStatus::Running;
                record.attempt = hand.attempt;
                record.started_at = Some(hand.started_at);
                record.progress.clone_from(&hand.progress);
            }
            record
        })
        .collect()
}

/// The summary of a run and its work items.
///
/// Pure: the same run and items give the same summary, whoever computes it. `items` are those that have been touched,
/// in any order; a portfolio without an item counts as missing. `first_seen` says in which earlier run each
/// fingerprint was first seen; one that it does not know is new. While the run is not closed, what has not ended
/// counts as missing, so that the totals always add up.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one pass over the records, in the order of the fields of the summary")]
pub fn summarise(run: &Run, items: &[WorkItem], first_seen: &BTreeMap<Fingerprint, RunId>) -> RunSummary {
    let mut sorted: Vec<&WorkItem> = items.iter().collect();
    sorted.sort_unstable_by_key(|item| item.place);

    let jobs: &[JobSpec] = run.plan.as_ref().map_or(&[], |plan| &plan.jobs);
    let expected = run.plan.as_ref().map_or(0, |plan| u64::from(plan.portfolios));
    let mut per_job: Vec<(JobCounts, Vec<f64>, u64)> = vec![Default::default(); jobs.len()];
    let mut clusters: BTreeMap<Fingerprint, FailureCluster> = BTreeMap::new();
    let mut quality = QualitySummary::default();
    let (mut days, mut days_of) = (0u64, 0u64);
    let (mut processed, mut wholly) = (0u64, 0u64);
    let mut work = 0.0;

    for item in &sorted {
        processed += u64::from(item.state == ItemState::Done);
        let mut whole = true;
        let mut causes: BTreeMap<&JobName, Fingerprint> = BTreeMap::new();
        for (at, job) in jobs.iter().enumerate() {
            let record = item.records.iter().find(|record| record.job_name == job.name);
            let status = record.map_or(JobStatus::Missing, |record| record.status);
            let (counts, durations, retried) = &mut per_job[at];
            counts.add(status);
            whole &= status == JobStatus::Success;
            let Some(record) = record else { continue };
            if matches!(status, JobStatus::Success | JobStatus::Failed)
                && let Some(duration) = record.duration_seconds
            {
                durations.push(duration);
                if !job.run_level {
                    work += duration;
                }
            }
            *retried += u64::from(status == JobStatus::Success && record.attempt > 1);
            if let Some(error) = record.error.as_ref().filter(|_| status == JobStatus::Failed) {
                causes.insert(&job.name, error.fingerprint.clone());
                let cluster = clusters.entry(error.fingerprint.clone()).or_insert_with(|| FailureCluster {
                    fingerprint: error.fingerprint.clone(),
                    category: error.category,
                    job: job.name.clone(),
                    message: error.message.clone(),
                    count: 0,
                    skipped: 0,
                    portfolios: Vec::new(),
                    first_seen_run: first_seen.get(&error.fingerprint).copied().unwrap_or(run.batch_run_id),
                    new: first_seen.get(&error.fingerprint).is_none_or(|first| *first == run.batch_run_id),
                });
                cluster.count += 1;
                cluster.portfolios.push(item.key.portfolio.clone());
            }
            if let Some(because) = record.skipped_because.as_ref().filter(|_| status == JobStatus::Skipped)
                && let Some(cluster) = causes.get(&because.job).and_then(|cause| clusters.get_mut(cause))
            {
                cluster.skipped += 1;
            }
        }
        wholly += u64::from(whole && item.state == ItemState::Done);
        match portfolio_quality(item) {
            Some(QualityFlag::Full) => quality.full += 1,
            Some(QualityFlag::Limited) => quality.limited += 1,
            Some(QualityFlag::Failed) => quality.failed += 1,
            None => {}
        }
        // The factor job, or whichever job looks at the most positions, speaks for the portfolio.
        if let Some(most) = item
            .records
            .iter()
            .filter_map(|record| record.quality.as_ref())
            .max_by_key(|quality| (quality.positions_processed, quality.required_days))
        {
            quality.positions_processed += u64::from(most.positions_processed);
            if most.required_days > 0 {
                days += u64::from(most.data_days);
                days_of += 1;
            }
        }
    }

    let untouched = expected.saturating_sub(sorted.len() as u64);
    let mut counts = JobCounts::default();
    let job_summary: Vec<JobSummary> = jobs
        .iter()
        .zip(per_job)
        .map(|(job, (mut job_counts, mut durations, retried))| {
            job_counts.missing += untouched;
            counts.add_all(&job_counts);
            durations.sort_unstable_by(f64::total_cmp);
            JobSummary {
                job: job.name.clone(),
                portfolios: expected,
                success: job_counts.success,
                failed: job_counts.failed,
                skipped: job_counts.skipped,
                missing: job_counts.missing,
                p50_seconds: nearest_rank(&durations, 0.5),
                p95_seconds: nearest_rank(&durations, 0.95),
                max_seconds: durations.last().copied(),
                retried,
            }
        })
        .collect();
    if days_of > 0 {
        quality.average_data_days = Some(days as f64 / days_of as f64);
    }
    if let Some(plan) = run.plan.as_ref().filter(|plan| plan.jobs.iter().any(|job| job.run_level)) {
        work += plan.market_data.duration_seconds();
    }
    let mut failures: Vec<FailureCluster> = clusters.into_values().collect();
    for cluster in &mut failures {
        cluster.portfolios = cluster.portfolios.drain(..).collect::<BTreeSet<_>>().into_iter().collect();
    }
    failures.sort_by(|a, b| {
        (b.count + b.skipped).cmp(&(a.count + a.skipped)).then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });

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
            (RunPhase::Missed, _) => RunStatus::Missed,
            (_, None) => RunStatus::Running,
            (_, Some(_)) => verdict_of(&counts, wholly),
        },
        portfolios_expected: expected,
        portfolios_processed: processed,
        total_jobs: expected * jobs.len() as u64,
        successful_jobs: counts.success,
        failed_jobs: counts.failed,
        skipped_jobs: counts.skipped,
        missing_jobs: counts.missing,
        total_duration: work,
        wall_seconds: run.closed_at.map(|closed| crate::run::seconds_between(run.started_at, closed)),
        job_summary,
        data_quality: quality,
        failures,
        market_snapshot: run.plan.as_ref().map(|plan| plan.snapshot.clone()),
        book: run.plan.as_ref().map(|plan| plan.book.clone()),
        cancelled_at: run.cancelled_at,
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

/// The nearest-rank percentile of sorted values; none of nothing.
fn nearest_rank(sorted: &[f64], share: f64) -> Option<f64> {
    if sorted.is_empty() {
        return None;
    }
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Where folds and records disagree: a defect of ours, never of the data. Empty when they agree.
#[must_use]
pub fn disagreement(summary: &RunSummary, folds: &[Fold]) -> Option<String> {
    let mut jobs = JobCounts::default();
    let (mut done, mut processed) = (0u64, 0u64);
    for fold in folds {
        jobs.add_all(&fold.jobs);
        done += fold.done.len() as u64;
        processed += u64::from(fold.processed);
    }
    let told = (jobs, done, processed);
    let counted = (summary.counts(), summary.portfolios_expected, summary.portfolios_processed);
    (told != counted).then(|| format!("folds say {told:?}, records say {counted:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::FoldEntry;
    use crate::ids::ContentHash;
    use crate::record::{JobError, SkippedBecause};
    use crate::run::samples::{at, plan, planning};
    use crate::work_item::samples::item;
    use proptest::prelude::*;

    fn run_of(portfolios: u32, closed: bool) -> Run {
        let mut run = planning(1);
        run.plan = Some(plan(1, portfolios));
        run.closed_at = closed.then(|| at(100));
        run
    }

    fn done_item(index: u32, statuses: &[JobStatus], state: ItemState) -> WorkItem {
        let jobs = plan(1, 1).jobs;
        let mut it = item(1, &format!("p{index}"), 0, index);
        it.state = state;
        for (job, status) in jobs.iter().zip(statuses) {
            if *status == JobStatus::Missing {
                continue;
            }
            let mut record = JobRecord::blank(it.key.run, &it.key.portfolio, "P", job, *status);
            record.duration_seconds = Some(f64::from(index) + 1.0);
            if *status == JobStatus::Failed {
                record.error = Some(
                    JobError::new(ErrorCategory::Permanent, format!("no equity for {index}")).recorded(&job.name, &[]),
                );
            }
            if *status == JobStatus::Skipped {
                record.skipped_because =
                    Some(SkippedBecause { job: jobs[0].name.clone(), reason: "first did not succeed".into() });
            }
            it.records.push(record);
        }
        it
    }

    fn status() -> impl Strategy<Value = JobStatus> {
        prop::sample::select(vec![JobStatus::Success, JobStatus::Failed, JobStatus::Skipped, JobStatus::Missing])
    }

    proptest! {
        /// The totals add up for any outcome, on the summary, in each job's line, and in the folds.
        #[test]
        fn nothing_disappears_from_the_totals(
            outcomes in prop::collection::vec((status(), status(), any::<bool>()), 0..30),
            untouched in 0u32..5,
        ) {
            let items: Vec<WorkItem> = outcomes.iter().enumerate().map(|(i, (a, b, lost))| {
                let complete = *a != JobStatus::Missing && *b != JobStatus::Missing;
                let state = if complete && !lost { ItemState::Done } else { ItemState::TimedOut };
                done_item(i as u32, &[*a, *b], state)
            }).collect();
            let run = run_of(items.len() as u32 + untouched, true);
            let summary = summarise(&run, &items, &BTreeMap::new());
            prop_assert_eq!(summary.counts().total(), summary.total_jobs);
            prop_assert_eq!(summary.total_jobs, summary.portfolios_expected * 2);
            for line in &summary.job_summary {
                prop_assert_eq!(line.success + line.failed + line.skipped + line.missing, line.portfolios);
            }
            let failed: u64 = summary.failures.iter().map(|f| f.count).sum();
            prop_assert_eq!(failed, summary.failed_jobs);

            let mut reversed = items.clone();
            reversed.reverse();
            prop_assert_eq!(&summarise(&run, &reversed, &BTreeMap::new()), &summary, "the order of the items matters");

            if untouched == 0 {
                let mut fold = Fold::empty(0);
                for it in &items { fold.count(&FoldEntry::of(it, 2).unwrap()); }
                prop_assert_eq!(disagreement(&summary, &[fold]), None);
            }
        }
    }

    #[test]
    fn the_status_follows_the_rule() {
        use JobStatus::{Failed, Skipped, Success};
        let of = |items: &[WorkItem], n| summarise(&run_of(n, true), items, &BTreeMap::new()).status;
        let good = |i| done_item(i, &[Success, Success], ItemState::Done);
        let bad = |i| done_item(i, &[Failed, Skipped], ItemState::Done);
        assert_eq!(of(&[good(0), good(1)], 2), RunStatus::Success);
        assert_eq!(of(&[good(0), bad(1)], 2), RunStatus::Partial);
        assert_eq!(of(&[bad(0), bad(1)], 2), RunStatus::Failed);
        assert_eq!(of(&[], 0), RunStatus::Failed, "a run without a portfolio");
        assert_eq!(of(&[good(0)], 2), RunStatus::Partial, "one portfolio has no item");
        assert_eq!(summarise(&run_of(2, false), &[good(0)], &BTreeMap::new()).status, RunStatus::Running);
    }

    #[test]
    fn one_cause_is_one_line_with_its_consequences() {
        use JobStatus::{Failed, Skipped, Success};
        let items: Vec<WorkItem> = (0..5)
            .map(|i| {
                if i == 0 {
                    done_item(i, &[Success, Success], ItemState::Done)
                } else {
                    done_item(i, &[Failed, Skipped], ItemState::Done)
                }
            })
            .collect();
        let earlier = RunId(uuid::Uuid::from_u128(99));
        let fp = items[1].records[0].error.as_ref().unwrap().fingerprint.clone();
        let summary = summarise(&run_of(5, true), &items, &BTreeMap::from([(fp, earlier)]));
        assert_eq!(summary.failures.len(), 1);
        let cluster = &summary.failures[0];
        assert_eq!((cluster.count, cluster.skipped, cluster.portfolios.len()), (4, 4, 4));
        assert_eq!((cluster.first_seen_run, cluster.new), (earlier, false));
        assert_eq!(
            summary.verdict(),
            "Partial: 2 of 10 jobs succeeded, 1 cause explains all 8 that failed or were skipped"
        );
    }

    #[test]
    fn work_done_once_counts_once() {
        use JobStatus::Success;
        let items: Vec<WorkItem> = (0..3).map(|i| done_item(i, &[Success, Success], ItemState::Done)).collect();
        let summary = summarise(&run_of(3, true), &items, &BTreeMap::new());
        // The run-level work took 1 s; the second jobs took 1, 2 and 3 s.
        assert!((summary.total_duration - 7.0).abs() < 1e-12);
        assert_eq!(summary.market_snapshot, Some(ContentHash::of(b"snapshot")));
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(nearest_rank(&values, 0.5), Some(10.0));
        assert_eq!(nearest_rank(&values, 0.95), Some(19.0));
        assert_eq!(nearest_rank(&[4.0], 0.95), Some(4.0));
        assert_eq!(nearest_rank(&[], 0.5), None);
    }

    #[test]
    fn every_surface_shows_one_record_a_job() {
        let jobs = plan(1, 1).jobs;
        let mut it = item(1, "p", 0, 0);
        let words = |it: &WorkItem| complete_records(it, &jobs).iter().map(|r| r.status).collect::<Vec<_>>();
        assert_eq!(words(&it), [JobStatus::Pending, JobStatus::Pending]);
        it.state = ItemState::Lost;
        assert_eq!(words(&it), [JobStatus::Missing, JobStatus::Missing]);
    }
}
