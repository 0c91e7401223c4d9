//! The rules that every implementation of the store must obey, one function each; a violation panics with a message.
//!
//! A backend runs each of them in its tests, by [`store_rules!`](crate::store_rules),
//! [`document_rules!`](crate::document_rules) and [`site_rules!`](crate::site_rules). Each rule makes its own runs,
//! portfolios and jobs from the `seed`, so rules with different seeds may share a store, a real one too.

#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how a rule says that it is broken")]

use chrono::{DateTime, Duration, Months, NaiveDate, Utc};

use crate::alert::{AlertAbout, AlertEvent, AlertRefusal, AlertState};
use crate::alert_book::AlertBook;
use crate::alert_rules::Mute;
use crate::fold::{FoldEntry, JobCounts};
use crate::ids::{CauseId, ContentHash, Fingerprint, JobName, PortfolioId, RunId, ScheduleName};
use crate::note::{Note, NoteKind, RunNotes};
use crate::ports::{
    AlertBooks, Change, Creation, Documents, RecordQuery, RunQuery, RunStore, SiteFile, SiteStore, StoreError, WriteIf,
    Written,
};
use crate::record::{JobRecord, RecordedError};
use crate::run::samples::{at, missed_run, owner, plan, planning, unreadable};
use crate::run::{
    AbandonReason, Abandoned, PlannedPortfolio, Publication, Run, RunEvent, RunPhase, RunRefusal, SealedPlan,
};
use crate::summary::{RunSummary, summarise};
use crate::words::{ErrorCategory, JobStatus, JobType, QualityFlag, RunStatus};
use crate::work_item::samples::item;
use crate::work_item::{GiveUp, ItemEvent, ItemKey, ItemRefusal, ItemState, Place, WorkItem};

/// Calls a macro with the names of all rules of the [`AlertBooks`](crate::ports::AlertBooks).
#[macro_export]
macro_rules! alert_book_rules {
    ($with:ident) => {
        $with! {
            an_alert_book_comes_back_as_it_was_written
            an_alert_book_is_written_over_the_version_that_was_read
        }
    };
}

/// Calls a macro with the names of all rules of the [`RunNotes`](crate::note::RunNotes). They need a store for the
/// runs, too.
#[macro_export]
macro_rules! note_rules {
    ($with:ident) => {
        $with! {
            notes_come_back_oldest_first_and_each_once
            a_note_on_no_run_is_refused
        }
    };
}

/// Calls a macro with the names of all rules of a [`RunStore`](crate::ports::RunStore).
#[macro_export]
macro_rules! store_rules {
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
            a_claim_is_exclusive_while_its_lease_lives
            a_claim_is_taken_over_after_its_lease
            a_late_finish_is_refused_and_changes_nothing
            a_finish_whose_reply_was_lost_is_applied_once
            a_settled_item_keeps_the_records_that_had_ended
            an_ended_item_never_changes
            items_come_in_the_order_of_their_places
            an_item_is_counted_once
            full_buckets_are_counted
            a_close_is_fenced_by_the_epoch
            a_summary_is_written_once
            an_alert_is_sent_once
            runs_come_newest_first_page_by_page
            runs_are_found_by_what_they_are
            records_are_found_by_what_they_are
            the_runs_of_a_portfolio_come_newest_first
            the_runs_of_a_job_come_newest_first
            the_last_success_is_the_newest
            a_success_that_a_rerun_took_back_does_not_count
            failures_are_found_by_time_and_cause
            a_cause_was_first_seen_in_the_run_that_began_first
            open_runs_are_those_that_have_not_ended
            a_missed_slot_is_a_run_that_has_ended
            what_is_not_delivered_is_found_until_it_is
        }
    };
}

/// Calls a macro with the names of all rules of [`Documents`](crate::ports::Documents).
#[macro_export]
macro_rules! document_rules {
    ($with:ident) => {
        $with! {
            results_come_back_as_they_were
            inputs_come_back_as_they_were
        }
    };
}

/// Calls a macro with the names of all rules of a [`SiteStore`](crate::ports::SiteStore).
#[macro_export]
macro_rules! site_rules {
    ($with:ident) => {
        $with! {
            a_page_is_written_only_where_it_changed
            a_page_that_somebody_else_wrote_is_refused
            a_page_outside_of_the_site_is_refused
        }
    };
}

fn number(seed: u128, n: u128) -> u128 {
    seed.wrapping_mul(1_000).wrapping_add(n)
}

/// A year of this seed's own, far away from those of real runs.
fn new_year(seed: u128) -> NaiveDate {
    let year = 2_100 + i32::try_from(seed % 7_000).unwrap();
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap()
}

/// A run in planning whose slot is so many days into the year of its seed.
fn run_on(seed: u128, n: u128, day: i64) -> Run {
    let as_of = new_year(seed) + Duration::days(day);
    let scheduled_for = as_of.and_hms_opt(23, 30, 0).unwrap().and_utc();
    Run { as_of, scheduled_for, started_at: scheduled_for + Duration::seconds(1), ..planning(number(seed, n)) }
}

fn job(seed: u128, name: &str) -> JobName {
    JobName::new(format!("{name}_{seed}")).unwrap()
}

fn portfolio(seed: u128, n: u32) -> PortfolioId {
    PortfolioId::new(format!("p{seed}-{n}")).unwrap()
}

fn cause(seed: u128, name: &str) -> Fingerprint {
    Fingerprint::new(&ContentHash::of(format!("{name} {seed}").as_bytes()).as_str()[..16]).unwrap()
}

fn key(seed: u128, run: &Run, n: u32) -> ItemKey {
    ItemKey { run: run.batch_run_id, portfolio: portfolio(seed, n) }
}

/// A plan of the jobs `first` and `second`, with names of this seed's own.
fn plan_of(seed: u128, epoch: u32, portfolios: u32) -> SealedPlan {
    let mut plan = plan(epoch, portfolios);
    for spec in &mut plan.jobs {
        spec.name = job(seed, spec.name.as_str());
        spec.needs = spec.needs.iter().map(|name| job(seed, name.as_str())).collect();
    }
    plan
}

