//! Full results of portfolios, and the pinned inputs of runs.

use async_trait::async_trait;

use super::StoreError;
use crate::ids::ContentHash;
use crate::work_item::ItemKey;

/// The documents: full results of portfolios, and the pinned inputs of runs.
#[async_trait]
pub trait Documents: Send + Sync {
    /// Stores the results document of a portfolio; durable when it returns. The same again is harmless.
    async fn put_results(&self, key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError>;
    /// The results document with this hash, verified; `None` if it was never stored or has been retired.
    async fn results(&self, key: &ItemKey, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError>;
    /// Stores a snapshot of inputs under the hash of its content; durable when it returns.
    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError>;
    /// The snapshot with this hash, verified.
    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError>;
}
