//! The documents in memory.

use async_trait::async_trait;
use domain::ids::ContentHash;
use domain::ports::{Documents, StoreError};
use domain::work_item::ItemKey;

use super::MemoryStore;

#[async_trait]
impl Documents for MemoryStore {
    async fn put_results(&self, key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&json);
        self.state().results.insert((key.clone(), hash.clone()), json);
        Ok(hash)
    }

    async fn results(&self, key: &ItemKey, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().results.get(&(key.clone(), hash.clone())).cloned())
    }

    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        self.state().snapshots.insert(hash.clone(), bytes);
        Ok(hash)
    }

    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        let found = self.state().snapshots.get(hash).cloned();
        found.ok_or_else(|| StoreError::NotFound { what: format!("file of the pinned inputs {}", hash.short()) })
    }
}
