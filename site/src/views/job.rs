//! `jobs/<job>/index.html`: one job over its last runs.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::{Fingerprint, JobName, RunId};
use domain::ports::JobRun;
use domain::words::JobStatus;
use serde::Serialize;

use super::jobs::{JobLine, line};
use super::run::SummaryLine;
use super::{Stamp, cell_link, portfolio_link, run_link};
use crate::chart::Frame;
use crate::gather::{JobData, RING};
use crate::text::{duration, duration_or_dash};
use domain::baseline::{Band, FLAKY_OF, FLAKY_RULE, PACE_RULE, Pace, change_point, falls, is_flaky, median};

/// Runs over which portfolios are ranked.
const RANKED_RUNS: usize = 30;
/// Lines of each ranking, at most.
const MOST: usize = 12;
/// Lines of the table of portfolios, at most.
const MOST_PORTFOLIOS: usize = 100;

/// One run of the job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobRow {
    pub(crate) short: String,
    pub(crate) link: Option<String>,
    pub(crate) as_of: String,
    pub(crate) started: Stamp,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    #[serde(flatten)]
    pub(crate) line: SummaryLine,
    pub(crate) pace: Pace,
}

/// A mark in the drawing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Mark {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) glyph: &'static str,
    pub(crate) title: String,
}

/// The trend of durations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trend {
    /// What was usual at each run.
    pub(crate) band: Option<String>,
    pub(crate) median: Vec<String>,
    pub(crate) p95: Vec<String>,
    pub(crate) marks: Vec<Mark>,
    /// Where durations changed for good.
    pub(crate) change: Option<(String, String)>,
    pub(crate) top: String,
    pub(crate) middle: String,
    pub(crate) first: String,
    pub(crate) last: String,
}

/// A portfolio in the newest run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PortfolioLine {
    pub(crate) id: String,
    pub(crate) link: Option<String>,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) status: JobStatus,
    pub(crate) attempts: u32,
    pub(crate) seconds: String,
    /// Trading date of the last success; none: never, or not looked up.
    pub(crate) last: Option<String>,
    pub(crate) last_link: Option<String>,
    pub(crate) looked_up: bool,
}

/// A portfolio that failed often.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct OftenLine {
    pub(crate) id: String,
    pub(crate) link: Option<String>,
    pub(crate) failed: u64,
    pub(crate) falls: u64,
    pub(crate) flaky: bool,
}

/// A cause over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CauseRow {
    pub(crate) fingerprint: String,
    pub(crate) message: String,
    pub(crate) category: &'static str,
    pub(crate) total: u64,
    /// For each run of the head: how many cells, and where.
    pub(crate) cells: Vec<(u64, Option<String>)>,
}

/// What a job stands on and is allowed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Contract {
    pub(crate) job: String,
    pub(crate) needs: Vec<String>,
    pub(crate) needed_by: Vec<String>,
    pub(crate) family: &'static str,
    pub(crate) critical: bool,
    pub(crate) run_level: bool,
    pub(crate) limit: String,
    pub(crate) attempts: u32,
    pub(crate) backoff: String,
}

/// The page of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobView {
    pub(crate) job: JobName,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) verdict: String,
    pub(crate) head: JobLine,
    pub(crate) contract: Option<Contract>,
    pub(crate) portfolios: Vec<PortfolioLine>,
    pub(crate) portfolios_more: u64,
    pub(crate) rows: Vec<JobRow>,
    pub(crate) trend: Option<Trend>,
    pub(crate) often: Vec<OftenLine>,
    pub(crate) often_of: usize,
    pub(crate) cause_runs: Vec<(String, Option<String>)>,
    pub(crate) causes: Vec<CauseRow>,
    pub(crate) pace_rule: &'static str,
    pub(crate) flaky_rule: &'static str,
}