fn seal(seed: u128, epoch: u32, portfolios: u32) -> RunEvent {
    RunEvent::Seal { plan: Box::new(plan_of(seed, epoch, portfolios)) }
}

async fn create(store: &dyn RunStore, run: &Run) {
    assert_eq!(store.create_run(run).await.unwrap(), Creation::Created, "the run was there before");
}

async fn step(store: &dyn RunStore, run: RunId, event: &RunEvent) -> Run {
    match store.apply_run(run, event).await.unwrap() {
        Change::Applied(run) => run,
        Change::Refused(_, refusal) => panic!("{event:?} was refused: {refusal}"),
    }
}

async fn refused(store: &dyn RunStore, run: RunId, event: &RunEvent) -> RunRefusal {
    let before = store.run(run).await.unwrap();
    match store.apply_run(run, event).await.unwrap() {
        Change::Applied(run) => panic!("{event:?} was applied: {run:?}"),
        Change::Refused(told, refusal) => {
            let after = store.run(run).await.unwrap();
            assert_eq!(before, after, "a refusal changed the run");
            assert_eq!(after.map(|stored| stored.run), Some(told), "a refusal tells another state");
            refusal
        }
    }
}

/// Creates and seals a run.
async fn begin(store: &dyn RunStore, seed: u128, run: &Run, portfolios: u32) -> Run {
    create(store, run).await;
    step(store, run.batch_run_id, &seal(seed, 1, portfolios)).await
}

fn claim(worker: u128, now: i64) -> ItemEvent {
    ItemEvent::Claim { owner: owner(worker), now: at(now), lease_until: at(now + 60) }
}

fn finish(worker: u128, attempt: u32, records: Vec<JobRecord>) -> ItemEvent {
    ItemEvent::Finish {
        owner: owner(worker),
        attempt,
        now: at(90),
        records,
        results: Some(ContentHash::of(b"results")),
    }
}

/// One record of the run's jobs for each status. A failure has the cause `broken`.
fn records(seed: u128, run: &Run, n: u32, statuses: &[JobStatus]) -> Vec<JobRecord> {
    let jobs = plan_of(seed, 1, 1).jobs;
    let one = |(spec, status): (&crate::job::JobSpec, &JobStatus)| {
        let mut record = JobRecord::blank(run.batch_run_id, &portfolio(seed, n), "A portfolio", spec, *status);
        record.attempt = 1;
        record.started_at = Some(at(10));
        record.completed_at = Some(at(12));
        record.duration_seconds = Some(2.25);
        record.error = (*status == JobStatus::Failed).then(|| RecordedError {
            category: ErrorCategory::Permanent,
            message: format!("it broke for portfolio {n}"),
            chain: vec!["because".into()],
            fingerprint: cause(seed, "broken"),
        });
        record
    };
    jobs.iter().zip(statuses).map(one).collect()
}

async fn touch(store: &dyn RunStore, key: &ItemKey, place: Place, event: &ItemEvent) -> WorkItem {
    match store.apply_item(key, "A portfolio", place, event).await.unwrap() {
        Change::Applied(item) => item,
        Change::Refused(_, refusal) => panic!("{event:?} was refused: {refusal}"),
    }
}

async fn not_touched(store: &dyn RunStore, key: &ItemKey, place: Place, event: &ItemEvent) -> ItemRefusal {
    let before = store.item(key).await.unwrap();
    match store.apply_item(key, "A portfolio", place, event).await.unwrap() {
        Change::Applied(item) => panic!("{event:?} was applied: {item:?}"),
        Change::Refused(told, refusal) => {
            let after = store.item(key).await.unwrap();
            assert_eq!(before, after, "a refusal changed the item");
            if let Some(after) = after {
                assert_eq!(after, told, "a refusal tells another state");
            }
            refusal
        }
    }
}

const fn place(n: u32) -> Place {
    Place { bucket: n / crate::run::BUCKET_SIZE, index: n % crate::run::BUCKET_SIZE }
}

/// Claims and finishes portfolio `n` of a run with these statuses.
async fn work(store: &dyn RunStore, seed: u128, run: &Run, n: u32, statuses: &[JobStatus]) -> WorkItem {
    let key = key(seed, run, n);
    touch(store, &key, place(n), &claim(1, 0)).await;
    touch(store, &key, place(n), &finish(1, 1, records(seed, run, n, statuses))).await
}

/// Closes a run on what is stored of it.
async fn close(store: &dyn RunStore, run: &Run) -> RunSummary {
    let claim = RunEvent::ClaimClose { owner: owner(1), now: at(100), lease_until: at(160) };
    let closing = step(store, run.batch_run_id, &claim).await;
    let summary = summary_of(store, &closing).await;
    assert_eq!(store.put_summary(&summary).await.unwrap(), Creation::Created, "the summary was there before");
    step(store, run.batch_run_id, &RunEvent::Close { epoch: closing.close_epoch }).await;
    summary
}

async fn summary_of(store: &dyn RunStore, run: &Run) -> RunSummary {
    let items = store.items(run.batch_run_id, 0).await.unwrap();
    summarise(run, &items, &std::collections::BTreeMap::new())
}

const GOOD: [JobStatus; 2] = [JobStatus::Success, JobStatus::Success];
const BAD: [JobStatus; 2] = [JobStatus::Success, JobStatus::Failed];

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
    assert_eq!(refused(store, sealed.batch_run_id, &abandon).await, RunRefusal::WrongPhase, "a sealed run goes on");
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

/// While a claim's lease lives, nobody else gets the item; the same claim again is given the same answer.
pub async fn a_claim_is_exclusive_while_its_lease_lives(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 1).await;
    let key = key(seed, &run, 0);
    assert!(store.item(&key).await.unwrap().is_none(), "an item that nobody touched is there");
    let mine = touch(store, &key, place(0), &claim(1, 0)).await;
    assert_eq!((mine.attempt, mine.place, mine.portfolio_name.as_str()), (1, place(0), "A portfolio"));
    assert_eq!(not_touched(store, &key, place(0), &claim(2, 60)).await, ItemRefusal::LeaseHeld);
    assert_eq!(touch(store, &key, place(0), &claim(1, 0)).await, mine, "a claim whose reply was lost");
    assert_eq!(store.item(&key).await.unwrap(), Some(mine));
}

