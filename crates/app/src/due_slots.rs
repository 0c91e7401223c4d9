//! What becomes of a slot of the schedule: it is started, waited for, or recorded as missed.

use book::{ScheduleSettings, Settings, as_of_of_slot, next_due_slot};
use chrono::{DateTime, TimeDelta, Utc};
use domain::identity;
use domain::run::{Run, RunPhase};
use domain::start_run::StartRun;

/// The settings that decide on slots.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotRules {
    /// When runs start, and which day each of them stands for.
    pub schedule: ScheduleSettings,
    /// Minutes that planning a run may take.
    pub deadline_minutes: u32,
}

impl Default for SlotRules {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl SlotRules {
    /// The rules in these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self { schedule: settings.schedule.clone(), deadline_minutes: settings.run.deadline_minutes }
    }

    /// The start of the run of a slot.
    #[must_use]
    pub fn scheduled(&self, slot: DateTime<Utc>) -> StartRun {
        let schedule = &self.schedule;
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
            deadline_minutes: self.deadline_minutes,
        }
    }

    /// Until when the run of a slot may start without being late.
    #[must_use]
    pub fn grace_ends(&self, slot: DateTime<Utc>) -> DateTime<Utc> {
        slot + grace(&self.schedule)
    }

    /// The first slot strictly after an instant at which a run is due; `None` if it has not come by `now`.
    #[must_use]
    pub fn next_until(&self, after: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        next_due_slot(&self.schedule, after).filter(|slot| *slot <= now)
    }
}

/// What is on record about a slot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SlotRecord {
    /// The run that is recorded for the slot: its own, or its missed one.
    pub run: Option<Run>,
    /// When the newest closed full run of its date began, whatever started it.
    pub full_run_at: Option<DateTime<Utc>>,
}

impl SlotRecord {
    /// The start of a slot: that of its missed run, which may be recorded under an earlier name of the schedule.
    #[must_use]
    pub fn start_of(&self, slot: &StartRun) -> StartRun {
        self.run.as_ref().map_or_else(|| slot.clone(), StartRun::of)
    }
}

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
/// A date with a closed full run is not run again for a slot that is past its grace. A slot in its grace is settled only
/// by a full run that began at the slot or later: an earlier one may have read an unfinished book.
///
/// `can_start` says whether a run could start now: its book can be read, and a call that was made in time is not known
/// to be lost.
#[must_use]
pub fn due_slot(
    rules: &SlotRules,
    slot: DateTime<Utc>,
    now: DateTime<Utc>,
    record: &SlotRecord,
    can_start: bool,
) -> DueSlot {
    let missed = match record.run.as_ref().map(|run| &run.phase) {
        Some(RunPhase::Missed) => true,
        Some(_) => return DueSlot::Settled,
        None => false,
    };
    let is_past = now > rules.grace_ends(slot);
    if record.full_run_at.is_some_and(|began| is_past || began >= slot) {
        return DueSlot::Settled;
    }
    match (!is_past || rules.schedule.catch_up, can_start) {
        (true, true) => DueSlot::Start,
        _ if is_past && !missed => DueSlot::Missed,
        (true, false) => DueSlot::Waits,
        (false, _) => DueSlot::Settled,
    }
}

/// How long after its time a slot may start without being late.
#[must_use]
pub fn grace(schedule: &ScheduleSettings) -> TimeDelta {
    TimeDelta::minutes(i64::from(schedule.grace_minutes))
}

