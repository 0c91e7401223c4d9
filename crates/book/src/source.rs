//! Where the files of a book come from.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::value::grouped;

/// Why a book could not be read at all; what is wrong inside its files is an [`crate::Issue`] instead.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The folder is not there.
    #[error("there is no folder {}: give the folder that holds portfolios.csv and positions.csv, or make one with `nightbook init {}`", .0.display(), .0.display())]
    NoFolder(PathBuf),
    /// The path leads to something else.
    #[error("{} is not a folder: give the folder that holds portfolios.csv, not a file in it", .0.display())]
    NotAFolder(PathBuf),
    /// What has the name of a file of the book is nothing that can be read as one.
    #[error("cannot read {name}: {reason}")]
    Refused {
        /// The file.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Reading failed for a reason that has nothing to do with the content.
    #[error("cannot read {name}: {source}; {}", advice(source))]
    Unreadable {
        /// The file or folder.
        name: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl BookError {
    /// Reading `name` failed.
    pub fn unreadable(name: impl Into<String>, source: io::Error) -> Self {
        Self::Unreadable { name: name.into(), source }
    }

    /// Whether the machine has failed or has too little of something (open files, memory), so that nothing is wrong
    /// with the book.
    #[must_use]
    pub fn is_of_the_machine(&self) -> bool {
        match self {
            Self::NoFolder(_) | Self::NotAFolder(_) | Self::Refused { .. } => false,
            Self::Unreadable { source, .. } => !is_of_the_path(source),
        }
    }
}

/// Whether a path is the reason: it leads nowhere, to something else, or to what this user may not read.
fn is_of_the_path(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    let kinds = [InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied];
    kinds.contains(&error.kind())
}

fn advice(error: &io::Error) -> &'static str {
    if is_of_the_path(error) {
        "check that the file exists and may be read by this user"
    } else {
        "the book is not the reason: check the disk and the limits of this process (`ulimit -a`), then try again"
    }
}

/// A file of a book may have this many bytes, stored or expanded: 2 GiB. 50 million price rows take less.
pub(crate) const MAX_FILE_BYTES: u64 = 2 << 30;

/// The files at the top of a book.
pub(crate) const FILES: [&str; 5] = ["nightbook.toml", "portfolios.csv", "equity.csv", "positions.csv", "prices.csv"];

/// A place that holds the files of a book: a folder, a prefix of a bucket, memory.
pub trait BookSource: Send + Sync {
    /// The names of all files, relative to the book, with `/` between folder and file; in any order.
    ///
    /// # Errors
    /// [`BookError`] if they cannot be listed.
    fn names(&self) -> Result<Vec<String>, BookError>;

    /// Opens one of these files.
    ///
    /// # Errors
    /// [`BookError`] if it cannot be opened.
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, BookError>;
}

/// A book in a folder of this machine: its files, and the files of the folder `prices` in it.
#[derive(Debug, Clone)]
pub struct FolderSource(PathBuf);

impl FolderSource {
    /// The book in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// What tells one state of the folder from another without reading it: name, length and time of the last change
    /// of each file. Two equal stamps mean that nothing was written in between.
    ///
    /// # Errors
    /// [`BookError`] if the folder or a file in it cannot be looked at.
    pub fn stamp(&self) -> Result<FolderStamp, BookError> {
        let mut files = Vec::new();
        for name in self.names()? {
            let path = self.0.join(&name);
            let unreadable = |source| BookError::unreadable(path.display().to_string(), source);
            let meta = std::fs::metadata(&path).map_err(unreadable)?;
            files.push((name, meta.len(), meta.modified().map_err(unreadable)?));
        }
        files.sort();
        Ok(FolderStamp(files))
    }

    /// What tells one state of `nightbook.toml` from another without reading it. Two equal stamps mean that it was
    /// neither written nor replaced in between.
    ///
    /// # Errors
    /// [`BookError`] if the folder or the file cannot be looked at.
    pub fn settings_stamp(&self) -> Result<SettingsStamp, BookError> {
        let path = self.0.join(crate::settings_file::FILE);
        let unreadable = |source| BookError::unreadable(path.display().to_string(), source);
        match std::fs::metadata(&path) {
            Ok(meta) => Ok(SettingsStamp(Some((meta.ino(), meta.len(), meta.modified().map_err(unreadable)?)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.0.is_dir() => Ok(SettingsStamp(None)),
            Err(error) => Err(unreadable(error)),
        }
    }

    fn list(&self, below: &str, names: &mut Vec<String>) -> Result<(), BookError> {
        let folder = self.0.join(below);
        let unreadable = |source| BookError::unreadable(folder.display().to_string(), source);
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            // A name that is not UTF-8 cannot be one of ours. Hidden files are the editor's or the system's.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            // Follows links, so that prices may live elsewhere; a dangling one shows when it is opened.
            let is_dir = std::fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir());
            match (is_dir, below.is_empty()) {
                (false, true) => names.push(name),
                (false, false) => names.push(format!("{below}/{name}")),
                (true, true) if name == "prices" => self.list("prices", names)?,
                // A folder with the name of a file is said to be one when it is opened.
                (true, true) if is_file_of_a_book(&name) => names.push(name),
                (true, false) if is_table(&name) => names.push(format!("{below}/{name}")),
                (true, _) => {}
            }
        }
        Ok(())
    }
}

impl BookSource for FolderSource {
    fn names(&self) -> Result<Vec<String>, BookError> {
        match std::fs::metadata(&self.0) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(BookError::NotAFolder(self.0.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BookError::NoFolder(self.0.clone()));
            }
            Err(error) => return Err(BookError::unreadable(self.0.display().to_string(), error)),
        }
        let mut names = Vec::new();
        self.list("", &mut names)?;
        Ok(names)
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, BookError> {
        let path = self.0.join(name);
        let unreadable = |source| BookError::unreadable(path.display().to_string(), source);
        let refused = |reason: String| Err(BookError::Refused { name: path.display().to_string(), reason });
        // Before it is opened: opening a FIFO waits for somebody who writes into it.
        let meta = std::fs::metadata(&path).map_err(unreadable)?;
        if !meta.is_file() {
            return refused(format!(
                "it is {}, and a file of a book must be a regular file",
                kind_of(meta.file_type())
            ));
        }
        if meta.len() > MAX_FILE_BYTES {
            return refused(format!(
                "it has {} bytes, and a file of a book may have {} at most",
                grouped(meta.len()),
                grouped(MAX_FILE_BYTES)
            ));
        }
        Ok(Box::new(std::fs::File::open(&path).map_err(unreadable)?))
    }
}

/// What something is that is no regular file.
fn kind_of(kind: std::fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "something else"
    }
}

fn is_table(name: &str) -> bool {
    name.ends_with(".csv") || name.ends_with(".csv.gz")
}

/// Whether a name at the top of a book is that of one of its files.
fn is_file_of_a_book(name: &str) -> bool {
    FILES.contains(&name.strip_suffix(".gz").unwrap_or(name))
}

/// A state of a folder, from [`FolderSource::stamp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderStamp(Vec<(String, u64, SystemTime)>);

/// A state of `nightbook.toml`, from [`FolderSource::settings_stamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsStamp(
    /// Number, length in bytes and time of the last change of the file; `None`: there is no file.
    Option<(u64, u64, SystemTime)>,
);

/// A book in memory, for tests and the demo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemorySource(
    /// Content by name.
    pub BTreeMap<String, Vec<u8>>,
);

impl MemorySource {
    /// A book of these files.
    #[must_use]
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self(files)
    }

    /// Adds a file or replaces it.
    pub fn insert(&mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.insert(name.into(), content.into());
    }
}

impl BookSource for MemorySource {
    fn names(&self) -> Result<Vec<String>, BookError> {
        Ok(self.0.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, BookError> {
        match self.0.get(name) {
            Some(content) => Ok(Box::new(Cursor::new(content.clone()))),
            None => Err(BookError::unreadable(name, io::ErrorKind::NotFound.into())),
        }
    }
}
