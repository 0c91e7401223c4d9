//! The inventory of a site: which files it has, and their sizes, so that what a power cut or a person took away is noticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::folder::write_durably;

/// The file in the root of the site: lines of a size in bytes, a space and a path, by path.
pub(super) const INVENTORY: &str = ".files";

/// The inventory of the site in a folder.
#[derive(Debug)]
pub(super) struct Inventory {
    root: PathBuf,
}

impl Inventory {
    pub(super) fn of(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.root.join(INVENTORY)
    }

    /// The files and their sizes. A line that is not whole is left out.
    fn read(&self) -> std::io::Result<BTreeMap<String, u64>> {
        let text = match std::fs::read(self.path()) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let line = |line: &str| {
            let (size, path) = line.strip_suffix('\n')?.split_once(' ')?;
            Some((path.to_owned(), size.parse().ok()?))
        };
        Ok(text.split_inclusive('\n').filter_map(line).collect())
    }

    /// Adds files, and leaves out those that are gone where some were `removed`: no name of theirs stays in it. Durable, and
    /// the same bytes for the same files.
    pub(super) fn update(&self, files: &[(&str, u64)], removed: bool) -> std::io::Result<()> {
        let mut there = self.read()?;
        if removed {
            there.retain(|path, _| self.root.join(path).symlink_metadata().is_ok());
        }
        there.extend(files.iter().map(|(path, size)| ((*path).to_owned(), *size)));
        let lines: String = there.iter().map(|(path, size)| format!("{size} {path}\n")).collect();
        if std::fs::read(self.path()).is_ok_and(|there| there == lines.as_bytes()) {
            return Ok(());
        }
        write_durably(&self.path(), lines.as_bytes())
    }

    /// The files that are missing or have another size.
    pub(super) fn damaged(&self) -> std::io::Result<Vec<String>> {
        let mut damaged = Vec::new();
        for (path, size) in self.read()? {
            let found = std::fs::symlink_metadata(self.root.join(&path)).ok();
            if !found.is_some_and(|found| found.is_file() && found.len() == size) {
                damaged.push(path);
            }
        }
        Ok(damaged)
    }
}
