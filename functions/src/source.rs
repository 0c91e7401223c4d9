//! The book, read from a bucket.

use std::collections::BTreeMap;

use anyhow::Context as _;
use async_trait::async_trait;
use book::{Book, MemorySource, Reading};
use domain::ports::StoreError;

/// Where the files of the book are.
#[async_trait]
pub trait BookFiles: Send + Sync {
    /// All files: content by name.
    ///
    /// # Errors
    /// They cannot be listed or read.
    async fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError>;
}

#[async_trait]
impl BookFiles for backends::aws::BookBucket {
    async fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        self.read().await
    }
}

/// Errors of a book that are told in full.
const TOLD: usize = 20;

/// The book as it is now.
///
/// # Errors
/// It cannot be read, or cannot be run; the errors in it are the message.
pub async fn read_book(source: &dyn BookFiles) -> anyhow::Result<Book> {
    let mut memory = MemorySource::default();
    for (name, content) in source.files().await? {
        memory.insert(name, content);
    }
    let reading = tokio::task::spawn_blocking(move || book::read(&memory)).await.context("the book was not read")?;
    let Reading { book, errors, warnings } = reading.context("the book cannot be read")?;
    let Some(book) = book else {
        let lines: Vec<String> = errors.iter().take(TOLD).map(ToString::to_string).collect();
        let more = errors.len().saturating_sub(TOLD);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        anyhow::bail!(
            "the book cannot be run (`nightbook check --book` on a copy lists all errors): {}{more}",
            lines.join("; ")
        );
    };
    if let Some(first) = errors.first() {
        tracing::warn!(
            errors = errors.len(), first = %first, event = "book.errors",
            "the book has errors: they fail the portfolios they belong to, or leave prices out"
        );
    }
    if let Some(first) = warnings.first() {
        tracing::info!(warnings = warnings.len(), first = %first, event = "book.warnings", "the book has warnings");
    }
    Ok(book)
}
