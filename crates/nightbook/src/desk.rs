//! Takes the commands of the history API: a run that is asked for is recorded, and the scheduler does it.

use std::path::PathBuf;
use std::sync::Arc;

use api::{Accepted, CommandError, Commands, StartAsked};
use async_trait::async_trait;
use backends::local::LocalStore;
use backends::system::SystemRandomness;
use domain::ids::RunId;
use domain::ports::{Change, Clock, Creation, Documents as _, Randomness as _, Runs as _, StoreError, StoredRun};
use domain::run::RunEvent;
use domain::start_run::StartRun;

use wiring::by_hand;

use crate::commands::rerun::again;
use crate::commands::run::read_usable;
use crate::engine::{Attention, Engine};
use crate::exit::BadInput;

/// Where commands are taken.
pub(crate) struct Desk {
    store: LocalStore,
    clock: Arc<dyn Clock>,
    book_dir: PathBuf,
    attention: Arc<Attention>,
    /// One command at a time: between the look whether a run is active and its record nobody else may start one.
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Desk {
    /// The desk of an engine that runs this book.
    pub(crate) fn new(engine: &Engine, book_dir: PathBuf) -> Self {
        Self {
            store: engine.store.clone(),
            clock: Arc::clone(&engine.ports.clock),
            book_dir,
            attention: Arc::clone(&engine.attention),
            one_at_a_time: tokio::sync::Mutex::default(),
        }
    }

    async fn none_active(&self) -> Result<(), CommandError> {
        match self.store.open_runs().await?.first() {
            Some(run) => Err(CommandError::Active(run.batch_run_id)),
            None => Ok(()),
        }
    }

    /// Records the run, so that it is done even if the process dies now.
    async fn record(&self, start: &StartRun) -> Result<Accepted, CommandError> {
        let run = start.asked_for(SystemRandomness.owner(), self.clock.now());
        let accepted = match self.store.create_run(&run).await? {
            Creation::Existing(run) if run.is_closed() => return Ok(Accepted::Finished(start.id)),
            Creation::Existing(_) | Creation::Created => Accepted::Begun(start.id),
        };
        tracing::info!(
            batch_run_id = %start.id, as_of = %start.as_of, trigger = start.trigger, event = "run.asked_for",
            "a run was asked for through the history API"
        );
        self.attention.call();
        Ok(accepted)
    }

    async fn stored(&self, run: RunId) -> Result<StoredRun, CommandError> {
        let found = self.store.run(run).await?;
        found.ok_or_else(|| StoreError::NotFound { what: format!("run {run}") }.into())
    }
}

/// What is wrong with the input is for whoever asked; the rest is an affair of the store.
fn told(error: anyhow::Error) -> CommandError {
    match error.downcast::<StoreError>() {
        Ok(error) => error.into(),
        Err(error) if error.chain().any(|cause| cause.is::<BadInput>() || cause.is::<book::BookError>()) => {
            CommandError::Unusable(format!("{error:#}"))
        }
        Err(error) => StoreError::Unavailable { doing: "take the command".to_owned(), source: error.into() }.into(),
    }
}

#[async_trait]
impl Commands for Desk {
    async fn start(&self, asked: &StartAsked) -> Result<Accepted, CommandError> {
        let _only = self.one_at_a_time.lock().await;
        self.none_active().await?;
        let folder = self.book_dir.clone();
        let book = tokio::task::spawn_blocking(move || read_usable(&folder)).await;
        let book = book.map_err(anyhow::Error::from).and_then(|read| read).map_err(told)?;
        let schedule = &book.settings.schedule;
        let as_of = asked
            .as_of
            .unwrap_or_else(|| schedule.calendar.last_completed_session(self.clock.now(), schedule.timezone));
        if !schedule.calendar.is_session(as_of) {
            let next = schedule.calendar.next_session(as_of);
            return Err(CommandError::Unusable(format!("as_of: {as_of} is not a session; the next is {next}")));
        }
        for id in &asked.portfolios {
            if !book.portfolios.iter().any(|portfolio| portfolio.id == *id) {
                return Err(CommandError::Unusable(format!("portfolio_ids: the book has no portfolio {id}")));
            }
        }
        let start = by_hand(&self.store, &book, as_of, &asked.portfolios, &asked.trigger, asked.again).await;
        self.record(&start.map_err(|error| told(error.into()))?).await
    }

    async fn rerun(&self, run: RunId, failed_only: bool) -> Result<Accepted, CommandError> {
        let _only = self.one_at_a_time.lock().await;
        self.none_active().await?;
        let original = self.stored(run).await?;
        if !original.run.is_closed() {
            return Err(CommandError::Conflict(format!("run {run} is not closed: there is nothing to repeat")));
        }
        if let Some(plan) = &original.run.plan
            && let Err(StoreError::NotFound { .. }) = self.store.snapshot(&plan.snapshot).await
        {
            let text = format!(
                "the pinned inputs of run {run} are no longer kept: POST /api/v1/batch/runs with its as_of runs the date on the book as it is"
            );
            return Err(CommandError::Conflict(text));
        }
        match again(&self.store, &original, failed_only).await.map_err(told)? {
            Some(start) => self.record(&start).await,
            None => {
                Err(CommandError::Conflict(format!("every job of run {run} succeeded: there is nothing to repeat")))
            }
        }
    }

    async fn cancel(&self, run: RunId) -> Result<Accepted, CommandError> {
        match self.store.apply_run(run, &RunEvent::Cancel { now: self.clock.now() }).await? {
            Change::Applied(_) => {
                tracing::info!(batch_run_id = %run, event = "run.cancelled", "somebody asked to end the run early");
                self.attention.call();
                Ok(Accepted::Begun(run))
            }
            Change::Refused(_, refusal) => {
                Err(CommandError::Conflict(format!("run {run} cannot be cancelled: {refusal}")))
            }
        }
    }

    async fn annotated(&self, run: RunId) {
        self.attention.publish(run);
    }
}
