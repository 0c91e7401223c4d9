//! When what ran: bars over the time of the run, and the same as a table.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::words::JobStatus;
use serde::Serialize;

use crate::gather::{Past, RunData};
use crate::text::duration;
use domain::baseline::median;

/// Jobs up to which each has a bar; above, a lane is a job over all portfolios.
const MOST_BARS: u64 = 300;
/// Width of the drawing, and height of a lane.
const WIDTH: f64 = 900.0;
const LANE: usize = 16;

/// One bar.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TimeBar {
    pub(crate) class: &'static str,
    pub(crate) x: String,
    pub(crate) width: String,
    pub(crate) title: String,
    /// Whether the end of the run waited for it.
    pub(crate) critical: bool,
}

/// One lane, and its line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) y: usize,
    pub(crate) bars: Vec<TimeBar>,
    /// From the first start to the last end.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) busy: String,
    pub(crate) jobs: u64,
    pub(crate) last: bool,
}

/// The timeline of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Timeline {
    /// Whether lanes are portfolios; else they are jobs.
    pub(crate) by_portfolio: bool,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) height: usize,
    /// Labels under the axis: place and text.
    pub(crate) ticks: Vec<(String, String)>,
    /// Where earlier runs usually ended, if that is in the picture.
    pub(crate) usual_end: Option<(String, String)>,
    pub(crate) late: String,
    pub(crate) took: String,
}

struct Span<'a> {
    lane: usize,
    job: &'a str,
    class: &'static str,
    from: f64,
    to: f64,
}

fn class_of(status: JobStatus, attempt: u32) -> &'static str {
    match status {
        JobStatus::Success if attempt > 1 => "r",
        JobStatus::Success => "s",
        JobStatus::Failed => "f",
        _ => "w",
    }
}

/// What ran in a run, by the number of its lane.
fn spans_of<'d>(data: &'d RunData, by_portfolio: bool, names: &[String]) -> Vec<Span<'d>> {
    let lane_of: BTreeMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let seconds = |at: DateTime<Utc>| domain::run::seconds_between(data.head.summary.started_at, at);
    let mut spans = Vec::new();
    for item in data.items.iter() {
        for record in &item.records {
            let (Some(from), Some(to)) = (record.started_at, record.completed_at) else { continue };
            if !matches!(record.status, JobStatus::Success | JobStatus::Failed) {
                continue;
            }
            let key = if by_portfolio { item.key.portfolio.as_str() } else { record.job_name.as_str() };
            let Some(lane) = lane_of.get(key) else { continue };
            spans.push(Span {
                lane: *lane,
                job: record.job_name.as_str(),
                class: class_of(record.status, record.attempt),
                from: seconds(from),
                to: seconds(to),
            });
        }
    }
    spans
}

/// One lane: a bar for each job of a portfolio, or one for all portfolios of a job. `width` is that of the picture in
/// seconds.
fn lane(at: usize, name: &str, mut spans: Vec<&Span<'_>>, by_portfolio: bool, is_last: bool, width: f64) -> Lane {
    spans.sort_by(|a, b| a.from.total_cmp(&b.from));
    let (first, to) = spans.iter().fold((f64::MAX, 0.0f64), |(a, b), span| (a.min(span.from), b.max(span.to)));
    let known = !spans.is_empty();
    let x = |at: f64| at / width * WIDTH;
    let bar = |class, from: f64, to: f64, title: String| TimeBar {
        class,
        x: format!("{:.1}", x(from)),
        width: format!("{:.1}", x(to - from).max(1.5)),
        title,
        critical: is_last,
    };
    let bars = if by_portfolio {
        let title = |s: &Span<'_>| format!("{}: {} at +{}", s.job, duration(s.to - s.from), duration(s.from));
        spans.iter().map(|span| bar(span.class, span.from, span.to, title(span))).collect()
    } else if known {
        let class = if spans.iter().any(|span| span.class == "f") { "f" } else { "s" };
        let title = format!("{name}: from +{} to +{}, {} portfolios", duration(first), duration(to), spans.len());
        vec![bar(class, first, to, title)]
    } else {
        Vec::new()
    };
    let known_or = |text: String| if known { text } else { "–".to_owned() };
    Lane {
        name: name.to_owned(),
        y: at * LANE,
        bars,
        from: known_or(format!("+{}", duration(first))),
        to: known_or(format!("+{}", duration(to))),
        busy: known_or(duration(spans.iter().map(|span| span.to - span.from).sum())),
        jobs: spans.len() as u64,
        last: is_last,
    }
}

/// The timeline of this run; none where nothing ran.
pub(crate) fn build(data: &RunData, past: &Past) -> Option<Timeline> {
    let summary = &data.head.summary;
    let by_portfolio = summary.total_jobs <= MOST_BARS;
    let names: Vec<String> = if by_portfolio {
        data.items.iter().map(|item| item.key.portfolio.to_string()).collect()
    } else {
        data.jobs().iter().map(|job| job.name.to_string()).collect()
    };
    let spans = spans_of(data, by_portfolio, &names);
    let end = spans.iter().map(|span| span.to).fold(0.0, f64::max).max(summary.wall_seconds.unwrap_or(0.0));
    if spans.is_empty() || end <= 0.0 {
        return None;
    }
    let usual = median(&past.wall).filter(|usual| past.wall.len() >= domain::baseline::AT_LEAST && *usual <= end * 1.5);
    let width = end.max(usual.unwrap_or(0.0)) * 1.02;
    let last = spans.iter().max_by(|a, b| a.to.total_cmp(&b.to)).map(|span| span.lane);
    let one = |(at, name): (usize, &String)| {
        let own = spans.iter().filter(|span| span.lane == at).collect();
        lane(at, name, own, by_portfolio, last == Some(at), width)
    };
    let lanes: Vec<Lane> = names.iter().enumerate().map(one).collect();
    let tick = |share: f64| (format!("{:.1}", WIDTH * share), format!("+{}", duration(width * share)));
    let late = domain::run::seconds_between(summary.scheduled_for, summary.started_at);
    Some(Timeline {
        by_portfolio,
        height: lanes.len() * LANE,
        lanes,
        ticks: [0.0, 0.25, 0.5, 0.75, 1.0].map(tick).into(),
        usual_end: usual.map(|usual| (format!("{:.1}", usual / width * WIDTH), duration(usual))),
        late: duration(late),
        took: duration(end),
    })
}