/// What the job stands on and is allowed, as of its newest run.
pub(crate) fn contract(data: &JobData) -> Option<Contract> {
    let fact = data.facts.get(&data.runs.first()?.batch_run_id)?;
    let spec = fact.jobs.iter().find(|spec| spec.name == data.job)?;
    let needed_by = fact.jobs.iter().filter(|other| other.needs.contains(&data.job));
    Some(Contract {
        job: data.job.to_string(),
        needs: spec.needs.iter().map(ToString::to_string).collect(),
        needed_by: needed_by.map(|other| other.name.to_string()).collect(),
        family: spec.job_type.as_str(),
        critical: spec.critical,
        run_level: spec.run_level,
        limit: duration(f64::from(spec.time_limit_seconds)),
        attempts: fact.retry.attempts,
        backoff: duration(fact.retry.backoff_seconds),
    })
}

fn verdict(runs: &[JobRun]) -> String {
    let Some(line) = runs.first().map(|run| &run.line) else { return "No closed run yet".to_owned() };
    if line.success == line.portfolios {
        return format!("Succeeded for all {} portfolios of the newest run", line.portfolios);
    }
    let parts: Vec<String> = [(line.failed, "failed"), (line.skipped, "skipped"), (line.missing, "missing")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}"))
        .collect();
    format!("Succeeded for {} of {} portfolios of the newest run: {}", line.success, line.portfolios, parts.join(", "))
}

/// What was usual before the run at this place.
fn band_at(runs: &[JobRun], at: usize) -> Option<Band> {
    Band::of(runs.iter().skip(at + 1).filter(|run| run.line.failed == 0).filter_map(|run| run.line.p50_seconds))
}

/// The page of this job.
pub(crate) fn build(data: &JobData) -> JobView {
    let linked = |id: RunId| data.facts.get(&id).filter(|fact| fact.linkable).map(|_| run_link(id));
    let rows = data
        .runs
        .iter()
        .enumerate()
        .map(|(at, run)| {
            let (class, glyph) = super::jobs::class_of(&run.line);
            let pace = band_at(&data.runs, at).zip(run.line.p50_seconds);
            JobRow {
                short: run.batch_run_id.short(),
                link: linked(run.batch_run_id),
                as_of: run.as_of.to_string(),
                started: Stamp::of(run.started_at),
                class,
                glyph,
                line: SummaryLine::of(&run.line, None),
                pace: pace.map_or(Pace::Usual, |(band, seconds)| band.pace(seconds)),
            }
        })
        .collect();
    let (portfolios, portfolios_more) = portfolios(data);
    let (often, often_of) = often(data);
    let (cause_runs, causes) = causes(data);
    let has_page = data.runs.iter().any(|run| linked(run.batch_run_id).is_some());
    JobView {
        job: data.job.clone(),
        stamp: data.newest.as_ref().and_then(|newest| newest.head.summary.closed_at).map(Stamp::of),
        verdict: verdict(&data.runs),
        head: line(data, has_page),
        contract: contract(data),
        portfolios,
        portfolios_more,
        rows,
        trend: trend(&data.runs),
        often,
        often_of,
        cause_runs,
        causes,
        pace_rule: PACE_RULE,
        flaky_rule: FLAKY_RULE,
    }
}

