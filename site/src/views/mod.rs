//! View models, one file a page: plain serializable data, made by pure functions of what was read.

pub(crate) mod alerts;
pub(crate) mod cells;
pub(crate) mod changes;
pub(crate) mod commands;
pub(crate) mod controls;
pub(crate) mod editions;
pub(crate) mod feed;
pub(crate) mod figures;
pub(crate) mod grid;
pub(crate) mod history;
pub(crate) mod index;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod machine;
pub(crate) mod night;
pub(crate) mod nights_list;
pub(crate) mod portfolio;
pub(crate) mod quality;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod schemas;
pub(crate) mod strip;
pub(crate) mod timeline;

use chrono::{DateTime, Utc};
use domain::fold::JobCounts;
use domain::ids::{PortfolioId, RunId};
use domain::night::Verdict;
use domain::run::BUCKET_SIZE;
use domain::summary::{FailureCluster, RunSummary};
use domain::words::RunStatus;
use domain::work_item::Place;
use serde::Serialize;

use crate::gather::{RunData, RunHead};
use crate::text::{duration_or_dash, machine, stamp};

/// An instant, for readers and for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stamp {
    /// As it is read.
    pub(crate) text: String,
    /// RFC 3339.
    pub(crate) machine: String,
}

impl Stamp {
    pub(crate) fn of(at: DateTime<Utc>) -> Self {
        Self { text: stamp(at), machine: machine(at) }
    }
}

/// The shape, hue and word of a run status.
pub(crate) const fn run_class(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Success => "ok",
        RunStatus::Failed => "bad",
        RunStatus::Partial => "part",
        RunStatus::Running => "run",
        RunStatus::Missed => "miss",
    }
}

/// The glyph of a run status.
pub(crate) const fn run_glyph(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Success => "✓",
        RunStatus::Failed => "✕",
        RunStatus::Partial => "▲",
        RunStatus::Running => "▶",
        RunStatus::Missed => "◇",
    }
}

/// The shape and hue of a verdict.
pub(crate) const fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warn",
        Verdict::Partial => "part",
        Verdict::Failed => "bad",
        Verdict::Running => "run",
        Verdict::Missed => "miss",
    }
}

/// The glyph of a verdict.
pub(crate) const fn verdict_glyph(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "✓",
        Verdict::Warning => "!",
        Verdict::Partial => "▲",
        Verdict::Failed => "✕",
        Verdict::Running => "▶",
        Verdict::Missed => "◇",
    }
}

/// A portfolio, and whether its page is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) link: bool,
}

/// One line of a table of runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunLine {
    pub(crate) id: RunId,
    pub(crate) short: String,
    /// What a reader's sorting goes by.
    pub(crate) sort: String,
    /// Whether its pages are there.
    pub(crate) link: bool,
    pub(crate) status: RunStatus,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) as_of: String,
    pub(crate) month: String,
    pub(crate) scheduled: Stamp,
    pub(crate) started: Stamp,
    pub(crate) wall: String,
    pub(crate) trigger: String,
    pub(crate) rerun: bool,
    pub(crate) portfolios: u64,
    #[serde(flatten)]
    pub(crate) counts: JobCounts,
    pub(crate) total: u64,
}

impl RunLine {
    pub(crate) fn of(head: &RunHead) -> Self {
        let summary = &head.summary;
        Self {
            sort: machine(summary.scheduled_for),
            id: summary.batch_run_id,
            short: summary.batch_run_id.short(),
            link: head.linkable,
            status: summary.status,
            class: run_class(summary.status),
            glyph: run_glyph(summary.status),
            as_of: summary.as_of.to_string(),
            month: summary.as_of.format("%Y-%m").to_string(),
            scheduled: Stamp::of(summary.scheduled_for),
            started: Stamp::of(summary.started_at),
            wall: duration_or_dash(summary.wall_seconds.filter(|_| summary.status != RunStatus::Missed)),
            trigger: summary.trigger.clone(),
            rerun: summary.rerun_of.is_some(),
            portfolios: summary.portfolios_expected,
            counts: summary.counts(),
            total: summary.total_jobs,
        }
    }
}

/// Portfolios up to which the page of a run carries all of them; above, the full list is split into pages of so many.
pub(crate) const PAGE_ROWS: u32 = 500;

