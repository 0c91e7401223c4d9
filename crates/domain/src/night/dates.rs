//! Which night is the newest, and which nights nobody ran.

use chrono::NaiveDate;

use super::{NightHead, Verdict};

/// Nights that lists look back on: missed ones further back are no longer advised.
pub const NIGHTS_BACK: usize = 90;

/// The missed nights among these heads of one series, in their order.
#[must_use]
pub fn missed_nights<'a>(heads: impl IntoIterator<Item = &'a NightHead>) -> Vec<NaiveDate> {
    heads.into_iter().filter(|head| head.verdict == Verdict::Missed).map(|head| head.as_of).collect()
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
}
