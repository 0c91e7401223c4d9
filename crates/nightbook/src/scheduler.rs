//! The scheduler of `nightbook serve`: which slots are due, which are run late, which were missed.
//!
//! A slot is *due* from its instant on, in its *grace* until `[schedule] grace_minutes` later, and *past* after that.
//! In its grace it is run. A slot that is past is run late where `catch_up` says so, and recorded as missed where it
//! does not, or where the book cannot be read; a book that is mended is run late for the slots that waited for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use app::{DueSlot, due_slot, scheduled, started_as};
use book::{Book, FolderSource, FolderStamp, ScheduleSettings, next_due_slot};
use chrono::{DateTime, Utc};
use domain::identity;
use domain::ids::RunId;
use domain::ports::{RunQuery, Runs as _};
use domain::run::{Run, RunPhase};
use domain::start_run::StartRun;
use domain::watch::{mend, watch};
use jobs::SnapshotInputs;

use crate::book_folder::read_usable;
use crate::commands::run::one;
use crate::engine::Engine;
use crate::exit::Interrupted;
use crate::settings_reload::{Outcome, Read, SettingsReload};

/// What the scheduler remembers between two rounds.
pub(crate) struct Scheduler {
    book_dir: PathBuf,
    /// The book as it last could be read.
    book: Arc<Book>,
    /// Puts changed settings in force.
    reload: Arc<SettingsReload>,
    /// The schedule in force at the last round: its slots up to `seen` have been looked at.
    schedule: ScheduleSettings,
    /// The folder as it was when `book` was read; none where it is to be read in any case.
    stamp: Option<FolderStamp>,
    /// Slots up to here have been looked at.
    seen: DateTime<Utc>,
    /// Due, and not yet run or given up; oldest first. A slot stays what the schedule that it came from made it.
    waiting: Vec<StartRun>,
    /// Why the book cannot be read, as it was last told.
    book_error: Option<String>,
}

