//! The start of a run: by hand, or of a run that is recorded already.

use book::slot_of;
use chrono::NaiveDate;
use domain::identity;
use domain::ports::StoreError;
use domain::run::Run;
use domain::start_run::StartRun;

use crate::needed::{Lookup, Needed, Wanted, sorted};

/// The start that made this run, to plan it after its planner died or before anybody has planned it.
#[must_use]
pub fn started_as(run: &Run) -> StartRun {
    StartRun::of(run)
}

/// The start of a run by hand: an open run of the same request continues, a closed run with the same inputs is shown,
/// and otherwise the next free id is taken.
///
/// # Errors
/// The store.
pub async fn by_hand(lookup: Lookup<'_>, as_of: NaiveDate, wanted: Wanted<'_>) -> Result<StartRun, StoreError> {
    let repeats = match lookup.night(as_of, wanted).await? {
        Needed::Continue(run) | Needed::Current(run) => return Ok(started_as(&run)),
        Needed::New(new) => new.repeats,
    };
    let book = lookup.book;
    let id = |repeat| identity::by_hand(wanted.trigger, as_of, &book.content_hash, wanted.portfolios, repeat);
    let mut repeat = u32::from(wanted.again && repeats);
    while lookup.store.run(id(repeat)).await?.is_some() {
        repeat += 1;
    }
    Ok(StartRun {
        id: id(repeat),
        night_series: book.settings.schedule.night_series().clone(),
        schedule: book.settings.schedule.name.clone(),
        trigger: wanted.trigger.to_owned(),
        as_of,
        scheduled_for: slot_of(&book.settings.schedule, as_of),
        rerun_of: None,
        repeat,
        filter: sorted(wanted.portfolios),
        deadline_minutes: book.settings.run.deadline_minutes,
    })
}
