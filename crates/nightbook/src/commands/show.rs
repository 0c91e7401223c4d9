//! `nightbook show RUN`: one run, its jobs, or the full results of a portfolio in it.

use std::path::Path;
use std::process::ExitCode;

use app::{Detail, NightReader, all_records, summary_now};
use backends::system::SystemClock;
use chrono::{DateTime, Utc};
use domain::ids::{JobName, PortfolioId};
use domain::names::{item_of, require_job_of};
use domain::ports::{Clock as _, Documents, RunStore, StoredRun};
use domain::record::JobRecord;
use domain::run::RunPhase;
use domain::summary::{RunSummary, complete_records};
use domain::words::{JobStatus, JobType};
use domain::work_item::{ItemState, WorkItem};
use serde_json::json;

use crate::commands::night::print_short;
use crate::output::{Output, job_word, paint, run_style, safe};
use crate::reading::{self, Records};

/// What `show` was asked for beside the run.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) portfolio: Option<PortfolioId>,
    pub(crate) job: Option<JobName>,
    pub(crate) job_type: Option<JobType>,
}

impl Filter {
    const fn is_empty(&self) -> bool {
        self.portfolio.is_none() && self.job.is_none() && self.job_type.is_none()
    }

    fn fits(&self, record: &JobRecord) -> bool {
        self.portfolio.as_ref().is_none_or(|id| record.portfolio_id == *id)
            && self.job.as_ref().is_none_or(|job| record.job_name == *job)
            && self.job_type.is_none_or(|family| record.job_type == family)
    }
}

