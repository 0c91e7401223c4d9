//! How a run gets its id: from what it is, never from the clock, so that a repeated trigger finds the same run.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use crate::ids::{ContentHash, PortfolioId, RunId, ScheduleName};

/// The UUIDv5 namespace of Nightbook's run ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6e69_6768_7462_6f6f_6b00_5275_6e49_6400);

fn derive(parts: &[&str]) -> RunId {
    // A part can hold neither a line feed nor a unit separator (ids, dates, hashes, escaped triggers), so that
    // two different lists of parts never make the same text.
    RunId(Uuid::new_v5(&NAMESPACE, parts.join("\u{1f}").as_bytes()))
}

/// The id of a scheduled run: schedule and slot.
#[must_use]
pub fn scheduled(schedule: &ScheduleName, slot: DateTime<Utc>) -> RunId {
    derive(&["schedule", schedule.as_str(), &slot.to_rfc3339()])
}

/// The id of a run by hand: the same again is the same run, a changed book is a new one.
///
/// `portfolios` is the filter (empty: all), in any order; `repeat` is 0 and one more for each `--again`.
#[must_use]
pub fn by_hand(trigger: &str, as_of: NaiveDate, book: &ContentHash, portfolios: &[PortfolioId], repeat: u32) -> RunId {
    let mut sorted: Vec<&str> = portfolios.iter().map(PortfolioId::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    derive(&[
        "hand",
        &trigger.escape_default().to_string(),
        &as_of.to_string(),
        book.as_str(),
        &sorted.join(","),
        &repeat.to_string(),
    ])
}

/// The id of a rerun of a run; `failed_only` and whole reruns are counted apart by `repeat`.
#[must_use]
pub fn rerun(of: RunId, failed_only: bool, repeat: u32) -> RunId {
    derive(&["rerun", &of.to_string(), if failed_only { "failed" } else { "whole" }, &repeat.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn id(text: &str) -> PortfolioId {
        PortfolioId::new(text).unwrap()
    }

    #[test]
    fn the_same_slot_is_the_same_run_and_another_slot_is_not() {
        let name = ScheduleName::new("nightly").unwrap();
        let slot = Utc.with_ymd_and_hms(2026, 11, 24, 23, 30, 0).unwrap();
        assert_eq!(scheduled(&name, slot), scheduled(&name, slot));
        assert_ne!(scheduled(&name, slot), scheduled(&name, slot + chrono::Duration::days(1)));
        // Pinned: an id must not change with a release, or a repeated trigger would start a second run.
        assert_eq!(scheduled(&name, slot).to_string(), "c7645f7b-ad76-5da2-bcab-19e7976dd702");
    }

    #[test]
    fn a_run_by_hand_is_found_again_whatever_the_order_of_the_filter() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
        let book = ContentHash::of(b"book");
        let first = by_hand("manual", day, &book, &[id("a"), id("b")], 0);
        assert_eq!(first, by_hand("manual", day, &book, &[id("b"), id("a"), id("b")], 0));
        assert_ne!(first, by_hand("manual", day, &book, &[id("a"), id("b")], 1));
        assert_ne!(first, by_hand("manual", day, &ContentHash::of(b"changed"), &[id("a"), id("b")], 0));
        assert_ne!(first, by_hand("manual", day, &book, &[], 0));
        assert_ne!(first, by_hand("other", day, &book, &[id("a"), id("b")], 0));
    }

    #[test]
    fn whole_and_failed_reruns_are_different_runs() {
        let of = RunId(Uuid::from_u128(7));
        assert_ne!(rerun(of, true, 1), rerun(of, false, 1));
        assert_ne!(rerun(of, true, 1), rerun(of, true, 2));
    }
}
