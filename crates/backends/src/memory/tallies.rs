//! The completion tallies in memory.

use async_trait::async_trait;
use domain::fold::{Fold, FoldEntry};
use domain::ids::RunId;
use domain::ports::{StoreError, Tallies};

use super::MemoryStore;

#[async_trait]
impl Tallies for MemoryStore {
    async fn fold(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError> {
        let mut state = self.state();
        let fold = state.folds.entry((run, bucket)).or_insert_with(|| Fold::empty(bucket));
        fold.count(entry);
        Ok(fold.clone())
    }

    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError> {
        Ok(self.state().folds.range((run, 0)..=(run, u32::MAX)).map(|(_, fold)| fold.clone()).collect())
    }

    async fn mark_full(&self, run: RunId, bucket: u32) -> Result<u32, StoreError> {
        let mut state = self.state();
        if state.folds.contains_key(&(run, bucket)) {
            state.full.insert((run, bucket));
        }
        let full = state.full.range((run, 0)..=(run, u32::MAX)).count();
        Ok(u32::try_from(full).unwrap_or(u32::MAX))
    }
}
