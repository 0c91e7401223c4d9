//! The book, read from a bucket.

use std::collections::BTreeMap;

use app::{BookReader, ControlError, read_usable};
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

struct BucketBook<'a>(&'a dyn BookFiles);

#[async_trait]
impl BookReader for BucketBook<'_> {
    async fn read(&self) -> Result<Reading, ControlError> {
        let mut memory = MemorySource::default();
        for (name, content) in self.0.files().await? {
            memory.insert(name, content);
        }
        let reading = tokio::task::spawn_blocking(move || book::read(&memory)).await;
        let reading = reading
            .map_err(|error| StoreError::Unavailable { doing: "read the book".to_owned(), source: error.into() })?;
        Ok(reading?)
    }

    fn name(&self) -> String {
        "the book".to_owned()
    }

    fn check_command(&self) -> String {
        "nightbook check --book COPY".to_owned()
    }
}

/// The book as it is now.
///
/// # Errors
/// The bucket, or a book that cannot be run; the errors in it are the message.
pub async fn read_book(source: &dyn BookFiles) -> Result<Book, ControlError> {
    read_usable(&BucketBook(source)).await
}
