//! The book in a folder.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use app::{BookReader, ControlError, usable_book};
use async_trait::async_trait;
use book::{Book, Reading};
use domain::ports::StoreError;

/// Reads the book of a folder for each request.
#[derive(Debug, Clone)]
pub(crate) struct FolderBook {
    folder: PathBuf,
}

impl FolderBook {
    /// The book in this folder.
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

fn name_of(folder: &Path) -> String {
    format!("the book {}", folder.display())
}

fn check_of(folder: &Path) -> String {
    format!("nightbook check --book {}", folder.display())
}

/// Reads a book that can be run; the errors of one that cannot are the message.
pub(crate) fn read_usable(folder: &Path) -> anyhow::Result<Book> {
    let reading = book::read_folder(folder)?;
    Ok(usable_book(reading, &name_of(folder), &check_of(folder)).map_err(ControlError::from)?)
}

#[async_trait]
impl BookReader for FolderBook {
    async fn read(&self) -> Result<Reading, ControlError> {
        let folder = self.folder.clone();
        let read = tokio::task::spawn_blocking(move || book::read_folder(&folder)).await;
        let read = read.context("the book was not read").map_err(|error| StoreError::Unavailable {
            doing: format!("read {}", self.folder.display()),
            source: error.into(),
        })?;
        Ok(read?)
    }

    fn name(&self) -> String {
        name_of(&self.folder)
    }

    fn check_command(&self) -> String {
        check_of(&self.folder)
    }
}
