//! From which date retention counts back.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::{BTreeMap, BTreeSet};

use backends::memory::MemoryStore;
use chrono::{DateTime, NaiveDate};
use domain::ids::{ContentHash, RunId, ScheduleName};
use domain::night::{
    Control, ControlResult, HeadFacts, Level, Night, NightBasis, NightControl, NightHead, Totals, Verdict,
    retention_date,
};
use domain::ports::Nights as _;
use futures::executor::block_on;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The head of a night with this newest close; `stale`: its control says so.
fn head(series: &str, as_of: &str, newest_close: Option<&str>, stale: bool) -> NightHead {
    let series = ScheduleName::new(series).unwrap();
    let result = ControlResult {
        control: Control::NewestClose,
        level: Level::Failure,
        portfolio_id: None,
        symbol: None,
        figure: None,
        sessions: None,
        observed: None,
        limit: None,
        message: "old".into(),
    };
    let control = NightControl { result, batch_run_id: RunId(uuid::Uuid::nil()), accepted: None };
    let night = Night {
        night_series: series.clone(),
        as_of: date(as_of),
        verdict: if stale { Verdict::Partial } else { Verdict::Ok },
        jobs: Vec::new(),
        outcomes: BTreeMap::new(),
        absent: BTreeSet::new(),
        closed: BTreeMap::new(),
        totals: Totals::default(),
        causes: Vec::new(),
        controls: if stale { vec![control] } else { Vec::new() },
        editions: Vec::new(),
        runs: Vec::new(),
        in_progress: Vec::new(),
        open_runs: Vec::new(),
        full_run_ended: true,
        newest_close: newest_close.map(date),
    };
    let facts = HeadFacts {
        version: 0,
        schedule: series,
        full_run: None,
        acceptances: Vec::new(),
        basis: NightBasis::Plans,
        document: ContentHash::of(b"a document"),
        folded_at: DateTime::UNIX_EPOCH,
    };
    NightHead::of(&night, facts)
}

#[test]
fn retention_counts_back_from_a_close_that_no_clock_can_move() {
    let store = MemoryStore::default();
    let put = |head: &NightHead| assert!(block_on(store.put_night(head)).unwrap());
    let found = || block_on(retention_date(&store)).unwrap();
    assert_eq!(found(), None, "nothing is old before the first night");
    put(&head("nightly", "2026-11-20", Some("2026-11-20"), false));
    put(&head("weekly", "2026-11-13", Some("2026-11-13"), false));
    assert_eq!(found(), Some(date("2026-11-20")));
    // A clock 500 days ahead: the night is of 2028, the prices of the book end in 2026.
    for n in 1..=40 {
        let as_of = date("2028-03-01") + chrono::Days::new(n);
        put(&head("nightly", &as_of.to_string(), Some("2026-11-23"), true));
    }
    put(&head("nightly", "2028-06-01", None, false));
    assert_eq!(found(), Some(date("2026-11-20")), "a night without a close of its date does not count");
    put(&head("nightly", "2026-11-24", Some("2026-11-24"), false));
    assert_eq!(found(), Some(date("2026-11-24")));
}
