//! The sessions of a schedule: those of its calendar, without the days that the settings close and with those that
//! they open.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use domain::ids::ScheduleName;

use crate::calendar::{Calendar, following, instant_at, latest, preceding, within};
use crate::settings::ScheduleSettings;

/// Why a day that the settings close has no session.
const CLOSED: &str = "closed by `closed` in [schedule]";

impl ScheduleSettings {
    /// The night series of its runs: the name that its nights keep when the schedule is renamed.
    #[must_use]
    pub fn night_series(&self) -> &ScheduleName {
        self.series.as_ref().unwrap_or(&self.name)
    }

    /// Whether its sessions end at a closing hour, and not with the day.
    #[must_use]
    pub const fn has_closing_hour(&self) -> bool {
        matches!(self.calendar, Calendar::Nyse) || self.close.is_some()
    }

    /// Why this day has no session; `None` if it has one.
    #[must_use]
    pub fn holiday_name(&self, date: NaiveDate) -> Option<&'static str> {
        if self.open.contains(&date) {
            return None;
        }
        self.calendar.holiday_name(date).or_else(|| self.closed.contains(&date).then_some(CLOSED))
    }

    /// Whether this day has a session.
    #[must_use]
    pub fn is_session(&self, date: NaiveDate) -> bool {
        self.holiday_name(date).is_none()
    }

    /// The first session after this day. At the end of representable time it is that end.
    #[must_use]
    pub fn next_session(&self, after: NaiveDate) -> NaiveDate {
        following(after, |date| self.is_session(date))
    }

    /// The last session before this day. At the beginning of representable time it is that beginning.
    #[must_use]
    pub fn previous_session(&self, before: NaiveDate) -> NaiveDate {
        preceding(before, |date| self.is_session(date))
    }

    /// All sessions from one day to another, both included; empty if they are the wrong way round.
    #[must_use]
    pub fn sessions(&self, from: NaiveDate, to: NaiveDate) -> Vec<NaiveDate> {
        within(from, to, |date| self.is_session(date))
    }

    /// The last `n` sessions up to this day, oldest first.
    #[must_use]
    pub fn last_sessions(&self, as_of: NaiveDate, n: usize) -> Vec<NaiveDate> {
        latest(as_of, n, |date| self.is_session(date))
    }

    /// When the session of this day ends: at the exchange at its own hour, else at `close`, else with the day.
    #[must_use]
    pub fn close_time(&self, date: NaiveDate) -> DateTime<Utc> {
        match self.close {
            Some(close) if self.calendar != Calendar::Nyse => instant_at(date, close, self.timezone),
            _ => self.calendar.close_time(date, self.timezone),
        }
    }

    /// The date of now, in New York for the exchange and in the time zone of the schedule for the other calendars.
    #[must_use]
    pub fn today(&self, now: DateTime<Utc>) -> NaiveDate {
        self.calendar.today(now, self.timezone)
    }

    /// The last session that has ended by now.
    #[must_use]
    pub fn last_completed_session(&self, now: DateTime<Utc>) -> NaiveDate {
        let today = self.today(now);
        if self.is_session(today) && self.close_time(today) <= now {
            return today;
        }
        self.previous_session(today)
    }

    /// The newest date that may be run now: the last completed session where sessions have a closing hour, else the
    /// last session up to today.
    #[must_use]
    pub fn last_allowed(&self, now: DateTime<Utc>) -> NaiveDate {
        if self.has_closing_hour() {
            return self.last_completed_session(now);
        }
        let today = self.today(now);
        if self.is_session(today) { today } else { self.previous_session(today) }
    }
}

/// A closing hour as the settings write it: `HH:MM`, from 00:01 to 23:59.
pub(crate) fn parse_close(text: &str) -> Option<NaiveTime> {
    let &[h1, h2, b':', m1, m2] = text.as_bytes() else { return None };
    let digit = |b: u8| b.is_ascii_digit().then(|| u32::from(b - b'0'));
    let time = NaiveTime::from_hms_opt(digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?, 0)?;
    // A session that ends when the day begins would belong to the day before.
    (time > NaiveTime::MIN).then_some(time)
}

#[cfg(test)]
mod tests {
    use domain::zone::Zone;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn of(calendar: Calendar, zone: Zone) -> ScheduleSettings {
        ScheduleSettings { calendar, timezone: zone, ..ScheduleSettings::default() }
    }

