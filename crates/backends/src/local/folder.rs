//! The site in a folder: a reader sees an old file or a new one, never half of one.

use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use domain::ids::ContentHash;
use domain::ports::{SiteFile, SiteStore, StoreError, WriteIf, Written};

/// A folder that holds the site.
#[derive(Debug)]
pub struct FolderSite {
    root: PathBuf,
    /// Whether anything was written since the last flush.
    unsynced: AtomicBool,
    /// Serialises conditional writes: the lock on the data folder keeps other processes out.
    condition: Mutex<()>,
}

fn unavailable(doing: String, source: std::io::Error) -> StoreError {
    StoreError::Unavailable { doing, source: Box::new(source) }
}

impl FolderSite {
    /// The site in this folder, which is made where it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(root: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(root)
            .map_err(|error| unavailable(format!("make the folder {}", root.display()), error))?;
        Ok(Self { root: root.to_path_buf(), unsynced: AtomicBool::new(false), condition: Mutex::default() })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path_of(&self, path: &str) -> Result<PathBuf, StoreError> {
        let relative = Path::new(path);
        let inside = !path.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
        if inside {
            Ok(self.root.join(relative))
        } else {
            Err(unavailable(
                format!("write the page {path:?}"),
                std::io::Error::new(std::io::ErrorKind::InvalidInput, "it would lie outside of the site"),
            ))
        }
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(unavailable(format!("read {}", path.display()), error)),
    }
}

/// Writes a whole file beside its place and renames it there. Not durable until it is synced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    set_readable(file.as_file())?;
    Ok(file)
}

/// A temporary file is private to its owner; a page of the site is for whoever serves the folder.
#[cfg(unix)]
fn set_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_readable(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn sync_file_system(folder: &std::fs::File) -> std::io::Result<()> {
    rustix::fs::syncfs(folder).map_err(Into::into)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(folder: &std::fs::File) -> std::io::Result<()> {
    folder.sync_all()
}

#[async_trait]
impl SiteStore for FolderSite {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        read_if_there(&self.path_of(path)?)
    }

    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        let path = self.path_of(&file.path)?;
        let _one_at_a_time = match condition {
            WriteIf::Always => None,
            WriteIf::Unchanged(_) => Some(self.condition.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        let there = read_if_there(&path)?;
        if let WriteIf::Unchanged(expected) = condition
            && there.as_deref().map(ContentHash::of) != *expected
        {
            return Ok(Written::Refused);
        }
        if there.as_deref() == Some(file.body.as_slice()) {
            return Ok(Written::Unchanged);
        }
        replace(&path, &file.body)
            .and_then(|new| new.persist(&path).map_err(|error| error.error))
            .map_err(|error| unavailable(format!("write the page {}", path.display()), error))?;
        self.unsynced.store(true, Ordering::Relaxed);
        Ok(Written::Written)
    }

    async fn flush(&self) -> Result<(), StoreError> {
        if !self.unsynced.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        // One call for all files of the publication: thousands of single syncs would take longer than the run.
        std::fs::File::open(&self.root)
            .and_then(|folder| sync_file_system(&folder))
            .map_err(|error| unavailable(format!("sync {}", self.root.display()), error))
    }
}
