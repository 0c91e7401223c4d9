//! Start, rerun, cancel, annotate, mute and publish: each is decided here, once for every door.
//!
//! A door that works on runs itself (the command line on a folder) takes the decision as [`Work`] and does it.
//! A door that hands runs over (the history API, `serve`) has the run recorded first and its [`RunWorker`] called after:
//! what is recorded is run even if the call is lost.

mod accept;
mod annotate;
mod cancel;
mod mute;
mod publish;
mod rerun;
mod start;

use std::sync::Arc;

use async_trait::async_trait;
use book::Book;
use domain::close_run::request_pages;
use domain::ids::RunId;
use domain::note::RunNotes;
use domain::ports::{AlertBooks, Clock, Creation, Documents, Ports, Randomness, RunInputs, RunStore, StoredRun};
use domain::run::Run;
use domain::start_run::StartRun;
use jobs::SnapshotInputs;

use crate::book_reader::{BookReader, read_usable};
use crate::error::{ControlError, Refusal};
use crate::requests::{Accepted, RerunRequest, StartRequest};

pub use accept::AcceptedNight;
pub use publish::publish_site;
pub use start::startable;

/// Works on the runs that a control has recorded.
#[async_trait]
pub trait RunWorker: Send + Sync {
    /// A run was recorded, to be planned and worked on. A call that is lost delays the run until the next sweep.
    async fn begin(&self, run: RunId);
    /// A run was canceled, so what is left of it is to be ended.
    async fn end(&self, run: RunId);
    /// The pages of a run are to be written again.
    async fn publish(&self, run: RunId);
    /// The index is to show what has changed of the alerts.
    async fn refresh_index(&self);
}

/// The worker of a door that works on runs itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWorker;

#[async_trait]
impl RunWorker for NoWorker {
    async fn begin(&self, _run: RunId) {}
    async fn end(&self, _run: RunId) {}
    async fn publish(&self, _run: RunId) {}
    async fn refresh_index(&self) {}
}

/// Decides starts and reruns for a process that may read neither the book nor the pinned inputs.
#[async_trait]
pub trait StartElsewhere: Send + Sync {
    /// As [`RunControl::start`].
    async fn start(&self, request: &StartRequest) -> Result<Accepted, ControlError>;
    /// As [`RunControl::rerun`].
    async fn rerun(&self, request: &RerunRequest) -> Result<Accepted, ControlError>;
}

/// The book that runs by hand are started from.
#[derive(Clone)]
pub enum BookOf {
    /// It is read for each request.
    Reader(Arc<dyn BookReader>),
    /// It was read already.
    Loaded(Arc<Book>),
    /// There is none: only closed runs can be started again.
    Nowhere,
}

/// Where starts and reruns are decided.
#[derive(Clone)]
pub enum Starts {
    /// In this process.
    Here {
        /// The book.
        book: BookOf,
        /// The pinned inputs.
        documents: Arc<dyn Documents>,
    },
    /// In another process.
    Elsewhere(Arc<dyn StartElsewhere>),
}

/// Whether a run may begin beside another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActiveRuns {
    /// One run at a time: a second one is refused.
    Refuse,
    /// Runs may be open side by side.
    Allow,
}

/// Where the inputs of a run come from.
#[derive(Debug, Clone)]
pub enum Inputs {
    /// From this book.
    Book(Arc<Book>),
    /// From what this run pinned.
    PinnedBy(Box<Run>),
}

/// A run to work on, as it was decided; nothing is recorded yet.
#[derive(Debug, Clone)]
pub struct Work {
    /// `Begun`, `Continued` or `Finished`.
    pub accepted: Accepted,
    /// The run.
    pub start: StartRun,
    /// Its inputs.
    pub inputs: Inputs,
}

/// The decision on a rerun; nothing is recorded yet.
#[derive(Debug, Clone)]
pub enum Decided {
    /// There is a run to work on.
    Run(Box<Work>),
    /// Every job of this run succeeded, so a rerun of its failures has nothing to do.
    NothingToRepeat(RunId),
}

impl Work {
    /// The inputs of a rerun, read from what the original run pinned; `None` for a run from a book.
    #[must_use]
    pub fn pinned_inputs(&self, documents: Arc<dyn Documents>) -> Option<Box<dyn RunInputs>> {
        match &self.inputs {
            Inputs::Book(_) => None,
            Inputs::PinnedBy(original) => {
                let portfolios = self.start.filter.clone();
                Some(Box::new(SnapshotInputs::new(documents, original.as_ref().clone(), portfolios)))
            }
        }
    }
}

/// What a [`RunControl`] decides on and acts through.
#[derive(Clone)]
pub struct ControlParts {
    /// The records.
    pub store: Arc<dyn RunStore>,
    /// The notes of runs.
    pub notes: Arc<dyn RunNotes>,
    /// The alert books.
    pub alerts: Arc<dyn AlertBooks>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Names of planners.
    pub randomness: Arc<dyn Randomness>,
    /// Where starts and reruns are decided.
    pub starts: Starts,
    /// Whether a run may begin beside another one.
    pub active_runs: ActiveRuns,
    /// What works on the runs.
    pub worker: Arc<dyn RunWorker>,
}

