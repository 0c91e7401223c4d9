//! What goes to standard output: one JSON document, or lines for people, with colors only on a terminal.
//!
//! A reader that goes away (`nightbook history | head`) is no error: the command does what it does, prints nothing
//! further, and its exit code is that of its work. An output that cannot be written for any other reason (a full disk)
//! makes the exit code 3.

use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use domain::summary::RunSummary;
use domain::words::{JobStatus, RunStatus};
use serde::Serialize;
pub(crate) use wiring::printable_json;

/// The first error of standard output that is not a reader who went away.
static LOST: OnceLock<String> = OnceLock::new();

/// Why something that was printed did not arrive; none where all did, or where nobody reads on.
pub(crate) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Standard output, for what is printed as it is.
pub(crate) fn stdout() -> impl Write {
    Stdout(std::io::stdout().lock())
}

/// Standard output whose reader may go away.
struct Stdout<W>(W);

impl<W: Write> Stdout<W> {
    fn checked<T>(&mut self, when_unread: T, write: impl FnOnce(&mut W) -> std::io::Result<T>) -> std::io::Result<T> {
        match write(&mut self.0) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(when_unread),
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) => {
                LOST.get_or_init(|| error.to_string());
                Err(error)
            }
            written => written,
        }
    }
}

impl<W: Write> Write for Stdout<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.checked(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.checked((), W::flush)
    }
}

/// Prints an error to standard error. Where that cannot be written either, the exit code alone says it.
pub(crate) fn error(text: &str) {
    let label = paint("error:", AnsiColor::Red.on_default().bold());
    let _ = writeln!(anstream::stderr(), "{label} {text}");
}

/// Where the results of a command go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// One JSON document, or lines.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether one JSON document is wanted.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a JSON document.
    pub(crate) fn json<T: Serialize + ?Sized>(self, value: &T) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(value)?;
        writeln!(stdout(), "{}", printable_json(&json))?;
        Ok(())
    }

    /// Prints a line. What cannot be written is kept for [`lost`].
    pub(crate) fn line(self, text: &str) {
        let _ = writeln!(Stdout(anstream::stdout()), "{text}");
    }

    /// Prints the line of a run.
    pub(crate) fn run_line(self, summary: &RunSummary) {
        let word = paint(&format!("{:<8}", summary.status), run_style(summary.status));
        let seconds = summary.wall_seconds.map_or_else(|| "      -".into(), |seconds| format!("{seconds:6.2}s"));
        self.line(&format!(
            "{}  {}  {word}  {seconds}  {}",
            summary.batch_run_id.short(),
            summary.as_of,
            summary.verdict()
        ));
    }

    /// Prints a table with aligned columns; the header is dim.
    pub(crate) fn table(self, header: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| visible(cell))
                .chain(header.get(column).map(|name| name.chars().count()))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let row_text = |cells: Vec<&str>| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(visible(cell)))));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.line(&paint(&row_text(header.to_vec()), Style::new().dimmed()));
        for row in rows {
            self.line(&row_text(row.iter().map(String::as_str).collect()));
        }
    }
}

/// Characters that are seen: without colour codes.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut escaped = false;
    for c in text.chars() {
        match (escaped, c) {
            (false, '\u{1b}') => escaped = true,
            (true, 'm') => escaped = false,
            (true, _) => {}
            (false, _) => count += 1,
        }
    }
    count
}

/// The text in a style.
pub(crate) fn paint(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// The style of a run status.
pub(crate) const fn run_style(status: RunStatus) -> Style {
    match status {
        RunStatus::Success => AnsiColor::Green.on_default(),
        RunStatus::Partial => AnsiColor::Yellow.on_default(),
        RunStatus::Failed | RunStatus::Missed => AnsiColor::Red.on_default().bold(),
        RunStatus::Running => AnsiColor::Cyan.on_default(),
    }
}

/// A job status in its colour.
pub(crate) fn job_word(status: JobStatus) -> String {
    let style = match status {
        JobStatus::Success => AnsiColor::Green.on_default(),
        JobStatus::Failed => AnsiColor::Red.on_default().bold(),
        JobStatus::Skipped => Style::new().dimmed(),
        JobStatus::Missing => AnsiColor::Magenta.on_default(),
        JobStatus::Running | JobStatus::Pending => AnsiColor::Cyan.on_default(),
    };
    paint(status.as_str(), style)
}

/// Text from outside made safe for a terminal.
pub(crate) fn safe(text: &str) -> String {
    domain::redact::redact_line(text)
}