/// The portfolios of the newest run, problems first, then the slowest.
fn portfolios(data: &JobData) -> (Vec<PortfolioLine>, u64) {
    let Some(newest) = &data.newest else { return (Vec::new(), 0) };
    let mut found: Vec<_> = newest
        .items
        .iter()
        .filter_map(|item| Some((item, newest.records(item).into_iter().find(|record| record.job_name == data.job)?)))
        .collect();
    let rank = |status: JobStatus| match status {
        JobStatus::Failed => 0,
        JobStatus::Missing => 1,
        JobStatus::Skipped => 2,
        JobStatus::Running | JobStatus::Pending => 3,
        JobStatus::Success => 4,
    };
    found.sort_by(|(_, a), (_, b)| {
        rank(a.status)
            .cmp(&rank(b.status))
            .then_with(|| b.duration_seconds.unwrap_or(0.0).total_cmp(&a.duration_seconds.unwrap_or(0.0)))
            .then_with(|| a.portfolio_id.cmp(&b.portfolio_id))
    });
    let more = found.len().saturating_sub(MOST_PORTFOLIOS) as u64;
    let run = &newest.head.summary;
    let total = u32::try_from(run.portfolios_expected).unwrap_or(u32::MAX);
    let lines = found.into_iter().take(MOST_PORTFOLIOS).map(|(item, record)| {
        let cell = super::grid::CellView::of(&record, &std::sync::Arc::from(data.job.as_str()));
        let id = item.key.portfolio.to_string();
        let here = newest.head.linkable.then(|| cell_link(run.batch_run_id, total, item.place, &id, data.job.as_str()));
        let earlier = data.last_of.get(&item.key.portfolio);
        let (last, last_link) = match (record.status, earlier) {
            (JobStatus::Success, _) => (Some(run.as_of.to_string()), here),
            (_, Some(Some(earlier))) => {
                let fact = data.facts.get(&earlier.batch_run_id);
                let date = fact.map(|fact| fact.as_of).or(earlier.completed_at.map(|at| at.date_naive()));
                (date.map(|date| date.to_string()), super::jobs::record_link(earlier, fact))
            }
            _ => (None, None),
        };
        PortfolioLine {
            link: newest.head.portfolio_pages.then(|| portfolio_link(&id)),
            class: cell.class(),
            glyph: cell.glyph(),
            status: record.status,
            attempts: record.attempt,
            seconds: duration_or_dash(record.duration_seconds),
            last,
            last_link,
            looked_up: record.status == JobStatus::Success || earlier.is_some(),
            id,
        }
    });
    (lines.collect(), more)
}

/// The portfolios that failed most in the last runs, flaky ones marked.
fn often(data: &JobData) -> (Vec<OftenLine>, usize) {
    let runs: Vec<RunId> = data.runs.iter().take(RANKED_RUNS).map(|run| run.batch_run_id).collect();
    let mut failed: BTreeMap<&str, BTreeSet<RunId>> = BTreeMap::new();
    for sighting in data.sightings.iter().filter(|sighting| sighting.job == data.job) {
        for id in &sighting.portfolios {
            failed.entry(id.as_str()).or_default().insert(sighting.batch_run_id);
        }
    }
    let page = data.newest.as_ref().filter(|newest| newest.head.portfolio_pages);
    let pages: BTreeSet<&str> =
        page.iter().flat_map(|newest| newest.items.iter().map(|item| item.key.portfolio.as_str())).collect();
    let mut lines: Vec<OftenLine> = failed
        .into_iter()
        .filter_map(|(id, of)| {
            let count = runs.iter().filter(|run| of.contains(run)).count() as u64;
            let falls = falls(runs.iter().take(FLAKY_OF).map(|run| Some(!of.contains(run))));
            let link = pages.contains(id).then(|| portfolio_link(id));
            (count > 0).then(|| OftenLine { id: id.to_owned(), link, failed: count, falls, flaky: is_flaky(falls) })
        })
        .collect();
    lines.sort_by(|a, b| b.failed.cmp(&a.failed).then_with(|| a.id.cmp(&b.id)));
    lines.truncate(MOST);
    (lines, runs.len())
}

/// Causes over the last runs, the most frequent first; the heads are runs, oldest first.
fn causes(data: &JobData) -> (Vec<(String, Option<String>)>, Vec<CauseRow>) {
    let mut runs: Vec<&JobRun> = data.runs.iter().take(RANKED_RUNS).collect();
    runs.reverse();
    let mut rows: BTreeMap<&Fingerprint, CauseRow> = BTreeMap::new();
    for sighting in data.sightings.iter().filter(|sighting| sighting.job == data.job) {
        let Some(at) = runs.iter().position(|run| run.batch_run_id == sighting.batch_run_id) else { continue };
        let row = rows.entry(&sighting.fingerprint).or_insert_with(|| CauseRow {
            fingerprint: sighting.fingerprint.to_string(),
            // The newest sighting comes first: its message is shown.
            message: sighting.message.clone(),
            category: sighting.category.as_str(),
            total: 0,
            cells: vec![(0, None); runs.len()],
        });
        row.total += sighting.count;
        let linkable = data.facts.get(&sighting.batch_run_id).is_some_and(|fact| fact.linkable);
        if let Some(cell) = row.cells.get_mut(at) {
            let anchor = || format!("{}#cause-{}", run_link(sighting.batch_run_id), sighting.fingerprint);
            *cell = (sighting.count, linkable.then(anchor));
        }
    }
    let mut rows: Vec<CauseRow> = rows.into_values().collect();
    rows.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    rows.truncate(MOST);
    let head = |run: &&JobRun| {
        let linkable = data.facts.get(&run.batch_run_id).is_some_and(|fact| fact.linkable);
        (run.as_of.format("%m-%d").to_string(), linkable.then(|| run_link(run.batch_run_id)))
    };
    (runs.iter().map(head).collect(), rows)
}