/// A claim whose lease has passed is taken over, with the next attempt number and what was recorded so far.
pub async fn a_claim_is_taken_over_after_its_lease(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 1).await;
    let key = key(seed, &run, 0);
    touch(store, &key, place(0), &claim(1, 0)).await;
    let so_far = records(seed, &run, 0, &[JobStatus::Success]);
    let (lease_until, records) = (at(65), so_far.clone());
    let beat = ItemEvent::Heartbeat { owner: owner(1), attempt: 1, now: at(5), lease_until, in_hand: None, records };
    touch(store, &key, place(0), &beat).await;
    let taken = touch(store, &key, place(0), &claim(2, 66)).await;
    assert_eq!((taken.attempt, &taken.records), (2, &so_far), "the next attempt goes on from what was recorded");
    assert_eq!(not_touched(store, &key, place(0), &beat).await, ItemRefusal::Superseded, "the dead one came back");
}

/// A worker that was taken over cannot finish.
pub async fn a_late_finish_is_refused_and_changes_nothing(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 1).await;
    let key = key(seed, &run, 0);
    touch(store, &key, place(0), &claim(1, 0)).await;
    touch(store, &key, place(0), &claim(2, 61)).await;
    let late = finish(1, 1, records(seed, &run, 0, &BAD));
    assert_eq!(not_touched(store, &key, place(0), &late).await, ItemRefusal::Superseded);
    let none = store.records(run.batch_run_id, &RecordQuery::default()).await.unwrap();
    assert_eq!(none, Vec::new(), "a refused finish left records");
    let good = records(seed, &run, 0, &GOOD);
    touch(store, &key, place(0), &finish(2, 2, good.clone())).await;
    assert_eq!(not_touched(store, &key, place(0), &late).await, ItemRefusal::Terminal);
    assert_eq!(store.records(run.batch_run_id, &RecordQuery::default()).await.unwrap(), good);
}

/// A finish that comes again because its reply was lost is told the same, and is there once.
pub async fn a_finish_whose_reply_was_lost_is_applied_once(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 1).await;
    let done = work(store, seed, &run, 0, &BAD).await;
    let again = touch(store, &done.key, place(0), &finish(1, 1, records(seed, &run, 0, &BAD))).await;
    assert_eq!(again, done, "the same answer twice");
    assert_eq!(store.item(&done.key).await.unwrap().as_ref(), Some(&done), "the item comes back with its records");
    assert_eq!(store.records(run.batch_run_id, &RecordQuery::default()).await.unwrap(), done.records);
    let other = finish(1, 1, records(seed, &run, 0, &GOOD));
    assert_eq!(not_touched(store, &done.key, place(0), &other).await, ItemRefusal::Terminal, "not the same finish");
}

/// An item that is given up keeps the records of jobs that had ended, and no other.
pub async fn a_settled_item_keeps_the_records_that_had_ended(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 2).await;
    let first = key(seed, &run, 0);
    touch(store, &first, place(0), &claim(1, 0)).await;
    let records = records(seed, &run, 0, &[JobStatus::Success, JobStatus::Running]);
    let kept = records[..1].to_vec();
    let lease_until = at(65);
    let beat = ItemEvent::Heartbeat { owner: owner(1), attempt: 1, now: at(5), lease_until, in_hand: None, records };
    touch(store, &first, place(0), &beat).await;
    let settle = ItemEvent::Settle { why: GiveUp::TimedOut, now: at(70) };
    let settled = touch(store, &first, place(0), &settle).await;
    assert_eq!((settled.state, &settled.records), (ItemState::TimedOut, &kept));
    let second = key(seed, &run, 1);
    let untouched = touch(store, &second, place(1), &ItemEvent::Settle { why: GiveUp::Cancelled, now: at(70) }).await;
    assert_eq!((untouched.state, untouched.attempt), (ItemState::Cancelled, 0), "also one that nobody touched");
    assert_eq!(store.records(run.batch_run_id, &RecordQuery::default()).await.unwrap(), kept);
    assert_eq!(store.items(run.batch_run_id, 0).await.unwrap(), [settled, untouched]);
}

/// An item that has ended refuses every event, and a run that is closed every event but a publication.
pub async fn an_ended_item_never_changes(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 1).await;
    let done = work(store, seed, &run, 0, &GOOD).await;
    for event in [
        claim(2, 900),
        finish(1, 1, Vec::new()),
        ItemEvent::GiveBack { owner: owner(1), attempt: 1 },
        ItemEvent::Settle { why: GiveUp::Lost, now: at(900) },
        ItemEvent::VoidLease,
    ] {
        assert_eq!(not_touched(store, &done.key, place(0), &event).await, ItemRefusal::Terminal);
    }
    close(store, &run).await;
    let claim = RunEvent::ClaimClose { owner: owner(2), now: at(900), lease_until: at(960) };
    for event in [claim, RunEvent::Cancel { now: at(900) }, seal(seed, 1, 1), RunEvent::VoidLease { now: at(900) }] {
        assert_eq!(refused(store, run.batch_run_id, &event).await, RunRefusal::Closed);
    }
}

/// The touched items of a bucket come in the order of their places, whatever the order in which they were touched.
pub async fn items_come_in_the_order_of_their_places(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 103).await;
    for n in [12, 101, 2, 100, 7] {
        work(store, seed, &run, n, &GOOD).await;
    }
    let untouched = item(number(seed, 1), "nobody", 0, 0).key;
    assert!(store.item(&untouched).await.unwrap().is_none());
    for (bucket, expected) in [(0, vec![2, 7, 12]), (1, vec![0, 1]), (2, vec![])] {
        let items = store.items(run.batch_run_id, bucket).await.unwrap();
        assert_eq!(items.iter().map(|item| item.place.index).collect::<Vec<_>>(), expected, "bucket {bucket}");
        assert!(items.iter().all(|item| item.records.len() == 2), "items come with their records");
    }
}

