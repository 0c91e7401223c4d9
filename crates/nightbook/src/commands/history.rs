//! `nightbook history`: the runs, newest first.

use std::path::Path;
use std::process::ExitCode;

use app::{Detail, summary_now, verdicts_of};
use backends::system::SystemClock;
use domain::ids::Month;
use domain::night::Verdict;
use domain::ports::{Clock as _, RunQuery, StoreError};
use domain::summary::RunSummary;
use domain::words::RunStatus;
use serde::Serialize;
use serde_json::json;

use crate::exit::BadInput;
use crate::output::{Output, paint, run_style};
use crate::reading;

/// A run in the list.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    run: RunSummary,
    /// The verdict of its night, which may have other runs; null where its records are gone.
    night: Option<Verdict>,
}

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
    let verdicts = verdicts_of(store, &page.runs, SystemClock.now()).await?;
    let mut listed = Vec::with_capacity(page.runs.len());
    for stored in &page.runs {
        let run = summary_now(store, stored, Detail::Totals).await?;
        listed.push(Listed { run, night: verdicts.get(&stored.run.night()).copied() });
    }
    if output.is_json() {
        output.json(&json!({ "runs": listed, "next": page.next }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|Listed { run: s, night }| {
            vec![
                s.batch_run_id.short(),
                s.as_of.to_string(),
                paint(s.status.as_str(), run_style(s.status)),
                night.map_or_else(|| "-".to_owned(), |verdict| paint(verdict.as_str(), run_style(verdict.status()))),
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
                "night",
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
