//! What becomes of a slot of the schedule: it is started, waited for, or recorded as missed.

use book::ScheduleSettings;
use chrono::{DateTime, TimeDelta, Utc};
use domain::run::RunPhase;

/// What is to be done about a slot whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueSlot {
    /// It has its run, or is recorded as missed and stays so.
    Settled,
    /// It is to be started now.
    Start,
    /// It is to be started once it can be: in its grace, or later where `catch_up` says so.
    Waits,
    /// It is to be recorded as missed. With `catch_up` it is still started once it can be.
    Missed,
}

/// Decides on a slot: in its grace it is run, after it with `catch_up` only.
///
/// `recorded` is the phase of the run that is recorded for the slot, `can_start` whether a run could start now: its book
/// can be read, and a call that was made in time is not known to be lost.
#[must_use]
pub fn due_slot(
    schedule: &ScheduleSettings,
    slot: DateTime<Utc>,
    now: DateTime<Utc>,
    recorded: Option<&RunPhase>,
    can_start: bool,
) -> DueSlot {
    if recorded.is_some_and(|phase| *phase != RunPhase::Missed) {
        return DueSlot::Settled;
    }
    let is_past = now > slot + grace(schedule);
    match (!is_past || schedule.catch_up, can_start) {
        (true, true) => DueSlot::Start,
        _ if is_past && recorded.is_none() => DueSlot::Missed,
        (true, false) => DueSlot::Waits,
        (false, _) => DueSlot::Settled,
    }
}

/// How long after its time a slot may start without being late.
#[must_use]
pub fn grace(schedule: &ScheduleSettings) -> TimeDelta {
    TimeDelta::minutes(i64::from(schedule.grace_minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_started_in_its_grace_and_late_only_with_catch_up() {
        let slot: DateTime<Utc> = "2026-11-24T23:30:00Z".parse().unwrap();
        let schedule = |catch_up| ScheduleSettings { catch_up, grace_minutes: 60, ..ScheduleSettings::default() };
        let (in_grace, past) = (TimeDelta::minutes(60), TimeDelta::minutes(61));
        let (missed, closed) = (Some(&RunPhase::Missed), Some(&RunPhase::Closed));
        for (catch_up, after, recorded, can_start, expected) in [
            (false, in_grace, None, true, DueSlot::Start),
            (false, in_grace, None, false, DueSlot::Waits),
            (false, past, None, true, DueSlot::Missed),
            (false, past, None, false, DueSlot::Missed),
            (false, past, missed, true, DueSlot::Settled),
            (true, past, None, true, DueSlot::Start),
            (true, past, None, false, DueSlot::Missed),
            (true, past, missed, true, DueSlot::Start),
            (true, past, missed, false, DueSlot::Waits),
            (true, past, closed, true, DueSlot::Settled),
            (false, in_grace, closed, true, DueSlot::Settled),
        ] {
            let decided = due_slot(&schedule(catch_up), slot, slot + after, recorded, can_start);
            assert_eq!(decided, expected, "catch_up {catch_up}, {after} after, {recorded:?}, can start: {can_start}");
        }
    }
}
