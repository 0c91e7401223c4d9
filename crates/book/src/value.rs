//! Single values: numbers, dates, symbols, and what is said about those that are wrong.

use chrono::{Datelike, NaiveDate};

use crate::occ::OccSymbol;

/// Numbers are kept within this, so that no product of a few of them leaves the range of a float.
pub(crate) const MAX_NUMBER: f64 = 1e15;

/// The smallest close: a return from it stays finite.
pub(crate) const MIN_CLOSE: f64 = 1e-9;

pub(crate) const NUMBER_ALLOWED: &str =
    "a plain number such as 1234.5 or -3e2, at most 1e15, with a point and without thousands separators";
pub(crate) const DATE_ALLOWED: &str = "a date that exists, as YYYY-MM-DD, from 1900 to 2199, for example 2025-03-31";
pub(crate) const SYMBOL_ALLOWED: &str = "1 to 64 printable characters";

/// What a setting that names an environment variable must be.
pub(crate) const VARIABLE_WANTED: &str = "the name of an environment variable: letters, digits and _, not beginning with a digit; the value itself never stands here";

/// Whether a text can name an environment variable.
pub(crate) fn is_variable_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// 10^0 to 10^22: the powers that a float holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads a number; `None` for everything that is not a finite decimal number of at most 1e15.
pub(crate) fn parse_number(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    // Up to 15 digits and a point: both parts of the quotient are exact, so it is correctly rounded.
    if digits.len() <= 16 {
        let (mut whole, mut decimals, mut point, mut count, mut plain) = (0_u64, 0_usize, false, 0_usize, true);
        for b in digits {
            match b {
                b'0'..=b'9' => {
                    whole = whole * 10 + u64::from(b - b'0');
                    decimals += usize::from(point);
                    count += 1;
                }
                b'.' if !point => point = true,
                _ => plain = false,
            }
        }
        if plain && (1..=15).contains(&count) {
            let value = whole as f64 / EXACT_POWERS[decimals];
            return Some(if negative { -value } else { value });
        }
    }
    let allowed = |b: &u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    if text.len() > 400 || !text.iter().all(allowed) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.abs() <= MAX_NUMBER).then_some(value)
}

/// Reads a date, `YYYY-MM-DD` and nothing else.
pub(crate) fn parse_date(text: &[u8]) -> Option<NaiveDate> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let mut wrong = false;
    let mut number = |digits: &[u8]| {
        digits.iter().fold(0_u32, |sum, b| {
            wrong |= !b.is_ascii_digit();
            sum * 10 + u32::from(b.wrapping_sub(b'0'))
        })
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2]));
    if wrong || !(1900..2200).contains(&year) {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

/// What is wrong with a date, in words.
pub(crate) fn date_complaint(text: &[u8]) -> String {
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    let shape = text.len() == 10 && text[4] == b'-' && text[7] == b'-' && digits == 8;
    let year = shape.then(|| std::str::from_utf8(&text[..4]).ok()?.parse::<i32>().ok()).flatten();
    match year {
        Some(1900..=2199) => format!("there is no such day; allowed is {DATE_ALLOWED}"),
        Some(_) => format!("the year is out of range; allowed is {DATE_ALLOWED}"),
        None if text.is_empty() => format!("missing; allowed is {DATE_ALLOWED}"),
        None => format!("not a date; allowed is {DATE_ALLOWED}"),
    }
}

/// What is wrong with a text that should be a number, in words; `wanted` says which numbers are allowed.
pub(crate) fn number_complaint(text: &[u8], wanted: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(b"-").or_else(|| lower.strip_prefix(b"+")).unwrap_or(&lower);
    if text.is_empty() {
        format!("missing; allowed is {wanted}: {NUMBER_ALLOWED}")
    } else if matches!(unsigned, b"nan" | b"inf" | b"infinity") {
        format!("not a finite number; allowed is {wanted}: {NUMBER_ALLOWED}")
    } else if text.contains(&b',') && text.iter().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'.' | b'-')) {
        format!("no commas in numbers; allowed is {wanted}: {NUMBER_ALLOWED}")
    } else if std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok()) {
        format!("too large; allowed is {wanted}: {NUMBER_ALLOWED}")
    } else {
        format!("not a number; allowed is {wanted}: {NUMBER_ALLOWED}")
    }
}

/// A symbol, if the bytes are one.
pub(crate) fn parse_symbol(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let allowed = !text.is_empty() && text.chars().count() <= 64 && !text.chars().any(crate::issue::is_unprintable);
    allowed.then_some(text)
}

