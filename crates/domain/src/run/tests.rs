use super::samples::{at, missed_run, owner, plan, planning, unreadable};
use super::*;
use proptest::prelude::*;

fn reasons() -> impl Strategy<Value = AbandonReason> {
    prop_oneof![
        Just(AbandonReason::Inputs { error: unreadable() }),
        Just(AbandonReason::Canceled),
        Just(AbandonReason::Overdue)
    ]
}

fn events() -> impl Strategy<Value = RunEvent> {
    let who = 1u128..4;
    let when = 0i64..200;
    prop_oneof![
        (who.clone(), when.clone()).prop_map(|(o, n)| RunEvent::TakeOverPlan {
            owner: owner(o),
            now: at(n),
            lease_until: at(n + 60)
        }),
        (1u32..4).prop_map(|epoch| RunEvent::Seal { plan: Box::new(plan(epoch, 3)) }),
        when.clone().prop_map(|n| RunEvent::Cancel { now: at(n) }),
        (when.clone(), reasons()).prop_map(|(n, reason)| RunEvent::AbandonPlan { now: at(n), reason }),
        (0u32..3, when.clone()).prop_map(|(epoch, n)| RunEvent::ReleasePlan { epoch, now: at(n), error: unreadable() }),
        (who, when.clone()).prop_map(|(o, n)| RunEvent::ClaimClose {
            owner: owner(o),
            now: at(n),
            lease_until: at(n + 60)
        }),
        (0u32..4).prop_map(|epoch| RunEvent::Close { epoch }),
        (0u32..4, when.clone()).prop_map(|(epoch, n)| RunEvent::KeepClose { epoch, lease_until: at(n + 60) }),
        prop_oneof![Just(PagesThere::Nothing), Just(PagesThere::Run), Just(PagesThere::Portfolios)]
            .prop_map(|pages| RunEvent::PagesWritten { pages, now: at(7) }),
        when.clone().prop_map(|n| RunEvent::VoidLease { now: at(n) }),
        (0u32..3, when.clone()).prop_map(|(plan_epoch, n)| RunEvent::SpreadPages {
            now: at(n),
            files_written: 1,
            plan_epoch
        }),
        (0u32..3, 0u32..2).prop_map(|(plan_epoch, bucket)| RunEvent::BucketWritten {
            bucket,
            files_written: 1,
            plan_epoch
        }),
        (0u32..3).prop_map(|plan_epoch| RunEvent::Publish {
            publication: Publication::Failed { at: at(9), error: "disk".into() },
            plan_epoch,
        }),
    ]
}

fn rank(run: &Run) -> u8 {
    match run.phase {
        RunPhase::Missed => 0,
        RunPhase::Planning { .. } => 1,
        RunPhase::Running => 2,
        RunPhase::Closing { .. } => 3,
        RunPhase::Closed => 4,
    }
}

