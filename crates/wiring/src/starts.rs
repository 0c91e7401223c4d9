//! What is to be started: by a schedule, by hand, again.

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

/// The start that made this run, to plan it again after its planner died.
#[must_use]
pub fn started_as(run: &Run) -> StartRun {
    StartRun::of(run)
}

/// The start of a run by hand: the newest of its kind goes on or is shown, `again` takes the next number.
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
    let mut taken = 0;
    while store.run(id(taken)).await?.is_some() {
        taken += 1;
    }
    let repeat = if again { taken } else { taken.saturating_sub(1) };
    let mut filter = portfolios.to_vec();
    filter.sort_unstable();
    filter.dedup();
    Ok(StartRun {
        id: id(repeat),
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

/// The start of the next rerun of a run, of these of its portfolios (empty: those it had).
///
/// # Errors
/// The store.
pub async fn rerun(
    store: &dyn RunStore,
    original: &Run,
    failed_only: bool,
    portfolios: Vec<PortfolioId>,
) -> Result<StartRun, StoreError> {
    let of = original.batch_run_id;
    let mut repeat = 1;
    while store.run(identity::rerun(of, failed_only, repeat)).await?.is_some() {
        repeat += 1;
    }
    Ok(StartRun {
        id: identity::rerun(of, failed_only, repeat),
        schedule: original.schedule.clone(),
        trigger: "rerun".to_owned(),
        as_of: original.as_of,
        scheduled_for: original.scheduled_for,
        rerun_of: Some(of),
        repeat,
        filter: portfolios,
        deadline_minutes: DEFAULT_DEADLINE_MINUTES,
    })
}
