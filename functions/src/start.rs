//! `start-run`: plans the run of a slot, of a date by hand, again, or of a planner that died.

use std::sync::Arc;

use anyhow::Context as _;
use app::{
    ActiveRuns, BookOf, CancelRequest, ControlError, ControlParts, Dates, Decided, Door, NoWorker, Refusal,
    RerunRequest, RunControl, SlotRules, StartRequest, Starts, allowed_dates, store_settings,
};
use book::{Book, is_due, next_slot};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::ids::{CauseId, PortfolioId, RunId, ScheduleName};
use domain::ports::{Ports, RunInputs, SettingsFile};
use domain::run::{Run, RunPhase};
use domain::start_run::{StartRun, Started, start_run};
use domain::watch::mend;
use jobs::{BookInputs, NoGate, PriceGate, SnapshotInputs};
use prices::HttpPrices;
use serde::Deserialize;
use serde_json::{Value, json};
use site::{NoAlerts, NoNotes};

use crate::environment;
use crate::run_control::Recorded;
use crate::shelf::MemoryShelf;
use crate::source::{BookFiles, read_book};

/// How far the clock of the scheduler may be ahead of this one.
const CLOCK_DIFFERENCE: TimeDelta = TimeDelta::minutes(5);

/// What a payload may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    schedule: Option<ScheduleName>,
    scheduled_time: Option<String>,
    resume: Option<RunId>,
    cancel: Option<RunId>,
    rerun_of: Option<RunId>,
    failed: Option<bool>,
    cause: Option<CauseId>,
    as_of: Option<NaiveDate>,
    portfolios: Option<Vec<PortfolioId>>,
    trigger: Option<String>,
    again: Option<bool>,
    record_only: Option<bool>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The run of a slot.
    Slot {
        /// The schedule.
        schedule: ScheduleName,
        /// The slot.
        slot: DateTime<Utc>,
    },
    /// A run by hand.
    ByHand {
        /// The trading date; none: the last completed session.
        as_of: Option<NaiveDate>,
        /// The portfolios; empty: all.
        portfolios: Vec<PortfolioId>,
        /// What starts it, as the record shows it.
        trigger: String,
        /// Whether to run again what is finished.
        again: bool,
        /// Whether only to record it, for the history API: whoever resumes it does it.
        record_only: bool,
    },
    /// A finished run, once more on its pinned inputs.
    Rerun {
        /// The run.
        of: RunId,
        /// Only the portfolios with failed, skipped or missing jobs.
        failed: bool,
        /// Only the portfolios with this cause.
        cause: Option<CauseId>,
        /// Whether only to record it, for the history API.
        record_only: bool,
    },
    /// A run whose planner died.
    Resume(RunId),
    /// An open run is to end early.
    Cancel(RunId),
}

impl Asked {
    /// Reads a payload.
    ///
    /// # Errors
    /// It says nothing that could be done; the message says what can be.
    pub fn read(payload: Value) -> anyhow::Result<Self> {
        let payload: Payload = serde_json::from_value(payload).context(
            "the payload cannot be read: give schedule and scheduled_time, or any of as_of, portfolios, trigger and \
             again, or rerun_of and failed, or cancel, or resume",
        )?;
        match payload {
            Payload { schedule: Some(schedule), scheduled_time: Some(time), .. } if payload.is_only(2) => {
                Ok(Self::Slot { schedule, slot: slot_of(&time)? })
            }
            Payload { resume: Some(run), .. } if payload.is_only(1) => Ok(Self::Resume(run)),
            Payload { cancel: Some(run), .. } if payload.is_only(1) => Ok(Self::Cancel(run)),
            Payload { rerun_of: Some(of), failed, ref cause, record_only, .. }
                if payload.is_only(
                    1 + usize::from(failed.is_some())
                        + usize::from(cause.is_some())
                        + usize::from(record_only.is_some()),
                ) =>
            {
                let (failed, cause) = (failed.unwrap_or(false), cause.clone());
                Ok(Self::Rerun { of, failed, cause, record_only: record_only.unwrap_or(false) })
            }
            Payload {
                schedule: None,
                scheduled_time: None,
                resume: None,
                cancel: None,
                rerun_of: None,
                failed: None,
                cause: None,
                ..
            } => {
                let trigger = payload.trigger.unwrap_or_else(|| "manual".to_owned());
                Ok(Self::ByHand {
                    as_of: payload.as_of,
                    portfolios: payload.portfolios.unwrap_or_default(),
                    trigger,
                    again: payload.again.unwrap_or(false),
                    record_only: payload.record_only.unwrap_or(false),
                })
            }
            _ => anyhow::bail!(
                "the payload mixes what cannot go together: a slot is schedule and scheduled_time and nothing else, a \
                 run again is rerun_of and failed, the end of a run is cancel alone, a planner that died is resume alone"
            ),
        }
    }
}

