//! `nightbook failures`: one cause, one line, over the runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use domain::ids::{Fingerprint, PortfolioId, RunId};
use domain::ports::{FailureSighting, RunQuery};
use serde::Serialize;
use serde_json::json;

use crate::output::{Output, safe};
use crate::reading;

/// One cause over the runs.
#[derive(Debug, Serialize)]
struct Cause {
    fingerprint: Fingerprint,
    category: domain::words::ErrorCategory,
    job: domain::ids::JobName,
    message: String,
    count: u64,
    runs: Vec<RunId>,
    portfolios: BTreeSet<PortfolioId>,
    first_seen_run: RunId,
    first_as_of: chrono::NaiveDate,
    last_seen_run: RunId,
    last_as_of: chrono::NaiveDate,
}

/// Runs the command.
pub(crate) async fn run(data: &Path, span: chrono::Duration, output: &Output) -> anyhow::Result<ExitCode> {
    let store = reading::open(data).await?.store;
    let store = store.as_ref();
    // Counted back from the newest run by start, not from today: a store that rested for a month still answers.
    let newest = store.runs(&RunQuery::default()).await?.runs.iter().map(|stored| stored.run.started_at).max();
    let sightings = match newest {
        None => Vec::new(),
        Some(newest) => store.failures(Some(newest - span), None).await?,
    };
    let first =
        store.first_seen(&sightings.iter().map(|sighting| sighting.fingerprint.clone()).collect::<Vec<_>>()).await?;
    let causes = by_cause(sightings, &first);
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

/// Sightings (newest first) gathered by cause, the most frequent first.
fn by_cause(sightings: Vec<FailureSighting>, first: &BTreeMap<Fingerprint, RunId>) -> Vec<Cause> {
    let mut causes: BTreeMap<Fingerprint, Cause> = BTreeMap::new();
    for seen in sightings {
        let cause = causes.entry(seen.fingerprint.clone()).or_insert_with(|| Cause {
            first_seen_run: first.get(&seen.fingerprint).copied().unwrap_or(seen.batch_run_id),
            fingerprint: seen.fingerprint.clone(),
            category: seen.category,
            job: seen.job.clone(),
            message: seen.message.clone(),
            count: 0,
            runs: Vec::new(),
            portfolios: BTreeSet::new(),
            first_as_of: seen.as_of,
            last_seen_run: seen.batch_run_id,
            last_as_of: seen.as_of,
        });
        cause.count += seen.count;
        cause.runs.push(seen.batch_run_id);
        cause.portfolios.extend(seen.portfolios);
        cause.first_as_of = cause.first_as_of.min(seen.as_of);
        cause.last_as_of = cause.last_as_of.max(seen.as_of);
    }
    let mut causes: Vec<Cause> = causes.into_values().collect();
    causes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    causes
}