fn entry(index: u32) -> FoldEntry {
    let jobs = JobCounts { success: 2, failed: 1, skipped: 0, missing: 0 };
    FoldEntry { index, jobs, processed: true, quality: Some(QualityFlag::Limited) }
}

/// An ended item is counted once in the fold of its bucket, however often it is told of.
pub async fn an_item_is_counted_once(store: &dyn RunStore, seed: u128) {
    let id = begin(store, seed, &run_on(seed, 1, 0), 103).await.batch_run_id;
    assert_eq!(store.folds(id).await.unwrap(), Vec::new(), "nothing was counted");
    store.fold(id, 1, &entry(2)).await.unwrap();
    store.fold(id, 0, &entry(7)).await.unwrap();
    let twice = store.fold(id, 0, &entry(7)).await.unwrap();
    assert_eq!((twice.jobs.total(), twice.processed, twice.quality), (3, 1, [0, 1, 0]), "it was counted twice");
    let both = store.fold(id, 0, &entry(3)).await.unwrap();
    assert_eq!(both.done.iter().copied().collect::<Vec<_>>(), [3, 7]);
    assert_eq!(both.jobs, JobCounts { success: 4, failed: 2, skipped: 0, missing: 0 });
    let folds = store.folds(id).await.unwrap();
    assert_eq!(folds.iter().map(|fold| (fold.bucket, fold.done.len())).collect::<Vec<_>>(), [(0, 2), (1, 1)]);
    assert_eq!(folds[0], both, "the reply and the stored fold differ");
}

