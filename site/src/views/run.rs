//! `runs/<id>/index.html`: what happened in this run, and how it is known that nothing was left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::fold::JobCounts;
use domain::ids::{PortfolioId, RunId};
use domain::night::next_step::{NextStep, next_step};
use domain::note::{Note, NoteKind};
use domain::run::AbandonReason;
use domain::summary::{JobSummary, QualitySummary};
use domain::words::JobStatus;
use domain::work_item::{Place, WorkItem};
use serde::Serialize;

use super::changes::{Changes, usual, usual_longest};
use super::commands::Commands;
use super::grid::{CellView, Column, Grid, GridRow, card_words};
use super::timeline::Timeline;
use super::{
    CellRef, ClusterView, PAGE_ROWS, Stamp, clusters, data_stamp, page_of_cell, run_class, run_glyph, run_link,
};
use crate::gather::{Facts, Past, RunData};
use crate::options::Card;
use crate::pages::night_path;
use crate::text::{duration, duration_or_dash, stamp_seconds};
use domain::baseline::{Band, PACE_RULE, Pace};

/// Lines of the lists of cells, at most.
const MOST_CELLS: usize = 500;

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Where it leads, from the root.
    pub(crate) link: Option<String>,
}

/// One line of the table of jobs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SummaryLine {
    #[serde(flatten)]
    pub(crate) line: JobSummary,
    pub(crate) p50: String,
    pub(crate) p95: String,
    pub(crate) max: String,
    pub(crate) usual: String,
    pub(crate) pace: Pace,
}

impl SummaryLine {
    pub(crate) fn of(line: &JobSummary, band: Option<&Band>) -> Self {
        Self {
            p50: duration_or_dash(line.p50_seconds),
            p95: duration_or_dash(line.p95_seconds),
            max: duration_or_dash(line.max_seconds),
            usual: super::jobs::usual_text(band),
            pace: band.zip(line.p50_seconds).map_or(Pace::Usual, |(band, seconds)| band.pace(seconds)),
            line: line.clone(),
        }
    }
}

/// A cell that failed, with its message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FailedLine {
    #[serde(flatten)]
    pub(crate) cell: CellRef,
    pub(crate) category: &'static str,
    pub(crate) message: String,
    pub(crate) chain: Vec<String>,
    pub(crate) attempt: u32,
    pub(crate) fingerprint: String,
}

/// A cell that was skipped, and the cell that caused it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SkippedLine {
    #[serde(flatten)]
    pub(crate) cell: CellRef,
    pub(crate) root: String,
    pub(crate) root_link: Option<String>,
    pub(crate) reason: String,
}

/// A list with what was cut off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Listed<T> {
    pub(crate) lines: Vec<T>,
    pub(crate) more: u64,
}

impl<T> Listed<T> {
    fn of(mut lines: Vec<T>) -> Self {
        let more = lines.len().saturating_sub(MOST_CELLS) as u64;
        lines.truncate(MOST_CELLS);
        Self { lines, more }
    }
}

/// A page of the split list of portfolios.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ListPage {
    pub(crate) number: u32,
    pub(crate) first: String,
    pub(crate) last: String,
    pub(crate) problems: u64,
}

/// The page of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunView {
    pub(crate) id: RunId,
    pub(crate) short: String,
    pub(crate) as_of: String,
    pub(crate) verdict: String,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) word: &'static str,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) portfolios: u64,
    pub(crate) jobs_of_run: u64,
    #[serde(flatten)]
    pub(crate) counts: JobCounts,
    pub(crate) total: u64,
    pub(crate) sum: u64,
    pub(crate) records_kept: bool,
    pub(crate) jobs: Vec<SummaryLine>,
    pub(crate) quality: QualitySummary,
    pub(crate) average_days: Option<String>,
    pub(crate) clusters: Vec<ClusterView>,
    pub(crate) grid: Grid,
    /// The pages of the full list, where it is split.
    pub(crate) pages: Vec<ListPage>,
    pub(crate) failed: Listed<FailedLine>,
    pub(crate) skipped: Listed<SkippedLine>,
    pub(crate) missing: Listed<CellRef>,
    /// What to do about what this run left undone; `None` where it left nothing undone.
    pub(crate) next: Option<NextStep>,
    /// The command that repeats all of it, and the one that runs the date on the book as it is.
    pub(crate) rerun_all: String,
    pub(crate) run_anew: String,
    /// The page of its night, from the root.
    pub(crate) night: String,
    /// Whether there are pinned inputs that a rerun may use.
    pub(crate) has_plan: bool,
    /// Portfolios that a rerun of what did not succeed holds.
    pub(crate) rerun_portfolios: u64,
    pub(crate) timeline: Option<Timeline>,
    pub(crate) changes: Option<Changes>,
    pub(crate) pace_rule: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<NoteLine>,
}

