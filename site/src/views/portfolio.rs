//! `portfolios/<id>/index.html`: one portfolio over its last runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::night::NightControl;
use domain::ports::PortfolioRun;
use domain::record::Quality;
use domain::words::JobStatus;
use serde::Serialize;

use super::commands::Commands;
use super::controls::Controls;
use super::editions::EditionLine;
use super::figures::{Figures, data_days};
use super::grid::{CellView, Column};
use super::{Stamp, cell_link, run_link};
use crate::chart::{Spark, spark};
use crate::gather::{NightData, PortfolioData};
use crate::options::Card;
use crate::text::duration;
use domain::baseline::{Band, FLAKY_RULE, PACE_RULE, Pace, falls, is_flaky};

/// One run of the portfolio.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PortfolioRow {
    pub(crate) short: String,
    pub(crate) as_of: String,
    pub(crate) link: Option<String>,
    pub(crate) cells: Vec<Option<CellView>>,
}

/// How a job fares for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobHealth {
    pub(crate) job: String,
    pub(crate) page: bool,
    /// The trading date of the last success; none: never.
    pub(crate) as_of: Option<String>,
    pub(crate) link: Option<String>,
    /// Trading dates in a row, up to the newest, without a success.
    pub(crate) without: u64,
    /// Successes of the trading dates of the last 7, 30 and 90 days, as `6 of 7`.
    pub(crate) rates: [String; 3],
    pub(crate) seconds: String,
    pub(crate) usual: String,
    pub(crate) pace: Pace,
    pub(crate) flaky: bool,
    pub(crate) falls: u64,
    /// Runs in which it succeeded only after a retry.
    pub(crate) retried: u64,
}

/// What is wrong now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CurrentError {
    pub(crate) job: String,
    pub(crate) category: &'static str,
    pub(crate) message: String,
    pub(crate) link: Option<String>,
    pub(crate) since: String,
    pub(crate) since_link: Option<String>,
    /// Other portfolios of the run with the same cause.
    pub(crate) others: u64,
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
    pub(crate) card: Card,
    pub(crate) runbook: Option<String>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) as_of: Option<String>,
    /// The newest night; none: it is older than the newest run of the portfolio.
    pub(crate) night: Option<String>,
    /// The date through which the data of that night reaches, and whether it is older than the night.
    pub(crate) data_through: Option<String>,
    pub(crate) stale: bool,
    /// Whether it is expected on that night and in none of its runs.
    pub(crate) absent: bool,
    /// Whether a run of all portfolios of the night has ended: else it may be in the book.
    pub(crate) full_run_ended: bool,
    /// Control results of that night about it.
    #[serde(skip_serializing_if = "Controls::is_empty")]
    pub(crate) controls: Controls,
    /// Figures of that night that were restated, the newest edition first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) editions: Vec<EditionLine>,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<PortfolioRow>,
    pub(crate) jobs: Vec<JobHealth>,
    pub(crate) errors: Vec<CurrentError>,
    /// Skipped and missing jobs of the newest run, and what caused them.
    pub(crate) consequences: Vec<(String, String)>,
    pub(crate) quality: Vec<JobQuality>,
    pub(crate) days: Option<DaysTrend>,
    pub(crate) figures: Option<Figures>,
    /// Jobs of the newest run that ended well, of all.
    pub(crate) succeeded: u64,
    pub(crate) total: u64,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) word: &'static str,
    pub(crate) rerun: Option<String>,
    pub(crate) pace_rule: &'static str,
    pub(crate) flaky_rule: &'static str,
}

/// Days of data over the dates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DaysTrend {
    pub(crate) now: String,
    pub(crate) spark: Option<Spark>,
    /// Date, days there, days asked for; newest first.
    pub(crate) rows: Vec<(String, String, String)>,
}

