//! Rules of the nights.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::fixtures::new_year;
use crate::ids::{ContentHash, RunId, ScheduleName};
use crate::night::{HeadFacts, Night, NightBasis, NightHead, NightKey, Totals, Verdict};
use crate::ports::{Keep, NightQuery, RunStore};
use crate::run::samples::at;

/// Calls a macro with the names of all rules of the [`Nights`](crate::ports::Nights).
#[macro_export]
macro_rules! night_rules {
    ($with:ident) => {
        $with! {
            a_head_is_written_over_the_version_that_was_read
            nights_come_newest_first_within_their_dates
            a_night_document_is_what_was_stored
        }
    };
}

fn series_of(seed: u128) -> ScheduleName {
    ScheduleName::new(format!("series-{seed}")).unwrap()
}

fn head(seed: u128, as_of: NaiveDate, verdict: Verdict) -> NightHead {
    let night = Night {
        night_series: series_of(seed),
        as_of,
        verdict,
        jobs: Vec::new(),
        outcomes: BTreeMap::new(),
        absent: BTreeSet::new(),
        closed: BTreeMap::new(),
        totals: Totals::default(),
        causes: Vec::new(),
        controls: Vec::new(),
        editions: Vec::new(),
        runs: vec![RunId(uuid::Uuid::from_u128(seed))],
        in_progress: Vec::new(),
        open_runs: Vec::new(),
        full_run_ended: true,
        newest_close: Some(as_of),
    };
    let facts = HeadFacts {
        version: 0,
        schedule: series_of(seed),
        full_run: None,
        acceptances: Vec::new(),
        basis: NightBasis::Plans,
        document: ContentHash::of(b"a document"),
        folded_at: at(0),
    };
    NightHead::of(&night, facts)
}

/// A head comes back with the next version; of two that read the same version, one writes.
pub async fn a_head_is_written_over_the_version_that_was_read(store: &dyn RunStore, seed: u128) {
    let first = head(seed, new_year(seed), Verdict::Running);
    let key: NightKey = first.key();
    assert_eq!(store.night(&key).await.unwrap(), None);
    assert!(!store.put_night(&NightHead { version: 1, ..first.clone() }).await.unwrap(), "there was none to replace");
    assert!(store.put_night(&first).await.unwrap());
    assert!(!store.put_night(&first).await.unwrap(), "somebody wrote it meanwhile");
    let stored = store.night(&key).await.unwrap().unwrap();
    assert_eq!(stored, NightHead { version: 1, ..first });
    assert!(store.put_night(&NightHead { verdict: Verdict::Ok, ..stored.clone() }).await.unwrap());
    assert!(!store.put_night(&NightHead { verdict: Verdict::Failed, ..stored }).await.unwrap(), "it was read before");
    let stored = store.night(&key).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.verdict), (2, Verdict::Ok));
    let series = store.night_series().await.unwrap();
    assert!(series.contains(&series_of(seed)) && series.is_sorted(), "{series:?}");
}

/// The nights of a series come newest first, within their dates, at most as many as were asked for.
pub async fn nights_come_newest_first_within_their_dates(store: &dyn RunStore, seed: u128) {
    let day = |n: u64| new_year(seed) + chrono::Days::new(n);
    for n in [4, 1, 9, 6] {
        assert!(store.put_night(&head(seed, day(n), Verdict::Ok)).await.unwrap());
    }
    assert!(store.put_night(&head(seed + 2_000_000, day(5), Verdict::Ok)).await.unwrap());
    for (from, to, limit, expected) in [
        (None, None, 0, vec![9, 6, 4, 1]),
        (None, None, 2, vec![9, 6]),
        (Some(4), None, 0, vec![9, 6, 4]),
        (None, Some(8), 1, vec![6]),
        (Some(2), Some(6), 0, vec![6, 4]),
        (Some(7), Some(8), 0, vec![]),
    ] {
        let query = NightQuery { series: series_of(seed), from: from.map(day), to: to.map(day), limit };
        let found: Vec<NaiveDate> = store.nights(&query).await.unwrap().iter().map(|head| head.as_of).collect();
        assert_eq!(found, expected.into_iter().map(day).collect::<Vec<_>>(), "{query:?}");
    }
}

/// A document is found by the hash of its content; the same again is harmless.
pub async fn a_night_document_is_what_was_stored(store: &dyn RunStore, seed: u128) {
    let document = format!("{{\"night\":{seed}}}").into_bytes();
    let hash = store.put_night_document(document.clone(), Keep::AsRecords).await.unwrap();
    assert_eq!(hash, ContentHash::of(&document));
    assert_eq!(store.put_night_document(document.clone(), Keep::UntilReplaced).await.unwrap(), hash);
    assert_eq!(store.night_document(&hash).await.unwrap(), Some(document));
    let other = ContentHash::of(format!("nothing {seed}").as_bytes());
    assert_eq!(store.night_document(&other).await.unwrap(), None);
}
