//! Trading calendars: which days have a session, and when it ends.

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use domain::zone::Zone;
use nyse_holiday_cal::{Holiday, HolidayCal};
use serde::{Deserialize, Serialize};

/// The days on which there are prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calendar {
    /// The New York Stock Exchange: no weekends, no holidays, no special closures.
    #[default]
    Nyse,
    /// Monday to Friday.
    Weekdays,
    /// Every day of the year.
    EveryDay,
}

/// The calendar as the settings name it.
pub type CalendarKind = Calendar;

/// Days the exchange was closed for a reason that no rule knows, from 2001 on.
const SPECIAL_CLOSURES: [(i32, u32, u32, &str); 10] = [
    (2001, 9, 11, "attacks of September 11"),
    (2001, 9, 12, "attacks of September 11"),
    (2001, 9, 13, "attacks of September 11"),
    (2001, 9, 14, "attacks of September 11"),
    (2004, 6, 11, "national day of mourning for Ronald Reagan"),
    (2007, 1, 2, "national day of mourning for Gerald Ford"),
    (2012, 10, 29, "Hurricane Sandy"),
    (2012, 10, 30, "Hurricane Sandy"),
    (2018, 12, 5, "national day of mourning for George H. W. Bush"),
    (2025, 1, 9, "national day of mourning for Jimmy Carter"),
];

impl Calendar {
    /// All calendars, as the settings spell them.
    pub const NAMES: [&'static str; 3] = ["nyse", "weekdays", "every-day"];

    /// The calendar as the settings spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nyse => "nyse",
            Self::Weekdays => "weekdays",
            Self::EveryDay => "every-day",
        }
    }

    /// The calendar of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Nyse, Self::Weekdays, Self::EveryDay].into_iter().find(|calendar| calendar.as_str() == name)
    }

    /// Whether this day has a session.
    #[must_use]
    pub fn is_session(self, date: NaiveDate) -> bool {
        self.holiday_name(date).is_none()
    }

    /// Why this day has no session: "Saturday", "Thanksgiving Day"; `None` if it has one.
    #[must_use]
    pub fn holiday_name(self, date: NaiveDate) -> Option<&'static str> {
        if self == Self::EveryDay {
            return None;
        }
        match date.weekday() {
            Weekday::Sat => Some("Saturday"),
            Weekday::Sun => Some("Sunday"),
            _ if self == Self::Weekdays => None,
            _ => nyse_holiday(date).or_else(|| nyse_special_closure(date)),
        }
    }

    /// The first session after this day. At the end of representable time it is that end.
    #[must_use]
    pub fn next_session(self, after: NaiveDate) -> NaiveDate {
        following(after, |date| self.is_session(date))
    }

    /// The last session before this day. At the beginning of representable time it is that beginning.
    #[must_use]
    pub fn previous_session(self, before: NaiveDate) -> NaiveDate {
        preceding(before, |date| self.is_session(date))
    }

    /// All sessions from one day to another, both included; empty if they are the wrong way round.
    #[must_use]
    pub fn sessions(self, from: NaiveDate, to: NaiveDate) -> Vec<NaiveDate> {
        within(from, to, |date| self.is_session(date))
    }

    /// The last `n` sessions up to this day, oldest first.
    #[must_use]
    pub fn last_sessions(self, as_of: NaiveDate, n: usize) -> Vec<NaiveDate> {
        latest(as_of, n, |date| self.is_session(date))
    }

    /// Whether the session of this day ends early: at 13:00 in New York.
    #[must_use]
    pub fn is_early_close(self, date: NaiveDate) -> bool {
        if self != Self::Nyse || !self.is_session(date) {
            return false;
        }
        match (date.month(), date.day()) {
            (7, 3) | (12, 24) => true,
            (11, _) => date.pred_opt().is_some_and(is_thanksgiving),
            _ => false,
        }
    }

    /// When the session of this day ends.
    ///
    /// At the exchange that is 16:00 in New York, or 13:00 on early closes, whatever the zone given. The other two
    /// calendars end with the day in the zone given.
    #[must_use]
    pub fn close_time(self, date: NaiveDate, zone: Zone) -> DateTime<Utc> {
        let (zone, date, hour) = match self {
            Self::Nyse => (Zone::new_york(), date, if self.is_early_close(date) { 13 } else { 16 }),
            Self::Weekdays | Self::EveryDay => (zone, date.checked_add_days(Days::new(1)).unwrap_or(date), 0),
        };
        instant_at(date, NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or_default(), zone)
    }

    /// The date of now, in New York for the exchange and in the zone given for the other calendars.
    #[must_use]
    pub fn today(self, now: DateTime<Utc>, zone: Zone) -> NaiveDate {
        let home = if self == Self::Nyse { Zone::new_york() } else { zone };
        // chrono panics when an offset leads out of its range; the UTC day is near enough there.
        let far = now.checked_add_signed(chrono::TimeDelta::days(2)).is_none()
            || now.checked_sub_signed(chrono::TimeDelta::days(2)).is_none();
        if far { now.naive_utc().date() } else { now.with_timezone(&home).date_naive() }
    }
}

