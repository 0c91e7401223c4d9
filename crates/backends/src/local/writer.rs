//! The writing thread: group commit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::ids::RunId;
use domain::ports::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

/// Operations of one commit at most.
const BATCH: usize = 512;

/// How long the end of the thread waits for readers.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Packs kept open.
const OPEN_PACKS: usize = 8;

/// What can go wrong inside an operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpError {
    /// `SQLite`.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// A file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// JSON that cannot be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// An error that is the answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The commit that should have made it durable failed, or the writer is gone.
    #[error("{0}")]
    Commit(String),
}

impl OpError {
    /// As the port says it.
    pub(crate) fn told(self, doing: &str) -> StoreError {
        match self {
            Self::Store(error) => error,
            other => StoreError::Unavailable { doing: doing.to_owned(), source: Box::new(other) },
        }
    }
}

/// What an operation works with: the open transaction, and the packs.
pub(crate) struct Writing<'a> {
    pub(crate) connection: &'a Connection,
    packs: &'a mut Packs,
}

impl Writing<'_> {
    /// Appends to the pack of a run; durable with this commit. Gives offset and length.
    pub(crate) fn append(&mut self, run: RunId, bytes: &[u8]) -> std::io::Result<(u64, u64)> {
        let file = self.packs.of(run)?;
        let offset = file.seek(SeekFrom::End(0))?;
        file.write_all(bytes)?;
        self.packs.touched.push(run);
        Ok((offset, bytes.len() as u64))
    }
}

struct Packs {
    folder: PathBuf,
    open: BTreeMap<RunId, File>,
    touched: Vec<RunId>,
    /// A sync failed since the last commit: what was appended before it may be lost, so nothing may be acknowledged.
    failed: Option<String>,
}

