//! The stored settings in the bucket of the records.

use app::SettingsFile;
use async_trait::async_trait;
use domain::ports::StoreError;

/// The file in the bucket.
#[derive(Debug)]
pub struct SettingsObject(pub backends::aws::KeptFile);

#[async_trait]
impl SettingsFile for SettingsObject {
    async fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read().await
    }

    async fn write(&self, json: Vec<u8>) -> Result<(), StoreError> {
        self.0.write(json).await
    }
}
