//! Whole books, and each of their files beside good ones.

use std::collections::BTreeMap;
use std::io::Write as _;

use book::{Book, BookSource as _, Issue, MemorySource, Reading, Scope, Settings, read};
use chrono::{DateTime, NaiveDate, Utc};
use domain::redact::misleads;
use jobs::Snapshot;

/// The longest text of an issue: 80 characters, each escaped to at most ten, and a mark that it was cut.
const TEXT_CHARS: usize = 801;

const PORTFOLIOS: &str = "portfolio_id,name,equity\nalpha,Alpha,1000000\nbeta,Beta,2000000\n";
const POSITIONS: &str = "portfolio_id,symbol,quantity,entry_price,entry_date\nalpha,AAPL,100,150,2025-01-02\n";
const PRICES: &str = "date,symbol,close\n2025-01-02,AAPL,150.5\n2025-01-03,AAPL,151.5\n2025-01-03,SPY,460\n";

/// A book in one piece: a line `=== name` begins each file. Files whose names end in `.gz` are compressed here, unless
/// they are already, so that changes get past the decoder too.
pub(super) fn book(data: &[u8]) {
    let (mut source, mut plain) = (MemorySource::default(), BTreeMap::new());
    let mut name = String::new();
    let mut content: Vec<u8> = Vec::new();
    let mut keep = |name: &str, content: &mut Vec<u8>| {
        if name.is_empty() {
            content.clear();
            return;
        }
        let content = std::mem::take(content);
        let packed = name.ends_with(".gz") && !content.starts_with(&[0x1f, 0x8b]);
        source.insert(name, if packed { gzip(&content) } else { content.clone() });
        plain.insert(name.to_owned(), content);
    };
    for line in data.split_inclusive(|b| *b == b'\n') {
        if let Some(next) = line.strip_prefix(b"=== ") {
            keep(&name, &mut content);
            name = String::from_utf8_lossy(next).trim().to_owned();
        } else {
            content.extend_from_slice(line);
        }
    }
    keep(&name, &mut content);
    let reading = checked(&source, &plain);
    if let Some(book) = reading.book {
        stays_itself(&book);
        pinned(&book);
    }
}

pub(super) fn portfolios(data: &[u8]) {
    one_file("portfolios.csv", data);
}

pub(super) fn positions(data: &[u8]) {
    one_file("positions.csv", data);
}

pub(super) fn prices(data: &[u8]) {
    one_file("prices.csv", data);
}

/// `nightbook.toml`, with what the program asks of settings afterwards.
pub(super) fn settings(data: &[u8]) {
    let Some(book) = one_file("nightbook.toml", data) else { return };
    let settings = &book.settings;
    let json = serde_json::to_string(settings).expect("settings are kept as JSON");
    assert_eq!(serde_json::from_str::<Settings>(&json).expect("what is kept can be read"), *settings);
    let schedule = &settings.schedule;
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().expect("an instant");
    if let Some(next) = book::next_slot(schedule, now) {
        assert!(next > now, "the next slot lies before {now}");
        let as_of = book::as_of_of_slot(schedule, next);
        assert!(schedule.is_session(as_of));
        let _ = (book::is_due(schedule, next), book::slot_of(schedule, as_of));
    }
    let texts = [&settings.site.title, &schedule.cron].into_iter().chain(settings.scenarios.iter().map(|s| &s.name));
    for text in texts {
        assert!(!text.chars().any(char::is_control), "{text:?} was accepted");
    }
}

fn one_file(name: &str, data: &[u8]) -> Option<Book> {
    let mut source = MemorySource::default();
    for (file, content) in [("portfolios.csv", PORTFOLIOS), ("positions.csv", POSITIONS), ("prices.csv", PRICES)] {
        source.insert(file, content);
    }
    source.insert(name, data);
    let plain = source.0.clone();
    let book = checked(&source, &plain).book?;
    stays_itself(&book);
    Some(book)
}

/// Reads a book twice and checks what was said about it.
fn checked(source: &MemorySource, plain: &BTreeMap<String, Vec<u8>>) -> Reading {
    let reading = read(source).expect("memory can be read");
    let again = read(source).expect("memory can be read");
    assert!(reading == again, "read twice, a book is two");
    for issue in reading.errors.iter().chain(&reading.warnings) {
        check_issue(issue, source, plain);
    }
    let stopped = reading.errors.iter().any(|issue| issue.scope == Scope::Book);
    assert_eq!(reading.book.is_none(), stopped, "there is a book exactly if no error stops it");
    reading
}

/// An issue leads to a place that exists, says what stands there and why that will not do.
fn check_issue(issue: &Issue, source: &MemorySource, plain: &BTreeMap<String, Vec<u8>>) {
    let names = source.names().expect("memory can be listed");
    let escaped = |name: &str| -> String {
        name.chars().flat_map(|c| if misleads(c) { c.escape_default().collect() } else { vec![c] }).collect()
    };
    let expected = ["portfolios.csv", "positions.csv", "prices.csv", "nightbook.toml"];
    let file = names.iter().find(|name| escaped(name) == issue.file || issue.file.ends_with('…'));
    assert!(file.is_some() || expected.contains(&issue.file.as_str()), "{issue} is about no file");
    if let Some(content) = file.and_then(|file| plain.get(file)).filter(|_| !issue.file.ends_with('…')) {
        let lines = content.iter().filter(|b| **b == b'\n').count() as u64 + 1;
        assert!(issue.line <= lines, "{issue}: the file has {lines} lines");
    }
    assert!(!issue.message.is_empty(), "{issue:?} says nothing");
    for text in [&issue.file, &issue.column, &issue.text, &issue.message] {
        assert!(!text.chars().any(misleads), "{text:?} would mislead");
    }
    assert!(issue.text.chars().count() <= TEXT_CHARS, "{issue:?} shows too much");
    assert!(issue.column.chars().count() <= 4_000, "{issue:?} names too much");
    let json = serde_json::to_value(issue).expect("an issue is JSON");
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(5));
}

/// Stored and loaded, a book is the same.
fn stays_itself(book: &Book) {
    let bytes = rmp_serde::to_vec_named(book).expect("a book can be stored");
    assert!(rmp_serde::from_slice::<Book>(&bytes).expect("a stored book can be loaded") == *book);
    for portfolio in &book.portfolios {
        for text in portfolio.tags.iter().chain([&portfolio.name]).chain(&portfolio.owner) {
            assert!(!text.chars().any(char::is_control) && text.chars().count() <= 1_000, "{text:?} was accepted");
        }
        let numbers = portfolio.positions.iter().flat_map(|lot| [lot.quantity, lot.entry_price, lot.multiplier]);
        assert!(numbers.chain(portfolio.equity).all(|number| number.is_finite() && number.abs() <= 1e15));
    }
}

/// Pinned, stored and loaded, the inputs of a run are the same.
fn pinned(book: &Book) {
    let as_of = NaiveDate::from_ymd_opt(2026, 11, 24).expect("a date");
    let bytes = Snapshot::of(book, as_of, &[]).encode().expect("inputs can be pinned");
    let again = Snapshot::decode(&bytes).expect("pinned inputs can be read");
    assert!(again.encode().expect("inputs can be pinned") == bytes, "pinned twice, inputs are two");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}
