//! The files of the site.

use async_trait::async_trait;

use super::StoreError;
use crate::ids::ContentHash;

/// A file of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFile {
    /// Path below the root, with `/`, for example `runs/<id>/index.html`.
    pub path: String,
    /// Media type, for example `text/html; charset=utf-8`.
    pub content_type: &'static str,
    /// Content.
    pub body: Vec<u8>,
}

impl SiteFile {
    /// How long a reader may keep it, as a `Cache-Control` header says it.
    ///
    /// What tells how things stand is asked for again after half a minute; pages of runs that are over change only with
    /// a new release, a rebuild or a setting, so they are kept for an hour and then asked for by their `ETag`.
    #[must_use]
    pub fn cache_control(&self) -> &'static str {
        if self.path.starts_with("runs/") || self.path.starts_with("schemas/") {
            "public, max-age=3600"
        } else {
            "public, max-age=30"
        }
    }

    /// Whether it becomes smaller when it is compressed: all texts do.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let kind = self.content_type.split(';').next().unwrap_or_default();
        kind.starts_with("text/") || ["application/json", "application/atom+xml", "image/svg+xml"].contains(&kind)
    }
}

/// What may be overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteIf {
    /// Whatever is there.
    Always,
    /// Only if the file is still the one that was read: its hash, or none where there was none.
    Unchanged(Option<ContentHash>),
}

/// The folder or bucket that holds the site.
#[async_trait]
pub trait SiteStore: Send + Sync {
    /// A file, or none.
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes a file, atomically: a reader sees the old one or the new one. A file that is there with the same
    /// content is left alone. Says whether it was written; with [`WriteIf::Unchanged`], `Refused` when somebody else
    /// wrote in between.
    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError>;
    /// The paths of all files, in any order.
    async fn list(&self) -> Result<Vec<String>, StoreError>;
    /// The paths of files that were written and are missing or not as they were written, as far as the store can lose any.
    async fn damaged(&self) -> Result<Vec<String>, StoreError>;
    /// Removes a file. One that is not there is no error.
    async fn remove(&self, path: &str) -> Result<(), StoreError>;
    /// Makes everything written and removed so far durable. Called before the index and after it.
    async fn flush(&self) -> Result<(), StoreError>;
}

/// What became of a write to the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The file was written.
    Written,
    /// It was there already, the same.
    Unchanged,
    /// Somebody else wrote in between.
    Refused,
}