/// The page of this portfolio.
pub(crate) fn build(data: &PortfolioData, commands: &Commands) -> PortfolioView {
    let columns = columns(data);
    let durations = durations(data, &columns);
    // What is usual now: the newest run is measured against those before it, and the older ones against the same.
    let usual: Vec<Option<Band>> =
        durations.iter().map(|column| Band::of(column.iter().skip(1).flatten().copied())).collect();
    let rows: Vec<PortfolioRow> = data.runs.iter().map(|run| row(data, &columns, &usual, run)).collect();
    let jobs =
        columns.iter().enumerate().map(|(at, column)| health(data, &rows, &durations, &usual, at, column)).collect();
    let newest_run = data.runs.first();
    let records = data.newest.as_ref().map_or(&[][..], |item| &item.records);
    let quality = records
        .iter()
        .filter_map(|record| Some(JobQuality { job: record.job_name.to_string(), quality: record.quality.clone()? }))
        .collect();
    let consequences = records
        .iter()
        .filter_map(|record| Some((record.job_name.to_string(), record.skipped_because.as_ref()?.reason.clone())))
        .collect();
    let cells = || rows.first().into_iter().flat_map(|row| row.cells.iter().flatten());
    let succeeded = cells().filter(|cell| cell.status == JobStatus::Success).count() as u64;
    let total = cells().count() as u64;
    let open = cells().any(|cell| matches!(cell.status, JobStatus::Pending | JobStatus::Running));
    let (class, glyph, word) = match (&data.night, succeeded) {
        (Some(night), _) if speaks_of(night, data) => super::night::state(&night.night, &data.id),
        _ if open => ("run", "▶", "running"),
        (_, n) if n == total => ("ok", "✓", "success"),
        (_, 0) => ("bad", "✕", "failed"),
        _ => ("part", "▲", "partial"),
    };
    let night = data.night.as_ref().filter(|night| speaks_of(night, data));
    let own = |control: &&NightControl| control.result.portfolio_id.as_ref() == Some(&data.id);
    let controls = night.into_iter().flat_map(|night| night.night.controls.iter().filter(own));
    let here = BTreeSet::from([data.id.clone()]);
    let scenario = records.iter().find_map(|record| record.job_metadata.get("worst_case_scenario")?.as_str());
    let currency = if data.card.currency.is_empty() { "USD" } else { &data.card.currency };
    PortfolioView {
        name: newest_run.map_or_else(|| data.id.to_string(), |run| run.portfolio_name.clone()),
        id: data.id.clone(),
        runbook: data.card.runbook().map(str::to_owned),
        card: data.card.clone(),
        stamp: newest_run.map(|run| Stamp::of(run.started_at)),
        as_of: newest_run.map(|run| run.as_of.to_string()),
        errors: errors(data),
        consequences,
        quality,
        days: days(&data.runs),
        figures: super::figures::build(&data.runs, currency, scenario),
        rerun: newest_run
            .filter(|_| succeeded < total && !open)
            .map(|run| commands.run(run.as_of, &["--portfolio", commands.portfolio(&data.id), "--again"])),
        night: night.map(|night| night.night.as_of.to_string()),
        data_through: night.and_then(|night| night.night.newest_close).map(|date| date.to_string()),
        stale: night.is_some_and(|night| night.night.newest_close.is_some_and(|date| date < night.night.as_of)),
        absent: word == "absent",
        full_run_ended: night.is_some_and(|night| night.night.full_run_ended),
        controls: Controls::of(controls, &here, usize::MAX),
        editions: night
            .map_or_else(Vec::new, |night| super::editions::lines(&night.night.editions, Some(&data.id), &[])),
        columns,
        rows,
        jobs,
        succeeded,
        total,
        class,
        glyph,
        word,
        pace_rule: PACE_RULE,
        flaky_rule: FLAKY_RULE,
    }
}

/// A column for each job of the runs that are shown.
fn columns(data: &PortfolioData) -> Vec<Column> {
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
    columns
}

/// Whether the newest night is not older than the newest run of the portfolio.
fn speaks_of(night: &NightData, data: &PortfolioData) -> bool {
    data.runs.first().is_none_or(|run| run.as_of <= night.night.as_of)
}

fn days(runs: &[PortfolioRun]) -> Option<DaysTrend> {
    let days = data_days(runs);
    let newest = days.last()?;
    Some(DaysTrend {
        now: format!("{:.0} of {:.0}", newest.2, newest.3),
        spark: spark(&days.iter().map(|day| Some(day.2)).collect::<Vec<_>>()),
        rows: days
            .iter()
            .rev()
            .map(|day| (day.0.to_string(), format!("{:.0}", day.2), format!("{:.0}", day.3)))
            .collect(),
    })
}

fn errors(data: &PortfolioData) -> Vec<CurrentError> {
    let Some(run) = data.runs.first() else { return Vec::new() };
    let fact = data.facts.get(&run.batch_run_id);
    let records = data.newest.as_ref().map_or(&[][..], |item| &item.records);
    let failed = records.iter().filter(|record| record.status == JobStatus::Failed);
    let one = |record: &domain::record::JobRecord| {
        let error = record.error.as_ref()?;
        let cause = fact.and_then(|fact| fact.causes.iter().find(|cause| cause.fingerprint == error.fingerprint));
        let first = cause.and_then(|cause| Some((cause.first_seen, data.facts.get(&cause.first_seen)?)));
        Some(CurrentError {
            job: record.job_name.to_string(),
            category: error.category.as_str(),
            message: error.message.clone(),
            link: fact.filter(|fact| fact.linkable).map(|fact| {
                cell_link(run.batch_run_id, fact.portfolios, run.place, data.id.as_str(), record.job_name.as_str())
            }),
            since: match first {
                Some((id, _)) if id == run.batch_run_id => "this run".to_owned(),
                Some((_, fact)) => fact.as_of.to_string(),
                None => String::new(),
            },
            since_link: first.filter(|(id, fact)| fact.linkable && *id != run.batch_run_id).map(|(id, _)| run_link(id)),
            others: cause.map_or(0, |cause| cause.portfolios.saturating_sub(1)),
        })
    };
    failed.filter_map(one).collect()
}