/// Marking a bucket as full, however often, counts it once among those of its run.
pub async fn full_buckets_are_counted(store: &dyn RunStore, seed: u128) {
    let id = begin(store, seed, &run_on(seed, 1, 0), 103).await.batch_run_id;
    let other = begin(store, seed, &run_on(seed, 2, 0), 103).await.batch_run_id;
    for (run, bucket) in [(id, 0), (id, 1), (other, 0)] {
        store.fold(run, bucket, &entry(0)).await.unwrap();
    }
    assert_eq!(store.mark_full(id, 1).await.unwrap(), 1);
    assert_eq!(store.mark_full(id, 1).await.unwrap(), 1, "the same bucket again");
    assert_eq!(store.mark_full(id, 0).await.unwrap(), 2);
    assert_eq!(store.mark_full(other, 0).await.unwrap(), 1, "each run has its own");
    let late = store.fold(id, 1, &entry(1)).await.unwrap();
    assert_eq!(late.done.len(), 2);
    assert_eq!(store.mark_full(id, 0).await.unwrap(), 2, "a fold that goes on does not open a full bucket");
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

fn schedule_of(seed: u128) -> ScheduleName {
    ScheduleName::new(format!("schedule-{seed}")).unwrap()
}

/// A book is empty until it is written, comes back as it was, and disturbs that of no other schedule.
pub async fn an_alert_book_comes_back_as_it_was_written(books: &dyn AlertBooks, seed: u128) {
    let (mine, other) = (schedule_of(seed), schedule_of(seed + 1_000_000));
    let empty = books.alert_book(&mine).await.unwrap();
    assert_eq!(empty, AlertBook::empty(mine.clone()));
    let mut book = empty;
    book.decided.push("a decision".into());
    let until = at(9_000);
    let fingerprint = Some(CauseId::named(CauseId::MISSING));
    book.mutes.push(Mute { fingerprint, portfolio: None, until, reason: "known, \u{fc}".into() });
    assert!(books.put_alert_book(&book).await.unwrap());
    assert_eq!(books.alert_book(&mine).await.unwrap(), AlertBook { version: 1, ..book });
    assert_eq!(books.alert_book(&other).await.unwrap(), AlertBook::empty(other.clone()));
    let schedules = books.alert_schedules().await.unwrap();
    assert!(schedules.contains(&mine) && !schedules.contains(&other), "{schedules:?}");
    assert!(schedules.is_sorted(), "{schedules:?}");
}

/// Of two that read the same version, one writes; the other is told.
pub async fn an_alert_book_is_written_over_the_version_that_was_read(books: &dyn AlertBooks, seed: u128) {
    let mine = schedule_of(seed);
    let read = books.alert_book(&mine).await.unwrap();
    let by = |who: &str| AlertBook { decided: vec![who.into()], ..read.clone() };
    assert!(books.put_alert_book(&by("first")).await.unwrap());
    assert!(!books.put_alert_book(&by("second")).await.unwrap(), "it was read before the first wrote");
    let stored = books.alert_book(&mine).await.unwrap();
    assert_eq!(stored.decided, ["first"]);
    assert!(books.put_alert_book(&AlertBook { decided: vec!["third".into()], ..stored.clone() }).await.unwrap());
    assert!(!books.put_alert_book(&stored).await.unwrap(), "the same version a second time");
    assert_eq!(books.alert_book(&mine).await.unwrap().decided, ["third"]);
}

/// A store that keeps notes, too.
pub trait StoreWithNotes: RunStore + RunNotes {}

impl<T: RunStore + RunNotes> StoreWithNotes for T {}

fn note(seed: u128, run: &Run, n: u128, seconds: i64) -> Note {
    Note {
        id: uuid::Uuid::from_u128(number(seed, n)),
        batch_run_id: run.batch_run_id,
        kind: if n.is_multiple_of(2) { NoteKind::Annotate } else { NoteKind::Acknowledge },
        author: "Zo\u{eb}".into(),
        at: at(seconds),
        text: format!("note {n}\n<b>second line</b>"),
    }
}

/// Notes come back as they were, oldest first, whatever the order they were added in; the same note again changes
/// nothing, and those of another run are not among them.
pub async fn notes_come_back_oldest_first_and_each_once(store: &dyn StoreWithNotes, seed: u128) {
    let (run, other) = (run_on(seed, 1, 1), run_on(seed, 2, 2));
    for run in [&run, &other] {
        assert_eq!(store.create_run(run).await.unwrap(), Creation::Created, "the run was there before");
    }
    assert_eq!(store.notes(run.batch_run_id).await.unwrap(), []);
    let (first, second) = (note(seed, &run, 1, 10), note(seed, &run, 2, 20));
    store.add_note(&second).await.unwrap();
    store.add_note(&first).await.unwrap();
    store.add_note(&note(seed, &other, 3, 15)).await.unwrap();
    store.add_note(&Note { text: "changed".into(), at: at(30), ..first.clone() }).await.unwrap();
    assert_eq!(store.notes(run.batch_run_id).await.unwrap(), [first, second]);
}

/// There are no notes on a run that is not there.
pub async fn a_note_on_no_run_is_refused(store: &dyn StoreWithNotes, seed: u128) {
    let run = run_on(seed, 1, 1);
    let refused = store.add_note(&note(seed, &run, 1, 10)).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    assert_eq!(store.notes(run.batch_run_id).await.unwrap(), []);
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

fn month(seed: u128, later: u32) -> String {
    (new_year(seed) + Months::new(later)).format("%Y-%m").to_string()
}

fn ids<'a>(runs: impl IntoIterator<Item = &'a RunId>) -> Vec<u128> {
    runs.into_iter().map(|id| id.0.as_u128()).collect()
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

/// Records come by place and order of the jobs, and are found by portfolio, job, family and status.
pub async fn records_are_found_by_what_they_are(store: &dyn RunStore, seed: u128) {
    let run = begin(store, seed, &run_on(seed, 1, 0), 103).await;
    let other = begin(store, seed, &run_on(seed, 2, 1), 1).await;
    work(store, seed, &other, 0, &GOOD).await;
    for n in [101, 3, 1] {
        work(store, seed, &run, n, if n == 3 { &BAD } else { &GOOD }).await;
    }
    touch(store, &key(seed, &run, 5), place(5), &claim(1, 0)).await;
    let all: Vec<JobRecord> =
        [1, 3, 101].iter().flat_map(|n| records(seed, &run, *n, if *n == 3 { &BAD } else { &GOOD })).collect();
    let ask = async |query: RecordQuery| store.records(run.batch_run_id, &query).await.unwrap();
    let fitting =
        |fits: &dyn Fn(&JobRecord) -> bool| all.iter().filter(|record| fits(record)).cloned().collect::<Vec<_>>();
    assert_eq!(ask(RecordQuery::default()).await, all);
    let of = RecordQuery { portfolio: Some(portfolio(seed, 3)), ..RecordQuery::default() };
    assert_eq!(ask(of.clone()).await, all[2..4]);
    let first = job(seed, "first");
    assert_eq!(ask(RecordQuery { job: Some(first.clone()), ..of }).await, all[2..3]);
    let query = RecordQuery { job: Some(first.clone()), ..RecordQuery::default() };
    assert_eq!(ask(query).await, fitting(&|record| record.job_name == first));
    let query = RecordQuery { job_type: Some(JobType::Valuation), ..RecordQuery::default() };
    assert_eq!(ask(query.clone()).await, fitting(&|record| record.job_type == JobType::Valuation));
    assert_eq!(ask(RecordQuery { status: Some(JobStatus::Failed), ..query }).await, all[3..4]);
    let query = RecordQuery { status: Some(JobStatus::Success), ..RecordQuery::default() };
    assert_eq!(ask(query).await, fitting(&|record| record.status == JobStatus::Success));
}

/// A portfolio's runs come newest first, at most so many, each with the cells of its jobs.
pub async fn the_runs_of_a_portfolio_come_newest_first(store: &dyn RunStore, seed: u128) {
    for (n, day) in [(1, 1), (2, 3), (3, 2)] {
        let run = begin(store, seed, &run_on(seed, n, day), 2).await;
        work(store, seed, &run, 0, if n == 3 { &BAD } else { &GOOD }).await;
        if n == 1 {
            work(store, seed, &run, 1, &GOOD).await;
        }
    }
    let runs = store.portfolio_runs(&portfolio(seed, 0), 10).await.unwrap();
    let expected: Vec<u128> = [2, 3, 1].iter().map(|n| number(seed, *n)).collect();
    assert_eq!(ids(runs.iter().map(|run| &run.batch_run_id)), expected);
    let run = run_on(seed, 3, 2);
    assert_eq!(
        (runs[1].as_of, runs[1].scheduled_for, runs[1].started_at),
        (run.as_of, run.scheduled_for, run.started_at)
    );
    assert_eq!(runs[1].portfolio_name, "A portfolio");
    let cells: Vec<_> =
        runs[1].cells.iter().map(|cell| (cell.job.clone(), cell.status, cell.fingerprint.clone())).collect();
    let failed = (job(seed, "second"), JobStatus::Failed, Some(cause(seed, "broken")));
    assert_eq!(cells, [(job(seed, "first"), JobStatus::Success, None), failed]);
    assert_eq!(runs[1].cells[0].duration_seconds, Some(2.25));
    assert_eq!(store.portfolio_runs(&portfolio(seed, 0), 2).await.unwrap(), runs[..2], "at most two");
    assert_eq!(store.portfolio_runs(&portfolio(seed, 9), 2).await.unwrap(), Vec::new());
}

/// A job's closed runs come newest first, at most so many, each with the job's line of the summary.
pub async fn the_runs_of_a_job_come_newest_first(store: &dyn RunStore, seed: u128) {
    let mut lines = Vec::new();
    for (n, day) in [(1, 1), (2, 3), (3, 2)] {
        let run = begin(store, seed, &run_on(seed, n, day), 1).await;
        work(store, seed, &run, 0, &GOOD).await;
        let summary = close(store, &run).await;
        lines.push((run.scheduled_for, run.batch_run_id, summary.job_summary[1].clone()));
    }
    begin(store, seed, &run_on(seed, 4, 9), 1).await;
    lines.sort_by_key(|(scheduled_for, ..)| std::cmp::Reverse(*scheduled_for));
    let runs = store.job_runs(&job(seed, "second"), 10).await.unwrap();
    let found: Vec<_> = runs.iter().map(|run| (run.scheduled_for, run.batch_run_id, run.line.clone())).collect();
    assert_eq!(found, lines, "closed runs only, newest first");
    assert_eq!(runs[0].as_of, new_year(seed) + Duration::days(3));
    assert_eq!(store.job_runs(&job(seed, "second"), 2).await.unwrap(), runs[..2], "at most two");
    assert_eq!(store.job_runs(&job(seed, "other"), 2).await.unwrap(), Vec::new());
}

async fn success(store: &dyn RunStore, seed: u128, n: Option<u32>) -> Option<(u128, PortfolioId)> {
    let portfolio = n.map(|n| portfolio(seed, n));
    let record = store.last_success(&job(seed, "second"), portfolio.as_ref()).await.unwrap()?;
    assert_eq!((record.job_name, record.status), (job(seed, "second"), JobStatus::Success));
    Some((record.batch_run_id.0.as_u128(), record.portfolio_id))
}

/// The last success is that of the newest trading date, then of the run that began last: for one portfolio or all.
pub async fn the_last_success_is_the_newest(store: &dyn RunStore, seed: u128) {
    assert_eq!(success(store, seed, None).await, None, "nothing succeeded yet");
    for (n, day, who, statuses) in [(1, 5, 0, &GOOD), (2, 3, 1, &GOOD), (3, 6, 1, &BAD)] {
        let run = begin(store, seed, &run_on(seed, n, day), 2).await;
        work(store, seed, &run, who, statuses).await;
    }
    assert_eq!(success(store, seed, Some(0)).await, Some((number(seed, 1), portfolio(seed, 0))));
    let second = success(store, seed, Some(1)).await;
    assert_eq!(second, Some((number(seed, 2), portfolio(seed, 1))), "a failure on a later date takes nothing back");
    assert_eq!(success(store, seed, Some(2)).await, None);
    assert_eq!(success(store, seed, None).await, Some((number(seed, 1), portfolio(seed, 0))), "of all portfolios");
    // Begun later, of an earlier date: a rerun of an old night is not the newest.
    let mut old = run_on(seed, 4, 1);
    old.started_at += Duration::days(30);
    let old = begin(store, seed, &old, 1).await;
    work(store, seed, &old, 0, &GOOD).await;
    assert_eq!(success(store, seed, Some(0)).await, Some((number(seed, 1), portfolio(seed, 0))));
    // The same date, begun later: it is.
    let mut again = run_on(seed, 5, 5);
    again.started_at += Duration::seconds(9);
    let again = begin(store, seed, &again, 1).await;
    work(store, seed, &again, 0, &GOOD).await;
    assert_eq!(success(store, seed, Some(0)).await, Some((number(seed, 5), portfolio(seed, 0))));
}

/// A success does not count where a newer run of the same portfolio and trading date did not end well.
pub async fn a_success_that_a_rerun_took_back_does_not_count(store: &dyn RunStore, seed: u128) {
    for (n, day) in [(1, 1), (2, 2)] {
        let run = begin(store, seed, &run_on(seed, n, day), 2).await;
        work(store, seed, &run, 0, &GOOD).await;
        work(store, seed, &run, 1, &GOOD).await;
    }
    let mut rerun = run_on(seed, 3, 2);
    rerun.rerun_of = Some(run_on(seed, 2, 2).batch_run_id);
    rerun.started_at += Duration::seconds(9);
    let rerun = begin(store, seed, &rerun, 2).await;
    work(store, seed, &rerun, 0, &BAD).await;
    assert_eq!(success(store, seed, Some(0)).await, Some((number(seed, 1), portfolio(seed, 0))), "it was taken back");
    assert_eq!(success(store, seed, Some(1)).await, Some((number(seed, 2), portfolio(seed, 1))), "not for the other");
    assert_eq!(success(store, seed, None).await, Some((number(seed, 2), portfolio(seed, 1))), "overall");
}

/// Makes three closed runs, of which the second has no failure; gives their starts, the oldest first.
async fn three_runs(store: &dyn RunStore, seed: u128) -> Vec<DateTime<Utc>> {
    let mut starts = Vec::new();
    for n in [1, 2, 3] {
        let run = begin(store, seed, &run_on(seed, n, i64::try_from(n).unwrap()), 2).await;
        work(store, seed, &run, 1, if n == 2 { &GOOD } else { &BAD }).await;
        work(store, seed, &run, 0, if n == 3 { &BAD } else { &GOOD }).await;
        close(store, &run).await;
        starts.push(run.started_at);
    }
    starts
}

/// Causes of failures come newest run first, and are found by the start of the run and by the cause.
pub async fn failures_are_found_by_time_and_cause(store: &dyn RunStore, seed: u128) {
    let starts = three_runs(store, seed).await;
    let broken = cause(seed, "broken");
    let sightings = store.failures(None, Some(&broken)).await.unwrap();
    let told: Vec<_> = sightings.iter().map(|seen| (seen.batch_run_id.0.as_u128(), seen.count)).collect();
    assert_eq!(told, [(number(seed, 3), 2), (number(seed, 1), 1)]);
    let newest = &sightings[0];
    assert_eq!((&newest.job, newest.category), (&job(seed, "second"), ErrorCategory::Permanent));
    assert_eq!((newest.as_of, newest.started_at), (new_year(seed) + Duration::days(3), starts[2]));
    assert_eq!(newest.message, "it broke for portfolio 0", "the message of the first portfolio");
    assert_eq!(newest.portfolios, [portfolio(seed, 0), portfolio(seed, 1)]);
    for (since, expected) in [(starts[0], 2), (starts[1], 1), (starts[2], 1), (starts[2] + Duration::seconds(1), 0)] {
        let found = store.failures(Some(since), Some(&broken)).await.unwrap();
        assert_eq!(found, sightings[..expected], "since {since}");
    }
    let all = store.failures(Some(starts[0]), None).await.unwrap();
    let mine: Vec<_> = all.into_iter().filter(|seen| seen.fingerprint == broken).collect();
    assert_eq!(mine, sightings, "of all causes");
    assert_eq!(store.failures(None, Some(&cause(seed, "other"))).await.unwrap(), Vec::new());
}

/// Of the closed runs in which a cause was seen, the first is the one that began first, whatever was closed first.
pub async fn a_cause_was_first_seen_in_the_run_that_began_first(store: &dyn RunStore, seed: u128) {
    three_runs(store, seed).await;
    let (broken, other) = (cause(seed, "broken"), cause(seed, "other"));
    let first = store.first_seen(&[broken.clone(), other.clone()]).await.unwrap();
    assert_eq!(ids(first.values()), [number(seed, 1)], "what was never seen is left out");
    let earlier = begin(store, seed, &run_on(seed, 4, 0), 1).await;
    work(store, seed, &earlier, 0, &BAD).await;
    assert_eq!(
        ids(store.first_seen(std::slice::from_ref(&broken)).await.unwrap().values()),
        [number(seed, 1)],
        "it is not closed"
    );
    close(store, &earlier).await;
    assert_eq!(store.first_seen(&[other, broken.clone()]).await.unwrap().get(&broken), Some(&earlier.batch_run_id));
}

/// Makes a closed run of two portfolios, of which one failed, for [`everything_is_found`] and
/// [`summaries_outlive_their_records`].
pub async fn a_run_that_will_be_old(store: &dyn RunStore, seed: u128) {
    let run = run_on(seed, 1, 0);
    create(store, &run).await;
    let id = run.batch_run_id;
    store.put_manifest(id, 1, 0, &planned(seed)).await.unwrap();
    let run = step(store, id, &seal(seed, 1, 2)).await;
    for (n, statuses) in [(0, &GOOD), (1, &BAD)] {
        let item = work(store, seed, &run, n, statuses).await;
        store.fold(id, 0, &FoldEntry::of(&item, 2).unwrap()).await.unwrap();
    }
    store.mark_full(id, 0).await.unwrap();
    close(store, &run).await;
}

fn planned(seed: u128) -> Vec<PlannedPortfolio> {
    let named = |n| PlannedPortfolio { id: portfolio(seed, n), name: "A portfolio".into() };
    (0..2).map(named).collect()
}

/// Until its records are retired, every question about a closed run is answered.
pub async fn everything_is_found(store: &dyn RunStore, seed: u128) {
    what_stays(store, seed).await;
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    assert_eq!(store.manifest(id, 1, 0).await.unwrap(), planned(seed));
    assert_eq!(store.items(id, 0).await.unwrap().len(), 2);
    assert!(store.item(&key(seed, &run, 0)).await.unwrap().is_some());
    let of = |n, statuses| records(seed, &run, n, statuses);
    assert_eq!(store.records(id, &RecordQuery::default()).await.unwrap(), [of(0, &GOOD), of(1, &BAD)].concat());
    let failed = RecordQuery { status: Some(JobStatus::Failed), ..RecordQuery::default() };
    assert_eq!(store.records(id, &failed).await.unwrap(), of(1, &BAD)[1..]);
    assert_eq!(store.portfolio_runs(&portfolio(seed, 0), 9).await.unwrap().len(), 1);
    for n in [None, Some(0)] {
        assert_eq!(success(store, seed, n).await, Some((id.0.as_u128(), portfolio(seed, 0))));
    }
}

/// What is known of a closed run whether or not its records are retired.
async fn what_stays(store: &dyn RunStore, seed: u128) {
    let (run, broken) = (run_on(seed, 1, 0), cause(seed, "broken"));
    let id = run.batch_run_id;
    let stored = store.run(id).await.unwrap().expect("the run stays");
    let summary = stored.summary.clone().expect("the summary stays");
    assert!(stored.run.is_closed() && stored.run.plan.is_some());
    assert_eq!(summary.counts(), JobCounts { success: 3, failed: 1, skipped: 0, missing: 0 });
    let questions = [
        RunQuery { month: Some(month(seed, 0)), ..RunQuery::default() },
        RunQuery { as_of: Some(run.as_of), status: Some(RunStatus::Partial), ..RunQuery::default() },
        RunQuery { started_since: Some(run.started_at), as_of: Some(run.as_of), ..RunQuery::default() },
    ];
    for query in questions {
        assert_eq!(store.runs(&query).await.unwrap().runs, std::slice::from_ref(&stored), "{query:?}");
    }
    let lines = store.job_runs(&job(seed, "second"), 9).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.line.success).collect::<Vec<_>>(), [1]);
    let seen = store.failures(None, Some(&broken)).await.unwrap();
    assert_eq!(ids(seen.iter().map(|seen| &seen.batch_run_id)), [id.0.as_u128()]);
    let first = store.first_seen(std::slice::from_ref(&broken)).await.unwrap();
    assert_eq!(first.get(&broken), Some(&id));
    assert!(store.open_runs().await.unwrap().iter().all(|open| open.batch_run_id != id));
}

