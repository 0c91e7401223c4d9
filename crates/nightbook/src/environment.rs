//! The environment variables, read in this one place.

use domain::log_settings::LogSettings;

/// The value of a variable that settings name, for example one that holds a secret.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the environment says about logs.
pub(crate) fn logs() -> LogSettings {
    LogSettings::of(variable)
}

/// The variable that the settings name, for example one that holds a key; none where it is not set or empty.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// The tokens of the history API: one that may read and write, one that may only read.
pub(crate) fn tokens() -> (Option<String>, Option<String>) {
    (named("NIGHTBOOK_TOKEN"), named("NIGHTBOOK_READ_TOKEN"))
}
