//! Rules of the work items.

use super::fixtures::*;
use crate::ports::{RecordQuery, RunStore};
use crate::run::samples::{at, owner};
use crate::run::{RunEvent, RunRefusal};
use crate::words::JobStatus;
use crate::work_item::samples::item;
use crate::work_item::{GiveUp, ItemEvent, ItemRefusal, ItemState};

/// Calls a macro with the names of all rules of the [`WorkItems`](crate::ports::WorkItems).
#[macro_export]
macro_rules! work_item_rules {
    ($with:ident) => {
        $with! {
            a_claim_is_exclusive_while_its_lease_lives
            a_claim_is_taken_over_after_its_lease
            a_late_finish_is_refused_and_changes_nothing
            a_finish_whose_reply_was_lost_is_applied_once
            a_settled_item_keeps_the_records_that_had_ended
            an_ended_item_never_changes
            items_come_in_the_order_of_their_places
        }
    };
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
