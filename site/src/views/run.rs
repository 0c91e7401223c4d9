//! `runs/<id>/index.html`: what happened in this run, and how it is known that nothing was left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::fold::JobCounts;
use domain::ids::RunId;
use domain::summary::{JobSummary, QualitySummary};
use domain::words::JobStatus;
use serde::Serialize;

use super::grid::{CellView, Column, Grid, GridRow};
use super::{CellRef, ClusterView, Stamp, clusters, data_stamp, run_class, run_glyph};
use crate::gather::{Facts, RunData};
use crate::text::{duration_or_dash, stamp_seconds};

/// Rows of the grid, at most.
const MOST_ROWS: usize = 2_000;
/// Lines of the lists of cells, at most.
const MOST_CELLS: usize = 500;

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Where it leads, from the root.
    pub(crate) link: Option<String>,
}

/// One line of the table of jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobLine {
    #[serde(flatten)]
    pub(crate) line: JobSummary,
    pub(crate) p50: String,
    pub(crate) p95: String,
    pub(crate) max: String,
}

impl JobLine {
    pub(crate) fn of(line: &JobSummary) -> Self {
        Self {
            p50: duration_or_dash(line.p50_seconds),
            p95: duration_or_dash(line.p95_seconds),
            max: duration_or_dash(line.max_seconds),
            line: line.clone(),
        }
    }
}

/// A cell that failed, with its message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FailedCell {
    #[serde(flatten)]
    pub(crate) cell: CellRef,
    pub(crate) category: &'static str,
    pub(crate) message: String,
    pub(crate) chain: Vec<String>,
    pub(crate) attempt: u32,
    pub(crate) fingerprint: String,
}

/// A cell that was skipped, and the cell that caused it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SkippedCell {
    #[serde(flatten)]
    pub(crate) cell: CellRef,
    pub(crate) root: String,
    pub(crate) reason: String,
}

/// The page of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunView {
    pub(crate) id: RunId,
    pub(crate) short: String,
    pub(crate) as_of: String,
    pub(crate) verdict: String,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) word: &'static str,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) portfolios: u64,
    pub(crate) jobs_of_run: u64,
    #[serde(flatten)]
    pub(crate) counts: JobCounts,
    pub(crate) total: u64,
    pub(crate) sum: u64,
    pub(crate) records_kept: bool,
    pub(crate) jobs: Vec<JobLine>,
    pub(crate) quality: QualitySummary,
    pub(crate) average_days: Option<String>,
    pub(crate) clusters: Vec<ClusterView>,
    pub(crate) grid: Grid,
    pub(crate) failed: Vec<FailedCell>,
    pub(crate) failed_more: u64,
    pub(crate) skipped: Vec<SkippedCell>,
    pub(crate) skipped_more: u64,
    pub(crate) missing: Vec<CellRef>,
    pub(crate) missing_more: u64,
    pub(crate) rerun: Option<String>,
}

fn facts_of(data: &RunData, others: &Facts) -> Vec<Fact> {
    let (run, summary) = (&data.head.run, &data.head.summary);
    let fact = |name, value: String| Fact { name, value, link: None };
    let mut facts = vec![
        fact("Run", run.batch_run_id.to_string()),
        fact("Schedule", run.schedule.to_string()),
        fact("Trigger", run.trigger.clone()),
        fact("Trading date", run.as_of.to_string()),
        fact("Slot", stamp_seconds(run.scheduled_for)),
        fact("Started", stamp_seconds(run.started_at)),
        fact("Closed", summary.closed_at.map_or_else(|| "not yet".to_owned(), stamp_seconds)),
        fact("Took", duration_or_dash(summary.wall_seconds)),
        fact("Work", format!("{} over all jobs", duration_or_dash(Some(summary.total_duration)))),
    ];
    if let Some(of) = run.rerun_of {
        let linked = others.get(&of).is_some_and(|fact| fact.linkable);
        let link = linked.then(|| format!("runs/{of}/index.html"));
        facts.push(Fact { name: "Repeats run", value: of.to_string(), link });
    }
    if !run.filter.is_empty() {
        let named: Vec<String> = run.filter.iter().take(20).map(ToString::to_string).collect();
        let more = run.filter.len().saturating_sub(20);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        facts.push(fact("Only portfolios", format!("{}{more}", named.join(", "))));
    }
    if let Some(at) = summary.cancelled_at {
        facts.push(fact("Cancelled", stamp_seconds(at)));
    }
    if let Some(plan) = &run.plan {
        facts.push(fact("Book (SHA-256)", plan.book.to_string()));
        facts.push(fact("Pinned inputs (SHA-256)", plan.snapshot.to_string()));
    }
    facts.push(fact("Publication", "published: this page is written after the records".to_owned()));
    facts
}

