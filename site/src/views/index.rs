//! `index.html`: is everything well, and if not, what is the one cause?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::record::JobRecord;
use domain::words::{JobStatus, RunStatus};
use domain::work_item::ItemState;
use serde::Serialize;

use super::grid::{CellView, Column, Grid, GridRow, cell_link};
use super::{ClusterView, RunLine, Stamp, clusters, run_class, run_glyph};
use crate::gather::{RunData, RunHead, age_key};
use crate::options::SiteOptions;
use crate::text::{count, duration, duration_or_dash};

/// Rows of the grid, at most.
pub(crate) const MOST_ROWS: usize = 500;
/// Working items listed, at most.
const MOST_WORKING: usize = 50;

/// What the index is made of.
pub(crate) struct IndexInput<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) options: &'a SiteOptions,
    /// The newest runs, newest first.
    pub(crate) runs: &'a [RunHead],
    /// The runs of the newest trading date, newest first.
    pub(crate) latest: &'a [RunData],
    /// Runs that are not closed.
    pub(crate) open: &'a [RunData],
    /// Portfolios that have a page.
    pub(crate) with_page: &'a BTreeSet<PortfolioId>,
    /// Last success of each job.
    pub(crate) last_success: &'a [(JobName, Option<JobRecord>)],
}

/// A number with its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tile {
    pub(crate) label: &'static str,
    pub(crate) value: String,
    pub(crate) note: String,
    pub(crate) class: &'static str,
}

/// When a job last succeeded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LastSuccess {
    pub(crate) job: String,
    /// None: never.
    pub(crate) at: Option<Stamp>,
    pub(crate) portfolio: String,
    /// Address of its cell, from the root.
    pub(crate) link: Option<String>,
    /// Whether the page of the job is there.
    pub(crate) page: bool,
}

/// A portfolio that is worked on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Working {
    pub(crate) portfolio: String,
    pub(crate) job: String,
    pub(crate) progress: String,
    pub(crate) heartbeat: Option<Stamp>,
    pub(crate) lease_until: Stamp,
    /// Whether the lease had passed already: nobody renews it.
    pub(crate) silent: bool,
    pub(crate) attempt: u32,
}

/// A run under way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunningView {
    pub(crate) id: RunId,
    pub(crate) short: String,
    pub(crate) phase: &'static str,
    pub(crate) as_of: String,
    pub(crate) started: Stamp,
    pub(crate) ended: u64,
    pub(crate) expected: u64,
    pub(crate) jobs_ended: u64,
    pub(crate) jobs: u64,
    pub(crate) last_sign: Option<Stamp>,
    pub(crate) gives_up: Option<Stamp>,
    pub(crate) working: Vec<Working>,
    pub(crate) more: u64,
}

/// A bar of the strip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Bar {
    pub(crate) x: usize,
    pub(crate) y: u64,
    pub(crate) height: u64,
    pub(crate) line: RunLine,
}

/// The index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct IndexView {
    pub(crate) verdict: String,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) word: String,
    /// Where the run of the verdict is, from the root.
    pub(crate) link: Option<String>,
    pub(crate) generated: Stamp,
    pub(crate) data_through: Option<Stamp>,
    pub(crate) data_as_of: Option<String>,
    pub(crate) due: Option<Stamp>,
    /// The latest moment at which the due run is not late yet.
    pub(crate) due_with_grace: Option<Stamp>,
    pub(crate) grace_seconds: u64,
    pub(crate) schedule: Option<String>,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) running: Vec<RunningView>,
    pub(crate) as_of: Option<String>,
    pub(crate) reruns: u64,
    pub(crate) grid: Grid,
    pub(crate) grid_rest: Option<String>,
    pub(crate) clusters: Vec<ClusterView>,
    pub(crate) last_success: Vec<LastSuccess>,
    pub(crate) recent: Vec<RunLine>,
    pub(crate) strip: Vec<Bar>,
    pub(crate) newest: Option<RunId>,
}

/// A portfolio's name, and for each job its record and whether the page of the record's run is there.
pub(crate) type Resolved = (String, BTreeMap<JobName, (JobRecord, bool)>);

/// The latest state of each portfolio and job over the runs of one trading date, newest run first: a rerun replaces
/// only the cells that it has, and one that has not begun a job yet replaces nothing.
pub(crate) fn resolve(latest: &[RunData]) -> BTreeMap<PortfolioId, Resolved> {
    let mut cells: BTreeMap<PortfolioId, Resolved> = BTreeMap::new();
    for data in latest {
        for item in &data.items {
            let row = cells
                .entry(item.key.portfolio.clone())
                .or_insert_with(|| (item.portfolio_name.clone(), BTreeMap::new()));
            for record in data.records(item) {
                let linkable = data.head.linkable;
                match row.1.get(&record.job_name) {
                    Some((newer, _)) if newer.status != JobStatus::Pending => {}
                    _ => {
                        row.1.insert(record.job_name.clone(), (record, linkable));
                    }
                }
            }
        }
    }
    cells
}