impl Packs {
    fn of(&mut self, run: RunId) -> std::io::Result<&mut File> {
        if !self.open.contains_key(&run) {
            if self.open.len() >= OPEN_PACKS {
                self.sync()?;
                self.open.clear();
            }
            let path = self.folder.join(format!("{run}.pack"));
            let file = File::options().create(true).append(true).read(true).open(path)?;
            File::open(&self.folder)?.sync_all()?;
            self.open.insert(run, file);
        }
        self.open.get_mut(&run).ok_or_else(|| std::io::Error::other("the pack was closed"))
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.touched.sort_unstable();
        self.touched.dedup();
        for run in std::mem::take(&mut self.touched) {
            let Some(file) = self.open.get(&run) else { continue };
            if let Err(error) = file.sync_data() {
                // A second sync of the same handle may say that all is well, though the pages are gone.
                self.open.remove(&run);
                self.failed = Some(error.to_string());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Syncs what was appended since the last commit; an error also where an earlier sync of this commit failed.
    fn sync_all(&mut self) -> Result<(), String> {
        let synced = self.sync().map_err(|error| error.to_string());
        match self.failed.take() {
            Some(error) => Err(error),
            None => synced,
        }
    }
}

type Reply = Box<dyn FnOnce(Result<(), String>) + Send>;
/// An operation, given the open transaction, or why there is none.
type Operation = Box<dyn FnOnce(Result<&mut Writing<'_>, String>) -> Reply + Send>;

/// The handle of the writing thread. Dropping it waits until the thread has ended and everything is in `records.sqlite`.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` only while it is dropped.
    operations: Option<Sender<Operation>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.operations = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Writer {
    /// Starts the thread on this connection.
    pub(crate) fn start(connection: Connection, packs: PathBuf) -> std::io::Result<Self> {
        let (operations, waiting) = channel();
        let packs = Packs { folder: packs, open: BTreeMap::new(), touched: Vec::new(), failed: None };
        let thread =
            std::thread::Builder::new().name("records".into()).spawn(move || work(connection, packs, &waiting))?;
        Ok(Self { operations: Some(operations), thread: Some(thread) })
    }

    /// Runs an operation in the next commit; returns when it is durable.
    pub(crate) async fn write<T, F>(&self, doing: &str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, OpError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel::<Result<T, OpError>>();
        let operation: Operation = Box::new(move |writing| {
            let outcome = match writing {
                Ok(writing) => in_savepoint(writing, operation),
                Err(error) => Err(OpError::Commit(error)),
            };
            Box::new(move |committed| {
                let outcome = match committed {
                    Ok(()) => outcome,
                    Err(error) => Err(OpError::Commit(error)),
                };
                // Nobody waits any more: the operation stands all the same.
                let _ = answer.send(outcome);
            })
        });
        let gone = || OpError::Commit("the writing thread has ended".into()).told(doing);
        self.operations.as_ref().ok_or_else(gone)?.send(operation).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?.map_err(|error| error.told(doing))
    }
}

fn in_savepoint<T>(
    writing: &mut Writing<'_>,
    operation: impl FnOnce(&mut Writing<'_>) -> Result<T, OpError>,
) -> Result<T, OpError> {
    let connection = writing.connection;
    connection.prepare_cached("SAVEPOINT operation")?.execute([])?;
    let outcome = operation(writing);
    if outcome.is_err() {
        connection.prepare_cached("ROLLBACK TO operation")?.execute([])?;
    }
    connection.prepare_cached("RELEASE operation")?.execute([])?;
    outcome
}

fn work(connection: Connection, mut packs: Packs, waiting: &Receiver<Operation>) {
    while let Ok(first) = waiting.recv() {
        let mut replies = Vec::new();
        let committed = commit(&connection, &mut packs, first, waiting, &mut replies);
        if committed.is_err() {
            // What was appended to the packs stays as a tail that no row points to.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for reply in replies {
            reply(committed.clone());
        }
    }
    // A copy of records.sqlite alone then has everything. Somebody who reads beside this process may keep it from being
    // so; the records are durable either way.
    let _ = connection.busy_timeout(LAST_WAIT);
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

fn commit(
    connection: &Connection,
    packs: &mut Packs,
    first: Operation,
    waiting: &Receiver<Operation>,
    replies: &mut Vec<Reply>,
) -> Result<(), String> {
    let mut standing = connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| error.to_string());
    let mut next = Some(first);
    while let Some(operation) = next {
        // Without a transaction around it, a savepoint is one of its own, and its release would commit at once.
        if standing.is_ok() && connection.is_autocommit() {
            standing = Err("the transaction was rolled back".into());
        }
        let mut writing = Writing { connection, packs: &mut *packs };
        replies.push(operation(standing.clone().map(|()| &mut writing)));
        next = if replies.len() < BATCH { waiting.try_recv().ok() } else { None };
    }
    packs.sync_all().map_err(|error| format!("the results could not be synced: {error}"))?;
    standing?;
    // On an error such as a full disk, SQLite rolls back by itself; then this is an error too.
    connection.execute_batch("COMMIT").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::path::Path;
    use tempfile::TempDir;

    fn connect(folder: &Path) -> Connection {
        let connection = Connection::open(folder.join("records.sqlite")).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t (n INTEGER)").unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        connection
    }

    fn started() -> (TempDir, Writer, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::start(connect(folder.path()), folder.path().to_path_buf()).unwrap();
        let beside = connect(folder.path());
        (folder, writer, beside)
    }

    async fn insert(writer: &Writer, n: i64) -> Result<(), StoreError> {
        writer
            .write("insert", move |writing| {
                Ok(writing.connection.execute("INSERT INTO t VALUES (?1)", [n]).map(drop)?)
            })
            .await
    }

    fn rows(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    /// Runs these in one commit: the first holds the thread until the others wait behind it.
    fn in_one_commit<T: Send>(writer: &Writer, others: impl Future<Output = T>) -> T {
        let (go, wait) = channel::<()>();
        let hold = writer.write("hold", move |_| wait.recv().map_err(|error| OpError::Commit(error.to_string())));
        let release = async { go.send(()).unwrap() };
        futures::executor::block_on(async { futures::join!(hold, others, release).1 })
    }

    #[test]
    fn an_operation_without_a_transaction_does_not_run() {
        let (_folder, writer, beside) = started();
        beside.execute_batch("BEGIN IMMEDIATE").unwrap();
        let outcome = futures::executor::block_on(insert(&writer, 1));
        assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
        beside.execute_batch("ROLLBACK").unwrap();
        assert_eq!(rows(&beside), 0, "it was told to have failed, and stands");
        futures::executor::block_on(insert(&writer, 2)).unwrap();
        assert_eq!(rows(&beside), 1);
    }

    #[test]
    fn a_failed_operation_takes_no_other_with_it() {
        let (_folder, writer, beside) = started();
        let outcomes = in_one_commit(&writer, async {
            let fails = writer.write("fail", |writing| {
                writing.connection.execute("INSERT INTO t VALUES (7)", [])?;
                Err::<(), _>(OpError::Commit("on purpose".into()))
            });
            futures::join!(insert(&writer, 1), fails, insert(&writer, 2))
        });
        assert!(outcomes.0.is_ok() && outcomes.1.is_err() && outcomes.2.is_ok(), "{outcomes:?}");
        assert_eq!(rows(&beside), 2);
    }

    /// As SQLite does by itself when the disk is full.
    #[test]
    fn nothing_of_a_commit_stands_or_is_acknowledged_once_it_was_rolled_back() {
        let (_folder, writer, beside) = started();
        let outcomes = in_one_commit(&writer, async {
            let fails = writer.write("fail", |writing| Ok(writing.connection.execute_batch("ROLLBACK")?));
            futures::join!(insert(&writer, 1), fails, insert(&writer, 2))
        });
        assert!(outcomes.0.is_err() && outcomes.1.is_err() && outcomes.2.is_err(), "{outcomes:?}");
        assert_eq!(rows(&beside), 0);
        futures::executor::block_on(insert(&writer, 3)).unwrap();
        assert_eq!(rows(&beside), 1, "the next commit is a good one");
    }
}