/// A note on the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NoteLine {
    pub(crate) author: String,
    pub(crate) stamp: Stamp,
    /// What the author did.
    pub(crate) did: &'static str,
    /// What they wrote, line by line.
    pub(crate) lines: Vec<String>,
}

impl NoteLine {
    pub(crate) fn of(note: &Note) -> Self {
        Self {
            author: note.author.clone(),
            stamp: Stamp::of(note.at),
            did: match note.kind {
                NoteKind::Acknowledge => "acknowledged this run and looks after it",
                NoteKind::Annotate => "noted",
            },
            lines: note.text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect(),
        }
    }
}

/// One page of the full list of portfolios of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunListView {
    pub(crate) id: RunId,
    pub(crate) short: String,
    pub(crate) as_of: String,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) number: u32,
    pub(crate) of: u32,
    pub(crate) pages: Vec<ListPage>,
    pub(crate) grid: Grid,
}

impl RunListView {
    fn here(&self) -> Option<&ListPage> {
        self.pages.iter().find(|page| page.number == self.number)
    }

    /// The first portfolio of this page.
    pub(crate) fn first(&self) -> &str {
        self.here().map_or("", |page| &page.first)
    }

    /// The last portfolio of this page.
    pub(crate) fn last(&self) -> &str {
        self.here().map_or("", |page| &page.last)
    }
}

/// What the pages of a run are made of.
pub(crate) struct RunInput<'a> {
    pub(crate) data: &'a RunData,
    /// Which of the runs that it mentions have a page.
    pub(crate) others: &'a Facts,
    pub(crate) past: &'a Past,
    pub(crate) cards: &'a BTreeMap<PortfolioId, Card>,
    /// What people have to say of it; none on a redacted site, since texts may name anything.
    pub(crate) notes: &'a [Note],
    /// What its commands point to.
    pub(crate) commands: &'a Commands,
}

fn facts_of(input: &RunInput<'_>) -> Vec<Fact> {
    let (run, summary) = (&input.data.head.run, &input.data.head.summary);
    let fact = |name, value: String| Fact { name, value, link: None };
    let late = domain::run::seconds_between(run.scheduled_for, run.started_at);
    let mut facts = vec![
        fact("Run", run.batch_run_id.to_string()),
        fact("Schedule", run.schedule.to_string()),
        fact("Trigger", run.trigger.clone()),
        fact("Trading date", run.as_of.to_string()),
        fact("Slot", stamp_seconds(run.scheduled_for)),
        fact("Started", format!("{}, {} after its slot", stamp_seconds(run.started_at), duration(late))),
        fact("Closed", summary.closed_at.map_or_else(|| "not yet".to_owned(), stamp_seconds)),
        fact("Took", duration_or_dash(summary.wall_seconds)),
        fact("Work", format!("{} over all jobs", duration_or_dash(Some(summary.total_duration)))),
    ];
    if let Some(of) = run.rerun_of {
        let linked = input.others.get(&of).is_some_and(|fact| fact.linkable);
        facts.push(Fact { name: "Repeats run", value: of.to_string(), link: linked.then(|| run_link(of)) });
    }
    if !run.filter.is_empty() {
        let named: Vec<String> = run.filter.iter().take(20).map(ToString::to_string).collect();
        let more = run.filter.len().saturating_sub(20);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        facts.push(fact("Only portfolios", format!("{}{more}", named.join(", "))));
    }
    if let Some(at) = summary.cancelled_at {
        facts.push(fact("Cancelled", stamp_seconds(at)));
    }
    if let Some(abandoned) = &run.abandoned {
        let why = match &abandoned.reason {
            AbandonReason::Inputs { .. } => "its inputs could not be read",
            AbandonReason::Canceled => "it was canceled before it started",
            AbandonReason::Overdue => "nobody planned it before its planning deadline",
        };
        facts.push(fact("Has not started", format!("{}: {why}", stamp_seconds(abandoned.at))));
    }
    if let Some(plan) = &run.plan {
        facts.push(fact("Sealed", stamp_seconds(plan.sealed_at)));
        facts.push(fact("Deadline", stamp_seconds(plan.deadline)));
        facts.push(fact("Book (SHA-256)", plan.book.to_string()));
        facts.push(fact("Pinned inputs (SHA-256)", plan.snapshot.to_string()));
    }
    facts
}

