//! The site in a folder: a reader sees an old file or a new one, never half of one, also after a power cut.
//!
//! A page is written to a file of its own first. [`SiteStore::flush`] syncs all of these, renames them to their places in
//! the order in which they were written, and syncs the renames. So a place never names content that is not on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::ids::ContentHash;
use domain::ports::{SiteFile, SiteStore, StoreError, WriteIf, Written};
use tempfile::TempPath;

use super::inventory::{INVENTORY, Inventory};

/// The folder in the root of the site with the pages that have no place yet. What a process that died left there is
/// removed.
const NEW: &str = ".new";

/// Up to this many files are synced one by one, more of them with one call for their file system.
const SYNCED_SINGLY: usize = 16;

/// A folder that holds the site.
#[derive(Debug)]
pub struct FolderSite {
    root: PathBuf,
    /// Also serializes conditional writes: the lock on the data folder keeps other processes out.
    pending: Mutex<Pending>,
}

/// What was written or removed since the last flush.
#[derive(Debug, Default)]
struct Pending {
    /// The new pages by path, each with its turn.
    pages: BTreeMap<String, (u64, TempPath)>,
    /// The turn of the next page.
    next: u64,
    /// Pages that were to be written and are there already, with their sizes.
    unchanged: BTreeMap<String, u64>,
    /// Folders from which a file was removed.
    removed_from: BTreeSet<PathBuf>,
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
        // Where this fails, the folder cannot be written, which the first page tells.
        let _ = std::fs::remove_dir_all(root.join(NEW));
        std::fs::create_dir_all(root)
            .map_err(|error| unavailable(format!("make the folder {}", root.display()), error))?;
        Ok(Self { root: root.to_path_buf(), pending: Mutex::default() })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The page as it will be after the next flush.
    fn current(&self, path: &str, pending: &Pending) -> Result<Option<Vec<u8>>, StoreError> {
        match pending.pages.get(path) {
            Some((_, page)) => read_if_there(page),
            None => read_if_there(&self.path_of(path)?),
        }
    }

    fn write_new(&self, body: &[u8]) -> std::io::Result<TempPath> {
        let folder = self.root.join(NEW);
        std::fs::create_dir_all(&folder)?;
        let mut file = tempfile::Builder::new().tempfile_in(folder)?;
        file.write_all(body)?;
        set_readable(file.as_file())?;
        Ok(file.into_temp_path())
    }

    /// Syncs the new pages, renames them to their places in turn, and syncs the folders.
    fn publish(&self, pending: Pending) -> std::io::Result<()> {
        let Pending { pages, unchanged, removed_from: mut folders, .. } = pending;
        let mut pages: Vec<(String, u64, TempPath)> =
            pages.into_iter().map(|(path, (turn, page))| (path, turn, page)).collect();
        pages.sort_by_key(|(_, turn, _)| *turn);
        let size = |page: &TempPath| std::fs::metadata(page).map(|page| page.len());
        let sizes = pages.iter().map(|(path, _, page)| Ok((path.as_str(), size(page)?)));
        let sizes = unchanged.iter().map(|(path, size)| Ok((path.as_str(), *size))).chain(sizes);
        Inventory::of(&self.root).update(&sizes.collect::<std::io::Result<Vec<_>>>()?, !folders.is_empty())?;
        self.sync(pages.iter().map(|(_, _, page)| page.to_path_buf()))?;
        for (path, _, page) in pages {
            let target = self.root.join(&path);
            let named =
                |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", target.display()));
            if let Some(folder) = target.parent() {
                std::fs::create_dir_all(folder).map_err(named)?;
            }
            page.persist(&target).map_err(|error| named(error.error))?;
            folders
                .extend(target.ancestors().skip(1).take_while(|at| at.starts_with(&self.root)).map(Path::to_path_buf));
        }
        self.sync(folders.into_iter())
    }

