//! Rules of the runs.

use chrono::{Duration, Months};

use super::fixtures::*;
use crate::alert::{AlertAbout, AlertEvent, AlertRefusal, AlertState};
use crate::ids::RunId;
use crate::ports::{Change, Creation, RunQuery, RunStore, StoreError};
use crate::record::RecordedError;
use crate::run::samples::{at, missed_run, owner, unreadable};
use crate::run::{AbandonReason, Abandoned, PlannedPortfolio, Publication, Run, RunEvent, RunPhase, RunRefusal};
use crate::summary::{RunSummary, summarise};
use crate::words::RunStatus;

/// Calls a macro with the names of all rules of the [`Runs`](crate::ports::Runs).
#[macro_export]
macro_rules! run_rules {
    ($with:ident) => {
        $with! {
            a_run_is_created_once
            a_seal_is_fenced_by_the_epoch
            a_plan_is_taken_over_after_its_lease
            a_plan_that_is_given_back_is_taken_at_once
            a_run_that_is_abandoned_is_closed_without_a_plan
            a_run_that_is_canceled_in_planning_is_abandoned
            an_unknown_run_is_not_found
            a_manifest_is_kept_for_each_epoch
            a_close_is_fenced_by_the_epoch
            a_summary_is_written_once
            an_alert_is_sent_once
            runs_come_newest_first_page_by_page
            runs_are_found_by_what_they_are
            open_runs_are_those_that_have_not_ended
            a_missed_slot_is_a_run_that_has_ended
            what_is_not_delivered_is_found_until_it_is
        }
    };
}

/// A run is created if it is absent; the second who tries is given the one that is there.
pub async fn a_run_is_created_once(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    assert!(store.run(run.batch_run_id).await.unwrap().is_none(), "a run that nobody made is there");
    create(store, &run).await;
    let other = Run { trigger: "another".into(), ..run.clone() };
    assert_eq!(store.create_run(&other).await.unwrap(), Creation::Existing(run.clone()), "the first must stay");
    let stored = store.run(run.batch_run_id).await.unwrap().unwrap();
    assert_eq!((stored.run, stored.summary), (run, None));
}

/// A planner that was taken over cannot seal, and a sealed plan never changes.
pub async fn a_seal_is_fenced_by_the_epoch(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    create(store, &run).await;
    step(store, id, &RunEvent::TakeOverPlan { owner: owner(2), now: at(61), lease_until: at(120) }).await;
    assert_eq!(refused(store, id, &seal(seed, 1, 3)).await, RunRefusal::Superseded, "the old planner must not seal");
    let sealed = step(store, id, &seal(seed, 2, 3)).await;
    assert_eq!((sealed.phase.clone(), sealed.plan.clone()), (RunPhase::Running, Some(plan_of(seed, 2, 3))));
    assert_eq!(refused(store, id, &seal(seed, 2, 4)).await, RunRefusal::WrongPhase, "a plan is sealed once");
    assert_eq!(store.run(id).await.unwrap().unwrap().run, sealed, "the reply and the stored run differ");
}

/// A planner's lease keeps others out until it has passed.
pub async fn a_plan_is_taken_over_after_its_lease(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    create(store, &run).await;
    let take = |now| RunEvent::TakeOverPlan { owner: owner(2), now: at(now), lease_until: at(now + 60) };
    assert_eq!(refused(store, run.batch_run_id, &take(60)).await, RunRefusal::LeaseHeld, "the lease still lives");
    let taken = step(store, run.batch_run_id, &take(61)).await;
    assert_eq!(taken.plan_epoch, 2, "each takeover is an epoch");
    assert_eq!(taken.phase, RunPhase::Planning { owner: owner(2), lease_until: at(121) });
}

