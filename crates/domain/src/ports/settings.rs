//! The file of the stored settings.

use async_trait::async_trait;

use super::StoreError;

/// The file that holds the settings of the book that was run last: whoever publishes and watches needs them, and may not
/// read the book.
#[async_trait]
pub trait SettingsFile: Send + Sync {
    /// The content; `None` where it was never written.
    ///
    /// # Errors
    /// It cannot be read.
    async fn read(&self) -> Result<Option<Vec<u8>>, StoreError>;
    /// Replaces the content.
    ///
    /// # Errors
    /// It cannot be written.
    async fn write(&self, json: Vec<u8>) -> Result<(), StoreError>;
}
