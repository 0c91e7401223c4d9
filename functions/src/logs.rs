//! Logs: JSON lines on stderr, or text where the service or the environment asks for it.

use domain::log_settings::LogSettings;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use wiring::{LogLines, log_panic};

use crate::environment;

/// Sets up the logs of this process.
///
/// # Errors
/// A level that cannot be read.
pub fn set_up() -> anyhow::Result<()> {
    let settings = LogSettings::of(environment::variable);
    let level = settings.level.unwrap_or_else(|| "info".to_owned());
    let filter = filter(&level)?;
    let lines = if settings.json.unwrap_or(true) { LogLines::Json } else { LogLines::Text };
    let layer = tracing_subscriber::fmt::layer().event_format(lines).with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).init();
    std::panic::set_hook(Box::new(|panic| log_panic(panic, true)));
    Ok(())
}

/// Levels by target. Without the patterns for spans and their fields of `EnvFilter`: they are built anew at every start.
fn filter(level: &str) -> anyhow::Result<Targets> {
    let lower = level.to_ascii_lowercase();
    let directives: Vec<&str> = lower.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    directives.join(",").parse().map_err(|error| {
        anyhow::anyhow!("the log level {level:?} cannot be read ({error}): write error, warn, info or debug")
    })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_for_all_or_by_target() {
        let all = filter("DEBUG").unwrap();
        assert!(all.would_enable("domain::run", &Level::DEBUG) && !all.would_enable("domain::run", &Level::TRACE));
        let some = filter("info, domain=debug,").unwrap();
        assert!(some.would_enable("domain::run", &Level::DEBUG) && !some.would_enable("hyper", &Level::DEBUG));
        assert!(some.would_enable("hyper", &Level::INFO));
        assert!(!filter("off").unwrap().would_enable("domain", &Level::ERROR));
    }

    #[test]
    fn a_level_that_is_none_is_refused_with_those_that_are() {
        let error = filter("info,domain=much").unwrap_err().to_string();
        assert!(error.contains("domain=much") && error.contains("write error, warn, info or debug"), "{error}");
    }
}