/// A planner that cannot read the inputs gives its lease back, and the error is on record.
pub async fn a_plan_that_is_given_back_is_taken_at_once(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    create(store, &run).await;
    let release = |epoch| RunEvent::ReleasePlan { epoch, now: at(5), error: unreadable() };
    let released = step(store, id, &release(1)).await;
    assert_eq!(released.planning_error, Some(unreadable()));
    let take = RunEvent::TakeOverPlan { owner: owner(2), now: at(5), lease_until: at(65) };
    assert_eq!(step(store, id, &take).await.plan_epoch, 2);
    assert_eq!(refused(store, id, &release(1)).await, RunRefusal::Superseded, "only the current planner gives back");
}

/// A run whose inputs cannot be read takes no plan any more, is open until it is closed as failed, and its cause is
/// found.
pub async fn a_run_that_is_abandoned_is_closed_without_a_plan(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    create(store, &run).await;
    let error = RecordedError { fingerprint: cause(seed, "inputs"), ..unreadable() };
    let abandon = RunEvent::AbandonPlan { now: at(5), reason: AbandonReason::Inputs { error: error.clone() } };
    let abandoned = step(store, id, &abandon).await;
    assert_eq!((&abandoned.phase, &abandoned.plan), (&RunPhase::Running, &None));
    assert_eq!(store.run(id).await.unwrap().unwrap().run, abandoned, "the reply and the stored run differ");
    assert_eq!(refused(store, id, &seal(seed, 1, 1)).await, RunRefusal::WrongPhase, "its planner comes too late");
    assert_eq!(refused(store, id, &abandon).await, RunRefusal::WrongPhase, "once");
    assert!(store.open_runs().await.unwrap().iter().any(|open| open.batch_run_id == id), "open until it is closed");
    let summary = close(store, &abandoned).await;
    assert_eq!((summary.status, summary.portfolios_expected), (RunStatus::Failed, 0));
    assert!(store.open_runs().await.unwrap().iter().all(|open| open.batch_run_id != id));
    assert_eq!(store.run(id).await.unwrap().unwrap().status(), RunStatus::Failed);
    let found = store.failures(None, Some(&error.fingerprint)).await.unwrap();
    let [sighting] = &found[..] else { panic!("{found:?}") };
    assert_eq!((sighting.batch_run_id, sighting.count, sighting.portfolios.len()), (id, 1, 0));
    assert_eq!(refused(store, id, &abandon).await, RunRefusal::Closed);
    let sealed = begin(store, seed, &run_on(seed, 2, 1), 1).await;
    assert_eq!(
        refused(store, sealed.batch_run_id, &abandon).await,
        RunRefusal::WrongPhase,
        "a sealed run is not abandoned"
    );
}

/// Cancel ends a run that has no plan yet.
pub async fn a_run_that_is_canceled_in_planning_is_abandoned(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    create(store, &run).await;
    let canceled = step(store, run.batch_run_id, &RunEvent::Cancel { now: at(9) }).await;
    assert_eq!(canceled.abandoned, Some(Abandoned { at: at(9), reason: AbandonReason::Canceled }));
    assert_eq!((&canceled.phase, canceled.cancelled_at), (&RunPhase::Running, Some(at(9))));
    assert_eq!(close(store, &canceled).await.status, RunStatus::Failed);
}

/// An event for a run, an item or an alert of a run that nobody made is an error, and leaves nothing behind.
pub async fn an_unknown_run_is_not_found(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    let told = store.apply_run(id, &RunEvent::Cancel { now: at(0) }).await;
    assert!(matches!(told, Err(StoreError::NotFound { .. })), "an event for no run: {told:?}");
    let told = store.apply_item(&key(seed, &run, 0), "A portfolio", place(0), &claim(1, 0)).await;
    assert!(matches!(told, Err(StoreError::NotFound { .. })), "an item of no run: {told:?}");
    let alert = AlertEvent::Claim { owner: owner(1), now: at(0), lease_until: at(60), about: AlertAbout::Run };
    let told = store.apply_alert(id, &alert).await;
    assert!(matches!(told, Err(StoreError::NotFound { .. })), "an alert of no run: {told:?}");
    let told = store.put_summary(&summarise(&run, &[], &std::collections::BTreeMap::new())).await;
    assert!(matches!(told, Err(StoreError::NotFound { .. })), "a summary of no run: {told:?}");
    assert!(store.run(id).await.unwrap().is_none() && store.items(id, 0).await.unwrap().is_empty());
}

