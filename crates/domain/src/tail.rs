//! The tail of every ended work item: count it in its fold, mark the bucket, ask for the close. Every step may be
//! repeated by anyone at any time, so whoever finds an ended item runs the whole of it.

use crate::fold::FoldEntry;
use crate::ports::{Ports, StoreError};
use crate::run::SealedPlan;
use crate::work_item::WorkItem;

/// Runs the tail of an ended item, read from the store; says whether every bucket of the run is full.
///
/// # Errors
/// The store or the queue; then the message is not acknowledged, and the tail runs again.
pub async fn run_tail(ports: &Ports, plan: &SealedPlan, item: &WorkItem) -> Result<bool, StoreError> {
    let Some(entry) = FoldEntry::of(item, plan.jobs.len()) else { return Ok(false) };
    let run = item.key.run;
    let bucket = item.place.bucket;
    let fold = ports.store.fold(run, bucket, &entry).await?;
    if fold.done.len() < plan.bucket_len(bucket) as usize {
        return Ok(false);
    }
    let full = ports.store.mark_full(run, bucket).await?;
    if full < plan.buckets() {
        return Ok(false);
    }
    ports.queue.send_close(run).await?;
    Ok(true)
}
