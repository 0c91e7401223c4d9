//! The settings of the book that was run last, for the functions that may not read the book.

use anyhow::Context as _;
use app::StoredSettings;
use async_trait::async_trait;
use book::Book;
use domain::ports::{Ports, StoreError};

/// Where they are kept.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// The file; none where it was never written.
    ///
    /// # Errors
    /// It cannot be read.
    async fn read(&self) -> Result<Option<Vec<u8>>, StoreError>;
    /// Replaces the file.
    ///
    /// # Errors
    /// It cannot be written.
    async fn write(&self, json: Vec<u8>) -> Result<(), StoreError>;
}

#[async_trait]
impl Keeper for backends::aws::KeptFile {
    async fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Self::read(self).await
    }

    async fn write(&self, json: Vec<u8>) -> Result<(), StoreError> {
        Self::write(self, json).await
    }
}

/// What is kept; none before the first run.
///
/// # Errors
/// It cannot be read, or is no settings.
pub async fn kept(keeper: &dyn Keeper) -> anyhow::Result<Option<StoredSettings>> {
    let Some(json) = keeper.read().await? else { return Ok(None) };
    serde_json::from_slice(&json)
        .map(Some)
        .context("the kept settings are damaged; the next run from the book mends them")
}

/// Keeps the settings of a book. The key of a redacted site and the beginning of the records are made once and stay.
///
/// # Errors
/// They cannot be read or written.
pub async fn keep(keeper: &dyn Keeper, book: &Book, ports: &Ports) -> Result<(), StoreError> {
    let before = match keeper.read().await? {
        None => None,
        Some(json) => serde_json::from_slice::<StoredSettings>(&json).map_err(|error| {
            tracing::warn!(error = %error, event = "settings.replaced", "the kept settings are damaged and are replaced");
        })
        .ok(),
    };
    let kept = StoredSettings::of(book).after(before.clone(), ports.randomness.as_ref(), ports.clock.now());
    if before.as_ref() != Some(&kept) {
        let json = serde_json::to_vec_pretty(&kept).map_err(|error| StoreError::Unavailable {
            doing: "write the settings as JSON".to_owned(),
            source: error.into(),
        })?;
        keeper.write(json).await?;
    }
    Ok(())
}
