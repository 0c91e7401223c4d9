//! From a schedule to its slots, and from a slot to the trading day it stands for.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::settings::ScheduleSettings;

/// Reads a cron expression of five fields.
pub(crate) fn parse_cron(text: &str) -> Result<Cron, String> {
    let fields = text.split_ascii_whitespace().count();
    if fields != 5 && !text.trim_start().starts_with('@') {
        return Err(format!("it has {fields} fields"));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| error.to_string())
}

/// The first slot strictly after an instant; `None` if the expression never matches again.
#[must_use]
pub fn next_slot(schedule: &ScheduleSettings, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let cron = parse_cron(&schedule.cron).ok()?;
    let after = after.with_timezone(&schedule.timezone);
    cron.find_next_occurrence(&after, false).ok().map(|slot| slot.with_timezone(&Utc))
}

/// The trading day that a slot stands for: the last session that has ended when the slot comes.
#[must_use]
pub fn as_of_of_slot(schedule: &ScheduleSettings, slot: DateTime<Utc>) -> NaiveDate {
    schedule.calendar.last_completed_session(slot, schedule.timezone)
}

/// The slot of a trading day: the first one at which its session has ended.
///
/// If the schedule skips the day (a weekly one does), it is the end of the session itself.
#[must_use]
pub fn slot_of(schedule: &ScheduleSettings, as_of: NaiveDate) -> DateTime<Utc> {
    let close = schedule.calendar.close_time_utc(as_of, schedule.timezone);
    let just_before = close.checked_sub_signed(TimeDelta::seconds(1)).unwrap_or(close);
    next_slot(schedule, just_before).filter(|slot| as_of_of_slot(schedule, *slot) == as_of).unwrap_or(close)
}

/// Whether a run is due at a slot: the slots on a holiday, or a second slot of the same day, stand for a day that has had its run.
#[must_use]
pub fn is_due(schedule: &ScheduleSettings, slot: DateTime<Utc>) -> bool {
    slot_of(schedule, as_of_of_slot(schedule, slot)) == slot
}

/// The first slot strictly after an instant at which a run is due.
#[must_use]
pub fn next_due_slot(schedule: &ScheduleSettings, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut slot = next_slot(schedule, after)?;
    // A holiday season is a few days; a schedule that finds no session in this many slots has none.
    for _ in 0..1_000 {
        if is_due(schedule, slot) {
            return Some(slot);
        }
        slot = next_slot(schedule, slot)?;
    }
    None
}
