//! The run control of `serve`: a run that is requested is recorded, and the scheduler works on it.

use std::path::PathBuf;
use std::sync::Arc;

use app::{ActiveRuns, BookOf, RunControl, RunWorker, Starts};
use async_trait::async_trait;
use domain::ids::RunId;

use crate::book_folder::FolderBook;
use crate::engine::{Attention, Engine};

/// The control of an engine that serves this book.
pub(crate) fn serving(engine: &Engine, book_dir: PathBuf) -> RunControl {
    let ports = &engine.ports;
    let book = BookOf::Reader(Arc::new(FolderBook::new(book_dir)));
    let starts = Starts::Here { book, documents: Arc::clone(&ports.documents) };
    RunControl::new(
        Arc::clone(&ports.store),
        Arc::clone(&ports.clock),
        Arc::clone(&ports.randomness),
        starts,
        ActiveRuns::Refuse,
        Arc::clone(&engine.attention) as Arc<dyn RunWorker>,
    )
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
}