/// The jobs of these runs, in the order of the newest job list, each once.
pub(crate) fn job_columns(latest: &[RunData]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for data in latest {
        for job in data.jobs() {
            match columns.iter_mut().find(|column| &*column.name == job.name.as_str()) {
                Some(column) => column.link |= data.head.linkable,
                None => columns.push(Column { name: Arc::from(job.name.as_str()), link: data.head.linkable }),
            }
        }
    }
    columns
}

fn grid(input: &IndexInput<'_>) -> Grid {
    let columns = job_columns(input.latest);
    let rows = resolve(input.latest)
        .into_iter()
        .map(|(id, (name, mut records))| {
            let cells: Vec<CellView> = columns
                .iter()
                .filter_map(|column| {
                    let name = JobName::new(&*column.name).ok()?;
                    let (record, linkable) = records.remove(&name)?;
                    let mut cell = CellView::of(&record, &column.name);
                    if linkable && cell.is_problem() {
                        cell.link = Some(cell_link(record.batch_run_id, id.as_str(), &column.name));
                    }
                    Some(cell)
                })
                .collect();
            let problem = cells.iter().any(CellView::is_problem);
            GridRow { link: input.with_page.contains(&id), id: id.to_string(), name, problem, cells }
        })
        .collect();
    Grid::new(columns, rows, MOST_ROWS)
}

fn running(data: &RunData, now: DateTime<Utc>) -> RunningView {
    let run = &data.head.run;
    let mut working: Vec<Working> = Vec::new();
    let mut sorted: Vec<_> = data.items.iter().collect();
    // Those that have been silent the longest come first: they are the ones to look at.
    sorted.sort_by_key(|item| item.heartbeat);
    for item in sorted {
        let ItemState::Working { lease_until, .. } = item.state else { continue };
        let hand = item.in_hand.as_ref();
        let progress = hand.and_then(|hand| hand.progress.as_ref());
        working.push(Working {
            portfolio: item.key.portfolio.to_string(),
            job: hand.map_or_else(|| "between two jobs".to_owned(), |hand| hand.job.to_string()),
            progress: progress.map_or_else(String::new, |p| {
                let share = format!("{}/{}", p.done, p.total);
                if p.item.contains(&share) { p.item.clone() } else { format!("{share} {}", p.item) }
            }),
            heartbeat: item.heartbeat.map(Stamp::of),
            lease_until: Stamp::of(lease_until),
            silent: lease_until < now,
            attempt: item.attempt,
        });
    }
    let more = working.len().saturating_sub(MOST_WORKING) as u64;
    working.truncate(MOST_WORKING);
    let counts = data.head.summary.counts();
    RunningView {
        id: run.batch_run_id,
        short: run.batch_run_id.short(),
        phase: match run.phase {
            domain::run::RunPhase::Planning { .. } => "planning",
            domain::run::RunPhase::Running => "running",
            domain::run::RunPhase::Closing { .. } => "closing",
            domain::run::RunPhase::Closed => "closed",
            domain::run::RunPhase::Missed => "missed",
        },
        as_of: run.as_of.to_string(),
        started: Stamp::of(run.started_at),
        ended: data.items.iter().filter(|item| item.state.is_terminal()).count() as u64,
        expected: data.head.summary.portfolios_expected,
        jobs_ended: counts.success + counts.failed + counts.skipped,
        jobs: data.head.summary.total_jobs,
        last_sign: data.items.iter().filter_map(|item| item.heartbeat).max().map(Stamp::of),
        gives_up: run.gives_up_at().map(Stamp::of),
        working,
        more,
    }
}

fn tiles(head: &RunHead, before: &[&RunHead]) -> Vec<Tile> {
    let summary = &head.summary;
    let tile = |label, value: String, note: String, class| Tile { label, value, note, class };
    let mut usual: Vec<f64> = before.iter().filter_map(|head| head.summary.wall_seconds).take(30).collect();
    usual.sort_unstable_by(f64::total_cmp);
    let usual = usual.get(usual.len() / 2).map_or_else(String::new, |median| format!("usually {}", duration(*median)));
    let retried: u64 = summary.job_summary.iter().map(|line| line.retried).sum();
    let unwell = |n: u64, class| if n > 0 { class } else { "" };
    vec![
        tile(
            "Portfolios",
            format!("{} of {}", summary.portfolios_processed, summary.portfolios_expected),
            "processed".into(),
            "",
        ),
        tile(
            "Succeeded",
            format!("{} of {}", summary.successful_jobs, summary.total_jobs),
            format!("jobs, {retried} after a retry"),
            "",
        ),
        tile(
            "Failed",
            summary.failed_jobs.to_string(),
            count(summary.failures.len() as u64, "cause"),
            unwell(summary.failed_jobs, "bad"),
        ),
        tile("Skipped", summary.skipped_jobs.to_string(), "because of others".into(), ""),
        // While it runs, what has no record has not ended yet.
        match summary.status {
            RunStatus::Running => tile("Open", summary.missing_jobs.to_string(), "not ended yet".into(), ""),
            _ => {
                let class = unwell(summary.missing_jobs, "miss");
                tile("Missing", summary.missing_jobs.to_string(), "without a record".into(), class)
            }
        },
        tile("Took", duration_or_dash(summary.wall_seconds), usual, ""),
    ]
}

