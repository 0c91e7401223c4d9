//! The chain of closed runs in memory.

use async_trait::async_trait;
use domain::chain::{Appended, Link};
use domain::ids::RunId;
use domain::ports::{Chain, StoreError};

use super::MemoryStore;

#[async_trait]
impl Chain for MemoryStore {
    async fn newest_link(&self) -> Result<Option<Link>, StoreError> {
        Ok(self.state().chain.last_key_value().map(|(_, link)| link.clone()))
    }

    async fn link_of(&self, run: RunId) -> Result<Option<Link>, StoreError> {
        Ok(self.state().chain.values().find(|link| link.batch_run_id == Some(run)).cloned())
    }

    async fn append_link(&self, link: &Link) -> Result<Appended, StoreError> {
        let mut state = self.state();
        let of_run =
            state.chain.values().find(|other| link.batch_run_id.is_some() && other.batch_run_id == link.batch_run_id);
        if let Some(of_run) = of_run {
            return Ok(Appended::RunHasLink(of_run.clone()));
        }
        if state.chain.contains_key(&link.number) {
            return Ok(Appended::NumberTaken);
        }
        state.chain.insert(link.number, link.clone());
        Ok(Appended::Appended)
    }

    async fn links(&self, after: u64, limit: usize) -> Result<Vec<Link>, StoreError> {
        Ok(self.state().chain.values().filter(|link| link.number > after).take(limit).cloned().collect())
    }
}