impl Payload {
    /// Whether exactly so many members are given.
    fn is_only(&self, count: usize) -> bool {
        let given: [bool; 12] = [
            self.schedule.is_some(),
            self.scheduled_time.is_some(),
            self.resume.is_some(),
            self.cancel.is_some(),
            self.rerun_of.is_some(),
            self.failed.is_some(),
            self.cause.is_some(),
            self.as_of.is_some(),
            self.portfolios.is_some(),
            self.trigger.is_some(),
            self.again.is_some(),
            self.record_only.is_some(),
        ];
        given.iter().filter(|given| **given).count() == count
    }
}

fn slot_of(text: &str) -> anyhow::Result<DateTime<Utc>> {
    if text.contains('<') {
        anyhow::bail!(
            "the scheduler did not put the slot into the payload: scheduled_time is the literal text {text:?}; give the \
             slot itself, for example 2026-11-24T23:30:00Z"
        );
    }
    text.parse().with_context(|| {
        format!("scheduled_time {text:?} is no instant: write it in UTC, for example 2026-11-24T23:30:00Z")
    })
}

/// What `start-run` needs.
pub struct Starter {
    /// The ports.
    pub ports: Ports,
    /// The book.
    pub source: Arc<dyn BookFiles>,
    /// Where its settings are kept for the others.
    pub keeper: Arc<dyn SettingsFile>,
}

impl std::fmt::Debug for Starter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Starter")
    }
}

impl Starter {
    /// Starts what the payload asks for, or finds the run that is there; says what became of it.
    ///
    /// # Errors
    /// The payload, the book, the store or the queue. Nothing half-written counts, and the same payload again is
    /// harmless.
    pub async fn start(&self, payload: Value) -> anyhow::Result<Value> {
        match Asked::read(payload)? {
            Asked::Slot { schedule, slot } => self.slot(&schedule, slot).await,
            Asked::ByHand { as_of, portfolios, trigger, again, record_only } => {
                self.by_hand(&StartRequest { as_of, portfolios, trigger, again }, record_only).await
            }
            Asked::Rerun { of, failed, cause, record_only } => {
                self.rerun(&RerunRequest { run: of, failed_only: failed, cause }, record_only).await
            }
            Asked::Resume(id) => self.resume(id).await,
            Asked::Cancel(id) => self.cancel(id).await,
        }
    }

    /// The control of a door: one that records only has one run at a time.
    fn control(&self, book: BookOf, record_only: bool) -> RunControl {
        let ports = &self.ports;
        RunControl::new(ControlParts {
            store: Arc::clone(&ports.store),
            notes: Arc::new(NoNotes),
            alerts: Arc::new(NoAlerts),
            clock: Arc::clone(&ports.clock),
            randomness: Arc::clone(&ports.randomness),
            starts: Starts::Here { book, documents: Arc::clone(&ports.documents) },
            active_runs: if record_only { ActiveRuns::Refuse } else { ActiveRuns::Allow },
            worker: Arc::new(NoWorker),
        })
    }

    async fn by_hand(&self, request: &StartRequest, record_only: bool) -> anyhow::Result<Value> {
        let book = match self.book().await {
            Ok(book) => book,
            Err(error) if record_only => return Ok(json!(Recorded::of(Err(error))?)),
            Err(error) => return Err(failed(error)),
        };
        let control = self.control(BookOf::Loaded(Arc::clone(&book)), record_only);
        if record_only {
            return Ok(json!(Recorded::of(control.start(request).await)?));
        }
        match control.decide_start(request).await {
            Ok(work) => self.on_book(book, &work.start).await,
            Err(ControlError::Refused(Refusal::NoSession { date, .. })) => Ok(no_session(&book, date)),
            Err(error) => Err(failed(error)),
        }
    }

