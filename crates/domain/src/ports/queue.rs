//! Messages between the steps of a run.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::ids::RunId;
use crate::work_item::{ItemKey, Place};

/// A message: process this portfolio of this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkMessage {
    /// The work item.
    pub key: ItemKey,
    /// The portfolio's name.
    pub name: String,
    /// Its place.
    pub place: Place,
}

/// Sends messages. Delivery is at least once and in any order.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Sends work.
    async fn send_work(&self, messages: Vec<WorkMessage>) -> Result<(), StoreError>;
    /// About how many messages for work wait to be received; `None` if the queue cannot tell.
    async fn waiting_work(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
    /// Asks for the close of a run.
    async fn send_close(&self, run: RunId) -> Result<(), StoreError>;
    /// Asks for the pages of the portfolios of these buckets of a run, each by a message of its own. Only a publisher
    /// that [spreads](super::Publisher::spreads) runs has them sent.
    async fn send_pages(&self, run: RunId, buckets: Vec<u32>) -> Result<(), StoreError>;
}
