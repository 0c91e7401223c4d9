//! Bounds of the texts that people write into the records.

use domain::redact::{misleads, redact};

use crate::error::Refusal;

/// A text of one line with 1 to `most` characters, without surrounding spaces and secrets.
///
/// # Errors
/// [`Refusal::Text`] where it is empty or too long, or a character of it is not displayed as it is.
pub(crate) fn one_line(name: &str, text: &str, most: usize) -> Result<String, Refusal> {
    let text = text.trim();
    if (1..=most).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || misleads(c)) {
        Ok(redact(text))
    } else {
        Err(refused(name, format!("write 1 to {most} characters on one line")))
    }
}

/// What started a run: 1 to `most` characters, none of them a control character, without surrounding spaces and secrets.
/// Characters that mislead a reader are allowed, as in the names of a book: every surface shows them masked.
///
/// # Errors
/// [`Refusal::Text`] where it is empty or too long, or has a control character.
pub(crate) fn trigger(text: &str, most: usize) -> Result<String, Refusal> {
    let text = text.trim();
    if (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        // Masking also spells out what misleads. The record keeps those characters, so it is masked for secrets only.
        let plain: String = text.chars().filter(|c| !misleads(*c)).collect();
        let has_secret = redact(&plain) != plain;
        Ok(if has_secret { redact(text) } else { text.to_owned() })
    } else {
        Err(refused("trigger", format!("write 1 to {most} characters, none of them a control character")))
    }
}

/// A text with at most `most` characters, which may be empty and have more than one line.
///
/// # Errors
/// As [`one_line`].
pub(crate) fn lines(name: &str, text: &str, most: usize) -> Result<String, Refusal> {
    let text = text.trim();
    let shown = |c: char| c == '\n' || (!c.is_control() && !misleads(c));
    if text.chars().count() <= most && text.chars().all(shown) {
        Ok(redact(text))
    } else {
        Err(refused(name, format!("write at most {most} characters, none of them a control character")))
    }
}

/// A refusal of a text.
pub(crate) fn refused(name: &str, why: impl Into<String>) -> Refusal {
    Refusal::Text { name: name.to_owned(), why: why.into() }
}