/// Each epoch has its own manifest; what one planner writes does not change what another wrote.
pub async fn a_manifest_is_kept_for_each_epoch(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    create(store, &run).await;
    let chunk = |numbers: std::ops::Range<u32>| -> Vec<PlannedPortfolio> {
        numbers.map(|n| PlannedPortfolio { id: portfolio(seed, n), name: format!("Portfolio {n} — ä") }).collect()
    };
    store.put_manifest(id, 1, 0, &chunk(0..100)).await.unwrap();
    store.put_manifest(id, 1, 1, &chunk(100..103)).await.unwrap();
    store.put_manifest(id, 2, 0, &chunk(0..2)).await.unwrap();
    store.put_manifest(id, 2, 0, &chunk(0..2)).await.unwrap();
    assert_eq!(store.manifest(id, 1, 0).await.unwrap(), chunk(0..100), "the order is that of the writing");
    assert_eq!(store.manifest(id, 1, 1).await.unwrap(), chunk(100..103));
    assert_eq!(store.manifest(id, 2, 0).await.unwrap(), chunk(0..2));
    assert_eq!(store.manifest(id, 2, 1).await.unwrap(), Vec::new(), "epoch 2 has no second bucket");
}

/// A closer that was taken over cannot close, and the first closer's time is the run's for ever.
pub async fn a_close_is_fenced_by_the_epoch(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 1).await;
    let id = run.batch_run_id;
    let claim = |who, now| RunEvent::ClaimClose { owner: owner(who), now: at(now), lease_until: at(now + 60) };
    step(store, id, &claim(1, 100)).await;
    assert_eq!(refused(store, id, &claim(2, 160)).await, RunRefusal::LeaseHeld);
    let second = step(store, id, &claim(2, 161)).await;
    assert_eq!((second.close_epoch, second.closed_at), (2, Some(at(100))));
    assert_eq!(refused(store, id, &RunEvent::Close { epoch: 1 }).await, RunRefusal::Superseded);
    assert!(step(store, id, &RunEvent::Close { epoch: 2 }).await.is_closed());
}

/// A summary is written once; it is read with the publication as the run has it at that time.
pub async fn a_summary_is_written_once(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 1).await;
    let id = run.batch_run_id;
    work(store, seed, &run, 0, &BAD).await;
    let summary = close(store, &run).await;
    assert_eq!(summary.publication, Publication::Pending);
    let other = RunSummary { trigger: "another".into(), failures: Vec::new(), ..summary.clone() };
    assert_eq!(store.put_summary(&other).await.unwrap(), Creation::Existing(summary.clone()), "the first must stay");
    assert_eq!(store.run(id).await.unwrap().unwrap().summary, Some(summary.clone()));
    let plan_epoch = run.plan_epoch;
    let spread = step(store, id, &RunEvent::SpreadPages { now: at(150), files_written: 3, plan_epoch }).await;
    let stored = store.run(id).await.unwrap().unwrap();
    assert_eq!((&stored.run, stored.run.pages_left.len()), (&spread, 1), "what is left of a publication is kept");
    assert_eq!(stored.summary.unwrap().publication, Publication::UnderWay { since: at(150), files_written: 3 });
    assert!(store.undelivered().await.unwrap().iter().any(|stored| stored.run == spread));
    let written = step(store, id, &RunEvent::BucketWritten { bucket: 0, files_written: 2, plan_epoch }).await;
    assert!(written.pages_left.is_empty());
    let publication = Publication::Published { at: at(200), files_written: 12 };
    step(store, id, &RunEvent::Publish { publication: publication.clone(), plan_epoch: run.plan_epoch }).await;
    let published = RunSummary { publication, ..summary.clone() };
    assert_eq!(store.run(id).await.unwrap().unwrap().summary.as_ref(), Some(&published));
    assert_eq!(store.put_summary(&summary).await.unwrap(), Creation::Existing(published.clone()));
    let query = RunQuery { as_of: Some(run.as_of), ..RunQuery::default() };
    assert_eq!(store.runs(&query).await.unwrap().runs[0].summary, Some(published));
}

