//! The scheduler of `nightbook serve`: which slots are due, which are run late, which were missed.
//!
//! A slot is *due* from its instant on, in its *grace* until `[schedule] grace_minutes` later, and *past* after that.
//! In its grace it is run. A slot that is past is run late where `catch_up` says so, and recorded as missed where it
//! does not, or where the book cannot be read; a book that is mended is run late for the slots that waited for it.
//!
//! Of several slots the newest is run first, then the others from the oldest on. Those that wait behind it are recorded
//! as missed until they are run, so that the site names them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use app::{Beginning, DueSlot, OpenSlots, SlotRules, catch_up_order, due_slot, open_slots, slot_record, started_as};
use book::{Book, FolderSource, FolderStamp};
use chrono::{DateTime, Utc};
use domain::ids::RunId;
use domain::ports::Runs as _;
use domain::run::{Run, RunPhase};
use domain::start_run::StartRun;
use domain::watch::{mend, record_missed, watch};
use jobs::SnapshotInputs;

use crate::book_folder::read_usable;
use crate::commands::run::one;
use crate::engine::Engine;
use crate::exit::Interrupted;
use crate::settings_reload::{Outcome, Read, SettingsReload};
use crate::site_settings::SiteSettings;

/// What the scheduler remembers between two rounds.
pub(crate) struct Scheduler {
    book_dir: PathBuf,
    /// The book as it last could be read.
    book: Arc<Book>,
    /// Puts changed settings in force.
    reload: Arc<SettingsReload>,
    /// The rules in force at the last look: the slots of their schedule up to `seen` have been looked at.
    rules: SlotRules,
    /// The folder as it was when `book` was read; none where it is to be read in any case.
    stamp: Option<FolderStamp>,
    /// Slots up to here have been looked at.
    seen: DateTime<Utc>,
    /// Due, and not yet run or given up. A slot stays what the schedule that it came from made it.
    waiting: Vec<StartRun>,
    /// The newest slot with a run.
    newest_run: Option<DateTime<Utc>>,
    /// Why the book cannot be read, as it was last told.
    book_error: Option<String>,
}

