//! Logs: JSON lines on stderr, or text where the service or the environment asks for it.

use domain::log_settings::LogSettings;
use tracing_subscriber::EnvFilter;
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
    let filter = EnvFilter::try_new(level.to_ascii_lowercase()).map_err(|error| {
        anyhow::anyhow!("the log level {level:?} cannot be read ({error}): write error, warn, info, debug or trace")
    })?;
    let lines = if settings.json.unwrap_or(true) { LogLines::Json } else { LogLines::Text };
    let layer = tracing_subscriber::fmt::layer().event_format(lines).with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).init();
    std::panic::set_hook(Box::new(|panic| log_panic(panic, true)));
    Ok(())
}
