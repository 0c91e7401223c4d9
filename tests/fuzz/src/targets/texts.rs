//! Messages of errors, on their way into a record.

use domain::fingerprint::fingerprint;
use domain::ids::JobName;
use domain::redact::{MAX_MESSAGE_CHARS, misleads, redact_line};
use domain::words::ErrorCategory;

/// A secret as it stands in a message, and what nobody may see of it.
const CANARIES: [(&str, &str); 5] = [
    ("apikey=C4naryInAPair", "C4naryInAPair"),
    ("https://user:C4naryInAUrl@host/path", "C4naryInAUrl"),
    ("AKIAC4NARYC4NARYC4NA", "AKIAC4NARY"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJDNG5hcnkiOjF9.C4narySigned", "eyJDNG5hcnkiOjF9"),
    ("wJalrXUtnFEMI/K7MDENG/bPxRfiC4naryEXAMPLEK1", "bPxRfiC4nary"),
];

/// Whatever stands before and after it, a secret does not get through, nor does anything that misleads.
pub(super) fn redact(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, after) = text.split_at(middle);
    for (secret, canary) in CANARIES {
        for message in [format!("{before} {secret} {after}"), format!("{text} {secret}"), format!("{secret} {text}")] {
            let masked = redact_line(&message);
            assert!(text.contains(canary) || !masked.contains(canary), "{masked:?} shows {canary}");
            assert!(!masked.chars().any(misleads), "{masked:?} would mislead");
            assert!(masked.chars().count() <= MAX_MESSAGE_CHARS + 1);
        }
    }
    let known: Vec<&str> = text.split_whitespace().take(5).collect();
    let job = JobName::new("factor_analysis").expect("a name");
    let first = fingerprint(&job, ErrorCategory::Permanent, &text, &known);
    assert_eq!(first, fingerprint(&job, ErrorCategory::Permanent, &text, &known));
}