proptest! {
    /// Whatever happens in whatever order: phases only go forward, the sealed plan never changes, `closed_at`
    /// never changes, epochs never go back, and a closed run takes nothing but news of its publication.
    #[test]
    fn any_sequence_of_events_keeps_the_promises(
        missed in any::<bool>(), events in prop::collection::vec(events(), 0..40),
    ) {
        let mut run = if missed { missed_run(1) } else { planning(1) };
        for event in &events {
            if let Ok(next) = run.next(event) {
                prop_assert!(rank(&next) >= rank(&run));
                prop_assert!(next.plan_epoch >= run.plan_epoch && next.close_epoch >= run.close_epoch);
                if run.plan.is_some() { prop_assert_eq!(&next.plan, &run.plan); }
                if run.abandoned.is_some() { prop_assert_eq!(&next.abandoned, &run.abandoned); }
                prop_assert!(next.plan.is_none() || next.abandoned.is_none(), "sealed and abandoned");
                prop_assert_eq!(rank(&next) >= 2, next.plan.is_some() || next.abandoned.is_some());
                if run.closed_at.is_some() && run.phase != RunPhase::Missed {
                    prop_assert_eq!(next.closed_at, run.closed_at);
                }
                prop_assert!(next.pages >= run.pages, "what is there stays");
                let of_the_site = matches!(
                    event,
                    RunEvent::Publish { .. }
                        | RunEvent::PagesWritten { .. }
                        | RunEvent::SpreadPages { .. }
                        | RunEvent::BucketWritten { .. }
                );
                if run.is_closed() { prop_assert!(of_the_site); }
                run = next;
            }
        }
    }

    /// A planner that was taken over cannot seal, whenever its request lands.
    #[test]
    fn a_stale_planner_cannot_seal(late in 61i64..1000) {
        let run = planning(1)
            .next(&RunEvent::TakeOverPlan { owner: owner(2), now: at(late), lease_until: at(late + 60) })
            .unwrap();
        let seal = |epoch| RunEvent::Seal { plan: Box::new(plan(epoch, 3)) };
        prop_assert_eq!(run.next(&seal(1)), Err(RunRefusal::Superseded));
        prop_assert!(run.next(&seal(2)).is_ok());
    }
}

#[test]
fn a_live_lease_is_respected_and_a_passed_one_is_not() {
    let run = planning(1);
    let take = |n| RunEvent::TakeOverPlan { owner: owner(2), now: at(n), lease_until: at(n + 60) };
    assert_eq!(run.next(&take(60)), Err(RunRefusal::LeaseHeld));
    assert!(run.next(&take(61)).is_ok());
    let voided = run.next(&RunEvent::VoidLease { now: at(5) }).unwrap();
    assert!(voided.next(&take(5)).is_ok(), "a dead process's lease is void at once");
}

#[test]
fn a_missed_slot_may_still_be_run_late_and_nothing_else() {
    let missed = missed_run(1);
    assert!(missed.has_ended() && !missed.is_closed());
    for event in [
        RunEvent::Seal { plan: Box::new(plan(1, 3)) },
        RunEvent::Cancel { now: at(9) },
        RunEvent::ClaimClose { owner: owner(1), now: at(9), lease_until: at(60) },
        RunEvent::VoidLease { now: at(9) },
    ] {
        assert_eq!(missed.next(&event), Err(RunRefusal::WrongPhase), "{event:?}");
    }
    let published = Publication::Published { at: at(60), files_written: 2 };
    let told = RunEvent::Publish { publication: published, plan_epoch: missed.plan_epoch };
    let missed = missed.next(&told).unwrap();
    let late = missed.next(&RunEvent::TakeOverPlan { owner: owner(2), now: at(900), lease_until: at(960) }).unwrap();
    assert_eq!(late.publication, Publication::Pending, "what was published tells of the slot");
    assert_eq!(late.next(&told), Err(RunRefusal::Superseded), "also where that is heard of late");
    assert_eq!((late.started_at, late.closed_at, late.plan_epoch), (at(900), None, 2));
    assert_eq!(late.planning_due_at(), at(900 + 7_200), "the deadline counts from the late start");
    assert!(late.next(&RunEvent::Seal { plan: Box::new(plan(2, 3)) }).is_ok());
}