    async fn rerun(&self, request: &RerunRequest, record_only: bool) -> anyhow::Result<Value> {
        let control = self.control(BookOf::Nowhere, record_only);
        if record_only {
            return Ok(json!(Recorded::of(control.rerun(request).await)?));
        }
        match control.decide_rerun(request).await.map_err(failed)? {
            Decided::Run(work) => {
                let inputs =
                    work.pinned_inputs(Arc::clone(&self.ports.documents)).context("a rerun has pinned inputs")?;
                self.plan(&work.start, inputs.as_ref()).await
            }
            Decided::NothingToRepeat(of) => {
                Ok(json!({ "run": null, "reason": format!("every job of run {of} succeeded") }))
            }
        }
    }

    /// The book, with its settings stored for components without access to it.
    async fn book(&self) -> Result<Arc<Book>, ControlError> {
        let book = read_book(self.source.as_ref()).await?;
        let (randomness, now) = (self.ports.randomness.as_ref(), self.ports.clock.now());
        store_settings(self.keeper.as_ref(), &book, self.ports.store.as_ref(), randomness, now).await?;
        Ok(Arc::new(book))
    }

    async fn slot(&self, name: &ScheduleName, slot: DateTime<Utc>) -> anyhow::Result<Value> {
        let book = self.book().await.map_err(failed)?;
        let schedule = &book.settings.schedule;
        if schedule.name != *name {
            anyhow::bail!(
                "the schedule is called {name} in the payload and {} in the book: give both the same name, in \
                 ScheduleName and in [schedule] of nightbook.toml",
                schedule.name
            );
        }
        if next_slot(schedule, slot - TimeDelta::seconds(1)) != Some(slot) {
            anyhow::bail!(
                "{slot} is no slot of the book's schedule ({} in {}): ScheduleExpression and [schedule] of \
                 nightbook.toml must say the same",
                schedule.cron,
                schedule.timezone
            );
        }
        if !is_due(schedule, slot) {
            let local = slot.with_timezone(&schedule.timezone).date_naive();
            return Ok(no_session(&book, local));
        }
        let start = SlotRules::of(&book.settings).scheduled(slot);
        allowed_dates(schedule, Dates::One(Some(start.as_of)), self.ports.clock.now() + CLOCK_DIFFERENCE)
            .map_err(|refusal| failed(refusal.into()))?;
        self.on_book(book, &start).await
    }

    async fn on_book(&self, book: Arc<Book>, start: &StartRun) -> anyhow::Result<Value> {
        let ports = &self.ports;
        let gate: Arc<dyn PriceGate> = match &book.settings.http_prices {
            None => Arc::new(NoGate),
            Some(http) => {
                let key = http.key_env.as_deref().and_then(environment::variable);
                let (clock, randomness) = (Arc::clone(&ports.clock), Arc::clone(&ports.randomness));
                Arc::new(HttpPrices::new(http.clone(), key, Arc::new(MemoryShelf::default()), clock, randomness))
            }
        };
        let (clock, sleeper) = (Arc::clone(&ports.clock), Arc::clone(&ports.sleeper));
        let inputs = BookInputs::new(book, clock, gate, sleeper, Arc::clone(&ports.randomness));
        self.plan(start, &inputs).await
    }

    async fn plan(&self, start: &StartRun, inputs: &dyn RunInputs) -> anyhow::Result<Value> {
        let started = start_run(&self.ports, start, inputs).await?;
        let outcome = match &started {
            Started::Sealed(_) => "sealed",
            Started::Existing(_) => "existing",
            Started::PlannedElsewhere(_) => "planned_elsewhere",
            Started::Abandoned(_) => "abandoned",
        };
        let run = started.run();
        tracing::info!(batch_run_id = %run.batch_run_id, as_of = %run.as_of, outcome, event = "run.started", "a run was asked for");
        Ok(json!({
            "batch_run_id": run.batch_run_id,
            "as_of": run.as_of,
            "scheduled_for": run.scheduled_for,
            "outcome": outcome,
            "portfolios": run.plan.as_ref().map(|plan| plan.portfolios),
        }))
    }

