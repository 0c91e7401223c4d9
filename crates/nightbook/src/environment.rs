//! The environment variables, read in this one place.

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `LOG_LEVEL`: a level, or a filter such as `info,domain=debug`.
    pub(crate) log_level: Option<String>,
    /// `ENVIRONMENT=production`.
    pub(crate) production: bool,
}

/// The value of a variable that settings name, for example one that holds a secret.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Environment {
    /// Reads it.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(crate) fn read() -> Self {
        Self {
            log_level: std::env::var("LOG_LEVEL").ok().filter(|text| !text.trim().is_empty()),
            production: std::env::var("ENVIRONMENT").is_ok_and(|text| text.eq_ignore_ascii_case("production")),
        }
    }
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
