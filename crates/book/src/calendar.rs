//! Trading calendars: which days have a session, and when it ends.

use chrono::{DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
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
        self.closed_because(date).is_none()
    }

    /// Why this day has no session: "Saturday", "Thanksgiving Day"; `None` if it has one.
    #[must_use]
    pub fn closed_because(self, date: NaiveDate) -> Option<&'static str> {
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
        let mut date = after;
        while let Some(next) = date.succ_opt() {
            date = next;
            if self.is_session(date) {
                break;
            }
        }
        date
    }

    /// The last session before this day. At the beginning of representable time it is that beginning.
    #[must_use]
    pub fn previous_session(self, before: NaiveDate) -> NaiveDate {
        let mut date = before;
        while let Some(previous) = date.pred_opt() {
            date = previous;
            if self.is_session(date) {
                break;
            }
        }
        date
    }

    /// All sessions from one day to another, both included; empty if they are the wrong way round.
    #[must_use]
    pub fn sessions(self, from: NaiveDate, to: NaiveDate) -> Vec<NaiveDate> {
        if from > to {
            return Vec::new();
        }
        from.iter_days().take_while(|date| *date <= to).filter(|date| self.is_session(*date)).collect()
    }

    /// The last `n` sessions up to this day, oldest first.
    #[must_use]
    pub fn last_sessions(self, as_of: NaiveDate, n: usize) -> Vec<NaiveDate> {
        let mut sessions = Vec::new();
        let mut date = Some(as_of);
        while let Some(day) = date
            && sessions.len() < n
        {
            if self.is_session(day) {
                sessions.push(day);
            }
            date = day.pred_opt();
        }
        sessions.reverse();
        sessions
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
    pub fn close_time_utc(self, date: NaiveDate, zone: Tz) -> DateTime<Utc> {
        let (zone, date, hour) = match self {
            Self::Nyse => (Tz::America__New_York, date, if self.is_early_close(date) { 13 } else { 16 }),
            Self::Weekdays | Self::EveryDay => (zone, date.checked_add_days(Days::new(1)).unwrap_or(date), 0),
        };
        instant_at_hour(date, hour, zone)
    }

    /// The last session that has ended by now.
    #[must_use]
    pub fn last_completed_session(self, now: DateTime<Utc>, zone: Tz) -> NaiveDate {
        let home = if self == Self::Nyse { Tz::America__New_York } else { zone };
        let today = now.naive_utc().date();
        // chrono panics when an offset leads out of its range; the UTC day is near enough there.
        let far = now.checked_add_signed(chrono::TimeDelta::days(2)).is_none()
            || now.checked_sub_signed(chrono::TimeDelta::days(2)).is_none();
        let today = if far { today } else { now.with_timezone(&home).date_naive() };
        if self.is_session(today) && self.close_time_utc(today, zone) <= now {
            return today;
        }
        self.previous_session(today)
    }
}

impl std::fmt::Display for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// This full hour of local time as an instant; where clocks skip it, the first moment after the gap.
fn instant_at_hour(date: NaiveDate, hour: u32, zone: Tz) -> DateTime<Utc> {
    let local = date.and_time(NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or_default());
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
