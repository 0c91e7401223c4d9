//! The template of a message: what a reader may know of an error on a site that shows no names.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::fingerprint::masked;

/// The words that a template may show: those of the messages of Nightbook and of usual errors of programs. A name of a
/// portfolio, a person or a company can be any other word.
static WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| include_str!("message_words.txt").lines().collect());

/// What stands in place of everything else.
const TEXT: &str = "<text>";

/// What [`masked`] puts in place of ids, dates and the like.
const MARKS: [&str; 6] = ["<id>", "<date>", "<path>", TEXT, "<symbol>", "<n>"];

/// Characters between two words.
fn separates(c: char) -> bool {
    c == ' ' || matches!(c, ',' | ';' | ':' | '.' | '(' | ')' | '/' | '-' | '%' | '=' | '?' | '!')
}

/// The message with every word masked that is not a common word of error messages.
///
/// That masks names, ids, symbols, numbers, paths and quoted texts. `known` are texts that are certainly names or ids, whatever words they are of.
#[must_use]
pub fn template(message: &str, known: &[&str]) -> String {
    let text = masked(message, known);
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(separates) {
        let word = piece.trim_end_matches(separates);
        let end = &piece[word.len()..];
        if word.is_empty() || MARKS.contains(&word) || is_common(word, &out) {
            out.push_str(piece);
        } else if out.ends_with(TEXT) || out.strip_suffix(separates).is_some_and(|before| before.ends_with(TEXT)) {
            // A name of several words is one text.
            out.truncate(out.rfind(TEXT).map_or(0, |at| at + TEXT.len()));
            out.push_str(end);
        } else {
            out.push_str(TEXT);
            out.push_str(end);
        }
    }
    out.trim().to_owned()
}

/// Whether a word may be shown: one of the list, with a capital at the beginning of a sentence only.
fn is_common(word: &str, before: &str) -> bool {
    if WORDS.contains(word) {
        return true;
    }
    let before = before.trim_end();
    let begins = before.is_empty() || before.ends_with(['.', '!', '?']);
    begins && word.len() > 1 && word.starts_with(|c: char| c.is_ascii_uppercase()) && {
        WORDS.contains(word.to_ascii_lowercase().as_str()) && !word[1..].contains(|c: char| c.is_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_operator_reads_what_happened_and_no_name() {
        for (message, known, template_of) in [
            ("portfolio alpha-growth has no equity", &[][..], "portfolio <text> has no equity"),
            ("the price source refused 12 of 75 symbols", &[], "the price source refused <n> of <n> symbols"),
            ("No close for AAPL, MSFT and TSLA on 2026-11-24", &[], "No close for <symbol> on <date>"),
            ("client Hargreaves & Sons rejected the request", &[], "client <text> rejected the request"),
            (
                "cannot read /srv/clients/evergreen/a.csv: permission denied",
                &[],
                "cannot read <path>: permission denied",
            ),
            ("portfolio market values has no equity", &["market values"], "portfolio <symbol> has no equity"),
            ("Ödön’s fonds は failed", &[], "<text> failed"),
            ("price.Evergreen-Income/fund", &[], "price.<text>"),
        ] {
            assert_eq!(template(message, known), template_of, "{message}");
        }
    }

    #[test]
    fn the_words_are_sorted_and_lower_case() {
        let words: Vec<&str> = include_str!("message_words.txt").lines().collect();
        assert!(words.is_sorted() && words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
    }

    proptest! {
        #[test]
        fn nothing_is_shown_but_common_words_and_marks(message in "\\PC{0,200}", name in "[a-z]{3,12}") {
            let shown = template(&format!("{message} {name} {message}"), &[]);
            for word in shown.split(separates).filter(|word| !word.is_empty()) {
                let common = WORDS.contains(word) || WORDS.contains(word.to_ascii_lowercase().as_str());
                prop_assert!(common || MARKS.contains(&word), "{word:?} of {shown:?}");
            }
        }
    }
}
