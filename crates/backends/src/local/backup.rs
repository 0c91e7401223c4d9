//! Copies of the data folder, and what verifies one without changing it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use domain::ports::StoreError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::closes::LocalCloses;
use super::folder::{sync_all_of, write_durably};
use super::open::LocalStore;
use super::writer::OpError;
use crate::examine::DoctorReport;

/// Files of the data folder without which nothing is published.
const PUBLISHING: [&str; 2] = ["site-settings.json", "redaction-key"];

/// The file of the site that says by which detail its pages were written.
const DETAIL_MARK: &str = "detail.txt";

/// The list of the files of a backup.
const LIST: &str = "backup.json";

/// Files that are made where records are opened. They are no part of a backup.
const BESIDE: [&str; 4] = [LIST, "lock", "records.sqlite-wal", "records.sqlite-shm"];

/// A file of a backup.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ListedFile {
    bytes: u64,
    sha256: String,
}

impl ListedFile {
    fn of(path: &Path) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(path)?;
        let (mut hash, mut part, mut bytes) = (Sha256::new(), vec![0; 1 << 16], 0);
        loop {
            let read = file.read(&mut part)?;
            if read == 0 {
                break;
            }
            hash.update(&part[..read]);
            bytes += read as u64;
        }
        Ok(Self { bytes, sha256: hex::encode(hash.finalize()) })
    }
}

/// The files of a backup, by their paths.
#[derive(Debug, Default, Serialize, Deserialize)]
struct FileList {
    files: BTreeMap<String, ListedFile>,
}

impl FileList {
    /// The files of this folder as they are now.
    fn of(folder: &Path) -> std::io::Result<Self> {
        let mut list = Self::default();
        list.add(folder, folder)?;
        Ok(list)
    }

    fn add(&mut self, root: &Path, folder: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add(root, &path)?;
            } else if kind.is_file() && !BESIDE.contains(&name.as_str()) {
                self.files.insert(name, ListedFile::of(&path)?);
            }
        }
        Ok(())
    }

    /// How the files of a folder differ from this list, one sentence each.
    fn differences(&self, found: &Self) -> Vec<String> {
        let mut problems = Vec::new();
        for (path, listed) in &self.files {
            match found.files.get(path) {
                None => problems.push(format!("{path} is missing from the backup")),
                Some(file) if file.bytes != listed.bytes => {
                    problems.push(format!("{path} has {} bytes; the backup had {}", file.bytes, listed.bytes));
                }
                Some(file) if file != listed => problems.push(format!("{path} was changed after the backup")),
                Some(_) => {}
            }
        }
        let added = found.files.keys().filter(|path| !self.files.contains_key(*path));
        problems.extend(added.map(|path| format!("{path} was added after the backup")));
        problems
    }
}

/// Compares the files of a backup with its list. Nothing is written.
///
/// # Errors
/// The folder cannot be read.
pub fn verify_backup_files(folder: &Path) -> Result<DoctorReport, StoreError> {
    let told = |error: std::io::Error| OpError::Io(error).told("read the files of the backup");
    let mut report = DoctorReport::default();
    let found = FileList::of(folder).map_err(told)?;
    report.count("files", found.files.len());
    match std::fs::read(folder.join(LIST)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => report.problems.push(format!(
            "{LIST} is missing: the copy was interrupted, or an earlier release made it. Make a new backup"
        )),
        Err(error) => return Err(told(error)),
        Ok(list) => match serde_json::from_slice::<FileList>(&list) {
            Ok(list) => report.problems.extend(list.differences(&found)),
            Err(error) => report.problems.push(format!("{LIST} cannot be read: {error}")),
        },
    }
    Ok(report)
}

impl LocalStore {
    /// Copies the folder while it is in use: records by the backup of `SQLite`, then the files that they name, the
    /// settings and the key that the site is published by, last a list of its files. The copy is durable, and can be read
    /// without writing to it.
    ///
    /// # Errors
    /// The store, or the folder to copy to.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let doing = "copy the records";
        let told = |error: std::io::Error| OpError::Io(error).told(doing);
        for part in ["results", "snapshots", "site"] {
            std::fs::create_dir_all(to.join(part)).map_err(told)?;
        }
        let target = to.join("records.sqlite");
        self.read(doing, move |connection| {
            let mut copy = rusqlite::Connection::open(target)?;
            let backup = rusqlite::backup::Backup::new(connection, &mut copy)?;
            backup.run_to_completion(1_000, std::time::Duration::ZERO, None)?;
            drop(backup);
            // With a write-ahead log, even a reader has to write beside the records.
            copy.pragma_update(None, "journal_mode", "DELETE")?;
            Ok(())
        })
        .await?;
        LocalCloses::new(self.folder()).backup(to).map_err(|error| error.told(doing))?;
        // After the records: a pack only grows and a snapshot never changes, so what the records name is there.
        for part in ["results", "snapshots", "site"] {
            copy_folder(&self.folder().join(part), &to.join(part)).map_err(told)?;
        }
        // A site that became redacted while it was copied is of both details. Without its mark it is written again.
        remove_if_there(&to.join("site").join(DETAIL_MARK)).map_err(told)?;
        for file in PUBLISHING {
            match std::fs::read(self.folder().join(file)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                read => read.and_then(|bytes| write_durably(&to.join(file), &bytes)).map_err(told)?,
            }
        }
        // Last: a copy that was interrupted has no list.
        let list = FileList::of(to).map_err(told)?;
        let list = serde_json::to_vec_pretty(&list).map_err(|error| OpError::Json(error).told(doing))?;
        write_durably(&to.join(LIST), &list).map_err(told)?;
        sync_all_of(to).map_err(told)
    }
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    if from.is_dir() {
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy_folder(&entry.path(), &target)?;
            } else {
                std::fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}
