//! The scheduler of `nightbook serve`: which slots are due, which are run late, which were missed.
//!
//! A slot is *due* from its instant on, in its *grace* until `[schedule] grace_minutes` later, and *past* after that.
//! In its grace it is run. A slot that is past is run late where `catch_up` says so, and recorded as missed where it
//! does not, or where the book cannot be read; a book that is mended is run late for the slots that waited for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use book::{Book, as_of_of_slot, next_due_slot};
use chrono::{DateTime, TimeDelta, Utc};
use domain::identity;
use domain::ids::RunId;
use domain::ports::{RunQuery, RunStore as _};
use domain::run::{Run, RunPhase};
use domain::start_run::StartRun;
use domain::watch::{mend, watch};
use jobs::{NoGate, SnapshotInputs};

use crate::commands::run::{one, read_usable};
use crate::engine::Engine;
use crate::exit::Interrupted;

/// What the scheduler remembers between two rounds.
pub(crate) struct Scheduler {
    book_dir: PathBuf,
    /// The book as it last could be read: its schedule holds while it cannot be.
    book: Arc<Book>,
    /// Slots up to here have been looked at.
    seen: DateTime<Utc>,
    /// Due, and not yet run or given up; oldest first.
    waiting: Vec<DateTime<Utc>>,
    /// Why the book cannot be read, as it was last told.
    book_error: Option<String>,
}

impl Scheduler {
    /// Begins where the records of the schedule end, or where the store does: no slot before that is ever missed.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn new(engine: &Engine, book_dir: &Path, book: Book) -> anyhow::Result<Self> {
        let newest = newest_slot(engine, &book).await?;
        let seen = engine.store.created_at().await?.max(newest.unwrap_or_default());
        Ok(Self { book_dir: book_dir.to_owned(), book: Arc::new(book), seen, waiting: Vec::new(), book_error: None })
    }

    /// One round: go on with what is open, run what is due, mend or report what was left lying, retire what is old.
    ///
    /// # Errors
    /// The store, or an interruption; the next round goes on where this one stopped.
    pub(crate) async fn round(&mut self, engine: &Engine) -> anyhow::Result<()> {
        for open in engine.ports.store.open_runs().await? {
            self.go_on(engine, &open).await?;
        }
        self.read_book();
        self.note_due(engine.ports.clock.now());
        let mut passed = Vec::new();
        for slot in std::mem::take(&mut self.waiting) {
            let start = scheduled(&self.book, slot);
            let there = engine.store.run(start.id).await?;
            if there.as_ref().is_some_and(|stored| stored.run.phase != RunPhase::Missed) {
                continue;
            }
            let grace = TimeDelta::minutes(i64::from(self.book.settings.schedule.grace_minutes));
            let past = engine.ports.clock.now() > slot + grace;
            let readable = self.book_error.is_none();
            if readable && (!past || self.book.settings.schedule.catch_up) {
                if let Err(error) = one(engine, &self.book, &start, Arc::new(NoGate)).await {
                    // Interrupted, or a store that cannot be written: the slot is still due.
                    self.waiting.push(slot);
                    return Err(error);
                }
                continue;
            }
            if past && there.is_none() {
                passed.push(start);
            }
            if !readable && (!past || self.book.settings.schedule.catch_up) {
                self.waiting.push(slot);
            }
        }
        let sweep = watch(&engine.ports, &engine.publisher(), &engine.notifier(), &passed).await?;
        for run in sweep.unplanned {
            if let Some(stored) = engine.store.run(run).await? {
                self.go_on(engine, &stored.run).await?;
            }
        }
        engine.retire(&self.book.settings).await
    }

    /// Reads the book as it is now, and tells once for each cause if it cannot be.
    fn read_book(&mut self) {
        match read_usable(&self.book_dir) {
            Ok(book) => {
                if self.book_error.take().is_some() {
                    tracing::info!(event = "book.usable", "the book can be read again");
                }
                self.book = Arc::new(book);
            }
            Err(error) => {
                let error = format!("{error:#}");
                if self.book_error.as_ref() != Some(&error) {
                    tracing::error!(
                        error,
                        event = "book.unusable",
                        "the book cannot be read; no run can start until it can"
                    );
                    self.book_error = Some(error);
                }
            }
        }
    }

    /// Notes the slots that have come since the last round: more than one where the machine slept. A clock that was
    /// set back finds nothing new, and the id of a run makes a slot that comes again harmless.
    fn note_due(&mut self, now: DateTime<Utc>) {
        while let Some(slot) = next_due_slot(&self.book.settings.schedule, self.seen).filter(|slot| *slot <= now) {
            self.waiting.push(slot);
            self.seen = slot;
        }
    }

    /// Goes on with a run that is open: on its pinned inputs where it has them, else from the book.
    async fn go_on(&self, engine: &Engine, open: &Run) -> anyhow::Result<()> {
        if !matches!(open.phase, RunPhase::Planning { .. }) {
            mend(&engine.ports, open).await?;
            engine.drive(open).await?;
            return Ok(());
        }
        let start = StartRun {
            id: open.batch_run_id,
            schedule: open.schedule.clone(),
            trigger: open.trigger.clone(),
            as_of: open.as_of,
            scheduled_for: open.scheduled_for,
            rerun_of: open.rerun_of,
            repeat: open.repeat,
            filter: open.filter.clone(),
        };
        match open.rerun_of {
            Some(of) => {
                let original = original(engine, of).await?;
                let inputs = SnapshotInputs::new(Arc::clone(&engine.ports.documents), original, open.filter.clone());
                engine.run(&start, &inputs).await?;
            }
            // A run that waits for its planner waits for a book that can be read.
            None => match read_usable(&self.book_dir) {
                Ok(book) => {
                    one(engine, &Arc::new(book), &start, Arc::new(NoGate)).await?;
                }
                Err(error) => {
                    tracing::debug!(batch_run_id = %open.batch_run_id, error = format!("{error:#}"), "a run waits for a book that can be read");
                }
            },
        }
        Ok(())
    }
}

/// Whether an error is an interruption: the process was told to stop.
pub(crate) fn is_interruption(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Interrupted>())
}

async fn original(engine: &Engine, of: RunId) -> anyhow::Result<Run> {
    Ok(engine.store.run(of).await?.with_context(|| format!("run {of}, which is to be repeated, is not on record"))?.run)
}

/// The start of the run of a slot.
fn scheduled(book: &Book, slot: DateTime<Utc>) -> StartRun {
    let schedule = &book.settings.schedule;
    StartRun {
        id: identity::scheduled(&schedule.name, slot),
        schedule: schedule.name.clone(),
        trigger: "schedule".to_owned(),
        as_of: as_of_of_slot(schedule, slot),
        scheduled_for: slot,
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
    }
}

/// The newest slot of this schedule that has a record.
async fn newest_slot(engine: &Engine, book: &Book) -> anyhow::Result<Option<DateTime<Utc>>> {
    let mut query = RunQuery { limit: 100, ..RunQuery::default() };
    loop {
        let page = engine.store.runs(&query).await?;
        let of_schedule = page.runs.iter().map(|stored| &stored.run).find(|run| {
            run.schedule == book.settings.schedule.name
                && run.batch_run_id == identity::scheduled(&run.schedule, run.scheduled_for)
        });
        if let Some(run) = of_schedule {
            return Ok(Some(run.scheduled_for));
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(None);
        }
    }
}
