//! Masking of secrets, at the one place where an error becomes a record.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Longest message that is stored, in characters.
pub const MAX_MESSAGE_CHARS: usize = 1_000;

/// Patterns and what stands in their place. The order matters: the more specific first.
static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        // private keys, over their lines, whether or not the text goes on to their end
        (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)", "***"),
        // user:password@host in a URL or a connection string, whatever is in the password
        (r#"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/?#"'<>]*@"#, "${1}***@"),
        (r#"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@:]*:[^\s"'<>]*@"#, "${1}***@"),
        // user:password@tcp(host) and user:password@host, without a scheme
        (r#"\b([\w.-]+):[^\s:@/"'<>]+@([\w(])"#, "${1}:***@${2}"),
        // Authorization: Bearer abc, Basic abc
        (r"(?i)\b(authorization\s*[:=]\s*)(?:(?:bearer|basic|token|digest|negotiate)\s+)?\S+", "${1}***"),
        (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}", "${1} ***"),
        // Cookie: a=b; c=d
        (r"(?i)\b((?:set-)?cookie2?\s*[:=]\s*)[^\r\n]+", "${1}***"),
        // key=value, "key": "value", key: value, the same inside a quoted text, and percent-encoded
        (
            r#"(?i)([\w.-]*(?:api[_-]?key|apikey|access[_-]?key|private[_-]?key|secret[_-]?key|token|secret|password|passwd|passphrase|pwd|credential|signature|session[_-]?id|account(?:[_-]?(?:number|no|id))?)\\*["']?\s*(?:[:=]|%3[ad])\s*)(\\*"[^"]*"|'[^']*'|[^\s,;&"')}\]]+)"#,
            "${1}***",
        ),
        // in a query the short names too
        (r#"(?i)([?&](?:key|sig|auth|code|pass|user|login)=)[^&\s"'<>]+"#, "${1}***"),
        // AWS access key ids
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", "***"),
        // JSON web tokens
        (r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*", "***"),
        // provider keys with a telling prefix
        (r"\b(?:sk|pk|rk|ghp|gho|ghs|ghu|github_pat|glpat|xox[abposr])[-_][A-Za-z0-9_-]{12,}", "***"),
        // ARNs hold account numbers
        (r"\b(arn:aws[a-z-]*:[a-z0-9-]*:[a-z0-9-]*:)\d{12}\b", "${1}***"),
        // IBANs, from 18 characters on: an option symbol with a root of two letters has 17
        (r"\b[A-Z]{2}\d{2}[A-Z0-9]{14,30}\b", "***"),
        (r"\b[A-Z]{2}\d{2}(?: [A-Z0-9]{4}){3,7}(?: [A-Z0-9]{1,4})?\b", "***"),
        (r"(?i)\b(account|acct|iban)(\s+(?:number|no\.?|id))?(\s*[:#]?\s*)\d{4,}\b", "${1}${2}${3}***"),
        // e-mail addresses
        (r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b", "***@***"),
        // a file that is named by the hash of its content stays recognizable by the beginning of its name
        (r"\b([a-f0-9]{8})[a-f0-9]{56}(\.(?:zst|gz)\b)", "${1}…${2}"),
        // long hexadecimal or base64 runs that are no word: keys more often than not
        (r"\b[A-Fa-f0-9]{32,}\b", "***"),
        (r"\b[A-Za-z0-9+]{40,}={0,2}", "***"),
    ]
    .into_iter()
    .map(|(pattern, with)| (compiled(pattern), with))
    .collect()
});

/// Runs that may be keys in base64, with the characters that also stand in paths and ids.
static RUNS: LazyLock<Regex> = LazyLock::new(|| compiled(r"[A-Za-z0-9+/_-]{32,}={0,2}"));

/// A pattern of this program, compiled. A rule that was left out because it does not compile would let through what it
/// should mask, so it ends the program at first use, which the tests of each table are.
pub(crate) fn compiled(pattern: &'static str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("a constant pattern does not compile: {error}"))
}

/// The text with secrets masked, control characters made visible, cut to [`MAX_MESSAGE_CHARS`] characters.
/// Line feeds stay.
#[must_use]
pub fn redact(text: &str) -> String {
    // Long texts are cut before the rules run, so that a hostile message of megabytes costs nothing.
    let (mut head, was_cut) = match text.char_indices().nth(MAX_MESSAGE_CHARS * 2) {
        Some((at, _)) => (Cow::Borrowed(before_the_last_word(&text[..at])), true),
        None => (Cow::Borrowed(text), false),
    };
    for (rule, with) in RULES.iter() {
        if let Cow::Owned(masked) = rule.replace_all(&head, *with) {
            head = Cow::Owned(masked);
        }
    }
    let masked = |found: &Captures<'_>| if looks_random(&found[0]) { "***".to_owned() } else { found[0].to_owned() };
    if let Cow::Owned(masked) = RUNS.replace_all(&head, masked) {
        head = Cow::Owned(masked);
    }
    let mut out = String::with_capacity(head.len());
    let mut chars = 0;
    for c in head.chars() {
        let escaped = misleads(c) && c != '\n';
        chars += if escaped { c.escape_unicode().count() } else { 1 };
        if chars > MAX_MESSAGE_CHARS {
            out.push('…');
            return out;
        }
        if escaped {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if was_cut {
        out.push('…');
    }
    out
}

/// The longest end of a cut text that is given up with the cut.
const LONGEST_WORD: usize = 256;

/// The text without its last word: cut in its middle, a secret is not recognised any more. Where there is no end of a
/// word near, so many bytes less.
fn before_the_last_word(text: &str) -> &str {
    let least = text.floor_char_boundary(text.len().saturating_sub(LONGEST_WORD));
    let end = text[least..].rfind(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '&'));
    &text[..end.map_or(least, |at| least + at)]
}

/// Whether a run of letters, digits and the signs of base64 is rather a key than words or a path: small letters,
/// capitals and digits, mixed, so that the kind of character changes again and again. A UUID is an id.
fn looks_random(run: &str) -> bool {
    let kind = |b: u8| match b {
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        b'0'..=b'9' => 3,
        _ => 0,
    };
    let (mut changes, mut seen, mut before) = (0, [false; 4], 0);
    for now in run.bytes().map(kind) {
        changes += usize::from(now != before && now != 0 && before != 0);
        seen[now] = true;
        before = now;
    }
    seen[1] && seen[2] && seen[3] && changes * 4 >= run.len()
}

/// As [`redact`], on one line.
#[must_use]
pub fn redact_line(text: &str) -> String {
    redact(text).replace('\n', " ")
}

/// Whether a character would mislead where it is shown: it could fake lines, or make two different names look the same.
///
/// Control characters, those that change the direction of text or take no room, and those that are no characters (XML
/// refuses some of them).
#[must_use]
pub fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[should_panic(expected = "does not compile")]
    fn a_rule_that_does_not_compile_is_never_left_out() {
        compiled("(");
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
            format!("GET https://user:{canary}/with@sign@api.example.com/v1 failed"),
            format!("ftp://user:p@{canary}@host failed"),
            format!("batch:{canary}@tcp(db:3306)/prices refused"),
            format!("body {:?}", format!("{{\"token\": \"{canary}\"}}")),
            format!("redirect=%2Fx%3Fapikey%3D{canary}%26y"),
            format!("GET /v1?key={canary}&symbol=A"),
            format!("Cookie: a=1; session={canary}; c=3"),
            format!("Authorization: AWS4-HMAC-SHA256 Credential={canary}/x, Signature={canary}"),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{canary}\n-----END RSA PRIVATE KEY----- refused"),
            format!("-----BEGIN PRIVATE KEY-----\n{canary}\n"),
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
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY was refused", "bPxRfiCYEXAMPLEKEY"),
            ("key AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "eZSW0jkFMBWY"),
            ("glpat-abcdefghijklmnopqrst", "abcdefghij"),
            ("IBAN DE89 3704 0044 0532 0130 00 is closed", "0044 0532"),
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
            "cannot read /Users/Ann/Books2026/GrowthAndIncome/Folder1/Night/positions.csv",
            "run 7d0a1c2e-5b3f-5a6d-9c1b-2f4e6a8b0c1d is open: nightbook rerun 7d0a1c2e-5b3f-5a6d-9c1b-2f4e6a8b0c1d",
            "portfolio Growth-Fund_2024-Q1-Long-Short-EUR-Hedged has no equity",
            "positions.csv:12: quantity \"1O0\": not a number; allowed is a quantity other than 0",
            "http://127.0.0.1:8080/runs/7d0a1c2e-5b3f-5a6d-9c1b-2f4e6a8b0c1d/index.html",
            "cannot read /srv/nightbook/2026/books/growth/income/folder1/positions.csv",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn a_file_named_by_its_content_hash_stays_recognizable() {
        let hash = "3fa9c1d2".repeat(8);
        assert_eq!(
            redact(&format!("there is no file /srv/data/snapshots/{hash}.zst")),
            "there is no file /srv/data/snapshots/3fa9c1d2….zst"
        );
        assert_eq!(redact(&format!("hash {hash}")), "hash ***");
        assert_eq!(redact(&format!("{hash}.txt")), "***.txt");
    }

    #[test]
    fn control_and_direction_characters_become_visible() {
        assert_eq!(redact("a\u{1b}[31mb\u{202e}c"), "a\\u{1b}[31mb\\u{202e}c");
    }

    #[test]
    fn a_secret_on_the_cut_is_not_shown_by_halves() {
        // Masks make the text before the cut short enough that what stands at the cut would be shown.
        for width in 0..60 {
            let text =
                format!("{} {}AKIAABCDEFGHIJKLMNOP and more", "password=abcdefghij ".repeat(98), "x ".repeat(width));
            assert!(!redact(&text).contains("AKIA"), "{width}: {}", redact(&text));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_misleads_is_left(text in "[ -~\u{7f}-\u{9f}\u{2028}\u{202e}\u{fffe}]{0,200}") {
            prop_assert!(!redact_line(&text).chars().any(misleads));
        }

        #[test]
        fn any_text_is_cut_on_a_character_and_never_panics(text in "\\PC{0,1500}") {
            prop_assert!(redact(&text).chars().count() <= MAX_MESSAGE_CHARS + 1);
        }
    }
}
