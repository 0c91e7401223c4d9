//! The heads of the nights in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::guards::{self, Guard};
use domain::ids::{ContentHash, ScheduleName};
use domain::night::{NightHead, NightKey};
use domain::ports::{Keep, NightQuery, Nights, StoreError};

use super::MemoryStore;

#[async_trait]
impl Nights for MemoryStore {
    async fn night(&self, key: &NightKey) -> Result<Option<NightHead>, StoreError> {
        Ok(self.state().nights.get(key).cloned())
    }

    async fn put_night(&self, head: &NightHead) -> Result<bool, StoreError> {
        let mut state = self.state();
        let version = state.nights.get(&head.key()).map_or(0, |stored| stored.version);
        if version != head.version && guards::on(Guard::NightVersion) {
            return Ok(false);
        }
        state.nights.insert(head.key(), NightHead { version: version + 1, ..head.clone() });
        Ok(true)
    }

    async fn nights(&self, query: &NightQuery) -> Result<Vec<NightHead>, StoreError> {
        let state = self.state();
        let heads = state.nights.values().rev().filter(|head| {
            head.night_series == query.series
                && query.from.is_none_or(|from| head.as_of >= from)
                && query.to.is_none_or(|to| head.as_of <= to)
        });
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        Ok(heads.take(limit).cloned().collect())
    }

    async fn night_series(&self) -> Result<Vec<ScheduleName>, StoreError> {
        let names: BTreeSet<ScheduleName> = self.state().nights.keys().map(|key| key.series.clone()).collect();
        Ok(names.into_iter().collect())
    }

    async fn put_night_document(&self, bytes: Vec<u8>, _: Keep) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        self.state().night_documents.insert(hash.clone(), bytes);
        Ok(hash)
    }

    async fn night_document(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().night_documents.get(hash).cloned())
    }
}
