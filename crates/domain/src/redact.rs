//! Masking of secrets, at the one place where an error becomes a record.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Longest message that is stored, in characters.
pub const MAX_MESSAGE_CHARS: usize = 1_000;

/// Patterns and what stands in their place. The order matters: the more specific first.
static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        // user:password@host in a URL or a connection string
        (r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s:@]*:?[^/\s@]*@", "${1}***@"),
        // Authorization: Bearer abc, Basic abc
        (r"(?i)\b(authorization\s*[:=]\s*)(?:(?:bearer|basic|token)\s+)?\S+", "${1}***"),
        (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}", "${1} ***"),
        // key=value, "key": "value", key: value
        (
            r#"(?i)([\w.-]*(?:api[_-]?key|apikey|access[_-]?key|private[_-]?key|token|secret|password|passwd|pwd|credential|signature|session[_-]?id|account(?:[_-]?(?:number|no|id))?)["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,;&"')}\]]+)"#,
            "${1}***",
        ),
        // AWS access key ids
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", "***"),
        // JSON web tokens
        (r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*", "***"),
        // provider keys with a telling prefix
        (r"\b(?:sk|pk|rk|ghp|gho|xox[abp])[-_][A-Za-z0-9_-]{12,}", "***"),
        // ARNs hold account numbers
        (r"\b(arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:)\d{12}\b", "${1}***"),
        // IBANs, from 18 characters on: an option symbol with a root of two letters has 17
        (r"\b[A-Z]{2}\d{2}[A-Z0-9]{14,30}\b", "***"),
        (r"(?i)\b(account|acct|iban)(\s+(?:number|no\.?|id))?(\s*[:#]?\s*)\d{4,}\b", "${1}${2}${3}***"),
        // e-mail addresses
        (r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b", "***@***"),
        // long hexadecimal or base64 runs that are no word: keys more often than not
        (r"\b[A-Fa-f0-9]{32,}\b", "***"),
        (r"\b[A-Za-z0-9+]{40,}={0,2}", "***"),
    ]
    .into_iter()
    .filter_map(|(pattern, with)| Regex::new(pattern).ok().map(|regex| (regex, with)))
    .collect()
});

/// The text with secrets masked, control characters made visible, cut to [`MAX_MESSAGE_CHARS`] characters.
/// Line feeds stay.
#[must_use]
pub fn redact(text: &str) -> String {
    // Cut long texts before the rules run, so that a hostile message of megabytes costs nothing; the margin keeps
    // a secret that straddles the cut recognisable.
    let mut head: Cow<'_, str> = match text.char_indices().nth(MAX_MESSAGE_CHARS * 2) {
        Some((at, _)) => Cow::Borrowed(&text[..at]),
        None => Cow::Borrowed(text),
    };
    for (rule, with) in RULES.iter() {
        if let Cow::Owned(masked) = rule.replace_all(&head, *with) {
            head = Cow::Owned(masked);
        }
    }
    let mut out = String::with_capacity(head.len());
    let mut chars = 0;
    for c in head.chars() {
        let escaped = is_unsafe_to_print(c) && c != '\n';
        chars += if escaped { c.escape_unicode().count() } else { 1 };
        if chars > MAX_MESSAGE_CHARS {
            out.push('…');
            break;
        }
        if escaped {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// As [`redact`], on one line.
#[must_use]
pub fn redact_line(text: &str) -> String {
    redact(text).replace('\n', " ")
}

/// Control characters, and those that change the direction of text: they could fake lines in a terminal or a page.
fn is_unsafe_to_print(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_rule_compiles() {
        assert_eq!(RULES.len(), 13);
    }

    #[test]
    fn secrets_of_every_kind_are_masked() {
        let canary = "C4narySecretValue99";
        for text in [
            format!("GET https://user:{canary}@api.example.com/v1 failed"),
            format!("GET https://api.example.com/v1?symbol=A&apikey={canary}&x=1 failed"),
            format!("api_key: {canary}"),
            format!("{{\"token\":\"{canary}\"}}"),
            format!("Authorization: Bearer {canary}"),
            format!("postgres://batch:{canary}@db/prices"),
            format!("password = '{canary} with spaces'"),
            format!("client_secret={canary}"),
            format!("aws_secret_access_key={canary}"),
        ] {
            let masked = redact(&text);
            assert!(!masked.contains(canary), "{text} became {masked}");
            assert!(masked.contains("***"), "{text} became {masked}");
        }
        for (text, secret) in [
            ("key AKIAABCDEFGHIJKLMNOP was refused", "AKIAABCDEFGHIJKLMNOP"),
            ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def", "eyJzdWIiOiIxIn0"),
            ("account number 12345678 is closed", "12345678"),
            ("mail to jane.doe@example.com", "jane.doe"),
            ("hash 0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
            ("arn:aws:lambda:us-east-1:123456789012:function:x", "123456789012"),
        ] {
            assert!(!redact(text).contains(secret), "{text} became {}", redact(text));
        }
    }

    #[test]
    fn ordinary_messages_stay_as_they_are() {
        for text in [
            "AAPL has no close within 5 sessions of 2026-11-24; add it to prices.csv",
            "equity of portfolio hedge-fund is missing: fill the column equity in portfolios.csv, line 4",
            "position_values_update did not succeed",
            "the key factor is missing",
            "GE270115C00160000 has no underlying price",
            "cannot read /srv/nightbook/2026/books/growth/income/folder1/positions.csv",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn control_and_direction_characters_become_visible() {
        assert_eq!(redact("a\u{1b}[31mb\u{202e}c"), "a\\u{1b}[31mb\\u{202e}c");
    }

    proptest! {
        #[test]
        fn any_text_is_cut_on_a_character_and_never_panics(text in "\\PC{0,1500}") {
            prop_assert!(redact(&text).chars().count() <= MAX_MESSAGE_CHARS + 1);
        }
    }
}
