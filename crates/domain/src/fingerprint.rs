//! Fingerprints: the same cause in two hundred portfolios is one line.

use std::sync::LazyLock;

use regex::Regex;

use crate::ids::{ContentHash, Fingerprint, JobName};
use crate::redact::{compiled, redact};
use crate::words::ErrorCategory;

/// What varies between two sightings of one cause, and what stands in its place. More specific first.
static MASKS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
        (r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?\b", "<date>"),
        (r"(?:/[\w.@+-]+){2,}/?|\b[A-Za-z]:\\[^\s:]+", "<path>"),
        (r#""[^"]*"|'[^']*'|`[^`]*`"#, "<text>"),
        (r"\b[A-Z]{1,6}\s{0,5}\d{6}[CP]\d{8}\b", "<symbol>"),
        // Two or more capitals (with digits, dots, underscores): a ticker or an id, never an English word of ours.
        (r"\b[A-Z][A-Z0-9]*(?:[._][A-Z0-9]+)+\b|\b[A-Z][A-Z0-9]{1,20}\b", "<symbol>"),
        (r"[-+]?\d+(?:[.,_]\d+)*(?:[eE][-+]?\d+)?%?", "<n>"),
        // A list of what was masked is one thing: "A, B and C" and "A" are the same cause.
        (r"(?:<symbol>(?:,\s*|\s+and\s+))+<symbol>", "<symbol>"),
        (r"\s+", " "),
    ]
    .into_iter()
    .map(|(pattern, with)| (compiled(pattern), with))
    .collect()
});

/// The message with everything masked that varies from portfolio to portfolio. `known` are texts that are certainly
/// ids (the portfolio's id and name, its symbols), longest first or in any order.
#[must_use]
pub fn masked(message: &str, known: &[&str]) -> String {
    let mut text = redact(message);
    let mut known: Vec<&str> = known.iter().copied().filter(|k| !k.is_empty()).collect();
    known.sort_unstable_by_key(|k| std::cmp::Reverse(k.len()));
    for id in known {
        if text.contains(id) {
            text = replace_word(&text, id, "<symbol>");
        }
    }
    for (mask, with) in MASKS.iter() {
        text = mask.replace_all(&text, *with).into_owned();
    }
    text.trim().to_owned()
}

/// Replaces `word` where it stands alone, not inside a longer word.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let before = rest[..at].chars().next_back().or_else(|| out.chars().next_back());
        let after = rest[at + word.len()..].chars().next();
        let alone = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        out.push_str(&rest[..at]);
        out.push_str(if alone(before) && alone(after) { with } else { word });
        rest = &rest[at + word.len()..];
    }
    out.push_str(rest);
    out
}

/// The fingerprint of an error of a job: ids, numbers, dates, symbols and paths masked, hashed with job and category.
#[must_use]
pub fn fingerprint(job: &JobName, category: ErrorCategory, message: &str, known: &[&str]) -> Fingerprint {
    let text = format!("{job}\u{1f}{category}\u{1f}{}", masked(message, known));
    let hash = ContentHash::of(text.as_bytes());
    // The first 16 of 64 hexadecimal digits are always a valid fingerprint.
    Fingerprint::new(&hash.as_str()[..16]).unwrap_or_else(|_| unreachable!("a hash is hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(message: &str, known: &[&str]) -> Fingerprint {
        fingerprint(&JobName::new("factor_analysis").unwrap(), ErrorCategory::Permanent, message, known)
    }

    #[test]
    fn the_same_cause_in_two_portfolios_is_one_fingerprint() {
        let a = of("AAPL has 12 returns, 60 are needed by 2026-11-24 (portfolio income-1)", &["income-1", "AAPL"]);
        let b = of("BRK.B has 3 returns, 60 are needed by 2026-11-25 (portfolio growth)", &["growth", "BRK.B"]);
        assert_eq!(a, b);
        assert_eq!(
            masked("cannot read /data/a/b.csv: line 12 of 'x y'", &[]),
            masked("cannot read /srv/c/d.csv: line 7 of 'z'", &[])
        );
        assert_eq!(masked("no close for AAPL, MSFT and TSLA", &[]), masked("no close for F", &["F"]));
    }

    #[test]
    fn another_cause_job_or_category_is_another_fingerprint() {
        let base = of("the price source timed out", &[]);
        assert_ne!(base, of("the price source refused the key", &[]));
        let other = JobName::new("stress_testing").unwrap();
        assert_ne!(base, fingerprint(&other, ErrorCategory::Permanent, "the price source timed out", &[]));
        assert_ne!(
            base,
            fingerprint(
                &JobName::new("factor_analysis").unwrap(),
                ErrorCategory::Transient,
                "the price source timed out",
                &[]
            )
        );
    }

    #[test]
    fn a_known_id_inside_a_longer_word_is_left_alone() {
        assert_eq!(replace_word("abc ab cab ab", "ab", "#"), "abc # cab #");
    }

    proptest! {
        #[test]
        fn no_message_panics(message in "\\PC{0,300}", known in "\\PC{0,8}") {
            of(&message, &[&known]);
        }

        #[test]
        fn numbers_never_change_the_fingerprint(a in 0u32..1_000_000, b in 0u32..1_000_000) {
            prop_assert_eq!(of(&format!("{a} of 75 rows"), &[]), of(&format!("{b} of 75 rows"), &[]));
        }
    }
}
