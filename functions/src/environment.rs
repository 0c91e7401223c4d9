//! The environment variables, read in this one place.

use domain::night::next_step::CommandTarget;

/// The value of a variable; none where it is not set or empty.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Where the commands in alerts point: the table of the records.
#[must_use]
pub fn command_target() -> CommandTarget {
    let table = variable("NIGHTBOOK_TABLE").unwrap_or_else(|| "TABLE".to_owned());
    CommandTarget::Table { book: None, table }
}
