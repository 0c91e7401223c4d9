//! What the records say about the slots of a schedule.

use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::ScheduleName;
use domain::ports::{RunQuery, RunStore, StoreError};
use domain::run::{Run, RunPhase};
use domain::start_run::StartRun;

use crate::due_slots::{SlotRecord, SlotRules};

/// Runs of a page of the records.
const PAGE: usize = 100;

/// Since when slots count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// When the records begin.
    pub records: DateTime<Utc>,
    /// When the night series of the schedule replaced another one; `None`: it is not known to have replaced one.
    pub series: Option<DateTime<Utc>>,
}

/// Which slots of a schedule are to be looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenSlots {
    /// Those after this instant. No slot up to it is run late or missed for the first time.
    pub after: DateTime<Utc>,
    /// Slots up to that instant that are recorded as missed and may still be run late, oldest first.
    pub missed: Vec<StartRun>,
    /// The newest slot with a run of all portfolios, whatever started it.
    pub newest_run: Option<DateTime<Utc>>,
}

/// The slots of a schedule that are to be looked at, by what is on record.
///
/// They begin after the newest slot that was run in its time, else with the records or the series. Where runs by hand
/// came before the schedule, they do not begin before the newest full one of them. A series without any run beside
/// those of other series begins now: the schedule was renamed.
///
/// The newest slot is run before older ones, so one slot run in its time does not say that the missed ones before it
/// were given up; the second one does.
///
/// # Errors
/// The store.
pub async fn open_slots(
    store: &dyn RunStore,
    rules: &SlotRules,
    beginning: Beginning,
    now: DateTime<Utc>,
) -> Result<OpenSlots, StoreError> {
    let mut found = Found::default();
    let mut query = RunQuery { limit: PAGE, ..RunQuery::default() };
    loop {
        let page = store.runs(&query).await?;
        let mut runs = page.runs.iter().map(|stored| &stored.run);
        let is_complete = runs.any(|run| found.take_in(run, rules, now));
        query.after = page.next.filter(|_| !is_complete);
        if query.after.is_none() {
            break;
        }
    }
    if let Some(after) = found.in_time {
        return Ok(found.since(after));
    }
    if found.other_series && !found.own_series && beginning.series.is_none() {
        return Ok(found.since(now));
    }
    let begins = beginning.series.unwrap_or(beginning.records).max(beginning.records);
    let by_hand = found.by_hand.unwrap_or(begins);
    Ok(found.since(begins.max(by_hand)))
}

/// What the records say of a series, from its newest slot back.
#[derive(Debug, Default)]
struct Found {
    own_series: bool,
    other_series: bool,
    /// Recorded as missed, newest first.
    missed: Vec<StartRun>,
    /// The newest full run by hand that is older than every scheduled run.
    by_hand: Option<DateTime<Utc>>,
    /// The newest slot that was run in its time.
    in_time: Option<DateTime<Utc>>,
    newest_run: Option<DateTime<Utc>>,
}

impl Found {
    /// Takes in the next older run. Returns whether older ones decide nothing.
    fn take_in(&mut self, run: &Run, rules: &SlotRules, now: DateTime<Utc>) -> bool {
        if run.night_series() != rules.schedule.night_series() {
            self.other_series = true;
            return false;
        }
        self.own_series = true;
        // A clock that was ahead has left a record that decides nothing.
        if run.scheduled_for > now {
            return false;
        }
        if !run.is_scheduled() {
            let full = (run.is_closed() && is_full(run)).then_some(run.scheduled_for);
            self.by_hand = self.by_hand.or(full);
            self.newest_run = self.newest_run.or(full);
            return false;
        }
        self.by_hand = None;
        if run.phase == RunPhase::Missed {
            self.missed.push(StartRun::of(run));
            return false;
        }
        self.newest_run = self.newest_run.or(Some(run.scheduled_for));
        let in_time = run.started_at <= rules.grace_ends(run.scheduled_for);
        let is_second = in_time && self.in_time.is_some();
        self.in_time = self.in_time.or_else(|| in_time.then_some(run.scheduled_for));
        is_second
    }

    fn since(self, after: DateTime<Utc>) -> OpenSlots {
        let mut missed = self.missed;
        missed.retain(|start| start.scheduled_for <= after);
        missed.reverse();
        OpenSlots { after, missed, newest_run: self.newest_run }
    }
}

/// What is on record about the slot of this start: its run, also under an earlier name of the schedule, and full runs of
/// its date.
///
/// # Errors
/// The store.
pub async fn slot_record(store: &dyn RunStore, start: &StartRun) -> Result<SlotRecord, StoreError> {
    let own = store.run(start.id).await?.map(|stored| stored.run);
    let runs = runs_of(store, &start.night_series, start.as_of).await?;
    let full = runs.iter().filter(|run| run.is_closed() && is_full(run));
    let full_run_at = full.map(|run| run.started_at).max();
    let same_slot = |run: &&Run| run.is_scheduled() && run.scheduled_for == start.scheduled_for;
    let run = own.or_else(|| runs.iter().find(same_slot).cloned());
    Ok(SlotRecord { run, full_run_at })
}

/// Whether a run was for all portfolios, planned, and not ended early.
fn is_full(run: &Run) -> bool {
    run.filter.is_empty() && run.plan.is_some() && run.cancelled_at.is_none()
}

/// The runs of a night.
async fn runs_of(store: &dyn RunStore, series: &ScheduleName, as_of: NaiveDate) -> Result<Vec<Run>, StoreError> {
    let page = store.runs(&RunQuery { as_of: Some(as_of), ..RunQuery::default() }).await?;
    Ok(page.runs.into_iter().map(|stored| stored.run).filter(|run| run.night_series() == series).collect())
}