/// The rows of these items, and what is wrong in them.
#[derive(Default)]
struct Told {
    rows: Vec<(Place, GridRow)>,
    failed: Vec<FailedLine>,
    skipped: Vec<SkippedLine>,
    missing: Vec<CellRef>,
}

/// Reads the items once. `on_page` says which page, below the folder of the run, the reader is on.
fn tell(
    input: &RunInput<'_>,
    columns: &[Column],
    bands: &[Option<Band>],
    on_page: &str,
    only: impl Fn(Place) -> bool,
) -> Told {
    let data = input.data;
    let total = u32::try_from(data.head.summary.portfolios_expected).unwrap_or(u32::MAX);
    let mut told = Told::default();
    for item in data.items.iter().filter(|item| only(item.place)) {
        let id = item.key.portfolio.to_string();
        let page = page_of_cell(total, item.place);
        let at = |job: &str| if page == on_page { format!("#{id}-{job}") } else { format!("{page}#{id}-{job}") };
        let mut cells = Vec::with_capacity(columns.len());
        for ((record, column), band) in data.records(item).iter().zip(columns).zip(bands) {
            let mut cell = CellView::of(record, &column.name).against(band.as_ref(), record.duration_seconds);
            let here = || CellRef { portfolio: id.clone(), job: column.name.to_string(), link: Some(at(&column.name)) };
            match (record.status, &record.error, &record.skipped_because) {
                (JobStatus::Failed, Some(error), _) => {
                    let main = if on_page == "index.html" { "" } else { "index.html" };
                    cell.link = Some(format!("{main}#cause-{}", error.fingerprint));
                    told.failed.push(FailedLine {
                        cell: here(),
                        category: error.category.as_str(),
                        message: error.message.clone(),
                        chain: error.chain.clone(),
                        attempt: record.attempt,
                        fingerprint: error.fingerprint.to_string(),
                    });
                }
                (JobStatus::Skipped, _, Some(because)) => {
                    let root = at(because.job.as_str());
                    cell.link = Some(root.clone());
                    told.skipped.push(SkippedLine {
                        cell: here(),
                        root: because.job.to_string(),
                        root_link: Some(root),
                        reason: because.reason.clone(),
                    });
                }
                (JobStatus::Missing, ..) => told.missing.push(here()),
                _ => {}
            }
            cells.push(cell);
        }
        let problem = cells.iter().any(CellView::is_problem);
        let words = card_words(input.cards.get(&item.key.portfolio));
        let row = GridRow {
            id,
            name: item.portfolio_name.clone(),
            link: data.head.portfolio_pages,
            absent: false,
            problem,
            words,
            cells,
        };
        told.rows.push((item.place, row));
    }
    told
}

fn columns(data: &RunData) -> Vec<Column> {
    data.jobs().iter().map(|job| Column { name: Arc::from(job.name.as_str()), link: data.head.linkable }).collect()
}

fn bands(input: &RunInput<'_>) -> Vec<Option<Band>> {
    input.data.jobs().iter().map(|job| usual_longest(input.past, &job.name)).collect()
}

/// The pages of the full list of this run; none where it is not split.
fn list_pages(data: &RunData) -> Vec<ListPage> {
    if data.items.len() <= PAGE_ROWS as usize {
        return Vec::new();
    }
    let unwell = |item: &&WorkItem| {
        item.records.len() < data.jobs().len() || item.records.iter().any(|record| record.status != JobStatus::Success)
    };
    data.items
        .chunks(PAGE_ROWS as usize)
        .zip(1..)
        .map(|(items, number)| ListPage {
            number,
            first: items.first().map_or_else(String::new, |item| item.key.portfolio.to_string()),
            last: items.last().map_or_else(String::new, |item| item.key.portfolio.to_string()),
            problems: items.iter().filter(unwell).count() as u64,
        })
        .collect()
}

