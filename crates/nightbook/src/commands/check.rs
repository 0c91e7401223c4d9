//! `nightbook check`: every error of a book at once.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::commands::run::count;
use crate::exit::BAD_INPUT;
use crate::output::{Output, safe};

/// Runs the command.
pub(crate) fn run(dir: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    let reading = book::read_folder(dir)?;
    if output.is_json() {
        output.json(&json!({ "errors": reading.errors, "warnings": reading.warnings }))?;
    } else {
        for error in &reading.errors {
            output.line(&format!("error: {}", safe(&error.to_string())));
        }
        for warning in &reading.warnings {
            output.line(&format!("warning: {}", safe(&warning.to_string())));
        }
        let book = reading.book.as_ref().map_or_else(String::new, |book| {
            let lots: usize = book.portfolios.iter().map(|portfolio| portfolio.positions.len()).sum();
            format!(
                "; {}, {}, {}",
                count(book.portfolios.len(), "portfolio"),
                count(lots, "position"),
                count(book.prices.len(), "price")
            )
        });
        output.line(&format!(
            "{}, {}{book}",
            count(reading.errors.len(), "error"),
            count(reading.warnings.len(), "warning")
        ));
    }
    Ok(if reading.errors.is_empty() { ExitCode::SUCCESS } else { BAD_INPUT.into() })
}
