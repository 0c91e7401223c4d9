//! `index.html`: is everything well, and if not, what is the one cause?

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::ids::PortfolioId;
use domain::night::Verdict;
use serde::Serialize;

use super::alerts::AlertsView;
use super::cells::{Resolved, grid, resolve, retried};
use super::changes::Changes;
use super::grid::Grid;
use super::jobs::JobLine;
use super::machine::ChainEnd;
use super::night::{FEW, NightBox, NightInput, night_box};
use super::running::{RunningView, running};
use super::strip::Strip;
use super::{RunLine, Stamp, run_link};
use crate::days::TradingDay;
use crate::gather::{JobData, NightData, Past, RunData, RunHead};
use crate::options::{Card, ScheduleView, SiteOptions};
use crate::text::{count, duration};
use domain::baseline::{AT_LEAST, Band, PACE_RULE, Pace};

/// What the index is made of.
pub(crate) struct IndexInput<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) options: &'a SiteOptions,
    /// The newest runs, newest first.
    pub(crate) runs: &'a [RunHead],
    /// The nights up to the last date that may be run, newest first.
    pub(crate) days: &'a [TradingDay],
    /// The newest of them.
    pub(crate) night: Option<NightInput<'a>>,
    /// The newest of them that has portfolios: its cells are shown.
    pub(crate) planned: Option<&'a NightData>,
    /// The runs of `planned`, newest first.
    pub(crate) latest: &'a [RunData],
    /// Runs that are not closed.
    pub(crate) open: &'a [RunData],
    /// Portfolios that have a page.
    pub(crate) with_page: &'a BTreeSet<PortfolioId>,
    /// The jobs of `planned`, in the order of the job list.
    pub(crate) jobs: &'a [JobData],
    /// What came before the newest run of `latest` that was closed.
    pub(crate) past: &'a Past,
    /// What the book says of portfolios.
    pub(crate) cards: &'a BTreeMap<PortfolioId, Card>,
    /// What could not be told, and what is not to be.
    pub(crate) alerts: AlertsView,
    /// The newest link of the chain of closed runs.
    pub(crate) newest_link: Option<ChainEnd>,
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

/// The index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct IndexView {
    /// The newest night; none: there is none.
    pub(crate) night: Option<NightBox>,
    pub(crate) glyph: &'static str,
    pub(crate) generated: Stamp,
    /// When its newest closed run was closed.
    pub(crate) closed: Option<Stamp>,
    #[serde(skip)]
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) due: Option<Stamp>,
    /// The latest moment at which the due run is not late yet.
    pub(crate) due_with_grace: Option<Stamp>,
    pub(crate) grace_seconds: u64,
    pub(crate) schedule: Option<String>,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) running: Vec<RunningView>,
    pub(crate) as_of: Option<String>,
    pub(crate) grid: Grid,
    pub(crate) grid_rest: Option<String>,
    pub(crate) jobs: Vec<JobLine>,
    pub(crate) changes: Option<Changes>,
    pub(crate) recent: Vec<RunLine>,
    pub(crate) strip: Strip,
    pub(crate) pace_rule: &'static str,
    #[serde(skip_serializing_if = "AlertsView::is_empty")]
    pub(crate) alerts: AlertsView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settings_warning: Option<String>,
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

fn tiles(input: &IndexInput<'_>, data: &NightData, resolved: &BTreeMap<PortfolioId, Resolved>) -> Vec<Tile> {
    let (night, head) = (&data.night, &data.head);
    let totals = night.totals;
    let tile = |label, value: String, note: String, class| Tile { label, value, note, class };
    let unwell = |n: u64, class| if n > 0 { class } else { "" };
    let quality = super::quality::roll_up(resolved);
    let days = quality.average_data_days.map_or_else(String::new, |days| format!(", {days:.0} days on average"));
    let poor = if quality.failed > 0 { format!(", {} without usable data", quality.failed) } else { String::new() };
    let absent = if head.absent_count > 0 { format!(", {} absent", head.absent_count) } else { String::new() };
    let retried = match retried(resolved) {
        0 => String::new(),
        n => format!("{n} after a retry ↻"),
    };
    let full_run = input.latest.iter().find(|run| Some(run.head.run.batch_run_id) == head.full_run);
    let (took_value, (note, class)) = match full_run.and_then(|run| run.head.summary.wall_seconds) {
        Some(seconds) => (duration(seconds), took(seconds, &input.past.wall)),
        None => ("–".to_owned(), ("no full run has ended".to_owned(), "")),
    };
    vec![
        tile(
            "Portfolios succeeded",
            format!("{} of {}", head.succeeded_portfolios, head.expected_portfolios),
            format!("in every job{absent}"),
            unwell(head.absent_count, "miss"),
        ),
        tile("Jobs succeeded", format!("{} of {}", totals.success, totals.total_jobs), retried, ""),
        tile("Failed", totals.failed.to_string(), count(head.cause_count, "cause"), unwell(totals.failed, "bad")),
        match night.verdict {
            // While the night runs, what has no record has not ended yet.
            Verdict::Running => tile("Open", totals.missing.to_string(), "not ended yet".into(), ""),
            _ => {
                let (n, class) = (totals.skipped + totals.missing, unwell(totals.missing, "miss"));
                let note = format!("{} skipped, {} without a record", totals.skipped, totals.missing);
                tile("Not run", n.to_string(), note, class)
            }
        },
        tile(
            "On full data",
            format!("{} of {}", quality.full, quality.full + quality.limited + quality.failed),
            format!("portfolios{days}{poor}"),
            unwell(quality.failed, "bad"),
        ),
        tile("Took", took_value, note, class),
    ]
}