    async fn stored(&self, id: RunId) -> anyhow::Result<domain::ports::StoredRun> {
        self.ports.store.run(id).await?.with_context(|| format!("there is no run {id}"))
    }

    async fn again(&self, original: Run, start: &StartRun) -> anyhow::Result<Value> {
        let inputs = SnapshotInputs::new(Arc::clone(&self.ports.documents), original, start.filter.clone());
        self.plan(start, &inputs).await
    }

    /// Ends an open run early: the parts that are not done are given up, and the close is requested.
    async fn cancel(&self, id: RunId) -> anyhow::Result<Value> {
        match self.control(BookOf::Nowhere, false).cancel(&CancelRequest { run: id }).await {
            // The end that was asked for came in between.
            Ok(_) | Err(ControlError::Refused(Refusal::AlreadyEnded { .. })) => {}
            Err(error) => return Err(failed(error)),
        }
        mend(&self.ports, &self.stored(id).await?.run).await?;
        Ok(json!({ "batch_run_id": id, "outcome": "cancelled" }))
    }

    async fn resume(&self, id: RunId) -> anyhow::Result<Value> {
        let run = self.stored(id).await?.run;
        if !matches!(run.phase, RunPhase::Planning { .. }) {
            return Ok(json!({ "batch_run_id": id, "outcome": "existing" }));
        }
        let start = app::started_as(&run);
        match run.rerun_of {
            Some(of) => self.again(self.stored(of).await?.run, &start).await,
            None => self.on_book(self.book().await.map_err(failed)?, &start).await,
        }
    }
}

/// A refusal as an error of the function, with what to do.
fn failed(error: ControlError) -> anyhow::Error {
    match error {
        ControlError::Refused(refusal) => anyhow::Error::msg(refusal.message(&Door::Function)),
        ControlError::Store(error) => error.into(),
    }
}

fn no_session(book: &Book, date: NaiveDate) -> Value {
    let schedule = &book.settings.schedule;
    let why = schedule.holiday_name(date).unwrap_or("its session has had its run");
    let reason = format!("{date} is not a session with a run of its own: {why}");
    tracing::info!(reason, event = "run.none", "nothing is to be run");
    json!({ "run": null, "reason": reason, "next_session": schedule.next_session(date) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: Value) -> Result<Asked, String> {
        Asked::read(payload).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_payload_of_the_scheduler_is_a_slot() {
        let asked = read(json!({ "schedule": "nightly", "scheduled_time": "2026-11-24T23:30:00Z" })).unwrap();
        let slot = "2026-11-24T23:30:00Z".parse().unwrap();
        assert_eq!(asked, Asked::Slot { schedule: ScheduleName::new("nightly").unwrap(), slot });
    }

    #[test]
    fn a_keyword_that_was_not_replaced_is_refused() {
        let payload = json!({ "schedule": "nightly", "scheduled_time": "<aws.scheduler.scheduled-time>" });
        let error = read(payload).unwrap_err();
        assert!(error.contains("did not put the slot into the payload") && error.contains("<aws."), "{error}");
    }

    #[test]
    fn a_run_by_hand_has_defaults() {
        let by_hand = |trigger: &str| Asked::ByHand {
            as_of: None,
            portfolios: Vec::new(),
            trigger: trigger.into(),
            again: false,
            record_only: false,
        };
        assert_eq!(read(json!({})), Ok(by_hand("manual")));
        assert_eq!(read(json!({ "trigger": "first" })), Ok(by_hand("first")));
    }

    #[test]
    fn a_payload_that_could_mean_two_things_is_refused() {
        for payload in [
            json!({ "schedule": "nightly" }),
            json!({ "schedule": "nightly", "scheduled_time": "2026-11-24T23:30:00Z", "again": true }),
            json!({ "resume": "c7645f7b-ad76-5da2-bcab-19e7976dd702", "as_of": "2026-11-24" }),
            json!({ "failed": true }),
            json!({ "resume": "c7645f7b-ad76-5da2-bcab-19e7976dd702", "record_only": true }),
            json!({ "as_off": "2026-11-24" }),
            json!({ "schedule": "nightly", "scheduled_time": "tonight" }),
            json!([]),
        ] {
            assert!(read(payload.clone()).is_err(), "{payload}");
        }
    }
}
