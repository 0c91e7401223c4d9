//! Which nights nobody ran, and which dates may have a night.

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::{Night, NightHead, Verdict};

/// Nights that lists look back on: missed ones further back are no longer advised.
pub const NIGHTS_BACK: usize = 90;

/// The missed nights among these heads of one series, in their order.
#[must_use]
pub fn missed_nights<'a>(heads: impl IntoIterator<Item = &'a NightHead>) -> Vec<NaiveDate> {
    heads.into_iter().filter(|head| head.verdict == Verdict::Missed).map(|head| head.as_of).collect()
}

/// The missed nights around a missed one, itself included, up to the next night with a run on each side; oldest first.
/// Empty where the night was not missed. `heads` are those of its series, newest first.
#[must_use]
pub fn missed_around(night: &Night, heads: &[NightHead]) -> Vec<NaiveDate> {
    if night.verdict != Verdict::Missed {
        return Vec::new();
    }
    let dates = |heads: &mut dyn Iterator<Item = &NightHead>| -> Vec<NaiveDate> {
        missed_nights(heads.take_while(|head| head.verdict == Verdict::Missed))
    };
    let mut missed = dates(&mut heads.iter().filter(|head| head.as_of < night.as_of));
    missed.reverse();
    missed.push(night.as_of);
    missed.extend(dates(&mut heads.iter().rev().filter(|head| head.as_of > night.as_of)));
    missed
}

/// The latest trading date that can have ended in any time zone at this instant.
///
/// A record of a later date decides nothing. Readers that know the schedule use its last allowed date, which is this one
/// or earlier.
#[must_use]
pub fn latest_possible(now: DateTime<Utc>) -> NaiveDate {
    let today = now.date_naive();
    today.checked_add_days(Days::new(1)).unwrap_or(today)
}
