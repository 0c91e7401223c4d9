//! Logs: JSON lines on stderr, or text where the service or the environment asks for it.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use wiring::{LogLines, log_panic};

use crate::environment;

/// What the environment says about logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or a filter such as `info,domain=debug`.
    pub filter: String,
    /// JSON lines, else text.
    pub json: bool,
}

impl LogSettings {
    /// Reads them from a look-up by the name of the variable. `LOG_LEVEL` counts before `AWS_LAMBDA_LOG_LEVEL`, which
    /// the service sets; `ENVIRONMENT=production` means JSON whatever `AWS_LAMBDA_LOG_FORMAT` says.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let level = lookup("LOG_LEVEL").or_else(|| lookup("AWS_LAMBDA_LOG_LEVEL"));
        let filter = level.unwrap_or_else(|| "info".to_owned()).to_ascii_lowercase();
        // A level of the service that only it knows.
        let filter = if filter == "fatal" { "error".to_owned() } else { filter };
        let production = lookup("ENVIRONMENT").is_some_and(|text| text.eq_ignore_ascii_case("production"));
        let text = lookup("AWS_LAMBDA_LOG_FORMAT").is_some_and(|text| text.eq_ignore_ascii_case("text"));
        Self { filter, json: production || !text }
    }
}

/// Sets up the logs of this process.
///
/// # Errors
/// A level that cannot be read.
pub fn set_up() -> anyhow::Result<()> {
    let settings = LogSettings::from_variables(environment::variable);
    let filter = EnvFilter::try_new(&settings.filter).map_err(|error| {
        anyhow::anyhow!(
            "the log level {:?} cannot be read ({error}): write error, warn, info, debug or trace",
            settings.filter
        )
    })?;
    let lines = if settings.json { LogLines::Json } else { LogLines::Text };
    let layer = tracing_subscriber::fmt::layer().event_format(lines).with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (String, bool) {
        let found = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let LogSettings { filter, json } = LogSettings::from_variables(found);
        (filter, json)
    }

    #[test]
    fn our_own_variables_count_before_those_of_the_service() {
        assert_eq!(read(&[]), ("info".into(), true));
        assert_eq!(read(&[("AWS_LAMBDA_LOG_LEVEL", "WARN")]), ("warn".into(), true));
        assert_eq!(read(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")]).0, "error");
        assert_eq!(read(&[("AWS_LAMBDA_LOG_LEVEL", "WARN"), ("LOG_LEVEL", "debug")]).0, "debug");
        assert!(!read(&[("AWS_LAMBDA_LOG_FORMAT", "Text")]).1);
        assert!(read(&[("AWS_LAMBDA_LOG_FORMAT", "Text"), ("ENVIRONMENT", "production")]).1);
    }
}
