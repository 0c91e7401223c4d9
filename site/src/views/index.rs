//! `index.html`: is everything well, and if not, what is the one cause?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::ids::{JobName, PortfolioId, RunId};
use domain::record::JobRecord;
use domain::words::{JobStatus, RunStatus};
use domain::work_item::{ItemState, Place};
use serde::Serialize;

use super::alerts::AlertsView;
use super::changes::{Changes, usual_longest};
use super::grid::{CellView, Column, Grid, GridRow, card_words};
use super::jobs::JobLine;
use super::strip::Strip;
use super::{
    ClusterView, PAGE_ROWS, RunLine, Stamp, cell_link, clusters, portfolio_link, run_class, run_glyph, run_link,
};
use crate::days::{days, is_made_up_for};
use crate::gather::{JobData, Past, RunData, RunHead, age_key};
use crate::options::{Card, SiteOptions};
use crate::text::{count, duration, duration_or_dash};
use domain::baseline::{AT_LEAST, Band, PACE_RULE, Pace};

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
    /// The jobs of the newest trading date, in the order of the job list.
    pub(crate) jobs: &'a [JobData],
    /// What came before the newest run of `latest` that was closed.
    pub(crate) past: &'a Past,
    /// What the book says of portfolios.
    pub(crate) cards: &'a BTreeMap<PortfolioId, Card>,
    /// What could not be told, and what is not to be.
    pub(crate) alerts: AlertsView,
    /// Why newer settings were refused.
    pub(crate) settings_warning: Option<String>,
}

/// A number with its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tile {
    pub(crate) label: &'static str,
    pub(crate) value: String,
    pub(crate) note: String,
    pub(crate) class: &'static str,
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
    pub(crate) jobs: Vec<JobLine>,
    pub(crate) changes: Option<Changes>,
    /// The command that runs again what did not succeed.
    pub(crate) rerun: Option<String>,
    /// What makes up for a slot that passed without a run.
    pub(crate) make_up: Option<String>,
    pub(crate) recent: Vec<RunLine>,
    pub(crate) strip: Strip,
    pub(crate) newest: Option<RunId>,
    pub(crate) pace_rule: &'static str,
    #[serde(skip_serializing_if = "AlertsView::is_empty")]
    pub(crate) alerts: AlertsView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settings_warning: Option<String>,
}

/// A portfolio's name, and for each job its record and whether the page of the record's run is there.
pub(crate) type Resolved = (String, BTreeMap<JobName, (JobRecord, bool)>);

