//! The inventory of a site: which files it has, and their sizes, so that what a power cut or a person took away is noticed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The file in the root of the site: lines of a size in bytes, a space and a path. The last line of a path counts.
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

    /// The files and their sizes. A line that is not whole, and so was never synced, is left out.
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

    /// Adds files. Not durable until it is synced.
    pub(super) fn add(&self, files: &[(&str, u64)]) -> std::io::Result<()> {
        let lines: String = files.iter().map(|(path, size)| format!("{size} {path}\n")).collect();
        let mut file = std::fs::File::options().create(true).append(true).open(self.path())?;
        file.write_all(lines.as_bytes())
    }

    /// Writes it anew with the files that are there: no name of a file that was removed stays in it.
    pub(super) fn write_anew(&self) -> std::io::Result<()> {
        let there = self.read()?.into_iter().filter(|(path, _)| self.root.join(path).exists());
        let lines: String = there.map(|(path, size)| format!("{size} {path}\n")).collect();
        super::folder::write_durably(&self.path(), lines.as_bytes())
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