#[test]
fn a_publication_that_is_spread_has_every_bucket_written_once_and_goes_on_where_it_stopped() {
    let sealed = planning(1).next(&RunEvent::Seal { plan: Box::new(plan(1, 250)) }).unwrap();
    let spread = |n| RunEvent::SpreadPages { now: at(n), files_written: 3, plan_epoch: 1 };
    let written = |bucket| RunEvent::BucketWritten { bucket, files_written: 200, plan_epoch: 1 };
    assert_eq!(planning(1).next(&spread(5)), Err(RunRefusal::WrongPhase), "what is not sealed has no buckets");
    let stale = RunEvent::SpreadPages { now: at(5), files_written: 0, plan_epoch: 0 };
    assert_eq!(sealed.next(&stale), Err(RunRefusal::Superseded));
    let run = sealed.next(&spread(10)).unwrap();
    assert_eq!(run.pages_left, BTreeSet::from([0, 1, 2]));
    assert!(!run.wants_pages(at(10 + 15 * 60)) && run.wants_pages(at(11 + 15 * 60)));
    let run = run.next(&written(2)).unwrap().next(&written(2)).unwrap();
    let failed = Publication::Failed { at: at(20), error: "disk".into() };
    let run = run.next(&RunEvent::Publish { publication: failed, plan_epoch: 1 }).unwrap();
    assert!(run.wants_pages(at(20)));
    let run = run.next(&spread(30)).unwrap();
    assert_eq!(run.pages_left, BTreeSet::from([0, 1]), "what is there is not asked for again");
    let run = run.next(&written(0)).unwrap();
    assert!(run.pages < PagesThere::Portfolios);
    let run = run.next(&written(1)).unwrap();
    assert_eq!((run.pages, run.pages_left.len()), (PagesThere::Portfolios, 0));
    assert_eq!(run.publication.files_under_way(), 403, "since it began anew");
    let again = run.next(&spread(40)).unwrap();
    assert!(again.pages_left.is_empty(), "only the end of it is left");
    let published = Publication::Published { at: at(50), files_written: 7 };
    let run = again.next(&RunEvent::Publish { publication: published, plan_epoch: 1 }).unwrap();
    assert!(!run.wants_pages(at(9_999)));
}

#[test]
fn a_closer_keeps_its_lease_until_another_takes_over() {
    let running = planning(1).next(&RunEvent::Seal { plan: Box::new(plan(1, 3)) }).unwrap();
    let claim = |o, n| RunEvent::ClaimClose { owner: owner(o), now: at(n), lease_until: at(n + 60) };
    let keep = |epoch, n: i64| RunEvent::KeepClose { epoch, lease_until: at(n + 60) };
    let kept = running.next(&claim(1, 10)).unwrap().next(&keep(1, 50)).unwrap();
    assert_eq!(kept.next(&claim(2, 110)), Err(RunRefusal::LeaseHeld), "the renewed lease lasts until 110");
    let taken = kept.next(&claim(2, 111)).unwrap();
    assert_eq!(taken.next(&keep(1, 112)), Err(RunRefusal::Superseded));
}

#[test]
fn only_the_latest_closer_closes() {
    let running = planning(1).next(&RunEvent::Seal { plan: Box::new(plan(1, 3)) }).unwrap();
    let claim = |o, n| RunEvent::ClaimClose { owner: owner(o), now: at(n), lease_until: at(n + 60) };
    let first = running.next(&claim(1, 10)).unwrap();
    assert_eq!(first.next(&claim(2, 70)), Err(RunRefusal::LeaseHeld));
    let second = first.next(&claim(2, 71)).unwrap();
    assert_eq!(second.next(&RunEvent::Close { epoch: 1 }), Err(RunRefusal::Superseded));
    let closed = second.next(&RunEvent::Close { epoch: 2 }).unwrap();
    assert_eq!(closed.closed_at, Some(at(10)), "both closers write the same summary");
    assert_eq!(closed.next(&claim(3, 900)), Err(RunRefusal::Closed));
}

#[test]
fn buckets_cover_every_portfolio_once() {
    for n in [0, 1, 99, 100, 101, 200, 9_999, 10_000] {
        let plan = plan(1, n);
        assert_eq!((0..plan.buckets()).map(|b| plan.bucket_len(b)).sum::<u32>(), n);
        assert_eq!(plan.bucket_len(plan.buckets()), 0);
    }
}

