//! `nightbook history`: the runs, newest first.

use std::path::Path;
use std::process::ExitCode;

use domain::ids::Month;
use domain::ports::{RunQuery, StoreError};
use domain::words::RunStatus;
use serde_json::json;

use crate::exit::BadInput;
use crate::output::{Output, paint, run_style};
use crate::reading;

/// Runs the command.
pub(crate) async fn run(
    data: &Path,
    status: Option<RunStatus>,
    month: Option<Month>,
    limit: usize,
    after: Option<String>,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let store = reading::open(data).await?.store;
    let store = store.as_ref();
    let month = month.map(|month| month.to_string());
    let given = after.clone();
    let page = store.runs(&RunQuery { status, month, limit, after, ..RunQuery::default() }).await;
    let page = page.map_err(|error| match (error, given) {
        (StoreError::NotFound { .. }, Some(given)) => {
            let text = format!("--after {given}: no list of runs ended there; give the `next` of an earlier answer");
            anyhow::Error::new(BadInput(text))
        }
        (error, _) => error.into(),
    })?;
    let mut summaries = Vec::with_capacity(page.runs.len());
    for stored in &page.runs {
        summaries.push(reading::summary(store, stored).await?);
    }
    if output.is_json() {
        output.json(&json!({ "runs": summaries, "next": page.next }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = summaries
        .iter()
        .map(|s| {
            vec![
                s.batch_run_id.short(),
                s.as_of.to_string(),
                paint(s.status.as_str(), run_style(s.status)),
                format!("{}/{}", s.portfolios_processed, s.portfolios_expected),
                s.successful_jobs.to_string(),
                s.failed_jobs.to_string(),
                s.skipped_jobs.to_string(),
                s.missing_jobs.to_string(),
                s.total_jobs.to_string(),
                s.wall_seconds.map_or_else(|| "-".into(), |seconds| format!("{seconds:.1}s")),
                s.started_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                crate::output::safe(&s.trigger),
            ]
        })
        .collect();
    if rows.is_empty() {
        output.line("There is no such run.");
    } else {
        output.table(
            &[
                "run",
                "as of",
                "status",
                "portfolios",
                "ok",
                "failed",
                "skipped",
                "missing",
                "jobs",
                "took",
                "started",
                "trigger",
            ],
            &rows,
        );
    }
    if let Some(next) = &page.next {
        output.line(&format!("more: nightbook history --limit {limit} --after {next} --data {}", data.display()));
    }
    Ok(ExitCode::SUCCESS)
}
