//! Random changes of a good book.

use std::io::Read as _;

use book::{Scope, read};
use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use super::{PORTFOLIOS, POSITIONS, PRICES, good, gzip};

/// Texts that readers have tripped over before.
const TOKENS: [&[u8]; 32] = [
    b"\"",
    b"\"\"",
    b",",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"NaN",
    b"inf",
    b"1e400",
    b"-0",
    b"1e-400",
    b"2025-02-30",
    b"0000-00-00",
    b"../../x",
    b"=1+1",
    b"\xe2\x80\xae",
    b"NVDA261399C00800000",
    b"999999999999999999999",
    b"[[scenarios]]\n",
    b"[",
    b"]",
    b"{",
    b"'''",
    b"\"\"\"",
    b"= ",
    b"#",
    b"\\u0000",
    b"9223372036854775808",
    b"\x1f\x8b",
];

#[derive(Debug, Clone)]
enum Change {
    Replace(usize, u8),
    Insert(usize, usize),
    Delete(usize, usize),
    Repeat(usize, usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<usize>(), 0..TOKENS.len()).prop_map(|(at, token)| Change::Insert(at, token)),
        (any::<usize>(), 1_usize..40).prop_map(|(at, count)| Change::Delete(at, count)),
        (any::<usize>(), 1_usize..80, 1_usize..4).prop_map(|(at, count, times)| Change::Repeat(at, count, times)),
        any::<usize>().prop_map(Change::Cut),
    ]
}

fn changed(content: &mut Vec<u8>, change: &Change) {
    let place = |at: usize, content: &[u8]| at % (content.len() + 1);
    match *change {
        Change::Replace(at, byte) => {
            let at = place(at, content);
            if let Some(old) = content.get_mut(at) {
                *old = byte;
            }
        }
        Change::Insert(at, token) => {
            let at = place(at, content);
            content.splice(at..at, TOKENS[token].iter().copied());
        }
        Change::Delete(at, count) => {
            let at = place(at, content);
            content.drain(at..(at + count).min(content.len()));
        }
        Change::Repeat(at, count, times) => {
            let at = place(at, content);
            let part = content[at..(at + count).min(content.len())].repeat(times);
            content.splice(at..at, part);
        }
        Change::Cut(at) => content.truncate(place(at, content)),
    }
}

/// How many lines a file has for a reader; a broken compressed file as far as it goes.
fn lines(name: &str, content: &[u8]) -> u64 {
    let mut plain = Vec::new();
    if name.ends_with(".gz") {
        let _ = MultiGzDecoder::new(content).read_to_end(&mut plain);
    } else {
        plain.extend_from_slice(content);
    }
    let ended = plain.last().is_none_or(|last| *last == b'\n');
    plain.iter().filter(|b| **b == b'\n').count() as u64 + u64::from(!ended)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_good_book_makes_reading_panic(
        changes in proptest::collection::vec((0_usize..4, change()), 1..6),
        packed in proptest::array::uniform3(any::<bool>()),
        break_packed in proptest::option::of((0_usize..4, change())),
    ) {
        let mut source = good();
        let names: Vec<String> = source.0.keys().cloned().collect();
        for (file, change) in &changes {
            changed(source.0.get_mut(&names[*file]).unwrap(), change);
        }
        for (name, pack) in ["portfolios.csv", "positions.csv", "prices.csv"].into_iter().zip(packed) {
            if pack {
                let content = source.0.remove(name).unwrap();
                source.insert(format!("{name}.gz"), gzip(&content));
            }
        }
        if let Some((file, change)) = &break_packed {
            let names: Vec<String> = source.0.keys().cloned().collect();
            changed(source.0.get_mut(&names[*file]).unwrap(), change);
        }
        let reading = read(&source).unwrap();
        prop_assert_eq!(&reading, &read(&source).unwrap());
        prop_assert_eq!(reading.book.is_none(), reading.errors.iter().any(|e| e.scope == Scope::Book));
        for issue in reading.errors.iter().chain(&reading.warnings) {
            prop_assert!(!issue.file.is_empty() && !issue.message.is_empty());
            prop_assert!(!issue.text.chars().any(char::is_control), "{:?}", issue.text);
            prop_assert!(!issue.column.chars().any(char::is_control), "{:?}", issue.column);
            let Some(content) = source.0.get(&issue.file) else {
                prop_assert_eq!(issue.line, 0);
                continue;
            };
            prop_assert!(issue.line <= lines(&issue.file, content).max(1), "{issue} of {}", lines(&issue.file, content));
        }
        if let Some(book) = reading.book {
            for portfolio in &book.portfolios {
                for lot in &portfolio.positions {
                    let numbers = [Some(lot.quantity), Some(lot.entry_price), Some(lot.multiplier), lot.mark, lot.implied_vol];
                    prop_assert!(numbers.into_iter().flatten().all(f64::is_finite));
                    prop_assert_eq!(lot.option.is_some(), lot.class == book::Class::Option);
                }
            }
            for symbol in book.prices.symbols() {
                let series = book.prices.series(symbol).unwrap();
                prop_assert!(series.is_sorted_by(|a, b| a.date < b.date) && series.iter().all(|p| p.close > 0.0));
            }
        }
    }
}

/// Every cell of every file may hold anything: what is said about it stays short and shows no control character.
#[test]
fn a_cell_of_any_length_and_content_gives_a_bounded_message() {
    let equity = "date,portfolio_id,equity,flow\n2025-01-03,alpha,1000000,5\n";
    let long = "9".repeat(60_000);
    let cells = [
        long.clone(),
        format!("-{long}.{long}"),
        "x".repeat(70_000),
        "\u{202e}\u{1b}[31m1\u{7}\u{9b}".to_owned(),
        "\u{1}\u{2}".repeat(20_000),
        "1e-300".to_owned(),
        "1e".repeat(9_000),
        format!("2025-01-0{long}"),
    ];
    for (file, content) in
        [("portfolios.csv", PORTFOLIOS), ("positions.csv", POSITIONS), ("prices.csv", PRICES), ("equity.csv", equity)]
    {
        let (header, rows) = content.split_once('\n').unwrap();
        let first: Vec<&str> = rows.lines().next().unwrap().split(',').collect();
        for (at, name) in header.split(',').enumerate() {
            for cell in &cells {
                let mut row = first.clone();
                row[at] = cell;
                let mut source = good();
                source.insert(file, format!("{header}\n{}\n", row.join(",")));
                let reading = read(&source).unwrap();
                for issue in reading.errors.iter().chain(&reading.warnings) {
                    let said = issue.to_string();
                    assert!(said.chars().count() < 1_500, "{file} {name}: {} characters", said.chars().count());
                    assert!(!said.contains(char::is_control), "{file} {name}: {said:?}");
                    assert!(!said.contains('\u{202e}'), "{file} {name}: {said:?}");
                }
            }
        }
    }
}
