//! Opening a data folder: for writing, as its one process, or for reading beside it.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::ports::{Clock as _, StoreError};
use rusqlite::{Connection, OpenFlags};

use super::reader::Readers;
use super::schema::{self, SCHEMA_VERSION};
use super::writer::{OpError, Writer};
use crate::system::SystemClock;

/// How long a read waits for `SQLite`'s own short locks.
const BUSY: Duration = Duration::from_secs(10);

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to it.
    #[error("the data folder {} is in use by another nightbook process{holder}: wait for it to end, or stop it", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// ` (process 123)`, where it is known.
        holder: String,
    },
    /// There is nothing in it.
    #[error("there are no records in {}: `nightbook run --book DIR --data {}` makes the first", folder.display(), folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// It was written by a newer release.
    #[error("the records in {} are of schema {found}, this release knows {SCHEMA_VERSION}: use the release that wrote them, or a newer one", folder.display())]
    TooNew {
        /// The folder.
        folder: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// It cannot be made, read or written.
    #[error("the data folder {} cannot be used: {what}", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The records and documents of a data folder. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct LocalStore {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) folder: PathBuf,
    // Fields are dropped in this order: whoever closes the records last empties the write-ahead log.
    pub(crate) readers: Readers,
    writer: Option<Writer>,
    /// Held for as long as the store is open for writing.
    _lock: Option<File>,
    /// The files that are open, to notice when somebody removes them.
    files: Vec<OpenFile>,
}

/// A file of the folder as it was when it was opened.
#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    id: (u64, u64),
}

impl OpenFile {
    fn of(path: PathBuf) -> std::io::Result<Self> {
        let id = id_of(&path)?;
        Ok(Self { path, id })
    }
}