/// For each column the durations of its successes, newest run first.
type Durations = Vec<Vec<Option<f64>>>;

fn durations(data: &PortfolioData, columns: &[Column]) -> Durations {
    let of = |column: &Column, run: &PortfolioRun| {
        let cell = run.cells.iter().find(|cell| cell.job.as_str() == &*column.name)?;
        cell.duration_seconds.filter(|_| cell.status == JobStatus::Success)
    };
    columns.iter().map(|column| data.runs.iter().map(|run| of(column, run)).collect()).collect()
}

fn row(data: &PortfolioData, columns: &[Column], usual: &[Option<Band>], run: &PortfolioRun) -> PortfolioRow {
    let fact = data.facts.get(&run.batch_run_id);
    let linkable = fact.filter(|fact| fact.linkable);
    let cells = columns
        .iter()
        .zip(usual)
        .map(|(column, usual)| {
            let mut cell = match run.cells.iter().find(|cell| cell.job.as_str() == &*column.name) {
                Some(cell) => {
                    CellView::new(&column.name, cell.status, cell.attempt, cell.duration_seconds, cell.quality)
                        .against(usual.as_ref(), cell.duration_seconds)
                }
                None => {
                    // Without a record: missing where the run had this job and has ended.
                    let fact = fact.filter(|fact| fact.jobs.iter().any(|job| job.name.as_str() == &*column.name))?;
                    let status = if fact.closed { JobStatus::Missing } else { JobStatus::Pending };
                    CellView::new(&column.name, status, 0, None, None)
                }
            };
            if let Some(fact) = linkable.filter(|_| cell.is_problem()) {
                cell.link =
                    Some(cell_link(run.batch_run_id, fact.portfolios, run.place, data.id.as_str(), &column.name));
            }
            Some(cell)
        })
        .collect();
    PortfolioRow {
        short: run.batch_run_id.short(),
        as_of: run.as_of.to_string(),
        link: linkable.map(|_| run_link(run.batch_run_id)),
        cells,
    }
}

/// One trading date of a job: the newest run of it that has ended.
type DatedOutcome = (NaiveDate, DateTime<Utc>, usize, JobStatus);

/// The newest success (by trading date, then start) that no newer run of the same date took back, and the rest.
fn health(
    data: &PortfolioData,
    rows: &[PortfolioRow],
    durations: &Durations,
    usual: &[Option<Band>],
    at: usize,
    column: &Column,
) -> JobHealth {
    let mut by_date: Vec<DatedOutcome> = data
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
    let older = JobName::new(&*column.name).ok().and_then(|name| data.older_successes.get(&name));
    let linkable = |id: RunId| data.facts.get(&id).filter(|fact| fact.linkable);
    let link = found.and_then(|entry| data.runs.get(entry.2)).and_then(|run| {
        let fact = linkable(run.batch_run_id)?;
        Some(cell_link(run.batch_run_id, fact.portfolios, run.place, data.id.as_str(), &column.name))
    });
    let cell = rows.first().and_then(|row| row.cells.get(at)).and_then(Option::as_ref);
    let outcome = |entry: &DatedOutcome| match entry.3 {
        JobStatus::Success => Some(true),
        JobStatus::Failed => Some(false),
        _ => None,
    };
    let falls = falls(by_date.iter().map(outcome));
    JobHealth {
        job: column.name.to_string(),
        page: column.link,
        as_of: match (found, older) {
            (Some(entry), _) => Some(entry.0.to_string()),
            (None, Some(record)) => record.completed_at.map(|at| at.format("%Y-%m-%d").to_string()),
            (None, None) => None,
        },
        link,
        without: by_date.iter().take_while(|entry| entry.3 != JobStatus::Success).count() as u64,
        rates: [7, 30, 90].map(|days| rate(&by_date, days)),
        seconds: durations
            .get(at)
            .and_then(|all| all.first().copied().flatten())
            .map_or_else(|| "–".to_owned(), duration),
        usual: super::jobs::usual_text(usual.get(at).and_then(Option::as_ref)),
        pace: cell.map_or(Pace::Usual, |cell| cell.pace),
        flaky: is_flaky(falls),
        falls,
        retried: rows.iter().filter(|row| matches!(row.cells.get(at), Some(Some(cell)) if cell.retried)).count() as u64,
    }
}

/// Successes of the trading dates that lie at most so many days before the newest.
fn rate(by_date: &[DatedOutcome], days: i64) -> String {
    let Some(newest) = by_date.first() else { return "–".to_owned() };
    let recent: BTreeMap<NaiveDate, bool> = by_date
        .iter()
        .filter(|entry| (newest.0 - entry.0).num_days() < days)
        .map(|entry| (entry.0, entry.3 == JobStatus::Success))
        .collect();
    format!("{} of {}", recent.values().filter(|well| **well).count(), recent.len())
}
