//! The publication of the pages that a run changed.

use async_trait::async_trait;

use super::StoreError;
use crate::ids::RunId;
use crate::run::Run;

/// Publishes the pages that a run changed: all at once, or in three steps where a run is too large for that. Every step
/// says how many files were written, and may be repeated.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes for this run.
    async fn publish(&self, run: RunId) -> Result<u64, PublishError>;
    /// Whether the pages of the portfolios of this run are written by messages, one for each bucket.
    fn spreads(&self, _run: &Run) -> bool {
        false
    }
    /// The first step of a publication that is spread: what the pages of portfolios lead to.
    async fn begin(&self, _run: RunId) -> Result<u64, PublishError> {
        Ok(0)
    }
    /// The second, for each bucket: the pages of its portfolios.
    async fn publish_bucket(&self, _run: RunId, _bucket: u32) -> Result<u64, PublishError> {
        Ok(0)
    }
    /// The third, once every bucket is there: what leads to the pages of portfolios, and last the index.
    async fn finish(&self, run: RunId) -> Result<u64, PublishError> {
        self.publish(run).await
    }
}

/// Why the site could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The records could not be read.
    #[error("cannot read the records to publish")]
    Records(#[from] StoreError),
    /// It went on for so long that the run was closed without it.
    #[error("publishing took longer than {minutes} minutes and was given up")]
    TooSlow {
        /// The limit.
        minutes: u64,
    },
    /// A page could not be rendered or written.
    #[error("cannot publish {path}")]
    Page {
        /// The page.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
