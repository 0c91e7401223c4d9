//! Values in rows: times as text, and JSON with its hash.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::ids::ContentHash;
use domain::ports::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::writer::OpError;

/// An instant as the tables hold it.
pub(crate) fn time_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(crate) fn damaged(what: String, detail: impl ToString) -> OpError {
    OpError::Store(StoreError::Damaged { what, detail: detail.to_string() })
}

/// JSON that is what its hash says.
pub(crate) fn verified<T: DeserializeOwned>(json: &str, hash: &str, what: impl Fn() -> String) -> Result<T, OpError> {
    if ContentHash::of(json.as_bytes()).as_str() != hash {
        return Err(damaged(what(), "its content does not fit its hash"));
    }
    serde_json::from_str(json).map_err(|error| damaged(what(), error))
}

pub(crate) fn with_hash<T: Serialize>(value: &T) -> Result<(String, String), OpError> {
    let json = serde_json::to_string(value)?;
    let hash = ContentHash::of(json.as_bytes()).to_string();
    Ok((json, hash))
}

/// The hash of the columns of a row that is no JSON document.
pub(super) fn row_hash<T: AsRef<str>>(columns: &[T]) -> String {
    let joined: Vec<&str> = columns.iter().map(AsRef::as_ref).collect();
    ContentHash::of(joined.join("\n").as_bytes()).to_string()
}

/// Verifies a row by its hash; one of schema version 1 has none.
pub(super) fn check_row<T: AsRef<str>>(
    columns: &[T],
    hash: Option<String>,
    what: impl Fn() -> String,
) -> Result<(), OpError> {
    match hash {
        Some(hash) if row_hash(columns) != hash => Err(damaged(what(), "its content does not fit its hash")),
        _ => Ok(()),
    }
}

pub(crate) fn parsed<T: std::str::FromStr>(text: &str, what: impl Fn() -> String) -> Result<T, OpError>
where
    T::Err: ToString,
{
    text.parse().map_err(|error: T::Err| damaged(what(), error.to_string()))
}
