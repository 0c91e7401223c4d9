//! Places where a list goes on: opaque to clients, so that they can change.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::problem::Problem;

/// The cursor of a place in a kind of list.
pub(crate) fn cursor(kind: char, place: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{kind}{place}"))
}

/// The place of a cursor.
///
/// # Errors
/// It is none that this kind of list gave.
pub(crate) fn place(kind: char, cursor: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.strip_prefix(kind).map(str::to_owned)).ok_or_else(not_ours)
}

/// A cursor that nobody gave.
pub(crate) fn not_ours() -> Problem {
    Problem::bad_request("cursor: it is none that this list gave as \"next\"; leave it out to begin with the newest")
}
