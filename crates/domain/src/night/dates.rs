//! Which nights nobody ran.

use chrono::NaiveDate;

use super::{NightHead, Verdict};

/// Nights that lists look back on: missed ones further back are no longer advised.
pub const NIGHTS_BACK: usize = 90;

/// The missed nights among these heads of one series, in their order.
#[must_use]
pub fn missed_nights<'a>(heads: impl IntoIterator<Item = &'a NightHead>) -> Vec<NaiveDate> {
    heads.into_iter().filter(|head| head.verdict == Verdict::Missed).map(|head| head.as_of).collect()
}