/// Once the records of a closed run are retired, its summary answers as before, and of its portfolios nothing is there:
/// whoever writes of one finds what nobody has touched.
pub async fn summaries_outlive_their_records(store: &dyn RunStore, seed: u128) {
    what_stays(store, seed).await;
    let run = run_on(seed, 1, 0);
    let id = run.batch_run_id;
    assert_eq!(store.manifest(id, 1, 0).await.unwrap(), Vec::new());
    assert_eq!(store.items(id, 0).await.unwrap(), Vec::new());
    let failed = RecordQuery { status: Some(JobStatus::Failed), ..RecordQuery::default() };
    let of_one = RecordQuery { portfolio: Some(portfolio(seed, 0)), ..RecordQuery::default() };
    for query in [RecordQuery::default(), failed, of_one] {
        assert_eq!(store.records(id, &query).await.unwrap(), Vec::new(), "{query:?}");
    }
    for n in [0, 1] {
        assert_eq!(store.item(&key(seed, &run, n)).await.unwrap(), None);
        assert_eq!(store.portfolio_runs(&portfolio(seed, n), 9).await.unwrap(), Vec::new());
        assert_eq!(success(store, seed, Some(n)).await, None);
    }
    assert_eq!(success(store, seed, None).await, None);

    let (key, all) = (key(seed, &run, 0), records(seed, &run, 0, &GOOD));
    assert_eq!(not_touched(store, &key, place(0), &finish(1, 1, all.clone())).await, ItemRefusal::NotWorking);
    let begun = touch(store, &key, place(0), &claim(2, 900)).await;
    assert_eq!((begun.attempt, begun.records.len()), (1, 0), "it begins anew");
    assert_eq!(not_touched(store, &key, place(0), &claim(3, 901)).await, ItemRefusal::LeaseHeld);
    assert_eq!(store.items(id, 0).await.unwrap(), [begun]);
    touch(store, &key, place(0), &finish(2, 1, all.clone())).await;
    assert_eq!(store.records(id, &RecordQuery::default()).await.unwrap(), all);
    what_stays(store, seed).await;
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

/// Results come back byte for byte; the same again is harmless, and what was never stored is none.
pub async fn results_come_back_as_they_were(documents: &dyn Documents, seed: u128) {
    let run = run_on(seed, 1, 0);
    let (first, second) = (key(seed, &run, 0), key(seed, &run, 1));
    let json = format!("{{\"portfolio\":\"ä {seed}\",\"values\":[{}1.5]}}", "0.25,".repeat(5_000)).into_bytes();
    let hash = documents.put_results(&first, json.clone()).await.unwrap();
    assert_eq!(hash, ContentHash::of(&json), "the hash is that of the document");
    assert_eq!(documents.put_results(&first, json.clone()).await.unwrap(), hash, "the same again");
    let other = documents.put_results(&first, b"{}".to_vec()).await.unwrap();
    assert_eq!(documents.results(&first, &hash).await.unwrap(), Some(json), "a later document replaced an earlier");
    assert_eq!(documents.results(&first, &other).await.unwrap(), Some(b"{}".to_vec()));
    assert_eq!(documents.results(&second, &hash).await.unwrap(), None, "results of another portfolio");
    assert_eq!(documents.results(&first, &ContentHash::of(b"nothing")).await.unwrap(), None);
}

/// Pinned inputs come back byte for byte; the same again is harmless, and what was never stored is an error.
pub async fn inputs_come_back_as_they_were(documents: &dyn Documents, seed: u128) {
    let bytes: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(100_000).collect();
    let hash = documents.put_snapshot(bytes.clone()).await.unwrap();
    assert_eq!(hash, ContentHash::of(&bytes), "the hash is that of the content");
    assert_eq!(documents.put_snapshot(bytes.clone()).await.unwrap(), hash, "the same again");
    assert_eq!(documents.snapshot(&hash).await.unwrap(), bytes);
    let unknown = documents.snapshot(&ContentHash::of(format!("nothing {seed}").as_bytes())).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })), "{unknown:?}");
}

