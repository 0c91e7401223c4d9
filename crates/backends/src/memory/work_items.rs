//! The work items in memory.

use async_trait::async_trait;
use domain::ids::RunId;
use domain::ports::{Change, StoreError, WorkItems};
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};

use super::MemoryStore;

#[async_trait]
impl WorkItems for MemoryStore {
    async fn apply_item(
        &self,
        key: &ItemKey,
        name: &str,
        place: Place,
        event: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError> {
        let mut state = self.state();
        let item = state.items.get(key).cloned();
        let item = item.unwrap_or_else(|| WorkItem::untouched(key.clone(), name.to_owned(), place));
        match item.next(event) {
            Ok(next) => {
                state.need_run(key.run)?;
                state.items.insert(key.clone(), next.clone());
                Ok(Change::Applied(next))
            }
            // The reply was lost, and the request came again.
            Err(_) if item.is_result_of(event) => Ok(Change::Applied(item)),
            Err(refusal) => Ok(Change::Refused(item, refusal)),
        }
    }

    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError> {
        Ok(self.state().items.get(key).cloned())
    }

    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
        let state = self.state();
        Ok(state.of_run(run).into_iter().filter(|item| item.place.bucket == bucket).cloned().collect())
    }
}