    #[test]
    fn dates_may_be_run_up_to_the_last_completed_session_or_today() {
        let new_york = Zone::new_york();
        let closing = |close| ScheduleSettings { close: parse_close(close), ..of(Calendar::Weekdays, new_york) };
        for (schedule, at, last) in [
            (of(Calendar::Nyse, new_york), "2026-11-24T20:59:59Z", "2026-11-23"),
            (of(Calendar::Nyse, new_york), "2026-11-24T21:00:00Z", "2026-11-24"),
            (of(Calendar::Nyse, new_york), "2026-11-28T21:00:00Z", "2026-11-27"),
            (of(Calendar::Weekdays, new_york), "2026-11-24T20:59:59Z", "2026-11-24"),
            (of(Calendar::Weekdays, new_york), "2026-11-24T04:59:59Z", "2026-11-23"),
            (of(Calendar::Weekdays, new_york), "2026-11-28T21:00:00Z", "2026-11-27"),
            (of(Calendar::EveryDay, new_york), "2026-11-28T21:00:00Z", "2026-11-28"),
            (closing("17:30"), "2026-11-24T22:29:59Z", "2026-11-23"),
            (closing("17:30"), "2026-11-24T22:30:00Z", "2026-11-24"),
        ] {
            assert_eq!(schedule.last_allowed(instant(at)), date(last), "{schedule:?} at {at}");
        }
    }

    #[test]
    fn the_last_completed_session_waits_for_the_close() {
        let nyse = of(Calendar::Nyse, Zone::UTC);
        let last = |now: &str| nyse.last_completed_session(instant(now)).to_string();
        assert_eq!(last("2025-11-26T20:59:59Z"), "2025-11-25");
        assert_eq!(last("2025-11-26T21:00:00Z"), "2025-11-26");
        assert_eq!(last("2025-11-28T18:00:00Z"), "2025-11-28");
        assert_eq!(last("2025-11-30T18:00:00Z"), "2025-11-28");
        // Still the evening before in New York.
        assert_eq!(last("2025-11-27T02:00:00Z"), "2025-11-26");
        let weekdays = of(Calendar::Weekdays, "Europe/Berlin".parse().unwrap());
        let berlin = |now: &str| weekdays.last_completed_session(instant(now)).to_string();
        assert_eq!(berlin("2025-12-02T22:59:59Z"), "2025-12-01");
        assert_eq!(berlin("2025-12-02T23:00:00Z"), "2025-12-02");
    }

    #[test]
    fn days_that_the_settings_close_or_open_count_everywhere() {
        let schedule = ScheduleSettings {
            closed: [date("2025-11-26")].into(),
            open: [date("2025-11-27"), date("2025-11-29")].into(),
            ..ScheduleSettings::default()
        };
        assert_eq!(schedule.holiday_name(date("2025-11-26")), Some(CLOSED));
        assert_eq!(schedule.holiday_name(date("2025-11-27")), None, "a holiday of the exchange");
        assert_eq!(schedule.holiday_name(date("2025-11-30")), Some("Sunday"));
        let sessions: Vec<NaiveDate> = ["2025-11-25", "2025-11-27", "2025-11-28", "2025-11-29"].map(date).to_vec();
        assert_eq!(schedule.sessions(date("2025-11-25"), date("2025-11-30")), sessions);
        assert_eq!(schedule.last_sessions(date("2025-11-30"), 4), sessions);
        assert_eq!(schedule.next_session(date("2025-11-25")), date("2025-11-27"));
        assert_eq!(schedule.previous_session(date("2025-11-27")), date("2025-11-25"));
        assert_eq!(schedule.last_completed_session(instant("2025-11-27T20:00:00Z")), date("2025-11-25"));
        assert_eq!(schedule.last_completed_session(instant("2025-11-27T21:00:00Z")), date("2025-11-27"));
    }

    #[test]
    fn a_closing_hour_is_a_time_within_the_day() {
        assert_eq!(parse_close("17:30"), NaiveTime::from_hms_opt(17, 30, 0));
        assert_eq!(parse_close("23:59"), NaiveTime::from_hms_opt(23, 59, 0));
        for wrong in ["", "24:00", "00:00", "7:30", "17:60", "17:30:00", "+7:30", "17.30", "١٧:٣٠"] {
            assert_eq!(parse_close(wrong), None, "{wrong}");
        }
    }
}
