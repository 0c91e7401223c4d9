//! The publication of the pages that a run changed.

use async_trait::async_trait;

use super::StoreError;
use crate::ids::RunId;
use crate::run::Run;

/// Publishes the pages that a run changed: all at once, or in three steps if the run is too large for that. Every step
/// returns the number of files written, and can be repeated.
///
/// No method has a default: a publisher that [spreads](Self::spreads) and inherited steps that do nothing would record
/// a publication without pages.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes everything for this run.
    async fn publish(&self, run: RunId) -> Result<u64, PublishError>;
    /// Whether this run is published in three steps, with one message for the pages of each bucket.
    fn spreads(&self, run: &Run) -> bool;
    /// The first step: everything that the pages of portfolios link to.
    async fn begin(&self, run: RunId) -> Result<u64, PublishError>;
    /// The second step, for each bucket: the pages of its portfolios.
    async fn publish_bucket(&self, run: RunId, bucket: u32) -> Result<u64, PublishError>;
    /// The third step, once every bucket is written: everything that links to the pages of portfolios, the index last.
    async fn finish(&self, run: RunId) -> Result<u64, PublishError>;
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
    /// Nothing may be published: what the site may show is in doubt.
    #[error("nothing is published: {0}")]
    Withheld(String),
    /// Another publication changed how much the site shows.
    #[error("another publication changed how much the site shows; publish again")]
    DetailChanged,
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
