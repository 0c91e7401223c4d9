//! The nights: their heads, and the documents that hold the rest.

use async_trait::async_trait;
use chrono::NaiveDate;

use super::StoreError;
use crate::ids::{ContentHash, ScheduleName};
use crate::night::{NightHead, NightKey};

/// Which nights of a series, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NightQuery {
    /// The night series.
    pub series: ScheduleName,
    /// The earliest trading date; none: no bound.
    pub from: Option<NaiveDate>,
    /// The latest trading date; none: no bound.
    pub to: Option<NaiveDate>,
    /// At most so many; 0: all.
    pub limit: usize,
}

/// How long a document of a night is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As long as the records that are written at the same time: what a plan seals, and a night with an open run, which
    /// can be folded again from these records.
    AsRecords,
    /// Until the head of the night names another document.
    UntilReplaced,
}

/// The nights: one head for each night series and trading date, and documents by the hash of their content.
#[async_trait]
pub trait Nights: Send + Sync {
    /// The head of a night; `None` if it was never written.
    async fn night(&self, key: &NightKey) -> Result<Option<NightHead>, StoreError>;
    /// Writes a head, if the stored one still has its version (0: there is none); it is stored with the next version.
    /// Returns whether it was written.
    async fn put_night(&self, head: &NightHead) -> Result<bool, StoreError>;
    /// The selected heads, newest trading date first.
    async fn nights(&self, query: &NightQuery) -> Result<Vec<NightHead>, StoreError>;
    /// Stores what a plan seals for the night, or a folded night, under the hash of its content; durable when it returns.
    /// Stored again, it is kept as if it had been stored for the first time.
    async fn put_night_document(&self, bytes: Vec<u8>, keep: Keep) -> Result<ContentHash, StoreError>;
    /// The document with this hash, verified; `None` if it was never stored or has been retired.
    async fn night_document(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError>;
    /// The night series that have a head, sorted.
    async fn night_series(&self) -> Result<Vec<ScheduleName>, StoreError>;
}
