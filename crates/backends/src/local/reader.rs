//! The reading connections: as many reads at once as there are connections, on threads that may block.
//!
//! A read holds its thread for as long as `SQLite` takes, so none runs on a worker thread of the async runtime: one
//! reader of a large run would delay every other request of the process.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use domain::ports::StoreError;
use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::open::{LocalStore, OpenError};
use super::writer::OpError;

/// Connections for reads of any size.
const LONG_READERS: usize = 4;

/// Connections for reads of a few rows.
const SHORT_READERS: usize = 2;

/// How many rows a read touches.
#[derive(Debug, Clone, Copy)]
enum Length {
    /// A few, whatever the size of a run: one run, one work item.
    Short,
    /// As many as a run or a history has.
    Long,
}

/// The reading connections of a store.
#[derive(Debug)]
pub(crate) struct Readers {
    /// Short reads have connections of their own, so that they never wait for long ones.
    short: Pool,
    long: Pool,
}

impl Readers {
    /// Opens the connections.
    ///
    /// # Errors
    /// What `connect` says.
    pub(crate) fn open(
        folder: &Path,
        connect: impl Fn(&Path) -> Result<Connection, OpenError>,
    ) -> Result<Self, OpenError> {
        let pool = |size: usize| -> Result<Pool, OpenError> {
            let connections = (0..size).map(|_| connect(folder).map(Mutex::new)).collect::<Result<_, _>>()?;
            Ok(Pool { connections, permits: Arc::new(Semaphore::new(size)) })
        };
        Ok(Self { short: pool(SHORT_READERS)?, long: pool(LONG_READERS)? })
    }

    /// A connection, on the calling thread.
    pub(crate) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.short.connection()
    }

    const fn of(&self, length: Length) -> &Pool {
        match length {
            Length::Short => &self.short,
            Length::Long => &self.long,
        }
    }
}

/// Connections, and a permit for each.
#[derive(Debug)]
struct Pool {
    connections: Vec<Mutex<Connection>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        for connection in &self.connections {
            match connection.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.connections[0].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalStore {
    /// Reads any number of rows; sees everything that was acknowledged before.
    pub(crate) async fn read<T, F>(&self, doing: &str, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, OpError> + Send + 'static,
    {
        self.read_on(Length::Long, doing, read).await
    }

    /// Reads a few rows, however many are stored; never waits for [`LocalStore::read`].
    pub(crate) async fn read_short<T, F>(&self, doing: &str, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, OpError> + Send + 'static,
    {
        self.read_on(Length::Short, doing, read).await
    }

    /// Outside a tokio runtime nobody else waits for this thread, so the read runs on it.
    async fn read_on<T, F>(&self, length: Length, doing: &str, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, OpError> + Send + 'static,
    {
        self.inner.in_place().map_err(|error| error.told(doing))?;
        let pool = self.inner.readers.of(length);
        let Ok(runtime) = Handle::try_current() else {
            return read(&pool.connection()).map_err(|error| error.told(doing));
        };
        // The permit goes with the read: a caller that gives up does not free a connection that is still in use.
        let permit = Arc::clone(&pool.permits).acquire_owned().await;
        let store = self.clone();
        let outcome = runtime.spawn_blocking(move || {
            let _permit = permit;
            read(&store.inner.readers.of(length).connection())
        });
        match outcome.await {
            Ok(outcome) => outcome.map_err(|error| error.told(doing)),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(stopped) => Err(StoreError::Unavailable { doing: doing.to_owned(), source: Box::new(stopped) }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc};

    use domain::ids::RunId;
    use domain::ports::{RunQuery, Runs as _};

    use super::*;

    /// On one worker thread: what the API asks for its health and to find a run is answered while every connection for
    /// long reads is held, and so is a read that does not touch the store.
    #[test]
    fn short_reads_are_answered_while_all_long_ones_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let held = Arc::new(Barrier::new(LONG_READERS + 1));
        let released = Arc::new(Barrier::new(LONG_READERS + 1));
        let (order, happened) = mpsc::channel();
        runtime.block_on(async {
            let mut long = Vec::new();
            for _ in 0..LONG_READERS {
                let (store, held, released) = (store.clone(), Arc::clone(&held), Arc::clone(&released));
                long.push(tokio::spawn(async move {
                    store
                        .read("hold a connection", move |_| {
                            held.wait();
                            released.wait();
                            Ok(())
                        })
                        .await
                }));
            }
            // The tasks start when this one waits.
            tokio::task::yield_now().await;
            held.wait();
            // One more has to wait for a connection.
            let (next, sender) = (store.clone(), order.clone());
            let waiting = tokio::spawn(async move {
                let read = move |_: &Connection| {
                    sender.send("a long read").unwrap();
                    Ok(())
                };
                next.read("wait for a connection", read).await
            });
            tokio::task::yield_now().await;
            assert!(store.run(RunId(uuid::Uuid::nil())).await.unwrap().is_none());
            assert!(store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await.unwrap().runs.is_empty());
            order.send("short reads").unwrap();
            released.wait();
            for read in long {
                read.await.unwrap().unwrap();
            }
            waiting.await.unwrap().unwrap();
        });
        assert_eq!(happened.try_iter().collect::<Vec<_>>(), ["short reads", "a long read"]);
    }

    /// A caller that gives up leaves no more reads running than there are connections.
    #[test]
    fn an_abandoned_read_keeps_its_permit_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (started, released) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        runtime.block_on(async {
            let (abandoned, start, release) = (store.clone(), Arc::clone(&started), Arc::clone(&released));
            let task = tokio::spawn(async move {
                let read = move |_: &Connection| {
                    start.wait();
                    release.wait();
                    Ok(())
                };
                abandoned.read("hold a connection", read).await
            });
            tokio::task::yield_now().await;
            started.wait();
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(store.inner.readers.long.permits.available_permits(), LONG_READERS - 1);
            released.wait();
            let all = Arc::clone(&store.inner.readers.long.permits);
            let _all = all.acquire_many_owned(LONG_READERS as u32).await.unwrap();
        });
    }
}
