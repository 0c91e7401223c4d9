//! The writing thread: group commit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use domain::ids::RunId;
use domain::ports::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

/// Operations of one commit at most.
const BATCH: usize = 512;

/// Packs kept open.
const OPEN_PACKS: usize = 8;

/// What can go wrong inside an operation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpError {
    /// SQLite.
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
            if let Some(file) = self.open.get(&run) {
                file.sync_data()?;
            }
        }
        Ok(())
    }
}

type Reply = Box<dyn FnOnce(Result<(), String>) + Send>;
type Operation = Box<dyn FnOnce(&mut Writing<'_>) -> Reply + Send>;

/// The handle of the writing thread. The thread ends when the last handle is gone.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    operations: Sender<Operation>,
}

impl Writer {
    /// Starts the thread on this connection.
    pub(crate) fn start(connection: Connection, packs: PathBuf) -> std::io::Result<Self> {
        let (operations, waiting) = channel();
        let packs = Packs { folder: packs, open: BTreeMap::new(), touched: Vec::new() };
        std::thread::Builder::new().name("records".into()).spawn(move || work(connection, packs, &waiting))?;
        Ok(Self { operations })
    }

    /// Runs an operation in the next commit; returns when it is durable.
    pub(crate) async fn write<T, F>(&self, doing: &str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, OpError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel::<Result<T, OpError>>();
        let operation: Operation = Box::new(move |writing| {
            let outcome = in_savepoint(writing, operation);
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
        self.operations.send(operation).map_err(|_| gone())?;
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
}

fn commit(
    connection: &Connection,
    packs: &mut Packs,
    first: Operation,
    waiting: &Receiver<Operation>,
    replies: &mut Vec<Reply>,
) -> Result<(), String> {
    // A failed BEGIN fails each operation by its own: they still have to be answered.
    let begun = connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| error.to_string());
    let mut next = Some(first);
    while let Some(operation) = next {
        replies.push(operation(&mut Writing { connection, packs }));
        next = if replies.len() < BATCH { waiting.try_recv().ok() } else { None };
    }
    begun?;
    packs.sync().map_err(|error| format!("the results could not be synced: {error}"))?;
    connection.execute_batch("COMMIT").map_err(|error| error.to_string())
}