    /// Makes these files or folders durable.
    fn sync(&self, paths: impl ExactSizeIterator<Item = PathBuf>) -> std::io::Result<()> {
        if paths.len() > SYNCED_SINGLY {
            // One call: thousands of single syncs would take longer than the run.
            return sync_all_of(&self.root);
        }
        for path in paths {
            match std::fs::File::open(&path) {
                Ok(file) => file.sync_all()?,
                // A folder whose last file was removed is removed too.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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

/// The paths of all files below `folder`, relative to `root`. A link is a file, wherever it leads to.
fn files_below(root: &Path, folder: &Path, files: &mut BTreeSet<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let relative = path.strip_prefix(root).unwrap_or(&path);
        if std::fs::symlink_metadata(&path)?.is_dir() {
            if relative != Path::new(NEW) {
                files_below(root, &path, files)?;
            }
        } else if let Some(text) = relative.to_str().filter(|text| *text != INVENTORY) {
            files.insert(text.to_owned());
        }
    }
    Ok(())
}

/// Writes a whole file beside its place, to be renamed there. Not durable until it is synced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    set_readable(file.as_file())?;
    Ok(file)
}

/// Replaces a file so that it holds the old content or the new one, also after a power cut. Only its owner can read it.
///
/// # Errors
/// The folder cannot be written.
pub fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
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

/// Makes everything in a folder durable, with one call for its file system.
pub(crate) fn sync_all_of(folder: &Path) -> std::io::Result<()> {
    sync_file_system(&std::fs::File::open(folder)?)
}

#[async_trait]
impl SiteStore for FolderSite {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.path_of(path)?;
        self.current(path, &self.pending())
    }

    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        let path = self.path_of(&file.path)?;
        let mut pending = self.pending();
        let there = self.current(&file.path, &pending)?;
        if let WriteIf::Unchanged(expected) = condition
            && there.as_deref().map(ContentHash::of) != *expected
        {
            return Ok(Written::Refused);
        }
        if there.as_deref() == Some(file.body.as_slice()) {
            pending.unchanged.insert(file.path.clone(), file.body.len() as u64);
            return Ok(Written::Unchanged);
        }
        let new = self.write_new(&file.body);
        let page = new.map_err(|error| unavailable(format!("write the page {}", path.display()), error))?;
        let turn = pending.next;
        pending.next += 1;
        pending.pages.insert(file.path.clone(), (turn, page));
        Ok(Written::Written)
    }

    async fn list(&self) -> Result<Vec<String>, StoreError> {
        let mut files: BTreeSet<String> = self.pending().pages.keys().cloned().collect();
        files_below(&self.root, &self.root, &mut files)
            .map_err(|error| unavailable(format!("list {}", self.root.display()), error))?;
        Ok(files.into_iter().collect())
    }

    async fn damaged(&self) -> Result<Vec<String>, StoreError> {
        let damaged = Inventory::of(&self.root).damaged();
        damaged.map_err(|error| unavailable(format!("verify the files of {}", self.root.display()), error))
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        let place = self.path_of(path)?;
        let mut pending = self.pending();
        pending.pages.remove(path);
        pending.unchanged.remove(path);
        // Also where it is gone already: the inventory names it until the next flush.
        pending.removed_from.insert(self.root.clone());
        match std::fs::remove_file(&place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(|error| unavailable(format!("remove the page {}", place.display()), error))?,
        }
        for folder in place.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            pending.removed_from.insert(folder.to_path_buf());
            // It fails while there are other files in it.
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        // Held to the end: a page that is written meanwhile would be compared with neither the old one nor the new one.
        let mut held = self.pending();
        let pending = std::mem::take(&mut *held);
        if pending.pages.is_empty() && pending.unchanged.is_empty() && pending.removed_from.is_empty() {
            return Ok(());
        }
        self.publish(pending).map_err(|error| unavailable(format!("write the pages of {}", self.root.display()), error))
    }
}
