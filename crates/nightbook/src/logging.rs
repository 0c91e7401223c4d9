//! Logs to stderr: text on a terminal, JSON lines in production or without one; under `serve` also to a file of
//! 10 MB that is rotated five times.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::log_settings::LogSettings;
use file_rotate::compression::Compression;
use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use wiring::{LogLines, log_panic};

use crate::metrics::Metrics;

const FILE_BYTES: usize = 10 * 1024 * 1024;
const FILES_KEPT: usize = 5;

/// Stderr, but with progress bars held back while a line is written.
#[derive(Clone)]
pub(crate) struct StderrBehindBars {
    bars: indicatif::MultiProgress,
}

impl Write for StderrBehindBars {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bars.suspend(|| std::io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

struct RotatingFile(Mutex<FileRotate<AppendCount>>);

struct Guarded<'a>(std::sync::MutexGuard<'a, FileRotate<AppendCount>>);

impl Write for Guarded<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl<'a> MakeWriter<'a> for RotatingFile {
    type Writer = Guarded<'a>;
    fn make_writer(&'a self) -> Guarded<'a> {
        Guarded(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether errors are logged: metrics count them in any case.
static LOGS_ERRORS: AtomicBool = AtomicBool::new(true);

/// Sets up the logs of this process. `default_level` holds where neither `LOG_LEVEL` nor `AWS_LAMBDA_LOG_LEVEL` is set.
///
/// # Errors
/// A level that cannot be read; the message names the variable.
pub(crate) fn set_up(
    settings: &LogSettings,
    default_level: &str,
    bars: &indicatif::MultiProgress,
    file: Option<&Path>,
    metrics: Option<Metrics>,
) -> anyhow::Result<()> {
    let filter = || {
        let text = settings.level.as_deref().unwrap_or(default_level);
        EnvFilter::try_new(text.to_ascii_lowercase()).map_err(|error| {
            crate::exit::BadInput(format!(
                "LOG_LEVEL={text:?} cannot be read ({error}): write error, warn, info, debug or trace"
            ))
        })
    };
    let json = settings.json.unwrap_or_else(|| !std::io::stderr().is_terminal());
    let bars = bars.clone();
    let stderr = move || StderrBehindBars { bars: bars.clone() };
    let console = if json {
        tracing_subscriber::fmt::layer()
            .event_format(LogLines::Json)
            .with_ansi(false)
            .with_writer(stderr)
            .with_filter(filter()?)
            .boxed()
    } else {
        tracing_subscriber::fmt::layer().event_format(LogLines::Text).with_writer(stderr).with_filter(filter()?).boxed()
    };
    let file = match file {
        None => None,
        Some(path) => {
            let rotating = FileRotate::new(
                path,
                AppendCount::new(FILES_KEPT),
                ContentLimit::BytesSurpassed(FILE_BYTES),
                Compression::None,
                None,
            );
            Some(
                tracing_subscriber::fmt::layer()
                    .event_format(LogLines::Json)
                    .with_ansi(false)
                    .with_writer(RotatingFile(Mutex::new(rotating)))
                    .with_filter(filter()?)
                    .boxed(),
            )
        }
    };
    LOGS_ERRORS.store(filter()?.max_level_hint() != Some(LevelFilter::OFF), Ordering::Relaxed);
    // What is counted are the events of the vocabulary, whatever is logged.
    let counted = |metadata: &tracing::Metadata<'_>| {
        *metadata.level() <= tracing::Level::INFO && metadata.fields().field("event").is_some()
    };
    let metrics = metrics.map(|metrics| metrics.with_filter(filter_fn(counted)));
    tracing_subscriber::registry().with(console).with(file).with(metrics).init();
    std::panic::set_hook(Box::new(|panic| log_panic(panic, LOGS_ERRORS.load(Ordering::Relaxed))));
    Ok(())
}