/// The first slot without a run: a scheduled run of the slot, or a full run that was started after it.
///
/// A run by hand before the slot does not stand for it: the slot has its own run.
fn due(schedule: &ScheduleView, runs: &[RunHead]) -> Option<DateTime<Utc>> {
    let has_run = |slot: DateTime<Utc>| {
        runs.iter().any(|head| {
            let run = &head.run;
            let of_slot = run.scheduled_for == slot && (run.trigger == "schedule" || run.started_at >= slot);
            of_slot && run.filter.is_empty()
        })
    };
    schedule.next_due.iter().copied().find(|slot| !has_run(*slot))
}

/// The index of this input.
pub(crate) fn build(input: &IndexInput<'_>) -> IndexView {
    let night = input.night.as_ref();
    let schedule = input.options.schedule.as_ref();
    let due = schedule.and_then(|schedule| due(schedule, input.runs));
    let grace = schedule.map_or(0, |schedule| schedule.grace_seconds);
    let resolved = input.planned.map(|data| resolve(&data.night, input.latest)).unwrap_or_default();
    let is_newest = |data: &&NightData| night.is_some_and(|night| night.data.night.as_of == data.night.as_of);
    let tiles = input.planned.filter(is_newest).map_or_else(Vec::new, |data| tiles(input, data, &resolved));
    let grid = grid(input, resolved);
    let page_of = input.latest.iter().find(|data| data.head.linkable);
    let compared = input.latest.iter().find(|data| data.head.summary.closed_at.is_some());
    let closed = |heads: &mut dyn Iterator<Item = &RunHead>| {
        heads.filter(|head| head.run.plan.is_some()).filter_map(|head| head.summary.closed_at).max()
    };
    let last = input.days.first().map(|day| day.as_of);
    let closed_at = night
        .and_then(|night| closed(&mut night.runs.iter()))
        .or_else(|| closed(&mut input.runs.iter().filter(|head| Some(head.run.as_of) <= last)));
    IndexView {
        night: night.map(|night| night_box(night, FEW)),
        glyph: night.map_or("·", |night| super::verdict_glyph(night.data.night.verdict)),
        generated: Stamp::of(input.now),
        closed: closed_at.map(Stamp::of),
        due_at: due,
        due: due.map(Stamp::of),
        due_with_grace: due.map(|due| Stamp::of(due + chrono::TimeDelta::seconds(i64::try_from(grace).unwrap_or(0)))),
        grace_seconds: grace,
        schedule: schedule.map(|schedule| format!("{}: {} in {}", schedule.name, schedule.cron, schedule.timezone)),
        tiles,
        running: input.open.iter().map(|data| running(data, input.now)).collect(),
        as_of: input.planned.map(|data| data.night.as_of.to_string()),
        grid_rest: (grid.more > 0).then(|| page_of.map(|data| run_link(data.head.run.batch_run_id))).flatten(),
        grid,
        jobs: input.jobs.iter().map(|data| super::jobs::line(data, super::jobs::has_page(data))).collect(),
        changes: compared.and_then(|data| super::changes::build(data, input.past, data.head.run.rerun_of.is_some())),
        recent: input.runs.iter().take(14).map(RunLine::of).collect(),
        strip: super::strip::build(input.days),
        pace_rule: PACE_RULE,
        alerts: input.alerts.clone(),
        settings_warning: input.settings_warning.clone(),
    }
}
