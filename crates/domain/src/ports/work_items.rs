//! The work items: one portfolio in one run.

use async_trait::async_trait;

use super::{Change, StoreError};
use crate::ids::RunId;
use crate::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};

/// The work items of the runs.
#[async_trait]
pub trait WorkItems: Send + Sync {
    /// Applies an event to a work item, all or nothing. An item without a record is [`WorkItem::untouched`] with this
    /// name and place. An event whose reply was lost counts as applied: see [`WorkItem::is_result_of`].
    async fn apply_item(
        &self,
        key: &ItemKey,
        name: &str,
        place: Place,
        event: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError>;
    /// A work item; none if no event was ever applied to it.
    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError>;
    /// The items of one bucket that have seen an event, in the order of their places, with their records.
    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError>;
}