/// Whether an underlying may belong to an option symbol: `BRK.B` to `BRKB`, `SPX` to `SPXW`, `AAPL` to `AAPL1`.
pub(crate) fn underlying_fits(symbol: &OccSymbol, underlying: &str) -> bool {
    let letters = |text: &str| -> String { text.chars().filter(|c| c.is_ascii_alphanumeric()).collect() };
    let (root, underlying) = (letters(&symbol.root), letters(underlying));
    !underlying.is_empty() && root.starts_with(&underlying) && root.len() <= underlying.len() + 1
}

/// The candidate that someone who wrote `word` most likely meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    domain::names::near(word, candidates).into_iter().next()
}

/// " (did you mean `x`?)" or nothing.
pub(crate) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// A count with thousands separated: 1,234,567.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The day of the week a date falls on, for messages.
pub(crate) fn weekday_name(date: NaiveDate) -> &'static str {
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
        [date.weekday().num_days_from_monday() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_finite_decimal_numbers_are_numbers() {
        for (text, value) in [
            ("0", 0.0),
            ("-0.5", -0.5),
            ("+7", 7.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("123456789012345", 123_456_789_012_345.0),
            ("0.1234567890123456789", 0.123_456_789_012_345_68),
            ("1000000000000000", 1e15),
            ("1e-400", 0.0),
        ] {
            assert_eq!(parse_number(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "-.",
            "NaN",
            "nan",
            "inf",
            "-inf",
            "Infinity",
            "1e400",
            "1e16",
            "0x10",
            "1,000",
            "1 000",
            "1_000",
            "12a",
            "1.2.3",
            "--1",
            "1e",
            "e5",
            "١",
            "1\0",
            "10000000000000000",
        ] {
            assert_eq!(parse_number(text.as_bytes()), None, "{text:?}");
            assert!(number_complaint(text.as_bytes(), "any").contains("allowed is any"), "{text:?}");
        }
    }

    #[test]
    fn only_iso_dates_that_exist_are_dates() {
        assert_eq!(parse_date(b"2024-02-29"), NaiveDate::from_ymd_opt(2024, 2, 29));
        for text in [
            "",
            "2025-02-30",
            "2025-2-3",
            "2025/02/03",
            "03.02.2025",
            "0205-01-01",
            "2200-01-01",
            "2025-00-10",
            "2025-01-01T00:00:00Z",
            "2025-1a-01",
            "20250101",
            "٢٠٢٥-01-01",
        ] {
            assert_eq!(parse_date(text.as_bytes()), None, "{text:?}");
            assert!(date_complaint(text.as_bytes()).contains("YYYY-MM-DD"), "{text:?}");
        }
        assert!(date_complaint(b"2025-02-30").starts_with("there is no such day"));
        assert!(date_complaint(b"0205-01-01").starts_with("the year is out of range"));
    }

    #[test]
    fn near_misses_are_recognised() {
        let names = ["portfolio_id", "symbol", "close", "timezone"];
        assert_eq!(nearest("Symbol", names), Some("symbol"));
        assert_eq!(nearest("portfolio-id", names), Some("portfolio_id"));
        assert_eq!(nearest("sybmol", names), Some("symbol"));
        assert_eq!(nearest("time_zone", names), Some("timezone"));
        assert_eq!(nearest("volume", names), None);
        assert_eq!(nearest("", names), None);
    }

    #[test]
    fn an_underlying_fits_its_root_or_not() {
        let fits = |symbol: &str, underlying: &str| underlying_fits(&OccSymbol::parse(symbol).unwrap(), underlying);
        assert!(fits("BRKB261218P00440000", "BRK.B"));
        assert!(fits("SPXW261218P04400000", "SPX"));
        assert!(fits("SPXW261218P04400000", "^SPX"));
        assert!(!fits("NVDA261218P00440000", "AAPL"));
        assert!(!fits("NVDA261218P00440000", ""));
    }

    proptest! {
        #[test]
        fn the_fast_way_reads_what_the_slow_one_reads(whole in 0_u64..1_000_000_000, part in 0_u32..1_000_000, width in 0_usize..7) {
            let text = format!("{whole}.{part:0width$}");
            prop_assert_eq!(parse_number(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn no_bytes_make_them_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse_number(&bytes), number_complaint(&bytes, "x"), parse_symbol(&bytes));
            if let Some(date) = parse_date(&bytes) {
                prop_assert_eq!(date.to_string().into_bytes(), bytes);
            } else {
                prop_assert!(!date_complaint(&bytes).is_empty());
            }
        }
    }
}
