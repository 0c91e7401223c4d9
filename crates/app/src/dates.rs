//! Which trading dates may be run now.

use book::ScheduleSettings;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// The trading dates that a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dates {
    /// One date; `None`: the last completed session.
    One(Option<NaiveDate>),
    /// Every session of a span.
    Span {
        /// The first date.
        from: NaiveDate,
        /// The last date.
        to: NaiveDate,
    },
}

/// The dates of a request that may be run now, oldest first. A span that reaches beyond the last allowed date is refused
/// as a whole, and may hold no session.
///
/// # Errors
/// [`Refusal::NoSession`], [`Refusal::DateNotAllowed`] and [`Refusal::SpanReversed`].
pub fn allowed_dates(schedule: &ScheduleSettings, dates: Dates, now: DateTime<Utc>) -> Result<Vec<NaiveDate>, Refusal> {
    match dates {
        Dates::One(as_of) => Ok(vec![allowed_date(schedule, as_of, now)?]),
        Dates::Span { from, to } if from > to => Err(Refusal::SpanReversed { from, to }),
        Dates::Span { from, to } => {
            refuse_later(schedule, to, now)?;
            Ok(schedule.sessions(from, to))
        }
    }
}

fn allowed_date(
    schedule: &ScheduleSettings,
    as_of: Option<NaiveDate>,
    now: DateTime<Utc>,
) -> Result<NaiveDate, Refusal> {
    let Some(date) = as_of else { return Ok(schedule.last_completed_session(now)) };
    refuse_later(schedule, date, now)?;
    match schedule.holiday_name(date) {
        None => Ok(date),
        Some(why) => {
            let next = schedule.next_session(date);
            Err(Refusal::NoSession { date, why: why.to_owned(), next })
        }
    }
}

/// A day up to today that has no session is not too late: nothing is run for it.
fn refuse_later(schedule: &ScheduleSettings, date: NaiveDate, now: DateTime<Utc>) -> Result<(), Refusal> {
    let last_allowed = schedule.last_allowed(now);
    let is_day_off = date <= schedule.today(now) && !schedule.is_session(date);
    if date <= last_allowed || is_day_off { Ok(()) } else { Err(Refusal::DateNotAllowed { date, last_allowed }) }
}

#[cfg(test)]
mod tests {
    use book::Calendar;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// 2026-11-28 is a Saturday; New York closes at 21:00 UTC.
    #[test]
    fn a_date_is_allowed_up_to_the_last_completed_session_or_today() {
        let schedule = |calendar| ScheduleSettings { calendar, ..ScheduleSettings::default() };
        for (calendar, now, date, expected) in [
            (Calendar::Nyse, "2026-11-24T21:00:00Z", "2026-11-24", Ok(())),
            (Calendar::Nyse, "2026-11-24T20:59:59Z", "2026-11-24", Err("2026-11-23")),
            (Calendar::Nyse, "2026-11-24T21:00:00Z", "2026-11-25", Err("2026-11-24")),
            (Calendar::Nyse, "2026-11-28T21:00:00Z", "2026-11-29", Err("2026-11-27")),
            (Calendar::Weekdays, "2026-11-24T15:00:00Z", "2026-11-24", Ok(())),
            (Calendar::Weekdays, "2026-11-24T15:00:00Z", "2026-11-25", Err("2026-11-24")),
            (Calendar::EveryDay, "2026-11-28T15:00:00Z", "2026-11-28", Ok(())),
            (Calendar::EveryDay, "2026-11-28T15:00:00Z", "9999-12-31", Err("2026-11-28")),
        ] {
            let (now, date) = (now.parse().unwrap(), day(date));
            let expected = match expected {
                Ok(()) => Ok(date),
                Err(last) => Err(Refusal::DateNotAllowed { date, last_allowed: day(last) }),
            };
            assert_eq!(allowed_date(&schedule(calendar), Some(date), now), expected, "{calendar} {date} at {now}");
            let whole = allowed_dates(&schedule(calendar), Dates::Span { from: day("2026-11-20"), to: date }, now);
            assert_eq!(whole.map(drop), expected.map(drop), "a span is refused as a whole: {calendar} {date} at {now}");
        }
    }

    #[test]
    fn a_day_off_up_to_today_is_no_session_and_ends_a_span() {
        let nightly = ScheduleSettings::default();
        let now = "2026-11-28T15:00:00Z".parse().unwrap();
        let saturday = day("2026-11-28");
        let next = day("2026-11-30");
        let refused = Err(Refusal::NoSession { date: saturday, why: "Saturday".to_owned(), next });
        assert_eq!(allowed_date(&nightly, Some(saturday), now), refused);
        assert_eq!(allowed_date(&nightly, None, now), Ok(day("2026-11-27")));
        let span = |from, to| allowed_dates(&nightly, Dates::Span { from, to }, now);
        assert_eq!(span(day("2026-11-27"), saturday), Ok(vec![day("2026-11-27")]));
        let reversed = span(saturday, day("2026-11-27"));
        assert!(matches!(reversed, Err(Refusal::SpanReversed { .. })), "{reversed:?}");
    }
}