#[test]
fn a_run_that_cannot_be_planned_is_abandoned_and_the_closing_path_ends_it() {
    let abandon = RunEvent::AbandonPlan { now: at(9), reason: AbandonReason::Inputs { error: unreadable() } };
    let run = planning(1).next(&abandon).unwrap();
    assert_eq!((&run.phase, run.plan.is_none()), (&RunPhase::Running, true));
    let expected = Abandoned { at: at(9), reason: AbandonReason::Inputs { error: unreadable() } };
    assert_eq!(run.abandoned, Some(expected));
    let seal = RunEvent::Seal { plan: Box::new(plan(1, 3)) };
    assert_eq!(run.next(&seal), Err(RunRefusal::WrongPhase), "the planner comes too late, also with a live lease");
    assert_eq!(run.next(&abandon), Err(RunRefusal::WrongPhase), "once");
    let claim = RunEvent::ClaimClose { owner: owner(2), now: at(10), lease_until: at(70) };
    let closed = run.next(&claim).unwrap().next(&RunEvent::Close { epoch: 1 }).unwrap();
    assert!(closed.is_closed());
    let sealed = planning(1).next(&seal).unwrap();
    assert_eq!(sealed.next(&abandon), Err(RunRefusal::WrongPhase), "a sealed run has a deadline of its own");
    assert_eq!(closed.next(&abandon), Err(RunRefusal::Closed));
    assert_eq!(missed_run(1).next(&abandon), Err(RunRefusal::WrongPhase));
}

#[test]
fn cancel_ends_a_run_that_has_no_plan() {
    let canceled = planning(1).next(&RunEvent::Cancel { now: at(9) }).unwrap();
    assert_eq!(canceled.abandoned, Some(Abandoned { at: at(9), reason: AbandonReason::Canceled }));
    assert_eq!((canceled.phase.clone(), canceled.cancelled_at), (RunPhase::Running, Some(at(9))));
    let again = canceled.next(&RunEvent::Cancel { now: at(20) }).unwrap();
    assert_eq!(again, canceled, "a repeated cancel changes nothing");
}

#[test]
fn a_planner_that_cannot_read_the_inputs_lets_the_next_one_try() {
    let take = |n| RunEvent::TakeOverPlan { owner: owner(2), now: at(n), lease_until: at(n + 60) };
    let release = |epoch, n| RunEvent::ReleasePlan { epoch, now: at(n), error: unreadable() };
    let run = planning(1);
    assert_eq!(run.next(&take(10)), Err(RunRefusal::LeaseHeld));
    let released = run.next(&release(1, 10)).unwrap();
    assert_eq!(released.planning_error, Some(unreadable()));
    assert!(released.waits_for_planner(at(10)));
    let taken = released.next(&take(10)).unwrap();
    assert_eq!(taken.next(&release(1, 11)), Err(RunRefusal::Superseded), "only the current planner gives back");
}

#[test]
fn a_run_in_planning_has_a_deadline_also_where_it_was_recorded_without_one() {
    let run = planning(1);
    let due = run.planning_due_at();
    assert_eq!(due, at(1 + 7_200));
    assert_eq!(run.must_be_abandoned(due), None);
    assert_eq!(run.must_be_abandoned(due + TimeDelta::seconds(1)), Some(AbandonReason::Overdue));
    let held = Run { phase: RunPhase::Planning { owner: owner(2), lease_until: due + TimeDelta::minutes(5) }, ..run };
    assert_eq!(held.must_be_abandoned(due + TimeDelta::seconds(1)), None, "its planner may still seal");

    // As earlier releases wrote it: without the new fields.
    let mut stored = serde_json::to_value(planning(1)).unwrap();
    assert!(stored.as_object_mut().unwrap().remove("planning_deadline").is_some());
    assert!(stored.get("abandoned").is_none() && stored.get("planning_error").is_none());
    let old: Run = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&old).unwrap(), stored, "what was stored stays as it was, to the field");
    assert_eq!(old.planning_due_at(), due);
    // An earlier release let somebody cancel a run in planning, and never ended it.
    let canceled = Run { cancelled_at: Some(at(5)), ..old };
    assert_eq!(canceled.must_be_abandoned(at(6)), Some(AbandonReason::Canceled));
}