impl Scheduler {
    /// Begins where the records of the schedule say so. Slots that are recorded as missed since the last one that was
    /// run in its time are waited for again: what kept them from being run may be mended by now.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn new(
        engine: &Engine,
        book_dir: &Path,
        book: Book,
        reload: Arc<SettingsReload>,
    ) -> anyhow::Result<Self> {
        // What came into force before is in what is read next.
        engine.settings.take_slot_rules();
        let rules = SlotRules::of(engine.settings.current().settings.settings());
        let records = engine.store.created_at().await?;
        let series = SiteSettings::kept(engine.store.folder()).series_since();
        let now = engine.ports.clock.now();
        let OpenSlots { after, missed, newest_run } =
            open_slots(&engine.store, &rules, Beginning { records, series }, now).await?;
        let waiting = if rules.schedule.catch_up { missed } else { Vec::new() };
        let (book_dir, book) = (book_dir.to_owned(), Arc::new(book));
        Ok(Self { book_dir, book, reload, rules, stamp: None, seen: after, waiting, newest_run, book_error: None })
    }

    /// One round: go on with what is open, run what is due, mend or report what was left lying, retire what is old.
    /// What fails for one run keeps no other from being looked at.
    ///
    /// # Errors
    /// The first error, after everything else was done, or an interruption at once; the next round goes on where this
    /// one stopped.
    pub(crate) async fn round(&mut self, engine: &Engine) -> anyhow::Result<()> {
        let mut first_error = None;
        // Before the book is read: a run that is asked for later may ask for a book that has changed since.
        let open_runs = engine.ports.store.open_runs().await?;
        self.look(engine).await;
        for open in open_runs {
            keep(&mut first_error, self.go_on(engine, &open).await)?;
        }
        let mut passed = Vec::new();
        keep(&mut first_error, self.run_due(engine, &mut passed).await)?;
        let swept = watch(&engine.ports, &engine.publisher(), &engine.notifier(), &passed).await;
        engine.show_changes().await;
        let unplanned = keep(&mut first_error, swept.map_err(Into::into))?.unwrap_or_default().unplanned;
        if !unplanned.is_empty() {
            self.look(engine).await;
        }
        for run in unplanned {
            if let Some(stored) = engine.store.run(run).await? {
                keep(&mut first_error, self.go_on(engine, &stored.run).await)?;
            }
        }
        keep(&mut first_error, engine.retire().await)?;
        first_error.map_or(Ok(()), Err)
    }

    /// Reads the book and the settings as they are now.
    async fn look(&mut self, engine: &Engine) {
        let outcome = self.read_book().await;
        engine.show_settings(outcome).await;
        self.take_rules(engine);
    }

    /// Runs the slots that are due: the newest first, then the others from the oldest on. A slot that comes meanwhile is
    /// the newest. `passed` are those that passed without a run.
    async fn run_due(&mut self, engine: &Engine, passed: &mut Vec<StartRun>) -> anyhow::Result<()> {
        loop {
            self.note_due(engine.ports.clock.now());
            let mut due = self.decide(engine, passed).await?;
            catch_up_order(&mut due, self.newest_run);
            let Some((next, behind)) = due.split_first() else { return Ok(()) };
            self.record_behind(engine, behind).await?;
            let start = next.clone().with_deadline(self.rules.deadline_minutes);
            one(engine, &self.book, &start, engine.prices(&self.book)).await?;
            self.newest_run = self.newest_run.max(Some(start.scheduled_for));
            self.look(engine).await;
        }
    }

    /// Decides on the slots that wait; keeps those that are not settled, and returns those that are to be started.
    async fn decide(&mut self, engine: &Engine, passed: &mut Vec<StartRun>) -> anyhow::Result<Vec<StartRun>> {
        passed.clear();
        let (mut due, mut later) = (Vec::new(), Vec::new());
        for slot in &self.waiting {
            let record = slot_record(&engine.store, slot).await?;
            let now = engine.ports.clock.now();
            match due_slot(&self.rules, slot.scheduled_for, now, &record, self.book_error.is_none()) {
                DueSlot::Settled => continue,
                DueSlot::Start => due.push(record.start_of(slot)),
                DueSlot::Missed => passed.push(slot.clone()),
                DueSlot::Waits => {}
            }
            later.push(slot.clone());
        }
        self.waiting = later;
        Ok(due)
    }

    /// Records the slots that are past and run after another one as missed until then, and shows that.
    async fn record_behind(&self, engine: &Engine, behind: &[StartRun]) -> anyhow::Result<()> {
        let now = engine.ports.clock.now();
        let mut recorded = false;
        for slot in behind.iter().filter(|slot| now > self.rules.grace_ends(slot.scheduled_for)) {
            recorded |= record_missed(&engine.ports, slot).await?;
        }
        if recorded {
            engine.refresh_index().await;
        }
        Ok(())
    }

    /// Takes over the rules that came into force since the last look, which may be hours ago. The slots of a schedule
    /// are noted up to the moment that the next one was in force, and those of the next count from then on: no slot
    /// before a schedule was in force is ever missed, and none after it is lost.
    fn take_rules(&mut self, engine: &Engine) {
        for (since, rules) in engine.settings.take_slot_rules() {
            self.note_due(since);
            self.seen = self.seen.max(since);
            self.rules = rules;
        }
    }

    /// Reads the book as it is now, if it changed since it was last read, and logs each cause once if it cannot be.
    /// Returns what became of the settings with it.
    async fn read_book(&mut self) -> Outcome {
        let (book_dir, before, reload) = (self.book_dir.clone(), self.stamp.clone(), Arc::clone(&self.reload));
        let read = tokio::task::spawn_blocking(move || BookRead::of(&book_dir, before, &reload)).await;
        match read
            .unwrap_or_else(|error| BookRead::Unusable(anyhow::Error::new(error).context("the book was not read")))
        {
            BookRead::Same => Outcome::Same,
            BookRead::Usable { book, stamp, outcome } => {
                if self.book_error.take().is_some() {
                    tracing::info!(event = "book.usable", "the book can be read again");
                }
                self.book = book;
                self.stamp = stamp;
                outcome
            }
            BookRead::Unusable(error) => {
                self.stamp = None;
                let error = format!("{error:#}");
                if self.book_error.as_ref() != Some(&error) {
                    tracing::error!(
                        error,
                        event = "book.unusable",
                        "the book cannot be read; no run can start until it can"
                    );
                    self.book_error = Some(error);
                }
                Outcome::Same
            }
        }
    }

    /// Notes the slots that have come since the last look: more than one where the machine slept. A clock that was
    /// set back finds nothing new, and the id of a run makes a slot that comes again harmless.
    fn note_due(&mut self, now: DateTime<Utc>) {
        while let Some(slot) = self.rules.next_until(self.seen, now) {
            self.waiting.push(self.rules.scheduled(slot));
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
        let start = started_as(open);
        if let Some(of) = open.rerun_of {
            let original = original(engine, of).await?;
            let inputs = SnapshotInputs::new(Arc::clone(&engine.ports.documents), original, open.filter.clone());
            engine.run(&start, &inputs).await?;
        } else if let Some(error) = &self.book_error {
            // A run that waits for its planner waits for a book that can be read.
            tracing::debug!(batch_run_id = %open.batch_run_id, error, "a run waits for a book that can be read");
        } else {
            one(engine, &self.book, &start, engine.prices(&self.book)).await?;
        }
        Ok(())
    }
}

/// The outcome, where there is one; keeps the first error and tells the others. An interruption ends the round.
fn keep<T>(first: &mut Option<anyhow::Error>, outcome: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_interruption(&error) => Err(error),
        Err(error) if first.is_none() => {
            *first = Some(error);
            Ok(None)
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), event = "watch.failed", "a further run could not be mended");
            Ok(None)
        }
    }
}

/// Whether an error is an interruption: the process was told to stop.
pub(crate) fn is_interruption(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Interrupted>())
}

async fn original(engine: &Engine, of: RunId) -> anyhow::Result<Run> {
    Ok(engine.store.run(of).await?.with_context(|| format!("run {of}, which is to be repeated, is not on record"))?.run)
}

/// A look at the book, made where it may block.
enum BookRead {
    /// It is as it was.
    Same,
    /// It was read.
    Usable { book: Arc<Book>, stamp: Option<FolderStamp>, outcome: Outcome },
    /// It cannot be run.
    Unusable(anyhow::Error),
}

impl BookRead {
    fn of(book_dir: &Path, before: Option<FolderStamp>, reload: &SettingsReload) -> Self {
        // Before the reading: what is written meanwhile makes another stamp.
        let stamp = FolderSource::new(book_dir).stamp().ok();
        if stamp.is_some() && stamp == before {
            return Self::Same;
        }
        match read_usable(book_dir) {
            Ok(book) => {
                // The settings of the file first, so that a run begins with those in force.
                let outcome = reload.look(Read::Changed).max(reload.take_portfolios(&book));
                Self::Usable { book: Arc::new(book), stamp, outcome }
            }
            Err(error) => Self::Unusable(error),
        }
    }
}

#[cfg(test)]
mod tests;
