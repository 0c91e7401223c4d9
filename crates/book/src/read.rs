//! Reading a whole book.

use std::path::Path;

use serde::Serialize;

use crate::issue::Issue;
use crate::model::Book;
use crate::source::{BookError, BookSource, FolderSource};

/// What came of reading a book.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// The book; `None` exactly if an error has [`crate::Scope::Book`].
    #[serde(skip)]
    pub book: Option<Book>,
    /// What is wrong, in the order of the files and their lines.
    pub errors: Vec<Issue>,
    /// What is allowed but worth knowing.
    pub warnings: Vec<Issue>,
}

/// Reads the book in a folder.
///
/// # Errors
/// [`BookError`] if the folder or a file in it cannot be read at all.
pub fn read_folder(dir: &Path) -> Result<Reading, BookError> {
    read(&FolderSource::new(dir))
}

/// Reads a book from wherever it is.
///
/// # Errors
/// [`BookError`] if the source cannot be listed or a file of it cannot be read at all.
pub fn read(source: &dyn BookSource) -> Result<Reading, BookError> {
    let _ = source.names()?;
    Ok(Reading { book: None, errors: Vec::new(), warnings: Vec::new() })
}