/// The page of a run, from the root.
pub(crate) fn run_link(run: RunId) -> String {
    format!("runs/{run}/index.html")
}

/// The page of a portfolio, from the root.
pub(crate) fn portfolio_link(id: &str) -> String {
    format!("{}/index.html", crate::pages::portfolio_folder(id))
}

/// The page of a job, from the root.
pub(crate) fn job_link(job: &str) -> String {
    format!("jobs/{job}/index.html")
}

/// Which page of the split list a place stands on, from 1.
pub(crate) const fn list_page(place: Place) -> u32 {
    (place.bucket * BUCKET_SIZE + place.index) / PAGE_ROWS + 1
}

/// The page, below the folder of the run, on which a portfolio of a run with so many stands.
pub(crate) fn page_of_cell(portfolios: u32, place: Place) -> String {
    if portfolios <= PAGE_ROWS { "index.html".to_owned() } else { format!("portfolios-{}.html", list_page(place)) }
}

/// The address of a cell on the page of its run, from the root. `portfolios` is how many the run has.
pub(crate) fn cell_link(run: RunId, portfolios: u32, place: Place, portfolio: &str, job: &str) -> String {
    format!("runs/{run}/{}#{portfolio}-{job}", page_of_cell(portfolios, place))
}

/// One cause of failures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ClusterView {
    pub(crate) fingerprint: String,
    pub(crate) job: String,
    pub(crate) category: &'static str,
    pub(crate) message: String,
    pub(crate) count: u64,
    pub(crate) skipped: u64,
    pub(crate) portfolios: u64,
    pub(crate) new: bool,
    /// The trading date on which it was first seen.
    pub(crate) since: String,
    /// The page of that run, from the root, if it is there.
    pub(crate) since_link: Option<String>,
    /// Affected cells.
    pub(crate) cells: Vec<CellRef>,
    /// How many more cells there are than are listed.
    pub(crate) more: u64,
    /// Failed and skipped jobs that it explains, and of how many.
    pub(crate) explains: u64,
    pub(crate) of: u64,
    /// The same in hundredths.
    pub(crate) share: u64,
}

/// A cell that something points at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CellRef {
    pub(crate) portfolio: String,
    pub(crate) job: String,
    /// Where it is, from the root, or on the same page with a leading `#`.
    pub(crate) link: Option<String>,
}

/// The causes of a run. `since` says when a run was, and whether its page is there; `most` is how many cells each
/// lists; `link` says where the cell of a portfolio is.
pub(crate) fn clusters(
    summary: &RunSummary,
    since: impl Fn(RunId) -> Option<(String, bool)>,
    most: usize,
    link: impl Fn(&PortfolioId, &str) -> Option<String>,
) -> Vec<ClusterView> {
    let bad = summary.failed_jobs + summary.skipped_jobs;
    let one = |cluster: &FailureCluster| {
        let first = since(cluster.first_seen_run);
        let linked = first.as_ref().is_some_and(|(_, link)| *link) && cluster.first_seen_run != summary.batch_run_id;
        let explains = cluster.count + cluster.skipped;
        ClusterView {
            fingerprint: cluster.fingerprint.to_string(),
            job: cluster.job.to_string(),
            category: cluster.category.as_str(),
            message: cluster.message.clone(),
            count: cluster.count,
            skipped: cluster.skipped,
            portfolios: cluster.portfolios.len() as u64,
            new: cluster.new,
            since: first.map_or_else(|| format!("run {}", cluster.first_seen_run.short()), |(text, _)| text),
            since_link: linked.then(|| run_link(cluster.first_seen_run)),
            cells: cluster
                .portfolios
                .iter()
                .take(most)
                .map(|id| CellRef {
                    link: link(id, cluster.job.as_str()),
                    portfolio: id.to_string(),
                    job: cluster.job.to_string(),
                })
                .collect(),
            more: cluster.portfolios.len().saturating_sub(most) as u64,
            explains,
            of: bad,
            share: (explains * 100).checked_div(bad).unwrap_or(0),
        }
    };
    summary.failures.iter().map(one).collect()
}

/// A page and what is at its foot: where the root is, and what its data is of.
pub(crate) fn data_stamp(data: &RunData) -> Option<Stamp> {
    data.head.summary.closed_at.map(Stamp::of)
}
