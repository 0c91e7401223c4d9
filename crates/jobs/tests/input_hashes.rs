//! What the inputs of a portfolio are, and what they are not.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use book::{Book, Portfolio};
use common::{book, date, follow, id, lot, noise};
use domain::ids::{ContentHash, PortfolioId};
use jobs::{Snapshot, input_hashes};

const LAST: &str = "2024-06-28";

/// Two portfolios over 300 sessions; the factor is not held.
fn two() -> Book {
    let closes: Vec<(&str, Vec<f64>)> = [("AAA", 1), ("BBB", 2), ("SPY", 3)]
        .map(|(symbol, seed)| (symbol, follow(&noise(seed, 299).iter().map(|r| r / 50.0).collect::<Vec<_>>())))
        .into();
    let lots = vec![lot("AAA", 10.0, 100.0), lot("AAA", 5.0, 90.0)];
    let mut book = book(Some(1_000.0), lots, date(LAST), &closes);
    book.settings.factors.retain(|factor| factor.proxy == "SPY");
    let other = Portfolio { id: id("q"), positions: vec![lot("BBB", 1.0, 1.0)], ..book.portfolios[0].clone() };
    book.portfolios.push(other);
    book
}

fn hashes(book: &Book) -> BTreeMap<PortfolioId, ContentHash> {
    input_hashes(&Snapshot::of(book, date(LAST), &[]))
}

/// The portfolios whose hash changes with the book.
fn changed(change: impl FnOnce(&mut Book)) -> Vec<String> {
    let before = two();
    let mut after = before.clone();
    change(&mut after);
    let (before, after) = (hashes(&before), hashes(&after));
    assert_eq!(before.len(), 2);
    before.iter().filter(|(id, hash)| after.get(*id) != Some(hash)).map(|(id, _)| id.to_string()).collect()
}

/// Sets the close that lies so many sessions before the last one.
fn close(book: &mut Book, symbol: &str, before: i64) {
    let day = book.settings.schedule.last_sessions(date(LAST), 300)[usize::try_from(299 - before).unwrap()];
    let mut prices = book::Prices::default();
    for known in ["AAA", "BBB", "SPY"] {
        let mut series = book.prices.series(known).unwrap().to_vec();
        for point in series.iter_mut().filter(|point| known == symbol && point.date == day) {
            point.close *= 1.01;
        }
        prices.add_missing(known, &series);
    }
    assert_ne!(prices, book.prices, "{day} has a close");
    book.prices = prices;
}

#[test]
fn what_a_portfolio_does_not_see_changes_no_hash() {
    let none: [&str; 0] = [];
    assert_eq!(changed(|_| {}), none);
    assert_eq!(changed(|book| book.portfolios[0].positions.reverse()), none, "the order of rows");
    assert_eq!(changed(|book| close(book, "AAA", 253)), none, "a close before the longest window");
    assert_eq!(changed(|book| close(book, "SPY", 91)), none, "a close of a factor before its window");
    assert_eq!(
        changed(|book| {
            let later = book::PricePoint { date: date("2024-07-01"), close: 1.0 };
            book.prices.add_missing("AAA", &[later]);
        }),
        none,
        "a later close"
    );
    assert_eq!(
        changed(|book| {
            book.settings.site.title = "Other".to_owned();
            book.settings.retention.results_days = 1;
            book.settings.run.concurrency = Some(1);
            book.settings.run.deadline_minutes = 5;
            book.portfolios[0].name = "Other".to_owned();
            book.portfolios[0].owner = Some("Other".to_owned());
        }),
        none,
        "settings and texts that change no result"
    );
    assert_eq!(changed(|book| exited(book, "2024-06-27")), none, "a lot exited by the previous session");
}

/// Adds a lot that was exited on a date.
fn exited(book: &mut Book, day: &str) {
    let lot = book::Lot { exit_date: Some(date(day)), ..lot("BBB", 9.0, 1.0) };
    book.portfolios[0].positions.push(lot);
}

#[test]
fn what_a_portfolio_sees_changes_its_hash_alone() {
    assert_eq!(changed(|book| close(book, "AAA", 252)), ["p"], "the first close of the longest window");
    assert_eq!(changed(|book| close(book, "BBB", 0)), ["q"]);
    assert_eq!(changed(|book| close(book, "SPY", 90)), ["p", "q"], "the first close of the window of a factor");
    assert_eq!(changed(|book| book.portfolios[1].equity = Some(2.0)), ["q"]);
    assert_eq!(changed(|book| book.portfolios[1].currency = "EUR".to_owned()), ["q"]);
    assert_eq!(changed(|book| book.portfolios[0].positions[1].quantity = 6.0), ["p"]);
    assert_eq!(changed(|book| exited(book, LAST)), ["p"], "a lot exited since the previous session");
    assert_eq!(changed(|book| book.settings.snapshot.risk_window = 100), ["p", "q"]);
    assert_eq!(changed(|book| book.settings.scenarios.truncate(1)), ["p", "q"]);
    assert_eq!(changed(|book| drop(book.settings.run.jobs.pop())), ["p", "q"]);
    assert_eq!(changed(|book| book.settings.schedule.closed.extend([date("2024-06-27")])), ["p", "q"]);
}

#[test]
fn the_day_of_an_exit_is_an_input() {
    let on = |day: &str| {
        let mut book = two();
        exited(&mut book, day);
        input_hashes(&Snapshot::of(&book, date("2024-07-01"), &[]))
    };
    assert_ne!(on("2024-06-29"), on("2024-07-01"), "both are after the previous session");
    assert_eq!(on("2024-06-28"), on("2024-06-27"), "neither is");
}

#[test]
fn a_portfolio_sees_the_equity_and_the_flows_of_its_date() {
    let with = |day: &str, equity: Option<f64>, flow: f64| {
        changed(|book| book.portfolios[1].equity_rows = vec![book::EquityRow { date: date(day), equity, flow }])
    };
    let none: [&str; 0] = [];
    assert_eq!(with(LAST, Some(2_000.0), 0.0), ["q"]);
    assert_eq!(with("2024-06-03", Some(2_000.0), 0.0), ["q"], "the newest row that the date sees");
    assert_eq!(with(LAST, None, 5.0), ["q"]);
    assert_eq!(with("2024-06-27", None, 5.0), none, "a flow of an earlier night");
    assert_eq!(with("2024-06-30", Some(2_000.0), 5.0), none, "a later row");
    assert_eq!(with(LAST, Some(1_000.0), 0.0), none, "the same equity, whichever file states it");
}