/// Runs the command.
pub(crate) async fn run(data: &Path, run: &str, filter: &Filter, output: &Output) -> anyhow::Result<ExitCode> {
    let Records { store, documents, notes, nights } = reading::open(data).await?;
    let store = store.as_ref();
    let stored = reading::find(store, &nights, data, run, filter.portfolio.as_ref()).await?;
    let summary = summary_now(store, &stored, Detail::Jobs).await?;
    if let Some(job) = &filter.job {
        require_job_of(&stored.run, job)?;
    }
    if let Some(portfolio) = &filter.portfolio {
        // Before anything is printed: an unknown name is no answer.
        item_of(store, &stored, portfolio).await?;
    }
    if output.is_json() {
        if let (Some(portfolio), None, None) = (&filter.portfolio, &filter.job, filter.job_type) {
            let item = item_of(store, &stored, portfolio).await?;
            output.json(&document(documents.as_ref(), &stored, &item).await?)?;
        } else if filter.is_empty() {
            output.json(&summary)?;
        } else {
            output.json(&json!({
                "batch_run_id": stored.run.batch_run_id,
                "as_of": stored.run.as_of,
                "jobs": records(store, &stored, filter).await?,
            }))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    head(&summary, &stored, output);
    for note in notes.notes(stored.run.batch_run_id).await? {
        let at = note.at.format("%Y-%m-%d %H:%M:%SZ");
        output.line(&format!("note  {at}  {} ({}): {}", safe(&note.author), note.kind.as_str(), safe(&note.text)));
    }
    if filter.is_empty() {
        overview(store, &stored, &summary, output).await?;
        if stored.run.is_closed() && !summary.is_good() {
            night_advice(store, &nights, &stored, output).await?;
        }
    } else {
        let records = records(store, &stored, filter).await?;
        record_table(&records, output);
    }
    Ok(ExitCode::SUCCESS)
}

async fn document(documents: &dyn Documents, stored: &StoredRun, item: &WorkItem) -> anyhow::Result<serde_json::Value> {
    let jobs = stored.run.plan.as_ref().map_or(&[][..], |plan| &plan.jobs);
    let results = match &item.results {
        None => None,
        Some(hash) => documents.results(&item.key, hash).await?,
    };
    let results = match results {
        None => serde_json::Value::Null,
        Some(bytes) => jobs::expand(serde_json::from_slice(&bytes)?),
    };
    Ok(json!({
        "batch_run_id": stored.run.batch_run_id,
        "portfolio_id": item.key.portfolio,
        "as_of": stored.run.as_of,
        "jobs": complete_records(item, jobs),
        "results": results,
    }))
}

async fn records(store: &dyn RunStore, stored: &StoredRun, filter: &Filter) -> anyhow::Result<Vec<JobRecord>> {
    let mut found = Vec::new();
    let Some(plan) = &stored.run.plan else { return Ok(found) };
    if let Some(portfolio) = &filter.portfolio {
        let item = item_of(store, stored, portfolio).await?;
        found.extend(complete_records(&item, &plan.jobs));
    } else {
        found = all_records(store, stored).await?;
    }
    found.retain(|record| filter.fits(record));
    Ok(found)
}

fn head(summary: &RunSummary, stored: &StoredRun, output: &Output) {
    output.line(&paint(&summary.verdict(), run_style(summary.status)));
    let stamp =
        |at: Option<DateTime<Utc>>| at.map_or_else(|| "-".into(), |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string());
    output.line(&format!(
        "run {}  as of {}  trigger {}  started {}  closed {}",
        summary.batch_run_id,
        summary.as_of,
        safe(&summary.trigger),
        stamp(Some(summary.started_at)),
        stamp(summary.closed_at)
    ));
    if let Some(of) = summary.rerun_of {
        output.line(&format!("rerun of {of}"));
    }
    if let Some(hash) = &summary.market_snapshot {
        output.line(&format!("inputs pinned as {}  site {}", hash.short(), publication(stored)));
    }
}

fn publication(stored: &StoredRun) -> String {
    match &stored.run.publication {
        domain::run::Publication::Pending => "not published yet".into(),
        domain::run::Publication::UnderWay { since, .. } => {
            format!("being published since {}", since.format("%Y-%m-%d %H:%M:%SZ"))
        }
        domain::run::Publication::Published { at, .. } => format!("published {}", at.format("%Y-%m-%d %H:%M:%SZ")),
        domain::run::Publication::Failed { error, .. } => format!("NOT published: {}", safe(error)),
    }
}

async fn overview(
    store: &dyn RunStore,
    stored: &StoredRun,
    summary: &RunSummary,
    output: &Output,
) -> anyhow::Result<()> {
    let seconds = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3}"));
    let rows: Vec<Vec<String>> = summary
        .job_summary
        .iter()
        .map(|line| {
            vec![
                line.job.to_string(),
                line.success.to_string(),
                line.failed.to_string(),
                line.skipped.to_string(),
                line.missing.to_string(),
                line.portfolios.to_string(),
                seconds(line.p50_seconds),
                seconds(line.p95_seconds),
                seconds(line.max_seconds),
            ]
        })
        .collect();
    output.line("");
    output.table(&["job", "ok", "failed", "skipped", "missing", "portfolios", "p50 s", "p95 s", "max s"], &rows);
    output.line(&format!(
        "{} success + {} failed + {} skipped + {} missing = {} jobs; {} of {} portfolios processed",
        summary.successful_jobs,
        summary.failed_jobs,
        summary.skipped_jobs,
        summary.missing_jobs,
        summary.total_jobs,
        summary.portfolios_processed,
        summary.portfolios_expected
    ));
    for cause in &summary.failures {
        output.line("");
        output.line(&format!(
            "{} x {} ({}{}), {} skipped because of it: {}",
            cause.count,
            cause.job,
            cause.category,
            if cause.new { ", new" } else { "" },
            cause.skipped,
            safe(&cause.message)
        ));
        let named: Vec<&str> = cause.portfolios.iter().take(5).map(PortfolioId::as_str).collect();
        let more = cause.portfolios.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        output.line(&format!("  portfolios: {}{more}   fingerprint {}", named.join(", "), cause.fingerprint));
    }
    if stored.run.phase == RunPhase::Missed {
        output.line(&format!(
            "The slot passed without a run; to make up for it: nightbook run --book DIR --as-of {}",
            summary.as_of
        ));
    } else if !stored.run.is_closed() {
        in_hand(&reading::items(store, stored).await?, output);
    }
    Ok(())
}

/// What to do about the night of a run that is not good. A rerun on the pinned inputs may repeat the failure, so the
/// advice is that of the night.
async fn night_advice(
    store: &dyn RunStore,
    nights: &NightReader,
    stored: &StoredRun,
    output: &Output,
) -> anyhow::Result<()> {
    let (run, now) = (&stored.run, SystemClock.now());
    if let Some(view) = nights.of_date(store, run.as_of, Some(run.night_series()), now).await? {
        output.line("");
        print_short(&nights.report(store, &view, now).await?, output);
    }
    Ok(())
}

/// What tells a slow run from a stuck one: the last sign of life, and until when the claim is good without another.
fn in_hand(items: &[WorkItem], output: &Output) {
    let now = SystemClock.now();
    let ago = |at: DateTime<Utc>| format!("{} s ago", (now - at).num_seconds().max(0));
    let rows: Vec<Vec<String>> = items
        .iter()
        .filter_map(|item| {
            let ItemState::Working { lease_until, .. } = item.state else { return None };
            let hand = item.in_hand.as_ref();
            let progress = hand.and_then(|hand| hand.progress.as_ref());
            Some(vec![
                item.key.portfolio.to_string(),
                hand.map_or_else(|| "-".into(), |hand| hand.job.to_string()),
                progress.map_or_else(|| "-".into(), |p| format!("{}/{} {}", p.done, p.total, safe(&p.item))),
                item.heartbeat.map_or_else(|| "-".into(), ago),
                if lease_until < now { "stuck: no sign of life within its lease".into() } else { "alive".into() },
            ])
        })
        .collect();
    output.line("");
    if rows.is_empty() {
        output.line("The run is open and nobody works on it: the same `nightbook run`, or `nightbook serve`, goes on.");
    } else {
        output.table(&["in hand", "job", "progress", "last sign of life", "state"], &rows);
    }
}

fn record_table(records: &[JobRecord], output: &Output) {
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let why = match (&record.error, &record.skipped_because, &record.quality) {
                (Some(error), ..) => format!("{}: {}", error.category, safe(&error.message)),
                (None, Some(because), _) => format!("because of {}: {}", because.job, safe(&because.reason)),
                (None, None, Some(quality)) => {
                    format!("data {}, {}/{} days", quality.flag, quality.data_days, quality.required_days)
                }
                (None, None, None) => String::new(),
            };
            vec![
                record.portfolio_id.to_string(),
                record.job_name.to_string(),
                job_word(record.status),
                record.attempt.to_string(),
                record.duration_seconds.map_or_else(|| "-".into(), |seconds| format!("{seconds:.3}s")),
                why,
            ]
        })
        .collect();
    output.line("");
    output.table(&["portfolio", "job", "status", "attempt", "took", "detail"], &rows);
    debug_assert!(records.iter().all(|record| record.status != JobStatus::Skipped || record.skipped_because.is_some()));
}
