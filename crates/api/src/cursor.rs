//! Places where a list goes on: opaque to clients, so that they can change.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::RecordCursor;

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

/// The position in the jobs of a run that a cursor stands for.
///
/// # Errors
/// It is none that a list of jobs gave; one that an earlier release gave is said to be that.
pub(crate) fn record_cursor(text: &str) -> Result<RecordCursor, Problem> {
    match place('p', text) {
        Ok(position) => position.parse().map_err(|_| not_ours()),
        Err(_) if place('j', text).is_ok_and(|number| number.parse::<u64>().is_ok()) => Err(Problem::bad_request(
            "cursor: it was given by an earlier release, which counted the records; leave it out to begin again",
        )),
        Err(problem) => Err(problem),
    }
}

/// A cursor that nobody gave.
pub(crate) fn not_ours() -> Problem {
    Problem::bad_request(
        "cursor: it is none that this list gave as \"next\"; leave it out to begin at the beginning of the list",
    )
}