/// Width and height of the drawing.
const SIZE: (f64, f64) = (640.0, 160.0);

fn trend(newest_first: &[JobRun]) -> Option<Trend> {
    let runs: Vec<&JobRun> = newest_first.iter().take(RING).collect();
    let n = runs.len();
    let values: Vec<Option<f64>> = runs.iter().rev().map(|run| run.line.p50_seconds).collect();
    if values.iter().flatten().count() < 2 {
        return None;
    }
    let p95: Vec<Option<f64>> = runs.iter().rev().map(|run| run.line.p95_seconds).collect();
    let bands: Vec<Option<Band>> = (0..n).rev().map(|at| band_at(newest_first, at)).collect();
    // One wild value must not flatten the rest.
    let all: Vec<f64> = p95.iter().flatten().copied().collect();
    let most = all.iter().copied().fold(0.0, f64::max);
    let usual_most = bands.iter().flatten().map(|band| band.high).fold(median(&all).unwrap_or(0.0) * 3.0, f64::max);
    let top = most.min(usual_most).max(1e-3);
    let frame = Frame::new(SIZE.0, SIZE.1, n, 0.0, top);
    let with_band: Vec<(usize, Band)> =
        bands.iter().enumerate().filter_map(|(at, band)| Some((at, (*band)?))).collect();
    let upper = with_band.iter().map(|(at, band)| frame.point(*at, band.high));
    let lower = with_band.iter().rev().map(|(at, band)| frame.point(*at, band.low));
    let band = (with_band.len() > 1).then(|| upper.chain(lower).collect::<Vec<_>>().join(" "));
    let marks = runs.iter().rev().enumerate().filter_map(|(at, run)| {
        let value = run.line.p50_seconds.unwrap_or(0.0);
        let pace = bands.get(at).copied().flatten().zip(run.line.p50_seconds).map_or(Pace::Usual, |(b, v)| b.pace(v));
        let (glyph, title) = if run.line.failed > 0 {
            ("✕", format!("{}: {} failed", run.as_of, run.line.failed))
        } else if pace == Pace::Usual {
            return None;
        } else {
            (pace.mark(), format!("{}: {}, {}", run.as_of, duration(value), pace.words()))
        };
        Some(Mark { x: format!("{:.1}", frame.x(at)), y: format!("{:.1}", frame.y(value)), glyph, title })
    });
    let known: Vec<(usize, f64)> = values.iter().enumerate().filter_map(|(at, v)| Some((at, (*v)?))).collect();
    let change = change_point(&known.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    let change = change.and_then(|at| known.get(at)).map(|(at, _)| {
        let as_of = runs.get(n - 1 - at).map_or_else(String::new, |run| run.as_of.to_string());
        (format!("{:.1}", frame.x(*at)), as_of)
    });
    Some(Trend {
        band,
        median: frame.lines(&values),
        p95: frame.lines(&p95),
        marks: marks.collect(),
        change,
        top: duration(top),
        middle: duration(top / 2.0),
        first: runs.last().map_or_else(String::new, |run| run.as_of.to_string()),
        last: runs.first().map_or_else(String::new, |run| run.as_of.to_string()),
    })
}