/// Device and number of a file.
fn id_of(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Inner {
    /// That the open files are still those of the folder: what is written to a removed file is lost.
    pub(crate) fn in_place(&self) -> Result<(), OpError> {
        for file in &self.files {
            if id_of(&file.path).ok() != Some(file.id) {
                let path = file.path.display();
                return Err(OpError::Commit(format!(
                    "{path} was removed or replaced while this process has it open: stop this process and restore the data folder"
                )));
            }
        }
        Ok(())
    }
}

impl LocalStore {
    /// Opens a folder for writing, as the one process that does, and makes it where it is missing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let unusable = |what: &str| {
            let (folder, what) = (folder.to_path_buf(), what.to_owned());
            move |source: std::io::Error| OpenError::Unusable { folder, what, source: Box::new(source) }
        };
        for part in ["", "results", "snapshots", "site"] {
            std::fs::create_dir_all(folder.join(part)).map_err(unusable("it cannot be made or written"))?;
        }
        let lock = take_lock(folder)?;
        let mut connection = connect(folder, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let sql = |source: rusqlite::Error| OpenError::Unusable {
            folder: folder.to_path_buf(),
            what: "records.sqlite cannot be opened".into(),
            source: Box::new(source),
        };
        connection
            .execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 4194304; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -65536;")
            .map_err(sql)?;
        back_up_before_migration(&connection, folder)?;
        let now = super::rows::time_text(SystemClock.now());
        if let Err(found) = schema::migrate(&mut connection, &now).map_err(sql)? {
            return Err(OpenError::TooNew { folder: folder.to_path_buf(), found });
        }
        super::space::compact(&connection);
        let readers = readers(folder)?;
        let writer = Writer::start(connection, folder.join("results")).map_err(unusable("no thread can be started"))?;
        let open = |name: &str| OpenFile::of(folder.join(name)).map_err(unusable("its files cannot be read"));
        let files = vec![open("records.sqlite")?, open("lock")?];
        let inner = Inner { folder: folder.to_path_buf(), readers, writer: Some(writer), _lock: Some(lock), files };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens a folder for reading, beside whoever writes to it.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Missing`] where there are no records.
    pub fn open_read_only(folder: &Path) -> Result<Self, OpenError> {
        if !folder.join("records.sqlite").is_file() {
            return Err(OpenError::Missing { folder: folder.to_path_buf() });
        }
        let readers = readers(folder)?;
        let found = {
            schema::version(&readers.connection()).map_err(|source| OpenError::Unusable {
                folder: folder.to_path_buf(),
                what: "records.sqlite cannot be read".into(),
                source: Box::new(source),
            })?
        };
        match found {
            0 => Err(OpenError::Missing { folder: folder.to_path_buf() }),
            found if found > SCHEMA_VERSION => Err(OpenError::TooNew { folder: folder.to_path_buf(), found }),
            _ => {
                // The lock is there unless nobody has written here yet.
                let files = ["records.sqlite", "lock"].map(|name| OpenFile::of(folder.join(name)));
                let files = files.into_iter().flatten().collect();
                let inner = Inner { folder: folder.to_path_buf(), readers, writer: None, _lock: None, files };
                Ok(Self { inner: Arc::new(inner) })
            }
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Runs an operation in the next commit.
    pub(crate) async fn write<T, F>(&self, doing: &str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut super::writer::Writing<'_>) -> Result<T, OpError> + Send + 'static,
    {
        self.inner.in_place().map_err(|error| error.told(doing))?;
        match &self.inner.writer {
            Some(writer) => writer.write(doing, operation).await,
            None => Err(OpError::Commit("it was opened for reading only".into()).told(doing)),
        }
    }
}

/// Whether this process cannot write the folder, and nobody has the records open or left them without closing.
fn lies_still(folder: &Path) -> bool {
    let cannot_write = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err();
    let is_empty = |file: &str| std::fs::metadata(folder.join(file)).map_or(true, |file| file.len() == 0);
    cannot_write && is_empty("records.sqlite-wal") && is_empty("records.sqlite-shm")
}

fn connect(folder: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    let file = folder.join("records.sqlite");
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if lies_still(folder) {
        // SQLite would make files beside it; nobody can change what is here, so it needs none.
        let path = file.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Connection::open_with_flags(format!("file:{path}?immutable=1"), flags | OpenFlags::SQLITE_OPEN_URI)
    } else {
        Connection::open_with_flags(file, flags)
    };
    let connection = connection.and_then(|connection| {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(128);
        Ok(connection)
    });
    connection.map_err(|source| OpenError::Unusable {
        folder: folder.to_path_buf(),
        what: "records.sqlite cannot be opened".into(),
        source: Box::new(source),
    })
}

fn readers(folder: &Path) -> Result<Readers, OpenError> {
    Readers::open(folder, |folder| connect(folder, OpenFlags::SQLITE_OPEN_READ_ONLY))
}

/// Copies the records of an older release before they are migrated: once, complete, beside them.
///
/// The copy is written under another name first, so that a copy that is there is whole.
fn back_up_before_migration(connection: &Connection, folder: &Path) -> Result<(), OpenError> {
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Unusable {
        folder: folder.to_path_buf(),
        what: "its records cannot be copied before they are migrated".into(),
        source,
    };
    let found = schema::version(connection).map_err(|error| unusable(error.into()))?;
    let copy = folder.join(format!("records.v{found}.sqlite"));
    if found == 0 || found >= SCHEMA_VERSION || copy.exists() {
        return Ok(());
    }
    let part = folder.join(format!("records.v{found}.sqlite.part"));
    let copied = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        connection.execute("VACUUM INTO ?1", [part.to_str().ok_or("the path is not UTF-8")?])?;
        File::open(&part)?.sync_all()?;
        std::fs::rename(&part, &copy)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    };
    copied().map_err(unusable)?;
    tracing::info!(from = found, to = SCHEMA_VERSION, copy = %copy.display(), event = "records.migrated", "the records are of an earlier release and are migrated; the copy is as they were");
    Ok(())
}

/// Takes the lock of a folder: proof that whoever held it before is dead.
fn take_lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let unusable = |source: std::io::Error| OpenError::Unusable {
        folder: folder.to_path_buf(),
        what: "its lock cannot be taken".into(),
        source: Box::new(source),
    };
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who holds it is a help, no more: without it the message is shorter.
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim().parse::<u32>().map(|pid| format!(" (process {pid})")).unwrap_or_default();
            return Err(OpenError::InUse { folder: folder.to_path_buf(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
    Ok(file)
}
