//! What differs between the pinned inputs of two runs.
#![allow(clippy::unwrap_used, clippy::clone_on_ref_ptr)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Memory, book, date, id, lot};
use domain::ports::{Documents, InputComparer};
use jobs::{Snapshot, SnapshotComparer};

const LAST: &str = "2024-06-28";

fn closes(of: f64) -> Vec<f64> {
    (0..300).map(|day| of + f64::from(day) / 10.0).collect()
}

fn snapshot(quantity: f64, equity: Option<f64>, corrected: Option<usize>) -> Snapshot {
    let mut aaa = closes(100.0);
    if let Some(back) = corrected {
        let at = aaa.len() - 1 - back;
        aaa[at] *= 2.0;
    }
    let lots = vec![lot("AAA", quantity, 90.0), lot("BBB", 5.0, 20.0)];
    let book = book(equity, lots, date(LAST), &[("AAA", aaa), ("BBB", closes(20.0)), ("CCC", closes(30.0))]);
    Snapshot::of(&book, date(LAST), &[])
}

#[tokio::test]
async fn a_corrected_close_a_changed_lot_and_equity_are_named() {
    let documents = Arc::new(Memory::default());
    let comparer = SnapshotComparer::new(documents.clone());
    let was = documents.put_snapshot(snapshot(10.0, Some(1e6), None).encode().unwrap()).await.unwrap();
    let now = documents.put_snapshot(snapshot(12.0, Some(2e6), Some(1)).encode().unwrap()).await.unwrap();
    let portfolios = BTreeSet::from([id("p")]);
    let changes = comparer.compare(&was, &now, &portfolios).await.unwrap().unwrap();

    assert_eq!((changes.closes_count, changes.lots_count, changes.equity_count), (1, 1, 1));
    let close = &changes.closes[0];
    assert_eq!((close.symbol.as_str(), close.date), ("AAA", date("2024-06-27")));
    assert_eq!(close.now, close.was.map(|was| 2.0 * was));
    let lots = &changes.lots[0];
    assert_eq!((lots.symbol.as_str(), lots.was, lots.now), ("AAA", Some(10.0), Some(12.0)));
    assert_eq!((changes.equity[0].was, changes.equity[0].now), (Some(1e6), Some(2e6)));
    assert!(changes.settings.is_empty());
    // The same inputs, and inputs of other portfolios, say nothing.
    assert_eq!(comparer.compare(&was, &was, &portfolios).await.unwrap(), Some(Default::default()));
    let other = comparer.compare(&was, &now, &BTreeSet::from([id("other")])).await.unwrap().unwrap();
    assert_eq!((other.lots_count, other.equity_count, other.closes_count), (0, 0, 0));
}

#[tokio::test]
async fn inputs_that_are_gone_cannot_be_compared() {
    let documents = Arc::new(Memory::default());
    let comparer = SnapshotComparer::new(documents.clone());
    let was = documents.put_snapshot(snapshot(10.0, None, None).encode().unwrap()).await.unwrap();
    let gone = domain::ids::ContentHash::of(b"gone");
    assert_eq!(comparer.compare(&was, &gone, &BTreeSet::new()).await.unwrap(), None);
    assert_eq!(comparer.compare(&gone, &was, &BTreeSet::new()).await.unwrap(), None);
}
