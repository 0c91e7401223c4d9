//! `jobs/<job>/index.html`: one job over its last runs.

use domain::ids::JobName;
use domain::ports::JobRun;
use domain::record::JobRecord;
use serde::Serialize;

use super::Stamp;
use super::grid::cell_link;
use super::run::JobLine;
use crate::gather::Facts;
use crate::text::duration;

/// One run of the job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobRow {
    pub(crate) run: String,
    pub(crate) short: String,
    pub(crate) link: bool,
    pub(crate) as_of: String,
    pub(crate) started: Stamp,
    #[serde(flatten)]
    pub(crate) line: JobLine,
}

/// A point of the trend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Dot {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) title: String,
}

/// The trend of durations: a line of medians over a band up to the 95th percentile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trend {
    pub(crate) median: String,
    pub(crate) band: String,
    /// Runs in which it failed somewhere.
    pub(crate) failures: Vec<Dot>,
    pub(crate) top: String,
    pub(crate) middle: String,
    pub(crate) first: String,
    pub(crate) last: String,
}

/// The page of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobView {
    pub(crate) job: JobName,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) last_success: Option<Stamp>,
    pub(crate) last_success_portfolio: String,
    pub(crate) last_success_link: Option<String>,
    pub(crate) verdict: String,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) rows: Vec<JobRow>,
    pub(crate) trend: Option<Trend>,
}

/// The page of this job, of its closed runs, newest first.
pub(crate) fn build(job: &JobName, runs: &[JobRun], facts: &Facts, last: Option<&JobRecord>) -> JobView {
    let linkable = |id| facts.get(&id).is_some_and(|fact| fact.linkable);
    let rows: Vec<JobRow> = runs
        .iter()
        .map(|run| JobRow {
            run: run.batch_run_id.to_string(),
            short: run.batch_run_id.short(),
            link: linkable(run.batch_run_id),
            as_of: run.as_of.to_string(),
            started: Stamp::of(run.started_at),
            line: JobLine::of(&run.line),
        })
        .collect();
    let (verdict, class, glyph) = match runs.first().map(|run| &run.line) {
        None => ("No closed run yet".to_owned(), "none", "·"),
        Some(line) if line.success == line.portfolios => {
            (format!("Succeeded for all {} portfolios of the newest run", line.portfolios), "ok", "✓")
        }
        Some(line) => {
            let (class, glyph) = if line.success == 0 { ("bad", "✕") } else { ("part", "▲") };
            let sentence = format!(
                "Succeeded for {} of {} portfolios of the newest run: {} failed, {} skipped, {} missing",
                line.success, line.portfolios, line.failed, line.skipped, line.missing
            );
            (sentence, class, glyph)
        }
    };
    JobView {
        job: job.clone(),
        stamp: runs.first().map(|run| Stamp::of(run.started_at)),
        last_success: last.and_then(|record| record.completed_at).map(Stamp::of),
        last_success_portfolio: last.map_or_else(String::new, |record| record.portfolio_id.to_string()),
        last_success_link: last
            .filter(|record| linkable(record.batch_run_id))
            .map(|record| cell_link(record.batch_run_id, record.portfolio_id.as_str(), job.as_str())),
        verdict,
        class,
        glyph,
        trend: trend(runs),
        rows,
    }
}

/// Width and height of the drawing.
const SIZE: (f64, f64) = (640.0, 150.0);

fn trend(runs: &[JobRun]) -> Option<Trend> {
    let points: Vec<(&JobRun, f64, f64)> =
        runs.iter().rev().filter_map(|run| Some((run, run.line.p50_seconds?, run.line.p95_seconds?))).collect();
    if points.len() < 2 {
        return None;
    }
    let top = points.iter().map(|point| point.2).fold(0.0, f64::max).max(1e-3);
    let x = |at: usize| at as f64 * SIZE.0 / (points.len() - 1) as f64;
    let y = |seconds: f64| SIZE.1 - seconds / top * SIZE.1;
    let point = |at: usize, seconds: f64| format!("{:.1},{:.1}", x(at), y(seconds));
    let median: Vec<String> = points.iter().enumerate().map(|(at, p)| point(at, p.1)).collect();
    let mut band: Vec<String> = points.iter().enumerate().map(|(at, p)| point(at, p.2)).collect();
    band.extend(median.iter().rev().cloned());
    let failures = points
        .iter()
        .enumerate()
        .filter(|(_, p)| p.0.line.failed > 0)
        .map(|(at, p)| Dot {
            x: format!("{:.1}", x(at)),
            y: format!("{:.1}", y(p.1)),
            title: format!("{}: {} failed", p.0.as_of, p.0.line.failed),
        })
        .collect();
    Some(Trend {
        median: median.join(" "),
        band: band.join(" "),
        failures,
        top: duration(top),
        middle: duration(top / 2.0),
        first: points.first().map_or_else(String::new, |p| p.0.as_of.to_string()),
        last: points.last().map_or_else(String::new, |p| p.0.as_of.to_string()),
    })
}
