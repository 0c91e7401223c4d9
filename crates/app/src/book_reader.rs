//! Reading a book that can be run.

use async_trait::async_trait;
use book::{Book, BookError, Reading};

use crate::error::{ControlError, Refusal};

/// Errors of a book that a message lists.
const LISTED: usize = 20;

/// Where the book is.
#[async_trait]
pub trait BookReader: Send + Sync {
    /// Reads the book as it is now, with everything that is wrong with it.
    ///
    /// # Errors
    /// The book as a whole cannot be read: [`Refusal::BookUnusable`], or the store that holds it.
    async fn read(&self) -> Result<Reading, ControlError>;
    /// The book as a message names it, for example `the book /srv/book`.
    fn name(&self) -> String;
    /// The command that lists every error of the book.
    fn check_command(&self) -> String;
}

impl From<BookError> for ControlError {
    fn from(error: BookError) -> Self {
        Refusal::BookUnusable(error.to_string()).into()
    }
}

/// The book that was read, if it can be run: errors of single portfolios and prices do not stop a run.
///
/// `name` is the book as the message names it, `check` the command that lists every error.
///
/// # Errors
/// [`Refusal::BookUnusable`], with the first errors.
pub fn usable_book(reading: Reading, name: &str, check: &str) -> Result<Book, Refusal> {
    let Reading { book, errors, warnings } = reading;
    let Some(book) = book else {
        let lines: Vec<String> = errors.iter().take(LISTED).map(ToString::to_string).collect();
        let more = errors.len().saturating_sub(lines.len());
        let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
        let total = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
        return Err(Refusal::BookUnusable(format!(
            "{name} cannot be run, {total} in all (`{check}` lists them):\n{}{more}",
            lines.join("\n"),
        )));
    };
    if let Some(first) = errors.first() {
        tracing::warn!(
            errors = errors.len(), first = %first, event = "book.errors",
            "the book has errors: they fail the portfolios they belong to, or leave prices out; `nightbook check` lists them"
        );
    }
    if let Some(first) = warnings.first() {
        tracing::info!(
            warnings = warnings.len(), first = %first, event = "book.warnings",
            "the book has warnings; `nightbook check` lists them"
        );
    }
    Ok(book)
}

/// Reads a book that can be run.
///
/// # Errors
/// As [`BookReader::read`] and [`usable_book`].
pub async fn read_usable(reader: &dyn BookReader) -> Result<Book, ControlError> {
    Ok(usable_book(reader.read().await?, &reader.name(), &reader.check_command())?)
}
