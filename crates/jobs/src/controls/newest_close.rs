//! `newest_close`: the newest close of the book against the trading date.

use book::Limits;
use domain::night::{Control, ControlResult, ControlValue, Level};

use super::{Planned, about_run, count};

pub(super) fn evaluate(planned: &Planned<'_>, limits: &Limits) -> Vec<ControlResult> {
    let session = planned.session();
    let limit = Some(ControlValue::Date(session));
    let Some(newest) = planned.newest_close else {
        let message = format!(
            "The book has no close up to {session}. Add the closes of {session} to the prices, then run the date again."
        );
        return vec![ControlResult { limit, ..about_run(Control::NewestClose, Level::Failure, message) }];
    };
    let schedule = &planned.snapshot.settings.schedule;
    let missing = schedule.sessions(schedule.next_session(newest), session);
    let (level, allowed) = limits.level(missing.len() as f64);
    let dates = match missing[..] {
        [] => return Vec::new(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    };
    let message = format!(
        "The newest close of the book is of {newest}, {} before {session}; the limit is {}. Add the closes of {dates} \
         to the prices, then run the date again.",
        count(missing.len() as u64, "session"),
        allowed.unwrap_or(0.0),
    );
    let observed = Some(ControlValue::Date(newest));
    vec![ControlResult { observed, limit, ..about_run(Control::NewestClose, level, message) }]
}
