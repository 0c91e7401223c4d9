//! Values of one kind: a text, one of several words, a number within its range. What does not fit is reported, and the
//! target keeps what it had.

use std::ops::{Range, RangeInclusive};

use toml::de::DeValue;

use super::Value;
use super::walk::Walk;
use crate::value;

/// What a value is, in words for a message.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A number, with or without a point.
pub(super) fn float(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Float(float) => float.as_str().parse::<f64>().ok()?,
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok()? as f64,
        _ => return None,
    };
    Some(number)
}

impl Walk<'_> {
    /// A text without the spaces around it, and where it stands.
    pub(super) fn text(&mut self, key: &str, value: &Value<'_>) -> Option<(String, Range<usize>)> {
        match value.get_ref() {
            DeValue::String(text) => Some((text.trim().to_owned(), value.span())),
            other => {
                let found = kind(other);
                self.error(&value.span(), format!("`{key}` must be a text in quotes, not {found}"));
                None
            }
        }
    }

    /// A text of 1 to `most` characters, none of them a control character.
    pub(super) fn short_text(&mut self, key: &str, value: &Value<'_>, most: usize) -> Option<String> {
        let (text, span) = self.text(key, value)?;
        if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            let message = format!("`{key}` may have 1 to {most} characters, none of them a control character");
            self.error(&span, message);
            return None;
        }
        Some(text)
    }

    /// One of these words.
    pub(super) fn choice<'c>(&mut self, key: &str, value: &Value<'_>, choices: &[&'c str]) -> Option<&'c str> {
        let (text, span) = self.text(key, value)?;
        let found = choices.iter().find(|choice| **choice == text).copied();
        if found.is_none() {
            let near = value::hint(&text, choices.iter().copied());
            self.error(&span, format!("`{key}` must be one of {}{near}", choices.join(", ")));
        }
        found
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, value: &Value<'_>) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                let found = kind(other);
                self.error(&value.span(), format!("`{key}` must be true or false, not {found}"));
                None
            }
        }
    }

    /// A whole number.
    pub(super) fn whole(&mut self, key: &str, value: &Value<'_>, allowed: RangeInclusive<u32>, target: &mut u32) {
        if let Some(number) = self.whole_number(key, value, &allowed) {
            *target = number;
        }
    }

    /// A whole number where none is a setting too.
    pub(super) fn whole_number(&mut self, key: &str, value: &Value<'_>, allowed: &RangeInclusive<u32>) -> Option<u32> {
        let (least, most) = (allowed.start(), allowed.end());
        let wanted = format!("`{key}` must be a whole number from {least} to {most}");
        let message = match value.get_ref() {
            DeValue::Integer(integer) => match u32::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(number) if allowed.contains(&number) => return Some(number),
                _ => wanted,
            },
            DeValue::Float(_) => format!("{wanted}, without a point"),
            other => format!("{wanted}, not {}", kind(other)),
        };
        self.error(&value.span(), message);
        None
    }

    /// A number, with or without a point.
    pub(super) fn number(&mut self, key: &str, value: &Value<'_>, allowed: RangeInclusive<f64>, target: &mut f64) {
        // The smallest of the ranges that leave 0 out reads better as "above 0".
        let least = if *allowed.start() == f64::MIN_POSITIVE {
            "above 0".to_owned()
        } else {
            format!("from {}", allowed.start())
        };
        let wanted = format!("`{key}` must be a number {least} to {}", allowed.end());
        match float(value.get_ref()) {
            Some(number) if allowed.contains(&number) => *target = number,
            Some(_) => self.error(&value.span(), wanted),
            None => {
                let found = kind(value.get_ref());
                self.error(&value.span(), format!("{wanted}, not {found}"));
            }
        }
    }

    /// The name of an environment variable, in a file where it holds no secret.
    pub(super) fn variable_name(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        let (text, span) = self.text(key, value)?;
        if value::is_variable_name(&text) {
            return Some(text);
        }
        self.error(&span, value::VARIABLE_WANTED);
        None
    }
}