fn strip(runs: &[RunHead]) -> Vec<Bar> {
    runs.iter()
        .rev()
        .enumerate()
        .map(|(at, head)| {
            let line = RunLine::of(head);
            let height = 6 + line.share() * 30 / 100;
            Bar { x: at * 10, y: 36 - height, height, line }
        })
        .collect()
}

/// The index of this input.
pub(crate) fn build(input: &IndexInput<'_>) -> IndexView {
    let newest = input.runs.first();
    let open = input.open.iter().max_by_key(|data| age_key(&data.head.run));
    let closed = input.runs.iter().find(|head| head.summary.closed_at.is_some());
    // A run under way says how far it is; of one that has not been written down yet there is nothing to say.
    let head = match (open, newest) {
        (Some(open), Some(newest)) if open.head.run.batch_run_id == newest.run.batch_run_id => Some(&open.head),
        (Some(open), None) => Some(&open.head),
        (_, newest) => newest,
    };
    let status = head.map(|head| head.summary.status);
    let link = |head: &RunHead| head.linkable.then(|| format!("runs/{}/index.html", head.run.batch_run_id));
    let since = |id: RunId| {
        input
            .runs
            .iter()
            .find(|head| head.run.batch_run_id == id)
            .map(|head| (head.run.as_of.to_string(), head.linkable))
    };
    let due = input
        .options
        .schedule
        .as_ref()
        .and_then(|schedule| schedule.next_due.filter(|due| head.is_none_or(|head| *due > head.run.scheduled_for)));
    let grace = input.options.schedule.as_ref().map_or(0, |schedule| schedule.grace_seconds);
    let before: Vec<&RunHead> = input.runs.iter().skip(1).filter(|head| head.summary.closed_at.is_some()).collect();
    let grid = grid(input);
    let page_of = input.latest.iter().find(|data| data.head.linkable);
    IndexView {
        verdict: head.map_or_else(|| "No run yet".to_owned(), |head| head.summary.verdict()),
        class: status.map_or("none", run_class),
        glyph: status.map_or("·", run_glyph),
        word: status.map_or_else(|| "empty".to_owned(), |status| status.to_string()),
        link: head.and_then(link),
        generated: Stamp::of(input.now),
        data_through: closed.and_then(|head| head.summary.closed_at).map(Stamp::of),
        data_as_of: closed.map(|head| head.run.as_of.to_string()),
        due: due.map(Stamp::of),
        due_with_grace: due.map(|due| Stamp::of(due + chrono::TimeDelta::seconds(i64::try_from(grace).unwrap_or(0)))),
        grace_seconds: grace,
        schedule: input
            .options
            .schedule
            .as_ref()
            .map(|schedule| format!("{}: {} in {}", schedule.name, schedule.cron, schedule.timezone)),
        tiles: head.map_or_else(Vec::new, |head| tiles(head, &before)),
        running: input.open.iter().map(|data| running(data, input.now)).collect(),
        as_of: input.latest.first().map(|data| data.head.run.as_of.to_string()),
        reruns: input.latest.len().saturating_sub(1) as u64,
        grid_rest: (grid.more > 0)
            .then(|| page_of.map(|data| format!("runs/{}/index.html", data.head.run.batch_run_id)))
            .flatten(),
        grid,
        clusters: head
            .filter(|head| head.summary.status != RunStatus::Success)
            .map_or_else(Vec::new, |head| clusters(&head.summary, since, 12)),
        last_success: input
            .last_success
            .iter()
            .map(|(job, record)| last_success(input, job, record.as_ref()))
            .collect(),
        recent: input.runs.iter().take(14).map(RunLine::of).collect(),
        strip: strip(input.runs),
        newest: head.map(|head| head.run.batch_run_id),
    }
}

fn last_success(input: &IndexInput<'_>, job: &JobName, record: Option<&JobRecord>) -> LastSuccess {
    let page = input.latest.iter().any(|data| data.head.linkable && data.jobs().iter().any(|spec| &spec.name == job));
    let linked = record
        .filter(|record| input.runs.iter().any(|head| head.run.batch_run_id == record.batch_run_id && head.linkable));
    LastSuccess {
        job: job.to_string(),
        at: record.and_then(|record| record.completed_at).map(Stamp::of),
        portfolio: record.map_or_else(String::new, |record| record.portfolio_id.to_string()),
        link: linked.map(|record| cell_link(record.batch_run_id, record.portfolio_id.as_str(), job.as_str())),
        page,
    }
}