/// The page of this run. `others` says which of the runs that it mentions have a page.
pub(crate) fn build(data: &RunData, others: &Facts) -> RunView {
    let summary = &data.head.summary;
    let columns: Vec<Column> =
        data.jobs().iter().map(|job| Column { name: Arc::from(job.name.as_str()), link: data.head.linkable }).collect();
    let (mut failed, mut skipped, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = Vec::with_capacity(data.items.len());
    for item in &data.items {
        let id = item.key.portfolio.to_string();
        let mut cells = Vec::with_capacity(columns.len());
        for (record, column) in data.records(item).iter().zip(&columns) {
            let mut cell = CellView::of(record, &column.name);
            let here = || CellRef { portfolio: id.clone(), job: column.name.to_string() };
            match (record.status, &record.error, &record.skipped_because) {
                (JobStatus::Failed, Some(error), _) => {
                    cell.link = Some(format!("#cause-{}", error.fingerprint));
                    failed.push(FailedCell {
                        cell: here(),
                        category: error.category.as_str(),
                        message: error.message.clone(),
                        chain: error.chain.clone(),
                        attempt: record.attempt,
                        fingerprint: error.fingerprint.to_string(),
                    });
                }
                (JobStatus::Skipped, _, Some(because)) => {
                    cell.link = Some(format!("#{id}-{}", because.job));
                    skipped.push(SkippedCell {
                        cell: here(),
                        root: because.job.to_string(),
                        reason: because.reason.clone(),
                    });
                }
                (JobStatus::Missing, ..) => missing.push(here()),
                _ => {}
            }
            cells.push(cell);
        }
        let problem = cells.iter().any(CellView::is_problem);
        rows.push(GridRow { id, name: item.portfolio_name.clone(), link: data.head.portfolio_pages, problem, cells });
    }
    let grid = Grid::new(columns, rows, MOST_ROWS);
    // What does not stand in the grid has no anchor.
    let shown: BTreeSet<&str> = grid.rows.iter().map(|row| row.id.as_str()).collect();
    failed.retain(|cell| shown.contains(cell.cell.portfolio.as_str()));
    skipped.retain(|cell| shown.contains(cell.cell.portfolio.as_str()));
    missing.retain(|cell: &CellRef| shown.contains(cell.portfolio.as_str()));
    let mut clusters = clusters(summary, |id| others.get(&id).map(|fact| (id.short(), fact.linkable)), usize::MAX);
    for cluster in &mut clusters {
        let all = cluster.cells.len() as u64;
        cluster.cells.retain(|cell| shown.contains(cell.portfolio.as_str()));
        cluster.more = all - cluster.cells.len() as u64;
    }
    let over = |len: usize| len.saturating_sub(MOST_CELLS) as u64;
    let (failed_more, skipped_more, missing_more) = (over(failed.len()), over(skipped.len()), over(missing.len()));
    failed.truncate(MOST_CELLS);
    skipped.truncate(MOST_CELLS);
    missing.truncate(MOST_CELLS);
    let counts = summary.counts();
    RunView {
        id: summary.batch_run_id,
        short: summary.batch_run_id.short(),
        as_of: summary.as_of.to_string(),
        verdict: summary.verdict(),
        class: run_class(summary.status),
        glyph: run_glyph(summary.status),
        word: summary.status.as_str(),
        stamp: data_stamp(data),
        facts: facts_of(data, others),
        portfolios: summary.portfolios_expected,
        jobs_of_run: data.jobs().len() as u64,
        counts,
        total: summary.total_jobs,
        sum: counts.total(),
        records_kept: data.records_kept(),
        jobs: summary.job_summary.iter().map(JobLine::of).collect(),
        quality: summary.data_quality,
        average_days: summary.data_quality.average_data_days.map(|days| format!("{days:.1}")),
        clusters,
        grid,
        failed,
        failed_more,
        skipped,
        skipped_more,
        missing,
        missing_more,
        rerun: (counts.total() > counts.success).then(|| super::rerun(summary.batch_run_id)),
    }
}