/// An alert is taken by one at a time and sent once.
pub async fn an_alert_is_sent_once(store: &dyn RunStore, seed: u128) {
    let id = begin(store, seed, &run_on(seed, 1, 0), 1).await.batch_run_id;
    let claim = |who, now| AlertEvent::Claim {
        owner: owner(who),
        now: at(now),
        lease_until: at(now + 60),
        about: AlertAbout::Run,
    };
    let sending = AlertState::Sending { owner: owner(1), lease_until: at(60), deliveries: 1, about: AlertAbout::Run };
    assert_eq!(store.apply_alert(id, &claim(1, 0)).await.unwrap(), Change::Applied(sending));
    let held = store.apply_alert(id, &claim(2, 60)).await.unwrap();
    assert_eq!(held, Change::Refused(sending, AlertRefusal::LeaseHeld));
    assert!(matches!(store.apply_alert(id, &claim(2, 61)).await.unwrap(), Change::Applied(_)), "the first is dead");
    let late = store.apply_alert(id, &AlertEvent::Sent { owner: owner(1), now: at(62) }).await.unwrap();
    assert!(matches!(late, Change::Refused(_, AlertRefusal::NotHeld)), "{late:?}");
    let sent = AlertState::Sent { at: at(63), deliveries: 2, about: AlertAbout::Run };
    let told = store.apply_alert(id, &AlertEvent::Sent { owner: owner(2), now: at(63) }).await.unwrap();
    assert_eq!(told, Change::Applied(sent));
    let again = store.apply_alert(id, &claim(3, 900)).await.unwrap();
    assert_eq!(again, Change::Refused(sent, AlertRefusal::AlreadySent));
}

async fn found(store: &dyn RunStore, query: RunQuery) -> Vec<u128> {
    let page = store.runs(&query).await.unwrap();
    assert_eq!(page.next, None, "a page without a limit is the last");
    ids(page.runs.iter().map(|stored| &stored.run.batch_run_id))
}

/// Runs come newest first: by slot, then start, then id; pages of them neither repeat nor leave out any.
pub async fn runs_come_newest_first_page_by_page(store: &dyn RunStore, seed: u128) {
    // Two of one slot, and two of one slot and start.
    let mut made =
        vec![run_on(seed, 3, 1), run_on(seed, 1, 2), run_on(seed, 2, 2), run_on(seed, 5, 0), run_on(seed, 4, 3)];
    made[0].started_at += Duration::seconds(5);
    for run in &made {
        create(store, run).await;
    }
    let mut again = run_on(seed, 9, 1);
    again.as_of = new_year(seed) + Months::new(1);
    create(store, &again).await;
    let expected: Vec<u128> = [4, 2, 1, 3, 5].iter().map(|n| number(seed, *n)).collect();
    let of_month = RunQuery { month: Some(month(seed, 0)), ..RunQuery::default() };
    assert_eq!(found(store, of_month.clone()).await, expected);
    let mut query = RunQuery { limit: 2, ..of_month };
    let mut pages = Vec::new();
    loop {
        let page = store.runs(&query).await.unwrap();
        pages.push(ids(page.runs.iter().map(|stored| &stored.run.batch_run_id)));
        match page.next {
            Some(next) if pages.len() < 9 => query.after = Some(next),
            next => break assert_eq!(next, None, "the pages do not end"),
        }
    }
    assert_eq!(pages, expected.chunks(2).map(<[u128]>::to_vec).collect::<Vec<_>>());
    query.after = Some("nowhere".into());
    assert!(store.runs(&query).await.is_err(), "a page that nobody gave out");
}