fn page(seed: u128, name: &str, body: &str) -> SiteFile {
    SiteFile { path: format!("conformance-{seed}/{name}"), content_type: "text/html; charset=utf-8", body: body.into() }
}

/// A page that is there with the same content is left alone.
pub async fn a_page_is_written_only_where_it_changed(site: &dyn SiteStore, seed: u128) {
    let path = page(seed, "a/index.html", "").path;
    assert_eq!(site.read(&path).await.unwrap(), None);
    for (body, expected) in [("one", Written::Written), ("one", Written::Unchanged), ("two", Written::Written)] {
        let written = site.write(&page(seed, "a/index.html", body), &WriteIf::Always).await.unwrap();
        assert_eq!(written, expected, "{body}");
        assert_eq!(site.read(&path).await.unwrap(), Some(body.into()));
    }
    site.flush().await.unwrap();
    assert_eq!(site.read(&path).await.unwrap(), Some("two".into()));
}

/// A page that somebody else wrote since it was read is not overwritten.
pub async fn a_page_that_somebody_else_wrote_is_refused(site: &dyn SiteStore, seed: u128) {
    let file = |body| page(seed, "index.json", body);
    let expecting = |body: &str| WriteIf::Unchanged(Some(ContentHash::of(body.as_bytes())));
    let write = async |body, condition: WriteIf| site.write(&file(body), &condition).await.unwrap();
    assert_eq!(write("one", expecting("zero")).await, Written::Refused, "it was gone");
    assert_eq!(site.read(&file("").path).await.unwrap(), None, "a refusal wrote");
    assert_eq!(write("one", WriteIf::Unchanged(None)).await, Written::Written);
    assert_eq!(write("two", WriteIf::Unchanged(None)).await, Written::Refused, "somebody else made it");
    assert_eq!(write("two", expecting("zero")).await, Written::Refused, "somebody else changed it");
    assert_eq!(site.read(&file("").path).await.unwrap(), Some("one".into()), "a refusal wrote");
    assert_eq!(write("two", expecting("one")).await, Written::Written);
    assert_eq!(write("two", expecting("two")).await, Written::Unchanged);
}

/// A path that would leave the root of the site is an error, for reading and writing.
pub async fn a_page_outside_of_the_site_is_refused(site: &dyn SiteStore, seed: u128) {
    for path in [
        format!("../escaped-{seed}.html"),
        format!("a/../../escaped-{seed}.html"),
        format!("/escaped-{seed}.html"),
        String::new(),
    ] {
        let file = SiteFile { path: path.clone(), ..page(seed, "x", "escaped") };
        assert!(site.write(&file, &WriteIf::Always).await.is_err(), "{path:?} was written");
        assert!(site.read(&path).await.is_err(), "{path:?} was read");
    }
}