impl std::fmt::Display for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The first session after a day.
pub(crate) fn following(after: NaiveDate, is_session: impl Fn(NaiveDate) -> bool) -> NaiveDate {
    let mut date = after;
    while let Some(next) = date.succ_opt() {
        date = next;
        if is_session(date) {
            break;
        }
    }
    date
}

/// The last session before a day.
pub(crate) fn preceding(before: NaiveDate, is_session: impl Fn(NaiveDate) -> bool) -> NaiveDate {
    let mut date = before;
    while let Some(previous) = date.pred_opt() {
        date = previous;
        if is_session(date) {
            break;
        }
    }
    date
}

/// The sessions from one day to another, both included.
pub(crate) fn within(from: NaiveDate, to: NaiveDate, is_session: impl Fn(NaiveDate) -> bool) -> Vec<NaiveDate> {
    if from > to {
        return Vec::new();
    }
    from.iter_days().take_while(|date| *date <= to).filter(|date| is_session(*date)).collect()
}

/// The last `n` sessions up to a day, oldest first.
pub(crate) fn latest(as_of: NaiveDate, n: usize, is_session: impl Fn(NaiveDate) -> bool) -> Vec<NaiveDate> {
    let mut sessions = Vec::new();
    let mut date = Some(as_of);
    while let Some(day) = date
        && sessions.len() < n
    {
        if is_session(day) {
            sessions.push(day);
        }
        date = day.pred_opt();
    }
    sessions.reverse();
    sessions
}

/// This local time as an instant; where clocks skip it, the first moment after the gap.
pub(crate) fn instant_at(date: NaiveDate, time: NaiveTime, zone: Zone) -> DateTime<Utc> {
    let local = date.and_time(time);
    let near_the_edge =
        local.checked_add_days(Days::new(2)).is_none() || local.checked_sub_days(Days::new(2)).is_none();
    if near_the_edge {
        return Utc.from_utc_datetime(&local);
    }
    // Gaps are an hour or less nearly everywhere; a whole day was skipped in Samoa once.
    for quarter in 0..=100_i64 {
        let shifted = local + chrono::TimeDelta::minutes(15 * quarter);
        match zone.from_local_datetime(&shifted) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => return time.with_timezone(&Utc),
            LocalResult::None => {}
        }
    }
    Utc.from_utc_datetime(&local)
}

fn is_thanksgiving(date: NaiveDate) -> bool {
    date.month() == 11 && date.weekday() == Weekday::Thu && (22..=28).contains(&date.day())
}

fn nyse_special_closure(date: NaiveDate) -> Option<&'static str> {
    let key = (date.year(), date.month(), date.day());
    SPECIAL_CLOSURES.iter().find(|&&(y, m, d, _)| (y, m, d) == key).map(|&(.., reason)| reason)
}

