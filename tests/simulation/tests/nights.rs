//! The way from a run to the head of its night: every step may be the last one of its actor.

use std::collections::BTreeMap;

use domain::guards::Guard;
use simulation::coverage::Row;
use simulation::faults::Fault;
use simulation::schedule::{self, Outcome, Small};
use simulation::suite;

/// The first call of this kind by an actor of this kind, in a schedule without faults.
fn first_call(small: Small, actor: &str, what: &str) -> u64 {
    let trace = schedule::run_with(small, &BTreeMap::new(), true).trace;
    let marker = format!(": {what} (call ");
    let call = trace.iter().find_map(|line| {
        let (before, after) = line.split_once(&marker)?;
        before.contains(&format!(" {actor} ")).then(|| after.split(')').next()?.parse().ok())?
    });
    call.unwrap_or_else(|| panic!("no {actor} does {what:?}: {trace:#?}"))
}

/// Stops an actor at a call, and gives what came of it.
fn stopped_at(small: Small, (actor, what): (&str, &str), fault: Fault) -> Outcome {
    schedule::run_with(small, &BTreeMap::from([(first_call(small, actor, what), fault)]), false)
}

/// Each head equals the fold of its runs at the end, which every schedule checks, whichever step was the last.
#[test]
fn a_stop_between_a_run_and_the_head_of_its_night_is_repaired() {
    for (small, call, row) in [
        (Small::Smallest, ("planner", "seal the plan"), Row::StoppedAfterSeal),
        (Small::Missed, ("watch", "create the run"), Row::StoppedAfterMissed),
        (Small::Smallest, ("closer", "write the summary"), Row::StoppedAfterSummary),
        (Small::Smallest, ("closer", "write a night document"), Row::StoppedAfterDocument),
        (Small::Smallest, ("closer", "write a night"), Row::StoppedAfterHead),
    ] {
        for fault in [Fault::KilledAfter, Fault::ReplyLost] {
            let outcome = stopped_at(small, call, fault);
            assert_eq!(outcome.coverage.of(row).0, 1, "{call:?} {}", fault.name());
            assert_eq!(outcome.violations, [], "{call:?} {}", fault.name());
        }
    }
}

/// Nobody comes again for a missed slot that is on record: the watch alone writes its night.
#[test]
fn the_watch_writes_the_night_of_a_missed_slot_whose_recorder_died() {
    let call = ("watch", "create the run");
    let outcome = stopped_at(Small::Missed, call, Fault::KilledAfter);
    assert_eq!(outcome.coverage.of(Row::NightRepaired).0, 1);
    let without =
        domain::guards::without(Some(Guard::NightSweep), || stopped_at(Small::Missed, call, Fault::KilledAfter));
    assert!(without.violations.iter().any(|violation| violation.text.contains("has no head")), "{without:?}");
}

#[test]
fn a_fault_at_any_call_of_two_closes_of_a_date_is_survived() {
    let report = suite::singles(Small::TwoCloses);
    assert!(report.coverage.of(Row::ClosesRace).0 > 0, "the closes were at work at once");
    let first = report.failures.first().map(|failure| (&failure.faults, &failure.violations));
    assert_eq!(report.violations(), 0, "{first:?}");
}

#[test]
fn a_fault_at_any_call_of_a_missed_slot_is_survived() {
    let report = suite::singles(Small::Missed);
    let first = report.failures.first().map(|failure| (&failure.faults, &failure.violations));
    assert_eq!(report.violations(), 0, "{first:?}");
}
