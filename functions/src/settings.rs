//! Nights by the stored settings.

use std::sync::Arc;

use app::{NightReader, NightSettings, stored_settings};
use async_trait::async_trait;
use domain::night::next_step::CommandTarget;
use domain::ports::{SettingsFile, StoreError};

/// Reads nights by the stored settings.
pub struct StoredNights {
    /// The file of the settings.
    pub file: Arc<dyn SettingsFile>,
    /// The table, for the commands that an answer advises.
    pub table: String,
}

impl std::fmt::Debug for StoredNights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredNights").field("table", &self.table).finish_non_exhaustive()
    }
}

#[async_trait]
impl NightSettings for StoredNights {
    async fn reader(&self) -> Result<NightReader, StoreError> {
        let kept = stored_settings(self.file.as_ref()).await?.unwrap_or_default();
        let target = CommandTarget::Table { book: None, table: self.table.clone() };
        Ok(NightReader { schedule: kept.settings.schedule, target })
    }
}
