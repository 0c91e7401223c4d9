//! Which dates may have a night, and which night is the newest.

use chrono::NaiveDate;

/// Why a date cannot be run. Nothing is recorded for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DateRefusal {
    /// The trading date has not completed yet.
    #[error("{as_of} is not completed yet: the last date that can be run is {last}")]
    TooLate {
        /// The date that was asked for.
        as_of: NaiveDate,
        /// The last date that is allowed.
        last: NaiveDate,
    },
    /// A span reaches beyond the last completed trading date. It is refused as a whole.
    #[error("the span {from} to {to} reaches beyond the last date that can be run: end it on {last} or earlier")]
    SpanTooLate {
        /// The first date of the span.
        from: NaiveDate,
        /// The last date of the span.
        to: NaiveDate,
        /// The last date that is allowed.
        last: NaiveDate,
    },
    /// A span ends before it begins.
    #[error("the span {from} to {to} ends before it begins: give the earlier date first")]
    Reversed {
        /// The first date of the span.
        from: NaiveDate,
        /// The last date of the span.
        to: NaiveDate,
    },
}

/// The last allowed date: the last completed session where the calendar has a closing hour, else today in the zone of
/// the calendar.
#[must_use]
pub fn last_allowed(last_completed_session: Option<NaiveDate>, today: NaiveDate) -> NaiveDate {
    last_completed_session.unwrap_or(today)
}

/// Checks one date against the last allowed one.
///
/// # Errors
/// [`DateRefusal::TooLate`] names both dates.
pub fn check_date(as_of: NaiveDate, last: NaiveDate) -> Result<(), DateRefusal> {
    if as_of > last { Err(DateRefusal::TooLate { as_of, last }) } else { Ok(()) }
}

/// Checks a span of dates, both ends included, against the last allowed date.
///
/// # Errors
/// [`DateRefusal::Reversed`] for a span that ends before it begins, [`DateRefusal::SpanTooLate`] for one that reaches
/// beyond the last allowed date.
pub fn check_span(from: NaiveDate, to: NaiveDate, last: NaiveDate) -> Result<(), DateRefusal> {
    if to < from {
        Err(DateRefusal::Reversed { from, to })
    } else if to > last {
        Err(DateRefusal::SpanTooLate { from, to, last })
    } else {
        Ok(())
    }
}

/// The newest night: the greatest allowed date among those with a run or a recorded missed slot. A record of a later
/// date decides nothing.
#[must_use]
pub fn newest_night(recorded: impl IntoIterator<Item = NaiveDate>, last: NaiveDate) -> Option<NaiveDate> {
    recorded.into_iter().filter(|as_of| *as_of <= last).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_night_of_2036_decides_nothing() {
        let last = date("2026-11-24");
        let recorded = [date("2036-11-24"), date("2026-11-24"), date("2026-11-23")];
        assert_eq!(newest_night(recorded, last), Some(last));
        assert_eq!(newest_night([date("2036-11-24")], last), None);
        assert_eq!(newest_night([], last), None);
    }

    #[test]
    fn a_date_that_is_not_completed_is_refused_with_the_last_one_that_is() {
        let last = last_allowed(Some(date("2026-11-24")), date("2026-11-25"));
        assert_eq!(check_date(date("2026-11-24"), last), Ok(()));
        assert_eq!(
            check_date(date("2026-11-25"), last).unwrap_err().to_string(),
            "2026-11-25 is not completed yet: the last date that can be run is 2026-11-24"
        );
        let today = last_allowed(None, date("2026-11-25"));
        assert_eq!(check_date(date("2026-11-25"), today), Ok(()), "a calendar without a closing hour");
    }

    #[test]
    fn a_span_is_allowed_whole_or_not_at_all() {
        let last = date("2026-11-24");
        assert_eq!(check_span(date("2026-11-20"), last, last), Ok(()));
        let beyond = check_span(date("2026-11-20"), date("2026-11-26"), last).unwrap_err();
        assert_eq!(
            beyond.to_string(),
            "the span 2026-11-20 to 2026-11-26 reaches beyond the last date that can be run: end it on 2026-11-24 or \
             earlier"
        );
        let reversed = check_span(last, date("2026-11-20"), last);
        assert!(matches!(reversed, Err(DateRefusal::Reversed { .. })), "{reversed:?}");
    }
}
