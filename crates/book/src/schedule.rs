//! From a schedule to its slots, and from a slot to the trading day it stands for.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
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
    // Far outside the years that cron and time zones know, local time may not be representable.
    if !(1..5_000).contains(&after.year()) {
        return None;
    }
    let cron = parse_cron(&schedule.cron).ok()?;
    let after = after.with_timezone(&schedule.timezone);
    cron.find_next_occurrence(&after, false).ok().map(|slot| slot.with_timezone(&Utc))
}

/// The trading day that a slot stands for: the last session that has ended when the slot comes.
#[must_use]
pub fn as_of_of_slot(schedule: &ScheduleSettings, slot: DateTime<Utc>) -> NaiveDate {
    schedule.last_completed_session(slot)
}

/// The slot of a trading day: the first one at which its session has ended.
///
/// If the schedule skips the day (a weekly one does), it is the end of the session itself.
#[must_use]
pub fn slot_of(schedule: &ScheduleSettings, as_of: NaiveDate) -> DateTime<Utc> {
    let close = schedule.close_time(as_of);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Calendar;
    use domain::zone::Zone;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn schedule(cron: &str, timezone: Zone, calendar: Calendar) -> ScheduleSettings {
        ScheduleSettings { cron: cron.to_owned(), timezone, calendar, ..ScheduleSettings::default() }
    }

    #[test]
    fn slots_keep_their_local_time_when_clocks_change() {
        let nightly = ScheduleSettings::default();
        let next = |after: &str| next_slot(&nightly, instant(after)).unwrap().to_rfc3339();
        assert_eq!(next("2025-03-07T00:00:00Z"), "2025-03-07T23:30:00+00:00");
        assert_eq!(next("2025-03-07T23:30:00Z"), "2025-03-10T22:30:00+00:00");
        assert_eq!(next("2025-10-31T22:30:00Z"), "2025-11-03T23:30:00+00:00");
    }

    #[test]
    fn a_slot_in_a_skipped_hour_comes_once_and_one_in_a_repeated_hour_too() {
        let small_hours = schedule("30 2 * * *", Zone::new_york(), Calendar::EveryDay);
        let mut slots = vec![instant("2025-03-08T00:00:00Z")];
        for _ in 0..3 {
            slots.push(next_slot(&small_hours, *slots.last().unwrap()).unwrap());
        }
        let days: Vec<NaiveDate> =
            slots[1..].iter().map(|slot| slot.with_timezone(&Zone::new_york()).date_naive()).collect();
        assert_eq!(days, [date("2025-03-08"), date("2025-03-09"), date("2025-03-10")]);

        let repeated = schedule("30 1 * * *", Zone::new_york(), Calendar::EveryDay);
        let first = next_slot(&repeated, instant("2025-11-02T04:00:00Z")).unwrap();
        let second = next_slot(&repeated, first).unwrap();
        assert_eq!(first.to_rfc3339(), "2025-11-02T05:30:00+00:00");
        assert_eq!(second.to_rfc3339(), "2025-11-03T06:30:00+00:00");
    }

    #[test]
    fn a_day_and_its_slot_find_each_other() {
        let nightly = ScheduleSettings::default();
        for (day, slot) in [
            ("2025-11-26", "2025-11-26T23:30:00+00:00"),
            ("2025-11-28", "2025-11-28T23:30:00+00:00"),
            ("2025-07-03", "2025-07-03T22:30:00+00:00"),
        ] {
            assert_eq!(slot_of(&nightly, date(day)).to_rfc3339(), slot);
            assert_eq!(as_of_of_slot(&nightly, instant(slot)), date(day));
        }
        // The night after: the slot of a day lies on the next one.
        let after_midnight = schedule("15 5 * * 2-6", "Europe/Berlin".parse().unwrap(), Calendar::Nyse);
        assert_eq!(slot_of(&after_midnight, date("2025-12-02")).to_rfc3339(), "2025-12-03T04:15:00+00:00");
        assert_eq!(as_of_of_slot(&after_midnight, instant("2025-12-03T04:15:00Z")), date("2025-12-02"));
    }

    #[test]
    fn every_session_of_years_has_one_slot_that_leads_back() {
        for schedule in [
            ScheduleSettings::default(),
            schedule("0 6 * * 2-6", "Europe/London".parse().unwrap(), Calendar::Nyse),
            schedule("30 0 * * *", "Asia/Tokyo".parse().unwrap(), Calendar::EveryDay),
            schedule("0 4 * * 2-6", Zone::new_york(), Calendar::Weekdays),
        ] {
            let mut last = DateTime::<Utc>::MIN_UTC;
            for day in schedule.calendar.sessions(date("2024-01-02"), date("2026-12-31")) {
                let slot = slot_of(&schedule, day);
                assert_eq!(as_of_of_slot(&schedule, slot), day, "{schedule:?}");
                assert!(slot > last && is_due(&schedule, slot), "{schedule:?} {day}");
                last = slot;
            }
        }
    }

    #[test]
    fn no_run_is_due_on_a_holiday() {
        let nightly = ScheduleSettings::default();
        let thanksgiving = instant("2025-11-27T23:30:00Z");
        assert_eq!(next_slot(&nightly, instant("2025-11-26T23:30:00Z")), Some(thanksgiving));
        assert!(!is_due(&nightly, thanksgiving));
        assert_eq!(next_due_slot(&nightly, instant("2025-11-26T23:30:00Z")), Some(instant("2025-11-28T23:30:00Z")));
    }

    #[test]
    fn a_day_the_schedule_skips_has_its_close_as_slot() {
        let weekly = schedule("0 20 * * 5", Zone::new_york(), Calendar::Nyse);
        assert_eq!(slot_of(&weekly, date("2025-12-02")), instant("2025-12-02T21:00:00Z"));
        assert_eq!(slot_of(&weekly, date("2025-12-05")), instant("2025-12-06T01:00:00Z"));
    }

    /// Without a closing hour the session of a weekday ends at midnight, after the slot of the evening.
    #[test]
    fn an_evening_slot_stands_for_its_own_day_after_the_closing_hour() {
        let open_ended = schedule("30 18 * * 1-5", Zone::new_york(), Calendar::Weekdays);
        let closing = ScheduleSettings { close: chrono::NaiveTime::from_hms_opt(17, 30, 0), ..open_ended.clone() };
        let slot = instant("2025-12-02T23:30:00Z");
        assert_eq!(as_of_of_slot(&open_ended, slot), date("2025-12-01"));
        assert_eq!(as_of_of_slot(&closing, slot), date("2025-12-02"));
        assert_eq!(slot_of(&closing, date("2025-12-02")), slot);
    }

    #[test]
    fn what_is_no_cron_expression_has_no_slot() {
        for cron in [
            "",
            "* * * *",
            "0 0 * * * *",
            "61 0 * * *",
            "a b c d e",
            "0 0 31 2 *",
            "\0",
            "* * * * * * 2025",
            "0 18 * * MON-FRX",
        ] {
            let broken = schedule(cron, Zone::UTC, Calendar::EveryDay);
            let started = std::time::Instant::now();
            assert_eq!(next_slot(&broken, instant("2025-01-01T00:00:00Z")), None, "{cron:?}");
            assert!(started.elapsed().as_secs() < 5, "{cron:?} took {:?}", started.elapsed());
        }
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for zone in [Zone::UTC, Zone::new_york(), "Pacific/Kiritimati".parse().unwrap()] {
            let nightly = schedule("30 18 * * *", zone, Calendar::Nyse);
            for instant in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                let _ = (next_slot(&nightly, instant), is_due(&nightly, instant), next_due_slot(&nightly, instant));
            }
            for day in [NaiveDate::MIN, NaiveDate::MAX] {
                let _ = slot_of(&nightly, day);
            }
        }
    }
}
