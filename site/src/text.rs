//! Texts as pages show them: hostile characters, times, durations.

use chrono::{DateTime, Utc};
use domain::redact::misleads;

/// The text with characters that would hide or reorder what is shown made visible.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push('\n'),
            c if misleads(c) => out.push_str(&format!("[U+{:04X}]", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// `2026-11-24 23:30 UTC`.
pub(crate) fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-24 23:30:05 UTC`.
pub(crate) fn stamp_seconds(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// RFC 3339, for machines.
pub(crate) fn machine(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A duration in two figures: `0.4ms`, `12ms`, `3.1s`, `2m 10s`, `1h 05m`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match seconds {
        s if s < 0.00995 => format!("{:.1}ms", s.max(0.0) * 1e3),
        s if s < 0.0995 => format!("{:.0}ms", s.max(0.0) * 1e3),
        s if s < 9.95 => format!("{s:.1}s"),
        s if s < 59.5 => format!("{s:.0}s"),
        s if s < 3_599.5 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// A duration, or a dash where there is none.
pub(crate) fn duration_or_dash(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), duration)
}

/// A number with its thousands set apart, and a true minus: `−1,737,504`.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::with_capacity(digits.len() * 4 / 3 + 3);
    if value <= -0.5 {
        out.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share of 1 in per cent: `−12.64 %`.
pub(crate) fn percent(share: f64) -> String {
    decimal(share * 100.0) + " %"
}

/// A number with two decimals and a true minus.
pub(crate) fn decimal(value: f64) -> String {
    with_decimals(value, 2)
}

/// A number with so many decimals and a true minus.
pub(crate) fn with_decimals(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { format!("−{text}") } else { text }
}

/// `1 run`, `2 runs`.
pub(crate) fn count(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hide_is_shown() {
        assert_eq!(visible("a\u{202E}b\u{0}c\u{200B}ü\u{FFFF}"), "a[U+202E]b[U+0000]c[U+200B]ü[U+FFFF]");
    }

    #[test]
    fn numbers_are_set_for_reading() {
        let shown: Vec<String> = [0.0, -0.4, 999.6, -1_737_503.8, 12.0].map(grouped).into();
        assert_eq!(shown, ["0", "0", "1,000", "−1,737,504", "12"]);
        assert_eq!(
            (percent(-0.12644), decimal(-0.001), decimal(7.0338)),
            ("−12.64 %".into(), "0.00".into(), "7.03".into())
        );
    }

    #[test]
    fn durations_are_short() {
        let shown: Vec<String> = [0.0, 0.0123, 3.12, 9.96, 59.6, 130.0, 3_599.9, 3_900.0].map(duration).into();
        assert_eq!(shown, ["0.0ms", "12ms", "3.1s", "10s", "1m 00s", "2m 10s", "1h 00m", "1h 05m"]);
    }
}