impl std::fmt::Debug for ControlParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlParts")
            .field("starts", &self.starts)
            .field("active_runs", &self.active_runs)
            .finish_non_exhaustive()
    }
}

/// Decides what may be started, repeated, canceled, annotated and muted.
pub struct RunControl {
    store: Arc<dyn RunStore>,
    notes: Arc<dyn RunNotes>,
    alerts: Arc<dyn AlertBooks>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    starts: Starts,
    active_runs: ActiveRuns,
    worker: Arc<dyn RunWorker>,
    /// One command at a time: between the look for an active run and the record no other command may start one.
    one_at_a_time: futures::lock::Mutex<()>,
}

impl std::fmt::Debug for RunControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunControl").field("active_runs", &self.active_runs).finish_non_exhaustive()
    }
}

impl RunControl {
    /// A control over these parts.
    #[must_use]
    pub fn new(parts: ControlParts) -> Self {
        let ControlParts { store, notes, alerts, clock, randomness, starts, active_runs, worker } = parts;
        let one_at_a_time = futures::lock::Mutex::default();
        Self { store, notes, alerts, clock, randomness, starts, active_runs, worker, one_at_a_time }
    }

    /// The control of a caller that works itself on what it starts, beside runs that are open.
    #[must_use]
    pub fn of_caller(ports: &Ports, notes: Arc<dyn RunNotes>, alerts: Arc<dyn AlertBooks>, book: BookOf) -> Self {
        Self::new(ControlParts {
            store: Arc::clone(&ports.store),
            notes,
            alerts,
            clock: Arc::clone(&ports.clock),
            randomness: Arc::clone(&ports.randomness),
            starts: Starts::Here { book, documents: Arc::clone(&ports.documents) },
            active_runs: ActiveRuns::Allow,
            worker: Arc::new(NoWorker),
        })
    }

    async fn stored(&self, run: RunId) -> Result<StoredRun, ControlError> {
        let found = self.store.run(run).await?;
        Ok(found.ok_or_else(|| Refusal::NotFound { text: run.to_string() })?)
    }

    /// Where one run begins at a time, no other may be open.
    async fn refuse_beside(&self, start: &StartRun) -> Result<(), ControlError> {
        if self.active_runs == ActiveRuns::Allow {
            return Ok(());
        }
        let other = self.store.open_runs().await?.into_iter().find(|run| run.batch_run_id != start.id);
        match other {
            Some(run) => Err(Refusal::Active { run: run.batch_run_id }.into()),
            None => Ok(()),
        }
    }

    /// Has the worker begin what another process has recorded.
    async fn recorded_elsewhere(&self, accepted: Accepted) -> Accepted {
        match accepted {
            Accepted::Begun(run) | Accepted::Continued(run) => self.worker.begin(run).await,
            Accepted::Finished(_) | Accepted::NothingToRepeat(_) | Accepted::Canceling(_) => {}
        }
        accepted
    }

    /// Has the pages of a run written again. Where the worker fails to, the watch does: they are recorded as pending.
    async fn publish_again(&self, run: RunId) {
        if let Err(error) = request_pages(self.store.as_ref(), run).await {
            tracing::warn!(
                batch_run_id = %run, error = %error, event = "publication.failed",
                "the pages of a run could not be requested; `nightbook publish --rebuild` writes them"
            );
        }
        self.worker.publish(run).await;
    }

    /// Records the run of a decision, and has its worker begin.
    async fn record(&self, work: &Work) -> Result<Accepted, ControlError> {
        let start = &work.start;
        self.refuse_beside(start).await?;
        let run = start.asked_for(self.randomness.owner(), self.clock.now());
        let accepted = match self.store.create_run(&run).await? {
            Creation::Created => Accepted::Begun(start.id),
            Creation::Existing(run) if run.is_closed() => {
                if run.wants_pages(self.clock.now()) {
                    self.worker.publish(run.batch_run_id).await;
                }
                return Ok(Accepted::Finished(start.id));
            }
            Creation::Existing(_) => Accepted::Continued(start.id),
        };
        tracing::info!(
            batch_run_id = %start.id, as_of = %start.as_of, trigger = start.trigger, event = "run.asked_for",
            "a run was requested and recorded"
        );
        self.worker.begin(start.id).await;
        Ok(accepted)
    }
}

impl std::fmt::Debug for BookOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reader(_) => "Reader",
            Self::Loaded(_) => "Loaded",
            Self::Nowhere => "Nowhere",
        })
    }
}

impl std::fmt::Debug for Starts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Here { .. } => "Here",
            Self::Elsewhere(_) => "Elsewhere",
        })
    }
}

impl BookOf {
    async fn usable(&self) -> Result<Arc<Book>, ControlError> {
        match self {
            Self::Reader(reader) => Ok(Arc::new(read_usable(reader.as_ref()).await?)),
            Self::Loaded(book) => Ok(Arc::clone(book)),
            Self::Nowhere => {
                Err(Refusal::BookUnusable("there is no book to run here: give --book DIR".to_owned()).into())
            }
        }
    }
}

/// The outcome of a run that may exist already.
fn outcome(run: Option<&Run>, id: RunId) -> Accepted {
    match run {
        None => Accepted::Begun(id),
        Some(run) if run.is_closed() => Accepted::Finished(id),
        Some(_) => Accepted::Continued(id),
    }
}
