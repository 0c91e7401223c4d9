//! The site in memory.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::ids::ContentHash;
use domain::ports::{SiteFile, SiteStore, StoreError, WriteIf, Written};

/// A site in memory. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct MemorySite {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl MemorySite {
    /// Every file by its path.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inside(path: &str) -> Result<(), StoreError> {
    if !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it would lie outside of the site");
    Err(StoreError::Unavailable { doing: format!("write the page {path:?}"), source: Box::new(source) })
}

#[async_trait]
impl SiteStore for MemorySite {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        inside(path)?;
        Ok(self.lock().get(path).cloned())
    }

    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        inside(&file.path)?;
        let mut files = self.lock();
        let there = files.get(&file.path);
        if let WriteIf::Unchanged(expected) = condition
            && there.map(|bytes| ContentHash::of(bytes)) != *expected
        {
            return Ok(Written::Refused);
        }
        if there == Some(&file.body) {
            return Ok(Written::Unchanged);
        }
        files.insert(file.path.clone(), file.body.clone());
        Ok(Written::Written)
    }

    async fn list(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.lock().keys().cloned().collect())
    }

    async fn damaged(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        inside(path)?;
        self.lock().remove(path);
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
