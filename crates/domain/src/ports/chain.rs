//! The chain of closed runs.

use async_trait::async_trait;

use super::StoreError;
use crate::chain::{Appended, Link};
use crate::ids::RunId;

/// The links of the chain of closed runs. A link never changes and is never retired.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The link with the highest number; `None` before the first run was closed.
    async fn newest_link(&self) -> Result<Option<Link>, StoreError>;
    /// The link of a run; `None` if it has none.
    async fn link_of(&self, run: RunId) -> Result<Option<Link>, StoreError>;
    /// Stores a link, unless its number is taken or its run has one. Its number must be that of the newest link plus 1.
    async fn append_link(&self, link: &Link) -> Result<Appended, StoreError>;
    /// The links after this number, in order, at most `limit`.
    async fn links(&self, after: u64, limit: usize) -> Result<Vec<Link>, StoreError>;
}
