//! `portfolios/<id>/index.html`: one portfolio over its last runs.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::record::Quality;
use domain::words::JobStatus;
use serde::Serialize;

use super::Stamp;
use super::grid::{CellView, Column, cell_link};
use crate::gather::PortfolioData;

/// One run of the portfolio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PortfolioRow {
    pub(crate) run: RunId,
    pub(crate) short: String,
    pub(crate) as_of: String,
    pub(crate) started: Stamp,
    pub(crate) link: bool,
    pub(crate) cells: Vec<Option<CellView>>,
}

/// When a job last succeeded for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobHealth {
    pub(crate) job: String,
    pub(crate) page: bool,
    /// The trading date of the last success; none: never.
    pub(crate) as_of: Option<String>,
    pub(crate) link: Option<String>,
    /// Runs in a row, up to the newest, without a success.
    pub(crate) without: u64,
}

/// What is wrong now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CurrentError {
    pub(crate) job: String,
    pub(crate) category: &'static str,
    pub(crate) message: String,
    pub(crate) link: Option<String>,
}

/// How good the data of a job was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobQuality {
    pub(crate) job: String,
    #[serde(flatten)]
    pub(crate) quality: Quality,
}

/// The page of a portfolio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PortfolioView {
    pub(crate) id: PortfolioId,
    pub(crate) name: String,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<PortfolioRow>,
    pub(crate) jobs: Vec<JobHealth>,
    pub(crate) errors: Vec<CurrentError>,
    pub(crate) quality: Vec<JobQuality>,
    /// Jobs of the newest run that ended well, of all.
    pub(crate) succeeded: u64,
    pub(crate) total: u64,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
}

/// The page of this portfolio.
pub(crate) fn build(data: &PortfolioData) -> PortfolioView {
    let mut columns: Vec<Column> = Vec::new();
    for run in &data.runs {
        let Some(fact) = data.facts.get(&run.batch_run_id) else { continue };
        for job in fact.jobs.iter() {
            match columns.iter_mut().find(|column| &*column.name == job.name.as_str()) {
                Some(column) => column.link |= fact.linkable,
                None => columns.push(Column { name: Arc::from(job.name.as_str()), link: fact.linkable }),
            }
        }
    }
    let rows: Vec<PortfolioRow> = data.runs.iter().map(|run| row(data, &columns, run)).collect();
    let jobs = columns.iter().enumerate().map(|(at, column)| health(data, &rows, at, column)).collect();
    let newest = rows.first();
    let link_of = |job: &str| newest.filter(|row| row.link).map(|row| cell_link(row.run, data.id.as_str(), job));
    let records = data.newest.as_ref().map_or(&[][..], |item| &item.records);
    let errors = records
        .iter()
        .filter(|record| record.status == JobStatus::Failed)
        .filter_map(|record| {
            let error = record.error.as_ref()?;
            Some(CurrentError {
                job: record.job_name.to_string(),
                category: error.category.as_str(),
                message: error.message.clone(),
                link: link_of(record.job_name.as_str()),
            })
        })
        .collect();
    let quality = records
        .iter()
        .filter_map(|record| Some(JobQuality { job: record.job_name.to_string(), quality: record.quality.clone()? }))
        .collect();
    let cells = || newest.into_iter().flat_map(|row| row.cells.iter().flatten());
    let succeeded = cells().filter(|cell| cell.status == JobStatus::Success).count() as u64;
    let total = cells().count() as u64;
    let open = cells().any(|cell| matches!(cell.status, JobStatus::Pending | JobStatus::Running));
    let (class, glyph) = match succeeded {
        _ if open => ("run", "▶"),
        n if n == total => ("ok", "✓"),
        0 => ("bad", "✕"),
        _ => ("part", "▲"),
    };
    PortfolioView {
        name: data.runs.first().map_or_else(|| data.id.to_string(), |run| run.portfolio_name.clone()),
        id: data.id.clone(),
        stamp: data.runs.first().map(|run| Stamp::of(run.started_at)),
        columns,
        rows,
        jobs,
        errors,
        quality,
        succeeded,
        total,
        class,
        glyph,
    }
}

fn row(data: &PortfolioData, columns: &[Column], run: &domain::ports::PortfolioRun) -> PortfolioRow {
    let fact = data.facts.get(&run.batch_run_id);
    let link = fact.is_some_and(|fact| fact.linkable);
    let cells = columns
        .iter()
        .map(|column| {
            let mut cell = match run.cells.iter().find(|cell| cell.job.as_str() == &*column.name) {
                Some(cell) => {
                    CellView::new(&column.name, cell.status, cell.attempt, cell.duration_seconds, cell.quality)
                }
                None => {
                    // Without a record: missing where the run had this job and has ended.
                    let fact = fact.filter(|fact| fact.jobs.iter().any(|job| job.name.as_str() == &*column.name))?;
                    let status = if fact.closed { JobStatus::Missing } else { JobStatus::Pending };
                    CellView::new(&column.name, status, 0, None, None)
                }
            };
            if link && cell.is_problem() {
                cell.link = Some(cell_link(run.batch_run_id, data.id.as_str(), &column.name));
            }
            Some(cell)
        })
        .collect();
    PortfolioRow {
        run: run.batch_run_id,
        short: run.batch_run_id.short(),
        as_of: run.as_of.to_string(),
        started: Stamp::of(run.started_at),
        link,
        cells,
    }
}

/// The newest success (by trading date, then start) that no newer run of the same date took back.
fn health(data: &PortfolioData, rows: &[PortfolioRow], at: usize, column: &Column) -> JobHealth {
    let mut by_date: Vec<(NaiveDate, DateTime<Utc>, usize, JobStatus)> = data
        .runs
        .iter()
        .zip(rows)
        .enumerate()
        .filter_map(|(place, (run, row))| {
            let status = row.cells.get(at)?.as_ref()?.status;
            let ended = !matches!(status, JobStatus::Pending | JobStatus::Running);
            ended.then_some((run.as_of, run.started_at, place, status))
        })
        .collect();
    by_date.sort_by_key(|entry| std::cmp::Reverse((entry.0, entry.1)));
    by_date.dedup_by_key(|entry| entry.0);
    let found = by_date.iter().find(|entry| entry.3 == JobStatus::Success);
    let without = by_date.iter().take_while(|entry| entry.3 != JobStatus::Success).count() as u64;
    let older = JobName::new(&*column.name).ok().and_then(|name| data.older_successes.get(&name));
    let link = found.and_then(|entry| rows.get(entry.2)).filter(|row| row.link);
    JobHealth {
        job: column.name.to_string(),
        page: column.link,
        as_of: match (found, older) {
            (Some(entry), _) => Some(entry.0.to_string()),
            (None, Some(record)) => record.completed_at.map(|at| at.format("%Y-%m-%d").to_string()),
            (None, None) => None,
        },
        link: link.map(|row| cell_link(row.run, data.id.as_str(), &column.name)),
        without,
    }
}
