//! The run control of `serve`: a run that is requested is recorded, and the scheduler works on it.

use std::path::PathBuf;
use std::sync::Arc;

use app::{ActiveRuns, BookOf, ControlParts, RunControl, RunWorker, Starts};
use async_trait::async_trait;
use domain::ids::RunId;

use crate::book_folder::FolderBook;
use crate::engine::{Attention, Engine};

/// The control of an engine that serves this book.
pub(crate) fn serving(engine: &Engine, book_dir: PathBuf) -> RunControl {
    let ports = &engine.ports;
    let book = BookOf::Reader(Arc::new(FolderBook::new(book_dir)));
    RunControl::new(ControlParts {
        store: Arc::clone(&ports.store),
        notes: Arc::new(engine.store.clone()),
        alerts: Arc::new(engine.store.clone()),
        clock: Arc::clone(&ports.clock),
        randomness: Arc::clone(&ports.randomness),
        starts: Starts::Here { book, documents: Arc::clone(&ports.documents) },
        active_runs: ActiveRuns::Refuse,
        worker: Arc::clone(&engine.attention) as Arc<dyn RunWorker>,
    })
}

/// The control of a command that works itself on what it starts in this folder.
pub(crate) fn of_command(engine: &Engine, book: BookOf) -> RunControl {
    RunControl::of_caller(&engine.ports, Arc::new(engine.store.clone()), Arc::new(engine.store.clone()), book)
}

#[async_trait]
impl RunWorker for Attention {
    async fn begin(&self, _run: RunId) {
        self.call();
    }

    async fn end(&self, _run: RunId) {
        self.call();
    }

    async fn publish(&self, run: RunId) {
        self.publish(run);
    }

    /// The next round of the scheduler shows them.
    async fn refresh_index(&self) {
        self.call();
    }
}
