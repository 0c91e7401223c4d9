//! The files of a book under a prefix of a bucket.

use std::collections::BTreeMap;

use domain::ports::StoreError;

use super::unavailable;

/// A book in a bucket: its files, and those of the folder `prices` in it.
#[derive(Debug, Clone)]
pub struct BookBucket {
    s3: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
}

/// Whether a name below the prefix is a file of a book: at the top or in `prices`, and not hidden.
fn of_the_book(name: &str) -> bool {
    let file = name.strip_prefix("prices/").unwrap_or(name);
    !file.is_empty() && !file.contains('/') && !file.starts_with('.')
}

impl BookBucket {
    pub(super) fn new(s3: aws_sdk_s3::Client, bucket: String, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { s3, bucket, prefix }
    }

    /// Reads all files: content by name, relative to the book.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be listed or read.
    pub async fn read(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let place = format!("s3://{}/{}", self.bucket, self.prefix);
        let mut names = Vec::new();
        let listing = self.s3.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix);
        let mut pages = listing.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| unavailable(format!("list the book in {place}"), error))?;
            let below = page.contents().iter().filter_map(|object| object.key()?.strip_prefix(&self.prefix));
            names.extend(below.filter(|name| of_the_book(name)).map(str::to_owned));
        }
        let mut files = BTreeMap::new();
        for name in names {
            let doing = || format!("read {name} of the book in {place}");
            let request = self.s3.get_object().bucket(&self.bucket).key(format!("{}{name}", self.prefix));
            let object = request.send().await.map_err(|error| unavailable(doing(), error))?;
            let bytes = object.body.collect().await.map_err(|error| unavailable(doing(), error))?;
            files.insert(name, bytes.to_vec());
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_book_are_read() {
        for name in ["portfolios.csv", "prices/AAPL.csv"] {
            assert!(of_the_book(name), "{name}");
        }
        for name in ["", "prices/", ".hidden", "prices/.tmp", "old/portfolios.csv", "prices/a/b.csv"] {
            assert!(!of_the_book(name), "{name}");
        }
    }
}
