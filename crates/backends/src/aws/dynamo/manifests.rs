//! The manifests of runs: one item for each bucket.

use std::sync::Arc;

use domain::ids::{PortfolioId, RunId};
use domain::ports::StoreError;
use domain::run::PlannedPortfolio;

use super::document::{EXPIRES_AT, Item, number_of, open};
use super::keys;
use super::{DynamoStore, Listed};

fn manifest_name(run: RunId, bucket: u32) -> String {
    format!("bucket {bucket} of the portfolios of run {run}")
}

/// The portfolios of an item of the table.
pub(super) fn manifest_of(item: &Item, run: RunId, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
    open(item, || manifest_name(run, bucket))
}

impl DynamoStore {
    /// The portfolios of a bucket of a sealed manifest, which never change.
    pub(super) async fn sealed_manifest(
        &self,
        run: RunId,
        epoch: u32,
        bucket: u32,
    ) -> Result<Arc<[PortfolioId]>, StoreError> {
        let of = (run, epoch, bucket);
        // What is remembered is not there for longer than what it was read from.
        let known = self.remembered(|memory| memory.manifests.get(&of).cloned());
        if let Some(known) = known.filter(|known| known.expires_at > self.table.now().timestamp()) {
            return Ok(known.portfolios);
        }
        let Some(item) = self.manifest_item(run, epoch, bucket).await? else { return Ok(Arc::default()) };
        let chunk = manifest_of(&item, run, bucket)?;
        let portfolios: Arc<[PortfolioId]> = chunk.into_iter().map(|portfolio| portfolio.id).collect();
        let expires_at = number_of(&item, EXPIRES_AT).unwrap_or(i64::MAX);
        let listed = Listed { portfolios: Arc::clone(&portfolios), expires_at };
        self.remembered(|memory| memory.know_manifest(of, listed));
        Ok(portfolios)
    }

    pub(super) async fn manifest_item(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Option<Item>, StoreError> {
        let doing = || format!("read {}", manifest_name(run, bucket));
        self.table.get(&keys::manifest(run, epoch, bucket), doing).await
    }
}