/// Puts starts in the order in which they are run: the newest slot first, then the others from the oldest on.
///
/// `newest_run` is the newest slot with a run. Where it is newer than all of these, they are run from the oldest on.
pub fn catch_up_order(starts: &mut [StartRun], newest_run: Option<DateTime<Utc>>) {
    starts.sort_by_key(|start| start.scheduled_for);
    if starts.last().is_some_and(|newest| newest_run.is_none_or(|run| newest.scheduled_for > run)) {
        starts.rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(catch_up: bool) -> SlotRules {
        let schedule = ScheduleSettings { catch_up, grace_minutes: 60, ..ScheduleSettings::default() };
        SlotRules { schedule, deadline_minutes: 30 }
    }

    fn slot() -> DateTime<Utc> {
        "2026-11-24T23:30:00Z".parse().unwrap()
    }

    fn recorded(phase: Option<RunPhase>) -> SlotRecord {
        let run = phase.map(|phase| Run::new(&rules(true).scheduled(slot()), phase, slot()));
        SlotRecord { run, full_run_at: None }
    }

    #[test]
    fn a_slot_is_started_in_its_grace_and_late_only_with_catch_up() {
        let (in_grace, past) = (TimeDelta::minutes(60), TimeDelta::minutes(61));
        let (missed, closed) = (Some(RunPhase::Missed), Some(RunPhase::Closed));
        for (catch_up, after, phase, can_start, expected) in [
            (false, in_grace, None, true, DueSlot::Start),
            (false, in_grace, None, false, DueSlot::Waits),
            (false, past, None, true, DueSlot::Missed),
            (false, past, None, false, DueSlot::Missed),
            (false, past, missed.clone(), true, DueSlot::Settled),
            (true, past, None, true, DueSlot::Start),
            (true, past, None, false, DueSlot::Missed),
            (true, past, missed.clone(), true, DueSlot::Start),
            (true, past, missed, false, DueSlot::Waits),
            (true, past, closed.clone(), true, DueSlot::Settled),
            (false, in_grace, closed, true, DueSlot::Settled),
        ] {
            let record = recorded(phase.clone());
            let decided = due_slot(&rules(catch_up), slot(), slot() + after, &record, can_start);
            assert_eq!(decided, expected, "catch_up {catch_up}, {after} after, {phase:?}, can start: {can_start}");
        }
    }

    #[test]
    fn a_date_with_a_full_run_is_neither_run_again_nor_missed() {
        let (in_grace, past) = (TimeDelta::minutes(60), TimeDelta::minutes(61));
        let (earlier, later) = (slot() - TimeDelta::hours(1), slot() + TimeDelta::minutes(5));
        for (catch_up, after, phase, began, expected) in [
            (true, past, None, earlier, DueSlot::Settled),
            (false, past, None, earlier, DueSlot::Settled),
            (true, past, Some(RunPhase::Missed), later, DueSlot::Settled),
            (true, in_grace, None, later, DueSlot::Settled),
            (true, in_grace, None, slot(), DueSlot::Settled),
            (true, in_grace, None, earlier, DueSlot::Start),
        ] {
            let record = SlotRecord { full_run_at: Some(began), ..recorded(phase.clone()) };
            let decided = due_slot(&rules(catch_up), slot(), slot() + after, &record, true);
            assert_eq!(decided, expected, "catch_up {catch_up}, {after} after, {phase:?}, a full run at {began}");
        }
    }

    #[test]
    fn the_newest_slot_comes_first_and_then_the_oldest() {
        let of_days = |days: &[i64]| -> Vec<StartRun> {
            days.iter().map(|day| rules(true).scheduled(slot() + TimeDelta::days(*day))).collect()
        };
        for (given, newest_run, ordered) in [
            (&[][..], None, &[][..]),
            (&[1], None, &[1]),
            (&[1, 2, 3, 4], None, &[4, 1, 2, 3]),
            (&[4, 1, 3, 2], Some(0), &[4, 1, 2, 3]),
            (&[3, 1, 2], Some(4), &[1, 2, 3]),
        ] {
            let mut starts = of_days(given);
            catch_up_order(&mut starts, newest_run.map(|day| slot() + TimeDelta::days(day)));
            assert_eq!(starts, of_days(ordered), "{given:?}, the newest run is of {newest_run:?}");
        }
    }
}