impl Scheduler {
    /// Begins where the records of the schedule end, or where the store does: no slot before that is ever missed.
    /// Slots that were recorded as missed since the last one that was run are waited for again: what kept them from
    /// being run may be mended by now.
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
        engine.settings.take_schedules();
        let schedule = in_force(engine);
        let (newest, missed) = newest_slots(engine, &schedule).await?;
        let seen = engine.store.created_at().await?.max(newest.unwrap_or_default());
        let waiting = if schedule.catch_up { missed } else { Vec::new() };
        let book_dir = book_dir.to_owned();
        Ok(Self { book_dir, book: Arc::new(book), reload, schedule, stamp: None, seen, waiting, book_error: None })
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
        let outcome = self.read_book();
        engine.show_settings(outcome).await;
        self.take_schedules(engine);
        for open in open_runs {
            keep(&mut first_error, self.go_on(engine, &open).await)?;
        }
        let passed = keep(&mut first_error, self.run_due(engine).await)?.unwrap_or_default();
        let swept = watch(&engine.ports, &engine.publisher(), &engine.notifier(), &passed).await;
        engine.show_changes().await;
        let unplanned = keep(&mut first_error, swept.map_err(Into::into))?.unwrap_or_default().unplanned;
        if !unplanned.is_empty() {
            let outcome = self.read_book();
            engine.show_settings(outcome).await;
        }
        for run in unplanned {
            if let Some(stored) = engine.store.run(run).await? {
                keep(&mut first_error, self.go_on(engine, &stored.run).await)?;
            }
        }
        keep(&mut first_error, engine.retire().await)?;
        first_error.map_or(Ok(()), Err)
    }

    /// Runs the slots that are due, oldest first; gives those that passed without a run.
    async fn run_due(&mut self, engine: &Engine) -> anyhow::Result<Vec<StartRun>> {
        self.note_due(engine.ports.clock.now());
        let (mut passed, mut later) = (Vec::new(), Vec::new());
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        let mut outcome = Ok(());
        for slot in waiting.by_ref() {
            outcome = match self.due(engine, &slot).await {
                Ok(DueSlot::Settled) => Ok(()),
                Ok(DueSlot::Waits) => {
                    later.push(slot.clone());
                    Ok(())
                }
                Ok(DueSlot::Missed) => {
                    later.push(slot.clone());
                    passed.push(slot.clone());
                    Ok(())
                }
                Ok(DueSlot::Start) => {
                    let start = slot.clone().with_deadline(self.book.settings.run.deadline_minutes);
                    one(engine, &self.book, &start, engine.prices(&self.book)).await.map(|_| ())
                }
                Err(error) => Err(error),
            };
            if outcome.is_err() {
                // Interrupted, or a store that cannot be read or written: the slot is still due, and those behind it.
                later.push(slot);
                break;
            }
        }
        later.extend(waiting);
        self.waiting = later;
        outcome.map(|()| passed)
    }

    async fn due(&self, engine: &Engine, slot: &StartRun) -> anyhow::Result<DueSlot> {
        let there = engine.store.run(slot.id).await?;
        let recorded = there.as_ref().map(|stored| &stored.run.phase);
        let now = engine.ports.clock.now();
        Ok(due_slot(&self.schedule, slot.scheduled_for, now, recorded, self.book_error.is_none()))
    }

    /// Takes over the schedules that came into force since the last round, which may have run for hours. The slots of a
    /// schedule are noted up to the moment that the next one was in force, and those of the next count from then on: no
    /// slot before a schedule was in force is ever missed, and none after it is lost.
    fn take_schedules(&mut self, engine: &Engine) {
        for (since, schedule) in engine.settings.take_schedules() {
            self.note_due(since);
            self.seen = self.seen.max(since);
            self.schedule = schedule;
        }
    }

    /// Reads the book as it is now, if it changed since it was last read, and logs each cause once if it cannot be.
    /// Returns what became of the settings with it.
    fn read_book(&mut self) -> Outcome {
        // Before the reading: what is written meanwhile makes another stamp.
        let stamp = FolderSource::new(&self.book_dir).stamp().ok();
        if stamp.is_some() && stamp == self.stamp {
            return Outcome::Same;
        }
        match read_usable(&self.book_dir) {
            Ok(book) => {
                if self.book_error.take().is_some() {
                    tracing::info!(event = "book.usable", "the book can be read again");
                }
                // The settings of the file first, so that a run begins with those in force.
                let outcome = self.reload.look(Read::Changed).max(self.reload.take_portfolios(&book));
                self.book = Arc::new(book);
                self.stamp = stamp;
                outcome
            }
            Err(error) => {
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

    /// Notes the slots that have come since the last round: more than one where the machine slept. A clock that was
    /// set back finds nothing new, and the id of a run makes a slot that comes again harmless.
    fn note_due(&mut self, now: DateTime<Utc>) {
        while let Some(slot) = next_due_slot(&self.schedule, self.seen).filter(|slot| *slot <= now) {
            self.waiting.push(scheduled(&self.schedule, slot));
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

/// The schedule of the settings in force.
fn in_force(engine: &Engine) -> ScheduleSettings {
    engine.settings.current().settings.settings().schedule.clone()
}

async fn original(engine: &Engine, of: RunId) -> anyhow::Result<Run> {
    Ok(engine.store.run(of).await?.with_context(|| format!("run {of}, which is to be repeated, is not on record"))?.run)
}

/// The newest slot of this schedule that has a record, and the slots since the last one that was run that are recorded
/// as missed, oldest first.
async fn newest_slots(
    engine: &Engine,
    schedule: &ScheduleSettings,
) -> anyhow::Result<(Option<DateTime<Utc>>, Vec<StartRun>)> {
    let mut query = RunQuery { limit: 100, ..RunQuery::default() };
    let (mut newest, mut missed) = (None, Vec::new());
    loop {
        let page = engine.store.runs(&query).await?;
        let of_schedule = page.runs.iter().map(|stored| &stored.run).filter(|run| {
            run.schedule == schedule.name && run.batch_run_id == identity::scheduled(&run.schedule, run.scheduled_for)
        });
        for run in of_schedule {
            newest = newest.max(Some(run.scheduled_for));
            if run.phase != RunPhase::Missed {
                missed.reverse();
                return Ok((newest, missed));
            }
            missed.push(scheduled(schedule, run.scheduled_for));
        }
        query.after = page.next;
        if query.after.is_none() {
            missed.reverse();
            return Ok((newest, missed));
        }
    }
}

#[cfg(test)]
mod tests {

    use chrono::TimeDelta;
    use domain::ids::Owner;
    use domain::ports::Creation;

    use super::*;
    use crate::sample::init_files;
    use crate::site_settings::SiteSettings;
    use crate::stop::Stop;

    struct Place {
        dir: tempfile::TempDir,
        engine: Engine,
    }

    impl Place {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("book")).unwrap();
            for (name, text) in init_files() {
                std::fs::write(dir.path().join("book").join(name), text).unwrap();
            }
            let settings = SiteSettings::of(&read_usable(&dir.path().join("book")).unwrap(), &dir.path().join("book"));
            let stop = Stop::on_signals().unwrap();
            let engine = Engine::open(&dir.path().join("data"), settings, Some(1), stop).await.unwrap();
            Self { dir, engine }
        }

        fn book(&self) -> PathBuf {
            self.dir.path().join("book")
        }

        async fn scheduler(&self) -> Scheduler {
            let reload =
                SettingsReload::new(&self.book(), self.engine.store.folder(), Arc::clone(&self.engine.settings));
            let book = read_usable(&self.book()).unwrap();
            Scheduler::new(&self.engine, &self.book(), book, Arc::new(reload)).await.unwrap()
        }

        /// The phases of all runs, oldest first.
        async fn runs(&self) -> Vec<(Run, bool)> {
            let page = self.engine.store.runs(&RunQuery { limit: 100, ..RunQuery::default() }).await.unwrap();
            let mut runs: Vec<Run> = page.runs.into_iter().map(|stored| stored.run).collect();
            runs.reverse();
            runs.into_iter().map(|run| (run.clone(), run.phase == RunPhase::Missed)).collect()
        }
    }

    /// As if the machine had slept through the slots of nine days: two or more, whatever holidays they have.
    fn asleep(scheduler: &mut Scheduler, engine: &Engine) -> usize {
        scheduler.seen = engine.ports.clock.now() - TimeDelta::days(9);
        let mut probe = scheduler.seen;
        let mut slots = 0;
        let schedule = &scheduler.schedule;
        let grace = TimeDelta::minutes(i64::from(schedule.grace_minutes));
        while let Some(slot) = next_due_slot(schedule, probe).filter(|slot| *slot + grace < engine.ports.clock.now()) {
            probe = slot;
            slots += 1;
        }
        slots
    }

    #[tokio::test]
    async fn slots_that_waited_for_a_book_are_missed_once_and_run_late_even_by_another_process() {
        let place = Place::new().await;
        let mut scheduler = place.scheduler().await;
        let slots = asleep(&mut scheduler, &place.engine);
        assert!(slots >= 2, "a week has more than {slots} sessions");
        let settings = place.book().join("nightbook.toml");
        let usable = std::fs::read_to_string(&settings).unwrap();
        std::fs::write(&settings, "no settings").unwrap();
        for _ in 0..2 {
            scheduler.round(&place.engine).await.unwrap();
            let missed = place.runs().await.iter().filter(|(_, missed)| *missed).count();
            assert_eq!((missed, place.runs().await.len()), (slots, slots), "each once");
        }
        std::fs::write(&settings, usable).unwrap();
        let mut next = place.scheduler().await;
        next.round(&place.engine).await.unwrap();
        let runs = place.runs().await;
        assert_eq!(runs.iter().filter(|(_, missed)| *missed).count(), 0, "{runs:?}");
        assert!(runs.iter().take(slots).all(|(run, _)| run.is_closed() && run.plan.is_some()), "{runs:?}");
    }

    #[tokio::test]
    async fn a_run_that_cannot_go_on_keeps_no_slot_from_being_run() {
        let place = Place::new().await;
        let mut scheduler = place.scheduler().await;
        let slots = asleep(&mut scheduler, &place.engine);
        let now = place.engine.ports.clock.now();
        let mut bad = scheduled(&scheduler.schedule, now);
        bad.rerun_of = Some(identity::scheduled(&bad.schedule, now + TimeDelta::days(1)));
        bad.repeat = 1;
        let open = bad.planning(Owner(uuid::Uuid::nil()), now, now - TimeDelta::hours(1));
        assert_eq!(place.engine.store.create_run(&open).await.unwrap(), Creation::Created);
        let error = scheduler.round(&place.engine).await.unwrap_err();
        assert!(format!("{error:#}").contains("not on record"), "{error:#}");
        let closed = place.runs().await.iter().filter(|(run, _)| run.is_closed() && run.plan.is_some()).count();
        assert!(closed >= slots, "{closed} of {slots}");
    }

    #[tokio::test]
    async fn the_book_is_read_again_only_where_it_changed() {
        let place = Place::new().await;
        let mut scheduler = place.scheduler().await;
        let _ = scheduler.read_book();
        let first = Arc::clone(&scheduler.book);
        let _ = scheduler.read_book();
        assert!(Arc::ptr_eq(&first, &scheduler.book));
        let positions = place.book().join("positions.csv");
        let text = std::fs::read_to_string(&positions).unwrap();
        std::fs::write(&positions, text + "\n").unwrap();
        let _ = scheduler.read_book();
        assert!(!Arc::ptr_eq(&first, &scheduler.book));
    }

    #[tokio::test]
    async fn a_changed_schedule_holds_from_now_on_and_slots_that_were_due_before_keep_theirs() {
        let place = Place::new().await;
        let mut scheduler = place.scheduler().await;
        scheduler.round(&place.engine).await.unwrap();
        let slots = asleep(&mut scheduler, &place.engine);
        let old = scheduler.schedule.clone();
        let settings = place.book().join("nightbook.toml");
        let text = "[schedule]\nname = \"early\"\ncron = \"5 0 * * *\"\ncalendar = \"every-day\"\n";
        std::fs::write(&settings, text).unwrap();
        // The first of the two looks that must see the same file; the round has the second.
        assert_eq!(scheduler.reload.look(Read::Changed), Outcome::Same);
        scheduler.round(&place.engine).await.unwrap();
        assert_eq!(scheduler.schedule.name.as_str(), "early");
        let now = place.engine.ports.clock.now();
        assert!(
            next_due_slot(&scheduler.schedule, scheduler.seen).is_some_and(|slot| slot > now - TimeDelta::minutes(1))
        );
        let runs = place.runs().await;
        assert!(runs.len() >= slots, "{runs:?}");
        assert!(runs.iter().all(|(run, _)| run.schedule == old.name), "no slot of the new one has come: {runs:?}");
    }
}
