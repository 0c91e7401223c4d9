//! Log lines of every program of Nightbook: as JSON and for people, with the spans of a request.

mod log_lines;

pub use log_lines::{LogLines, log_panic, of_request, printable_json, traced};
