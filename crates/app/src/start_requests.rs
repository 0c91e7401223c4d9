//! The start of a run: of a slot, by hand, or of a run that is recorded already.

use book::{Book, ScheduleSettings, as_of_of_slot, slot_of};
use chrono::{DateTime, NaiveDate, Utc};
use domain::identity;
use domain::ids::PortfolioId;
use domain::ports::{RunStore, StoreError};
use domain::run::{DEFAULT_DEADLINE_MINUTES, Run};
use domain::start_run::StartRun;

/// The start of the run of a slot.
#[must_use]
pub fn scheduled(schedule: &ScheduleSettings, slot: DateTime<Utc>) -> StartRun {
    StartRun {
        id: identity::scheduled(&schedule.name, slot),
        night_series: schedule.night_series().clone(),
        schedule: schedule.name.clone(),
        trigger: "schedule".to_owned(),
        as_of: as_of_of_slot(schedule, slot),
        scheduled_for: slot,
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: DEFAULT_DEADLINE_MINUTES,
    }
}

/// The start that made this run, to plan it after its planner died or before anybody has planned it.
#[must_use]
pub fn started_as(run: &Run) -> StartRun {
    StartRun::of(run)
}

/// The start of a run by hand: the newest of its kind continues or is shown.
///
/// `again` takes the next number, unless the newest is itself a repeat that is still open: then the same command was
/// interrupted. A newest one that ended without a plan has run nothing, so the next
/// number is taken without `again` too.
///
/// # Errors
/// The store.
pub async fn by_hand(
    store: &dyn RunStore,
    book: &Book,
    as_of: NaiveDate,
    portfolios: &[PortfolioId],
    trigger: &str,
    again: bool,
) -> Result<StartRun, StoreError> {
    let id = |repeat| identity::by_hand(trigger, as_of, &book.content_hash, portfolios, repeat);
    let (mut taken, mut newest) = (0, None);
    while let Some(stored) = store.run(id(taken)).await? {
        newest = Some(stored.run);
        taken += 1;
    }
    let repeat = match &newest {
        None => 0,
        Some(run) if run.has_ended() && (again || run.plan.is_none()) => taken,
        Some(run) if again && run.repeat == 0 => taken,
        Some(_) => taken - 1,
    };
    let mut filter = portfolios.to_vec();
    filter.sort_unstable();
    filter.dedup();
    Ok(StartRun {
        id: id(repeat),
        night_series: book.settings.schedule.night_series().clone(),
        schedule: book.settings.schedule.name.clone(),
        trigger: trigger.to_owned(),
        as_of,
        scheduled_for: slot_of(&book.settings.schedule, as_of),
        rerun_of: None,
        repeat,
        filter,
        deadline_minutes: book.settings.run.deadline_minutes,
    })
}