/// The name of a holiday: from the exchange's published list where the library has it, by the exchange's rules elsewhere.
fn nyse_holiday(date: NaiveDate) -> Option<&'static str> {
    match date.holiday() {
        Ok(Some(holiday)) => Some(match holiday {
            Holiday::NewYearsDay => "New Year's Day",
            Holiday::MartinLutherKingJrDay => "Martin Luther King Jr. Day",
            Holiday::WashingtonsBirthday => "Washington's Birthday",
            Holiday::GoodFriday => "Good Friday",
            Holiday::MemorialDay => "Memorial Day",
            Holiday::Juneteenth => "Juneteenth",
            Holiday::IndependenceDay => "Independence Day",
            Holiday::LaborDay => "Labor Day",
            Holiday::ThanksgivingDay => "Thanksgiving Day",
            Holiday::ChristmasDay => "Christmas Day",
            _ => "holiday",
        }),
        Ok(None) => None,
        Err(_) => nyse_holiday_by_rule(date),
    }
}

/// The rules in force since 1998, for the years the published list does not reach.
fn nyse_holiday_by_rule(date: NaiveDate) -> Option<&'static str> {
    use Weekday::{Fri, Mon};
    let (year, month, day, weekday) = (date.year(), date.month(), date.day(), date.weekday());
    // A holiday on a Saturday is kept on the Friday before, one on a Sunday on the Monday after.
    let kept = |on: u32| day == on || (weekday == Fri && day + 1 == on) || (weekday == Mon && day == on + 1);
    let nth_monday = |n: u32| weekday == Mon && (7 * n - 6..=7 * n).contains(&day);
    match month {
        // Never on the last business day of a year: a New Year's Day on a Saturday is not made up for.
        1 if day == 1 || (weekday == Mon && day == 2) => Some("New Year's Day"),
        1 if year >= 1998 && nth_monday(3) => Some("Martin Luther King Jr. Day"),
        2 if nth_monday(3) => Some("Washington's Birthday"),
        3 | 4 if weekday == Fri && is_good_friday(date) => Some("Good Friday"),
        5 if weekday == Mon && day > 24 => Some("Memorial Day"),
        6 if year >= 2022 && kept(19) => Some("Juneteenth"),
        7 if kept(4) => Some("Independence Day"),
        9 if nth_monday(1) => Some("Labor Day"),
        11 if is_thanksgiving(date) => Some("Thanksgiving Day"),
        12 if kept(25) => Some("Christmas Day"),
        _ => None,
    }
}

