//! `jobs/index.html`, and the lines about jobs on the index: is each well, and since when?

use domain::ports::JobRun;
use domain::record::JobRecord;
use serde::Serialize;

use super::{Stamp, cell_link, job_link, run_link};
use crate::gather::{JobData, RunFact};
use crate::text::{duration, duration_or_dash};
use domain::baseline::{Band, FLAKY_RULE, PACE_RULE, Pace, falls, is_flaky};

/// Runs in the small bars.
const SMALL: usize = 10;

/// A small bar: one run of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SmallBar {
    pub(crate) x: usize,
    pub(crate) y: u64,
    pub(crate) height: u64,
    pub(crate) class: &'static str,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobLine {
    pub(crate) job: String,
    /// Its page, from the root, if it is there.
    pub(crate) link: Option<String>,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) success: u64,
    pub(crate) portfolios: u64,
    /// Its last success anywhere; none: never.
    pub(crate) last: Option<Stamp>,
    pub(crate) last_of: String,
    pub(crate) last_link: Option<String>,
    /// The trading date on which it last succeeded for every portfolio of a run.
    pub(crate) complete: Option<String>,
    pub(crate) complete_link: Option<String>,
    pub(crate) median: String,
    pub(crate) usual: String,
    pub(crate) pace: Pace,
    pub(crate) bars: Vec<SmallBar>,
    pub(crate) bars_text: String,
    pub(crate) flaky: bool,
    pub(crate) falls: u64,
    pub(crate) retried: u64,
}

/// The class of a job in a run.
pub(crate) const fn class_of(line: &domain::summary::JobSummary) -> (&'static str, &'static str) {
    if line.portfolios == 0 {
        ("none", "·")
    } else if line.success == line.portfolios {
        ("ok", "✓")
    } else if line.success == 0 {
        ("bad", "✕")
    } else {
        ("part", "▲")
    }
}

/// `3.1s–4.8s`, or nothing where too little is known.
pub(crate) fn usual_text(band: Option<&Band>) -> String {
    band.map_or_else(String::new, |band| {
        let (low, high) = (duration(band.low), duration(band.high));
        if band.low <= 0.0 { format!("up to {high}") } else { format!("{low}–{high}") }
    })
}

/// The address of the cell of a record, if its page is there.
pub(crate) fn record_link(record: &JobRecord, fact: Option<&RunFact>) -> Option<String> {
    let fact = fact.filter(|fact| fact.linkable)?;
    // The record does not say where on a split list it stands.
    Some(if fact.portfolios > super::PAGE_ROWS {
        run_link(record.batch_run_id)
    } else {
        let place = domain::work_item::Place { bucket: 0, index: 0 };
        cell_link(record.batch_run_id, fact.portfolios, place, record.portfolio_id.as_str(), record.job_name.as_str())
    })
}

/// The line of a job. `page`: whether its page is there.
pub(crate) fn line(data: &JobData, page: bool) -> JobLine {
    let newest = data.runs.first().map(|run| &run.line);
    let earlier = data.runs.iter().skip(1).filter(|run| run.line.failed == 0);
    let band = Band::of(earlier.filter_map(|run| run.line.p50_seconds));
    let seconds = newest.and_then(|line| line.p50_seconds);
    let outcome = |run: &JobRun| {
        let line = &run.line;
        (line.success + line.failed > 0).then_some(line.failed == 0)
    };
    let falls = falls(data.runs.iter().map(outcome));
    let complete = data.runs.iter().find(|run| run.line.portfolios > 0 && run.line.success == run.line.portfolios);
    let (class, glyph) = newest.map_or(("none", "·"), class_of);
    let small: Vec<&JobRun> = data.runs.iter().take(SMALL).collect();
    let bars = small.iter().rev().enumerate().map(|(at, run)| {
        let height = 3 + (run.line.success * 13).checked_div(run.line.portfolios).unwrap_or(0);
        SmallBar { x: at * 8, y: 16 - height, height, class: class_of(&run.line).0 }
    });
    let good = small.iter().filter(|run| class_of(&run.line).0 == "ok").count();
    JobLine {
        job: data.job.to_string(),
        link: page.then(|| job_link(data.job.as_str())),
        class,
        glyph,
        success: newest.map_or(0, |line| line.success),
        portfolios: newest.map_or(0, |line| line.portfolios),
        last: data.last.as_ref().and_then(|record| record.completed_at).map(Stamp::of),
        last_of: data.last.as_ref().map_or_else(String::new, |record| record.portfolio_id.to_string()),
        last_link: data.last.as_ref().and_then(|record| record_link(record, data.facts.get(&record.batch_run_id))),
        complete: complete.map(|run| run.as_of.to_string()),
        complete_link: complete
            .filter(|run| data.facts.get(&run.batch_run_id).is_some_and(|fact| fact.linkable))
            .map(|run| run_link(run.batch_run_id)),
        median: duration_or_dash(seconds),
        usual: usual_text(band.as_ref()),
        pace: band.zip(seconds).map_or(Pace::Usual, |(band, seconds)| band.pace(seconds)),
        bars: bars.collect(),
        bars_text: format!("{good} of the last {} runs without a failure, skip or gap", small.len()),
        flaky: is_flaky(falls),
        falls,
        retried: newest.map_or(0, |line| line.retried),
    }
}

/// Whether the page of a job is there: a run that has one brings those of its jobs.
pub(crate) fn has_page(data: &JobData) -> bool {
    data.facts.values().any(|fact| fact.linkable && fact.jobs.iter().any(|spec| spec.name == data.job))
}

/// The page of all jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct JobsView {
    pub(crate) stamp: Option<Stamp>,
    pub(crate) as_of: Option<String>,
    pub(crate) jobs: Vec<JobLine>,
    pub(crate) contracts: Vec<super::job::Contract>,
    pub(crate) pace_rule: &'static str,
    pub(crate) flaky_rule: &'static str,
}

/// The page of these jobs, in the order of the job list.
pub(crate) fn build(jobs: &[JobData]) -> JobsView {
    let newest = jobs.iter().filter_map(|data| data.runs.first()).max_by_key(|run| (run.scheduled_for, run.started_at));
    JobsView {
        stamp: jobs.iter().filter_map(|data| data.newest.as_ref()?.head.summary.closed_at).max().map(Stamp::of),
        as_of: newest.map(|run| run.as_of.to_string()),
        contracts: jobs.iter().filter_map(super::job::contract).collect(),
        jobs: jobs.iter().map(|data| line(data, has_page(data))).collect(),
        pace_rule: PACE_RULE,
        flaky_rule: FLAKY_RULE,
    }
}