/// The page of a run.
pub(crate) fn build(input: &RunInput<'_>) -> RunView {
    let (data, others) = (input.data, input.others);
    let summary = &data.head.summary;
    let pages = list_pages(data);
    let told = tell(input, &columns(data), &bands(input), "index.html", |_| true);
    let places: BTreeMap<&PortfolioId, Place> =
        data.items.iter().map(|item| (&item.key.portfolio, item.place)).collect();
    let total = u32::try_from(summary.portfolios_expected).unwrap_or(u32::MAX);
    let grid = Grid::new(columns(data), told.rows.into_iter().map(|(_, row)| row).collect(), PAGE_ROWS as usize);
    // What is not in the grid here is on its page of the split list.
    let shown: BTreeSet<&str> = grid.rows.iter().map(|row| row.id.as_str()).collect();
    let link = |id: &PortfolioId, job: &str| {
        let place = places.get(id)?;
        let page = page_of_cell(total, *place);
        Some(if page == "index.html" || shown.contains(id.as_str()) {
            format!("#{id}-{job}")
        } else {
            format!("{page}#{id}-{job}")
        })
    };
    let since = |id: RunId| others.get(&id).map(|fact| (fact.as_of.to_string(), fact.linkable));
    let clusters = clusters(summary, since, MOST_CELLS, link);
    let counts = summary.counts();
    RunView {
        id: summary.batch_run_id,
        short: summary.batch_run_id.short(),
        as_of: summary.as_of.to_string(),
        verdict: summary.verdict(),
        class: run_class(summary.status),
        glyph: run_glyph(summary.status),
        word: summary.status.as_str(),
        stamp: data_stamp(data),
        facts: facts_of(input),
        portfolios: summary.portfolios_expected,
        jobs_of_run: data.jobs().len() as u64,
        counts,
        total: summary.total_jobs,
        sum: counts.total(),
        records_kept: data.records_kept(),
        jobs: summary
            .job_summary
            .iter()
            .map(|line| SummaryLine::of(line, usual(input.past, &line.job).as_ref()))
            .collect(),
        quality: summary.data_quality,
        average_days: summary.data_quality.average_data_days.map(|days| format!("{days:.1}")),
        clusters,
        rerun_portfolios: grid.problems,
        grid,
        pages,
        failed: Listed::of(told.failed),
        skipped: Listed::of(told.skipped),
        missing: Listed::of(told.missing),
        next: data.alone.as_ref().as_ref().map(|night| next_step(night, &[], input.commands.target())),
        rerun_all: input.commands.rerun(summary.batch_run_id, &[]),
        run_anew: input.commands.run(summary.as_of, &["--again"]),
        has_plan: summary.abandoned.is_none(),
        night: night_path(data.head.run.night_series(), summary.as_of),
        timeline: super::timeline::build(data, input.past),
        changes: super::changes::build(data, input.past, data.head.run.rerun_of.is_some()),
        notes: input.notes.iter().map(NoteLine::of).collect(),
        pace_rule: PACE_RULE,
    }
}

/// Where the pages of [`lists`] are, in their order.
pub(crate) fn list_paths(data: &RunData) -> Vec<String> {
    let path = |page: &ListPage| format!("runs/{}/portfolios-{}.html", data.head.run.batch_run_id, page.number);
    list_pages(data).iter().map(path).collect()
}

/// The pages of the full list of portfolios of a run, in the order of their ids; none where the page of the run has
/// them all.
pub(crate) fn lists(input: &RunInput<'_>) -> impl Iterator<Item = RunListView> {
    let data = input.data;
    let summary = &data.head.summary;
    let pages = list_pages(data);
    let (columns, bands) = (columns(data), bands(input));
    let of = u32::try_from(pages.len()).unwrap_or(u32::MAX);
    (1..=of).map(move |number| {
        let on_page = format!("portfolios-{number}.html");
        let told = tell(input, &columns, &bands, &on_page, |place| super::list_page(place) == number);
        let rows = told.rows.into_iter().map(|(_, row)| row).collect();
        RunListView {
            id: summary.batch_run_id,
            short: summary.batch_run_id.short(),
            as_of: summary.as_of.to_string(),
            stamp: data_stamp(data),
            number,
            of,
            pages: pages.clone(),
            grid: Grid::new(columns.clone(), rows, usize::MAX),
        }
    })
}

/// `runs/<id>/retry-failed.txt`: the portfolios with a job that did not succeed, one a line.
pub(crate) fn retry_list(data: &RunData) -> String {
    let unwell = |item: &&WorkItem| data.records(item).iter().any(|record| record.status != JobStatus::Success);
    data.items.iter().filter(unwell).map(|item| format!("{}\n", item.key.portfolio)).collect()
}
