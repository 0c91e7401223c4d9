use std::collections::BTreeMap;

use super::summarise::nearest_rank;
use super::*;
use crate::fold::FoldEntry;
use crate::ids::ContentHash;
use crate::record::{JobError, SkippedBecause};
use crate::run::samples::{at, owner, plan, planning, unreadable};
use crate::run::{Run, RunEvent};
use crate::work_item::ItemState;
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

fn abandoned(reason: AbandonReason) -> RunSummary {
    let run = planning(1).next(&RunEvent::AbandonPlan { now: at(9), reason }).unwrap();
    let claim = RunEvent::ClaimClose { owner: owner(2), now: at(10), lease_until: at(70) };
    summarise(&run.next(&claim).unwrap(), &[], &BTreeMap::new())
}

#[test]
fn a_run_whose_inputs_cannot_be_read_fails_with_their_error_as_its_cause() {
    let error = unreadable();
    let summary = abandoned(AbandonReason::Inputs { error: error.clone() });
    assert_eq!((summary.status, summary.portfolios_expected, summary.total_jobs), (RunStatus::Failed, 0, 0));
    assert_eq!(summary.closed_at, Some(at(10)));
    assert_eq!(
        summary.verdict(),
        "Failed: the run has not started; its inputs could not be read: positions.csv:39: quantity is not a number"
    );
    let [cause] = &summary.failures[..] else { panic!("{:?}", summary.failures) };
    assert_eq!((cause.job.as_str(), cause.category, cause.count), ("market_data_update", error.category, 1));
    assert_eq!((&cause.message, &cause.fingerprint, cause.new), (&error.message, &error.fingerprint, true));
    assert_eq!(disagreement(&summary, &[]), None);
}

#[test]
fn a_run_that_was_canceled_before_it_started_fails_without_a_cause() {
    let summary = abandoned(AbandonReason::Canceled);
    assert_eq!((summary.status, summary.failures.len()), (RunStatus::Failed, 0));
    assert_eq!(summary.cancelled_at, Some(at(9)));
    assert_eq!(summary.verdict(), "Failed: the run was canceled before it started");
}

#[test]
fn a_run_that_nobody_planned_in_time_names_the_last_error_of_its_planner() {
    let summary = abandoned(AbandonReason::Overdue);
    assert_eq!(summary.failures[0].category, ErrorCategory::Timeout);
    assert!(summary.verdict().starts_with("Failed: the run has not started in time: nobody planned"), "{summary:?}");
    let release = RunEvent::ReleasePlan { epoch: 1, now: at(5), error: unreadable() };
    let overdue = RunEvent::AbandonPlan { now: at(9_000), reason: AbandonReason::Overdue };
    let mut run = planning(1).next(&release).unwrap().next(&overdue).unwrap();
    run.closed_at = Some(at(9_001));
    let summary = summarise(&run, &[], &BTreeMap::new());
    assert_eq!(summary.failures[0].message, unreadable().message);
}
