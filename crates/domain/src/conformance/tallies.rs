//! Rules of the completion tallies.

use super::fixtures::*;
use crate::fold::{FoldEntry, JobCounts};
use crate::ports::RunStore;
use crate::words::QualityFlag;

/// Calls a macro with the names of all rules of the [`Tallies`](crate::ports::Tallies).
#[macro_export]
macro_rules! tally_rules {
    ($with:ident) => {
        $with! {
            an_item_is_counted_once
            full_buckets_are_counted
        }
    };
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