/// The anonymous Gregorian computus, in 64 bits so that no year overflows.
fn is_good_friday(date: NaiveDate) -> bool {
    let year = i64::from(date.year());
    let (a, b, c) = (year.rem_euclid(19), year.div_euclid(100), year.rem_euclid(100));
    let (d, e) = (b.div_euclid(4), b.rem_euclid(4));
    let g = (8 * b + 13).div_euclid(25);
    let h = (19 * a + b - d - g + 15).rem_euclid(30);
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k).rem_euclid(7);
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    let (month, day) = (u32::try_from(n / 31), u32::try_from(n % 31 + 1));
    let easter = month.ok().zip(day.ok()).and_then(|(month, day)| NaiveDate::from_ymd_opt(date.year(), month, day));
    easter.is_some_and(|easter| date.checked_add_days(Days::new(2)) == Some(easter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// Every weekday on which the exchange was or will be closed, from its published lists.
    #[rustfmt::skip]
    const CLOSURES: [(i32, &[(u32, u32)]); 13] = [
        (2015, &[(1, 1), (1, 19), (2, 16), (4, 3), (5, 25), (7, 3), (9, 7), (11, 26), (12, 25)]),
        (2016, &[(1, 1), (1, 18), (2, 15), (3, 25), (5, 30), (7, 4), (9, 5), (11, 24), (12, 26)]),
        (2017, &[(1, 2), (1, 16), (2, 20), (4, 14), (5, 29), (7, 4), (9, 4), (11, 23), (12, 25)]),
        (2018, &[(1, 1), (1, 15), (2, 19), (3, 30), (5, 28), (7, 4), (9, 3), (11, 22), (12, 5), (12, 25)]),
        (2019, &[(1, 1), (1, 21), (2, 18), (4, 19), (5, 27), (7, 4), (9, 2), (11, 28), (12, 25)]),
        (2020, &[(1, 1), (1, 20), (2, 17), (4, 10), (5, 25), (7, 3), (9, 7), (11, 26), (12, 25)]),
        (2021, &[(1, 1), (1, 18), (2, 15), (4, 2), (5, 31), (7, 5), (9, 6), (11, 25), (12, 24)]),
        (2022, &[(1, 17), (2, 21), (4, 15), (5, 30), (6, 20), (7, 4), (9, 5), (11, 24), (12, 26)]),
        (2023, &[(1, 2), (1, 16), (2, 20), (4, 7), (5, 29), (6, 19), (7, 4), (9, 4), (11, 23), (12, 25)]),
        (2024, &[(1, 1), (1, 15), (2, 19), (3, 29), (5, 27), (6, 19), (7, 4), (9, 2), (11, 28), (12, 25)]),
        (2025, &[(1, 1), (1, 9), (1, 20), (2, 17), (4, 18), (5, 26), (6, 19), (7, 4), (9, 1), (11, 27), (12, 25)]),
        (2026, &[(1, 1), (1, 19), (2, 16), (4, 3), (5, 25), (6, 19), (7, 3), (9, 7), (11, 26), (12, 25)]),
        (2027, &[(1, 1), (1, 18), (2, 15), (3, 26), (5, 31), (6, 18), (7, 5), (9, 6), (11, 25), (12, 24)]),
    ];

    /// Every session that ended or will end at 13:00.
    #[rustfmt::skip]
    const EARLY: [(i32, &[(u32, u32)]); 13] = [
        (2015, &[(11, 27), (12, 24)]),
        (2016, &[(11, 25)]),
        (2017, &[(7, 3), (11, 24)]),
        (2018, &[(7, 3), (11, 23), (12, 24)]),
        (2019, &[(7, 3), (11, 29), (12, 24)]),
        (2020, &[(11, 27), (12, 24)]),
        (2021, &[(11, 26)]),
        (2022, &[(11, 25)]),
        (2023, &[(7, 3), (11, 24)]),
        (2024, &[(7, 3), (11, 29), (12, 24)]),
        (2025, &[(7, 3), (11, 28), (12, 24)]),
        (2026, &[(11, 27), (12, 24)]),
        (2027, &[(11, 26)]),
    ];

    fn days_of(year: i32) -> impl Iterator<Item = NaiveDate> {
        NaiveDate::from_ymd_opt(year, 1, 1).unwrap().iter_days().take_while(move |date| date.year() == year)
    }

    #[test]
    fn the_exchange_is_closed_on_the_days_it_published() {
        for (year, closures) in CLOSURES {
            let ours: Vec<(u32, u32)> = days_of(year)
                .filter(|date| !Calendar::Nyse.is_session(*date) && Calendar::Weekdays.is_session(*date))
                .map(|date| (date.month(), date.day()))
                .collect();
            assert_eq!(ours, closures, "{year}");
        }
    }

    #[test]
    fn sessions_end_early_on_the_days_it_published() {
        for (year, early) in EARLY {
            let ours: Vec<(u32, u32)> = days_of(year)
                .filter(|date| Calendar::Nyse.is_early_close(*date))
                .map(|date| (date.month(), date.day()))
                .collect();
            assert_eq!(ours, early, "{year}");
        }
    }

    #[test]
    fn the_rules_agree_with_the_published_list_where_both_know() {
        for year in 2020..=2028 {
            for date in days_of(year).filter(|date| Calendar::Weekdays.is_session(*date)) {
                let listed = date.holiday().unwrap().is_some();
                assert_eq!(nyse_holiday_by_rule(date).is_some(), listed, "{date}");
            }
        }
    }

    #[test]
    fn easter_falls_where_it_does() {
        for good_friday in ["1961-03-31", "2000-04-21", "2008-03-21", "2011-04-22", "2038-04-23", "2100-03-26"] {
            assert!(is_good_friday(date(good_friday)), "{good_friday}");
        }
    }

    #[test]
    fn closed_days_have_a_reason() {
        let why = |text: &str| Calendar::Nyse.holiday_name(date(text));
        assert_eq!(why("2025-11-27"), Some("Thanksgiving Day"));
        assert_eq!(why("2025-01-09"), Some("national day of mourning for Jimmy Carter"));
        assert_eq!(why("2018-12-05"), Some("national day of mourning for George H. W. Bush"));
        assert_eq!(why("2040-07-04"), Some("Independence Day"));
        assert_eq!(why("2025-11-29"), Some("Saturday"));
        assert_eq!(why("2025-11-28"), None);
        assert_eq!(Calendar::Weekdays.holiday_name(date("2025-11-30")), Some("Sunday"));
        assert_eq!(Calendar::Weekdays.holiday_name(date("2025-11-27")), None);
        assert_eq!(Calendar::EveryDay.holiday_name(date("2025-11-30")), None);
    }

    #[test]
    fn sessions_follow_each_other() {
        let nyse = Calendar::Nyse;
        assert_eq!(nyse.next_session(date("2025-11-26")), date("2025-11-28"));
        assert_eq!(nyse.next_session(date("2025-11-28")), date("2025-12-01"));
        assert_eq!(nyse.previous_session(date("2025-12-01")), date("2025-11-28"));
        assert_eq!(nyse.sessions(date("2025-11-26"), date("2025-12-01")).len(), 3);
        assert_eq!(nyse.sessions(date("2025-12-01"), date("2025-11-26")), []);
        assert_eq!(nyse.last_sessions(date("2025-11-30"), 2), [date("2025-11-26"), date("2025-11-28")]);
        assert_eq!(nyse.last_sessions(date("2025-11-28"), 2), [date("2025-11-26"), date("2025-11-28")]);
        assert_eq!(nyse.last_sessions(date("2025-11-28"), 0), []);
    }

    #[test]
    fn sessions_close_in_local_time() {
        let close = |calendar: Calendar, day: &str, zone| calendar.close_time(date(day), zone).to_rfc3339();
        assert_eq!(close(Calendar::Nyse, "2025-07-02", Zone::UTC), "2025-07-02T20:00:00+00:00");
        assert_eq!(close(Calendar::Nyse, "2025-07-03", Zone::UTC), "2025-07-03T17:00:00+00:00");
        assert_eq!(close(Calendar::Nyse, "2025-12-02", "Asia/Tokyo".parse().unwrap()), "2025-12-02T21:00:00+00:00");
        assert_eq!(
            close(Calendar::EveryDay, "2025-12-02", "Europe/Berlin".parse().unwrap()),
            "2025-12-02T23:00:00+00:00"
        );
        // Clocks skip midnight in Beirut on this day: it ends when they resume at 01:00.
        assert_eq!(
            close(Calendar::EveryDay, "2024-03-30", "Asia/Beirut".parse().unwrap()),
            "2024-03-30T22:00:00+00:00"
        );
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for calendar in [Calendar::Nyse, Calendar::Weekdays, Calendar::EveryDay] {
            for date in [NaiveDate::MIN, NaiveDate::MAX, date("0001-01-01"), date("9999-12-31")] {
                for zone in [Zone::UTC, Zone::new_york(), "Pacific/Kiritimati".parse().unwrap()] {
                    let _ = (calendar.is_session(date), calendar.next_session(date), calendar.previous_session(date));
                    let _ = (calendar.close_time(date, zone), calendar.last_sessions(date, 3));
                    let _ = calendar.sessions(date, date);
                    for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                        let _ = calendar.today(now, zone);
                    }
                }
            }
        }
    }

    #[test]
    fn calendars_are_spelt_as_in_the_settings() {
        for calendar in [Calendar::Nyse, Calendar::Weekdays, Calendar::EveryDay] {
            assert!(Calendar::NAMES.contains(&calendar.as_str()));
            assert_eq!(Calendar::from_name(calendar.as_str()), Some(calendar));
        }
        assert_eq!(Calendar::from_name("NYSE"), None);
    }
}