/// Runs are found by status, month, trading date, origin and start, and by several of them together.
pub async fn runs_are_found_by_what_they_are(store: &dyn RunStore, seed: u128) {
    let first = begin(store, seed, &run_on(seed, 1, 0), 1).await;
    work(store, seed, &first, 0, &GOOD).await;
    assert_eq!(close(store, &first).await.status, RunStatus::Success);
    let second = begin(store, seed, &run_on(seed, 2, 1), 1).await;
    work(store, seed, &second, 0, &BAD).await;
    assert_eq!(close(store, &second).await.status, RunStatus::Failed);
    let mut rerun = run_on(seed, 3, 1);
    rerun.rerun_of = Some(second.batch_run_id);
    rerun.started_at += Duration::seconds(9);
    create(store, &rerun).await;
    create(store, &run_on(seed, 4, 40)).await;

    let n = |numbers: &[u128]| numbers.iter().map(|n| number(seed, *n)).collect::<Vec<_>>();
    let january = || RunQuery { month: Some(month(seed, 0)), ..RunQuery::default() };
    let of = |status| RunQuery { status: Some(status), ..january() };
    assert_eq!(found(store, january()).await, n(&[3, 2, 1]));
    assert_eq!(found(store, RunQuery { month: Some(month(seed, 1)), ..RunQuery::default() }).await, n(&[4]));
    assert_eq!(found(store, of(RunStatus::Success)).await, n(&[1]));
    assert_eq!(found(store, of(RunStatus::Failed)).await, n(&[2]));
    assert_eq!(found(store, of(RunStatus::Running)).await, n(&[3]), "what has no summary runs");
    assert_eq!(found(store, RunQuery { as_of: Some(second.as_of), ..RunQuery::default() }).await, n(&[3, 2]));
    assert_eq!(found(store, RunQuery { rerun_of: rerun.rerun_of, ..RunQuery::default() }).await, n(&[3]));
    assert_eq!(found(store, RunQuery { rerun_of: Some(rerun.batch_run_id), ..RunQuery::default() }).await, n(&[]));
    let since = RunQuery { started_since: Some(second.started_at), ..january() };
    assert_eq!(found(store, since.clone()).await, n(&[3, 2]), "the instant itself belongs to it");
    assert_eq!(found(store, RunQuery { status: Some(RunStatus::Failed), ..since }).await, n(&[2]));
}

/// Open runs are those in planning, running and closing, oldest first.
pub async fn open_runs_are_those_that_have_not_ended(store: &dyn RunStore, seed: u128) {
    let running = begin(store, seed, &run_on(seed, 1, 5), 1).await;
    create(store, &run_on(seed, 2, 3)).await;
    let closed = begin(store, seed, &run_on(seed, 3, 4), 1).await;
    close(store, &closed).await;
    let closing = begin(store, seed, &run_on(seed, 4, 1), 1).await;
    let claim = RunEvent::ClaimClose { owner: owner(1), now: at(100), lease_until: at(160) };
    let closing = step(store, closing.batch_run_id, &claim).await;
    let mut open = store.open_runs().await.unwrap();
    open.retain(|run| run.as_of >= new_year(seed) && run.as_of < new_year(seed) + Months::new(12));
    assert_eq!(open, [closing, run_on(seed, 2, 3), running]);
}

fn missed_on(seed: u128, n: u128, day: i64) -> Run {
    let run = run_on(seed, n, day);
    let id = run.batch_run_id;
    Run {
        batch_run_id: id,
        as_of: run.as_of,
        scheduled_for: run.scheduled_for,
        started_at: run.started_at,
        ..missed_run(0)
    }
}