/// The latest state of each portfolio and job over the runs of one trading date, newest run first: a rerun replaces
/// only the cells that it has, and one that has not begun a job yet replaces nothing.
pub(crate) fn resolve(latest: &[RunData]) -> BTreeMap<PortfolioId, Resolved> {
    let mut cells: BTreeMap<PortfolioId, Resolved> = BTreeMap::new();
    for data in latest {
        for item in data.items.iter() {
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
    let bands: Vec<Option<Band>> =
        columns.iter().map(|column| usual_longest(input.past, &JobName::new(&*column.name).ok()?)).collect();
    // Where a cell stands on the page of its run.
    let sizes: BTreeMap<RunId, u32> = input
        .latest
        .iter()
        .map(|data| (data.head.run.batch_run_id, data.head.run.plan.as_ref().map_or(0, |plan| plan.portfolios)))
        .collect();
    let mut places = BTreeMap::new();
    for data in input.latest.iter().filter(|data| data.items.len() > PAGE_ROWS as usize) {
        places.extend(data.items.iter().map(|item| ((item.key.run, item.key.portfolio.clone()), item.place)));
    }
    let rows = resolve(input.latest)
        .into_iter()
        .map(|(id, (name, mut records))| {
            let mut cells = Vec::with_capacity(columns.len());
            for (column, band) in columns.iter().zip(&bands) {
                let Some((record, linkable)) = JobName::new(&*column.name).ok().and_then(|name| records.remove(&name))
                else {
                    continue;
                };
                let mut cell = CellView::of(&record, &column.name).against(band.as_ref(), record.duration_seconds);
                if linkable && cell.is_problem() {
                    let run = record.batch_run_id;
                    let place = places.get(&(run, id.clone())).copied().unwrap_or(Place { bucket: 0, index: 0 });
                    let size = sizes.get(&run).copied().unwrap_or(0);
                    cell.link = Some(cell_link(run, size, place, id.as_str(), &column.name));
                }
                cells.push(cell);
            }
            let problem = cells.iter().any(CellView::is_problem);
            let words = card_words(input.cards.get(&id));
            GridRow { link: input.with_page.contains(&id), id: id.to_string(), name, problem, words, cells }
        })
        .collect();
    Grid::new(columns, rows, PAGE_ROWS as usize)
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

/// How long it took against what is usual, in words.
fn took(seconds: f64, earlier: &[f64]) -> (String, &'static str) {
    let Some(band) = Band::of(earlier.iter().copied()) else {
        return (format!("usual time not known before {AT_LEAST} runs"), "");
    };
    let usual = duration(band.median);
    let share = ((seconds / band.median - 1.0).abs() * 100.0).round();
    match band.pace(seconds) {
        Pace::Slow => (format!("▲ {share:.0} % slower than usual, {usual}"), "slow"),
        Pace::Fast => (format!("▼ {share:.0} % faster than usual, {usual}: suspiciously fast"), "slow"),
        Pace::Usual => (format!("usual: {usual}"), ""),
    }
}

fn tiles(head: &RunHead, past: &Past) -> Vec<Tile> {
    let summary = &head.summary;
    let tile = |label, value: String, note: String, class| Tile { label, value, note, class };
    let retried: u64 = summary.job_summary.iter().map(|line| line.retried).sum();
    let unwell = |n: u64, class| if n > 0 { class } else { "" };
    let quality = summary.data_quality;
    let days = quality.average_data_days.map_or_else(String::new, |days| format!(", {days:.0} days on average"));
    let poor = if quality.failed > 0 { format!(", {} without usable data", quality.failed) } else { String::new() };
    let (note, class) = match summary.wall_seconds {
        Some(seconds) => took(seconds, &past.wall),
        None => ("not ended yet".to_owned(), ""),
    };
    vec![
        tile(
            "Jobs succeeded",
            format!("{} of {}", summary.successful_jobs, summary.total_jobs),
            format!(
                "{} of {} portfolios processed{}",
                summary.portfolios_processed,
                summary.portfolios_expected,
                if retried > 0 { format!(", {retried} after a retry ↻") } else { String::new() }
            ),
            "",
        ),
        tile(
            "Failed",
            summary.failed_jobs.to_string(),
            count(summary.failures.len() as u64, "cause"),
            unwell(summary.failed_jobs, "bad"),
        ),
        tile("Skipped", summary.skipped_jobs.to_string(), "because of a failed one".into(), ""),
        // While it runs, what has no record has not ended yet.
        match summary.status {
            RunStatus::Running => tile("Open", summary.missing_jobs.to_string(), "not ended yet".into(), ""),
            _ => {
                let class = unwell(summary.missing_jobs, "miss");
                tile("Missing", summary.missing_jobs.to_string(), "without a record".into(), class)
            }
        },
        tile(
            "On full data",
            format!("{} of {}", quality.full, quality.full + quality.limited + quality.failed),
            format!("portfolios{days}{poor}"),
            unwell(quality.failed, "bad"),
        ),
        tile("Took", duration_or_dash(summary.wall_seconds), note, class),
    ]
}

/// The index of this input.
pub(crate) fn build(input: &IndexInput<'_>) -> IndexView {
    let newest = input.runs.iter().find(|head| !is_made_up_for(head, input.runs.iter()));
    let open = input.open.iter().max_by_key(|data| age_key(&data.head.run));
    let closed = input.runs.iter().find(|head| head.summary.closed_at.is_some() && head.run.plan.is_some());
    // A run under way says how far it is; of one that has not been written down yet there is nothing to say.
    let head = match (open, newest) {
        (Some(open), Some(newest)) if open.head.run.batch_run_id == newest.run.batch_run_id => Some(&open.head),
        (Some(open), None) => Some(&open.head),
        (_, newest) => newest,
    };
    let status = head.map(|head| head.summary.status);
    let since = |id: RunId| {
        let found = input.runs.iter().find(|head| head.run.batch_run_id == id);
        found.map(|head| (head.run.as_of.to_string(), head.linkable))
    };
    let schedule = input.options.schedule.as_ref();
    // A run of some portfolios only does not stand for its night.
    let whole = input.runs.iter().filter(|head| head.run.has_outcome() && head.run.filter.is_empty());
    let made = whole.map(|head| head.run.scheduled_for).max();
    let due = schedule.and_then(|schedule| schedule.next_due.iter().copied().find(|due| Some(*due) > made));
    let grace = schedule.map_or(0, |schedule| schedule.grace_seconds);
    let grid = grid(input);
    let page_of = input.latest.iter().find(|data| data.head.linkable);
    let compared = input.latest.iter().find(|data| data.head.summary.closed_at.is_some());
    let portfolio = |id: &PortfolioId, _: &str| input.with_page.contains(id).then(|| portfolio_link(id.as_str()));
    // A missed slot says nothing of causes: those of the run before it would look like its own.
    let told = head.filter(|head| matches!(head.summary.status, RunStatus::Partial | RunStatus::Failed));
    IndexView {
        verdict: head.map_or_else(|| "No run yet".to_owned(), |head| head.summary.verdict()),
        class: status.map_or("none", run_class),
        glyph: status.map_or("·", run_glyph),
        word: status.map_or_else(|| "empty".to_owned(), |status| status.to_string()),
        link: head.filter(|head| head.linkable).map(|head| run_link(head.run.batch_run_id)),
        generated: Stamp::of(input.now),
        data_through: closed.and_then(|head| head.summary.closed_at).map(Stamp::of),
        data_as_of: closed.map(|head| head.run.as_of.to_string()),
        due: due.map(Stamp::of),
        due_with_grace: due.map(|due| Stamp::of(due + chrono::TimeDelta::seconds(i64::try_from(grace).unwrap_or(0)))),
        grace_seconds: grace,
        schedule: schedule.map(|schedule| format!("{}: {} in {}", schedule.name, schedule.cron, schedule.timezone)),
        tiles: head
            .filter(|head| head.summary.status != RunStatus::Missed)
            .map_or_else(Vec::new, |head| tiles(head, input.past)),
        running: input.open.iter().map(|data| running(data, input.now)).collect(),
        as_of: input.latest.first().map(|data| data.head.run.as_of.to_string()),
        reruns: (input.latest.iter().filter(|data| data.head.run.plan.is_some()).count() as u64).saturating_sub(1),
        grid_rest: (grid.more > 0).then(|| page_of.map(|data| run_link(data.head.run.batch_run_id))).flatten(),
        grid,
        clusters: told.map_or_else(Vec::new, |head| clusters(&head.summary, since, 12, portfolio)),
        rerun: told.filter(|head| head.run.plan.is_some()).and_then(|head| head.summary.remedy()),
        make_up: head.filter(|head| head.run.plan.is_none()).and_then(|head| head.summary.remedy()),
        jobs: input.jobs.iter().map(|data| super::jobs::line(data, super::jobs::has_page(data))).collect(),
        changes: compared.and_then(|data| super::changes::build(data, input.past, data.head.run.rerun_of.is_some())),
        recent: input.runs.iter().take(14).map(RunLine::of).collect(),
        strip: super::strip::build(&days(input.runs)),
        newest: head.map(|head| head.run.batch_run_id),
        pace_rule: PACE_RULE,
        alerts: input.alerts.clone(),
        settings_warning: input.settings_warning.clone(),
    }
}
