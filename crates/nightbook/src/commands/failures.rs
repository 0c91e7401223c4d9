//! `nightbook failures`: one cause, one line, over the runs.

use std::path::Path;
use std::process::ExitCode;

use domain::causes::by_cause;
use domain::recent_runs::newest_start;
use serde_json::json;

use crate::output::{Output, safe};
use crate::reading;

/// Runs the command.
pub(crate) async fn run(data: &Path, span: chrono::Duration, output: &Output) -> anyhow::Result<ExitCode> {
    let store = reading::open(data).await?.store;
    let store = store.as_ref();
    let newest = newest_start(store).await?;
    let sightings = match newest {
        None => Vec::new(),
        Some(newest) => store.failures(Some(newest - span), None).await?,
    };
    let causes = by_cause(store, sightings).await?;
    if output.is_json() {
        output.json(&json!({ "failures": causes }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if causes.is_empty() {
        output.line("No job failed in this time.");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = causes
        .iter()
        .map(|cause| {
            vec![
                cause.count.to_string(),
                cause.runs.len().to_string(),
                cause.portfolios.len().to_string(),
                cause.job.to_string(),
                cause.category.to_string(),
                cause.first_as_of.to_string(),
                cause.last_as_of.to_string(),
                cause.fingerprint.to_string(),
                safe(&cause.message).chars().take(110).collect(),
            ]
        })
        .collect();
    output.table(
        &["failures", "runs", "portfolios", "job", "category", "first as of", "last as of", "fingerprint", "message"],
        &rows,
    );
    Ok(ExitCode::SUCCESS)
}