/// A slot that was missed is found by that status, is not open, is recorded once, and can still be run late: then it is
/// a run like any other, that began when it did.
pub async fn a_missed_slot_is_a_run_that_has_ended(store: &dyn RunStore, seed: u128) {
    let missed = missed_on(seed, 1, 3);
    let id = missed.batch_run_id;
    assert_eq!(store.create_run(&missed).await.unwrap(), Creation::Created);
    assert_eq!(store.create_run(&missed).await.unwrap(), Creation::Existing(missed.clone()), "once");
    let of = |status| RunQuery { status: Some(status), as_of: Some(missed.as_of), ..RunQuery::default() };
    let found = async |status| -> Vec<RunId> {
        store.runs(&of(status)).await.unwrap().runs.iter().map(|stored| stored.run.batch_run_id).collect()
    };
    assert_eq!(found(RunStatus::Missed).await, [id]);
    assert!(store.open_runs().await.unwrap().iter().all(|run| run.batch_run_id != id));
    assert_eq!(store.run(id).await.unwrap().unwrap().summary, None, "it has no records to be a summary of");
    let now = missed.started_at + Duration::seconds(900);
    let late = RunEvent::TakeOverPlan { owner: owner(2), now, lease_until: now + Duration::seconds(60) };
    let planned = step(store, id, &late).await;
    assert_eq!((planned.started_at, planned.closed_at), (now, None));
    assert!(found(RunStatus::Missed).await.is_empty());
    assert_eq!(found(RunStatus::Running).await, [id]);
    assert!(store.open_runs().await.unwrap().iter().any(|run| run.batch_run_id == id));
    let since = RunQuery { started_since: Some(now), ..of(RunStatus::Running) };
    assert_eq!(store.runs(&since).await.unwrap().runs.len(), 1, "found by when it began in the end");
}

/// An ended run whose pages or alert are not out is found until both are; one that is open never is.
pub async fn what_is_not_delivered_is_found_until_it_is(store: &dyn RunStore, seed: u128) {
    let open = begin(store, seed, &run_on(seed, 1, 2), 1).await.batch_run_id;
    let missed = missed_on(seed, 2, 1);
    create(store, &missed).await;
    let closed = begin(store, seed, &run_on(seed, 3, 0), 1).await;
    close(store, &closed).await;
    let (missed, closed) = (missed.batch_run_id, closed.batch_run_id);
    let waiting = async || -> Vec<RunId> {
        let all = store.undelivered().await.unwrap().into_iter().map(|stored| stored.run.batch_run_id);
        all.filter(|id| [open, missed, closed].contains(id)).collect()
    };
    let published = |plan_epoch| RunEvent::Publish {
        publication: Publication::Published { at: at(90), files_written: 3 },
        plan_epoch,
    };
    let failed =
        RunEvent::Publish { publication: Publication::Failed { at: at(91), error: "disk full".into() }, plan_epoch: 1 };
    let tell = async |id, about| {
        let claim = AlertEvent::Claim { owner: owner(1), now: at(95), lease_until: at(155), about };
        store.apply_alert(id, &claim).await.unwrap();
        store.apply_alert(id, &AlertEvent::Sent { owner: owner(1), now: at(96) }).await.unwrap();
    };
    assert_eq!(waiting().await, [closed, missed], "oldest first");
    step(store, missed, &published(1)).await;
    tell(closed, AlertAbout::Run).await;
    assert_eq!(waiting().await, [closed, missed], "half of it is not enough");
    step(store, closed, &published(1)).await;
    tell(missed, AlertAbout::Missed).await;
    assert!(waiting().await.is_empty());
    step(store, closed, &failed).await;
    assert_eq!(waiting().await, [closed], "a later publication failed");
}
