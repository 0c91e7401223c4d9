//! The completion tallies: which work items of a bucket have ended, and what they add up to.

use async_trait::async_trait;

use super::StoreError;
use crate::fold::{Fold, FoldEntry};
use crate::ids::RunId;

/// The completion tallies, one for each bucket of a run.
#[async_trait]
pub trait Tallies: Send + Sync {
    /// Counts an ended item in its fold, at most once (T1). Returns the fold after it.
    async fn fold(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError>;
    /// The folds of a run that have counted an item, by bucket.
    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError>;
    /// Marks a bucket as full (T2). Returns the number of full buckets of the run.
    async fn mark_full(&self, run: RunId, bucket: u32) -> Result<u32, StoreError>;
}
