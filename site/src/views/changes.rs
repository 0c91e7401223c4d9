//! What changed since the run before.

use std::collections::BTreeSet;

use serde::Serialize;

use super::CellRef;
use crate::gather::{FailedCell, Past, RunData};
use crate::text::duration;
use domain::baseline::{Band, Pace};
use domain::words::JobStatus;

/// Lines of each list, at most.
const MOST: usize = 24;

/// Some cells or ids, and how many more there are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Few<T> {
    pub(crate) list: Vec<T>,
    pub(crate) count: u64,
}

impl<T> Few<T> {
    fn of(all: impl Iterator<Item = T>) -> Self {
        let mut list: Vec<T> = all.collect();
        let count = list.len() as u64;
        list.truncate(MOST);
        Self { list, count }
    }

    /// How many are not listed.
    pub(crate) const fn more(&self) -> u64 {
        self.count - self.list.len() as u64
    }
}

/// A job whose duration changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PaceLine {
    pub(crate) job: String,
    pub(crate) now: String,
    pub(crate) usual: String,
    pub(crate) pace: Pace,
}

/// A count that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CountLine {
    pub(crate) name: &'static str,
    pub(crate) before: u64,
    pub(crate) now: u64,
}

/// The comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Changes {
    pub(crate) as_of: String,
    pub(crate) short: String,
    pub(crate) link: Option<String>,
    /// Whether the run repeats that run.
    pub(crate) repeats: bool,
    pub(crate) new: Few<CellRef>,
    pub(crate) still: Few<CellRef>,
    pub(crate) recovered: Few<CellRef>,
    pub(crate) came: Few<String>,
    pub(crate) went: Few<String>,
    pub(crate) paces: Vec<PaceLine>,
    pub(crate) counts: Vec<CountLine>,
    /// Whether the book is another, and the pinned inputs.
    pub(crate) book_changed: bool,
    pub(crate) inputs_changed: bool,
}

/// What changed in this run.
pub(crate) fn build(data: &RunData, past: &Past, repeats: bool) -> Option<Changes> {
    let before = past.before.as_ref()?;
    let (mut failed, mut well) = (BTreeSet::new(), BTreeSet::new());
    for item in data.items.iter() {
        for record in &item.records {
            let cell = || FailedCell { portfolio: item.key.portfolio.clone(), job: record.job_name.clone() };
            match record.status {
                JobStatus::Failed => {
                    failed.insert(cell());
                }
                JobStatus::Success if !before.failed.is_empty() => {
                    let cell = cell();
                    if before.failed.contains(&cell) {
                        well.insert(cell);
                    }
                }
                _ => {}
            }
        }
    }
    let cell = |cell: &FailedCell| CellRef {
        link: data.head.portfolio_pages.then(|| super::portfolio_link(cell.portfolio.as_str())),
        portfolio: cell.portfolio.to_string(),
        job: cell.job.to_string(),
    };
    let ids: BTreeSet<_> = data.items.iter().map(|item| &item.key.portfolio).collect();
    let known = !before.ids.is_empty() && !repeats;
    let came = ids.iter().filter(|id| known && !before.ids.contains(**id)).map(ToString::to_string);
    let went = before.ids.iter().filter(|id| known && !ids.contains(id)).map(ToString::to_string);
    let (now, then) = (&data.head.summary, &before.head.summary);
    let count = |name, before, now| (before != now).then_some(CountLine { name, before, now });
    Some(Changes {
        as_of: then.as_of.to_string(),
        short: then.batch_run_id.short(),
        link: before.head.linkable.then(|| super::run_link(then.batch_run_id)),
        repeats,
        new: Few::of(failed.difference(&before.failed).map(cell)),
        still: Few::of(failed.intersection(&before.failed).map(cell)),
        recovered: Few::of(well.iter().map(cell)),
        came: Few::of(came),
        went: Few::of(went),
        paces: paces(data, past),
        counts: [
            count("portfolios", then.portfolios_expected, now.portfolios_expected),
            count("failed jobs", then.failed_jobs, now.failed_jobs),
            count("skipped jobs", then.skipped_jobs, now.skipped_jobs),
            count("missing jobs", then.missing_jobs, now.missing_jobs),
            count("portfolios on full data", then.data_quality.full, now.data_quality.full),
            count("positions processed", then.data_quality.positions_processed, now.data_quality.positions_processed),
        ]
        .into_iter()
        .flatten()
        .collect(),
        book_changed: now.book != then.book,
        inputs_changed: now.market_snapshot != then.market_snapshot,
    })
}

/// Jobs that took unusually long or short.
fn paces(data: &RunData, past: &Past) -> Vec<PaceLine> {
    let line = |line: &domain::summary::JobSummary| {
        let (seconds, band) = (line.p50_seconds?, usual(past, &line.job)?);
        let pace = band.pace(seconds);
        (pace != Pace::Usual).then(|| PaceLine {
            job: line.job.to_string(),
            now: duration(seconds),
            usual: duration(band.median),
            pace,
        })
    };
    data.head.summary.job_summary.iter().filter_map(line).collect()
}

/// The usual median duration of a job.
pub(crate) fn usual(past: &Past, job: &domain::ids::JobName) -> Option<Band> {
    Band::of(past.jobs.get(job)?.iter().filter(|run| run.line.failed == 0).filter_map(|run| run.line.p50_seconds))
}

/// The usual longest duration of a job: what is above it is slow for any portfolio.
pub(crate) fn usual_longest(past: &Past, job: &domain::ids::JobName) -> Option<Band> {
    Band::of(past.jobs.get(job)?.iter().filter(|run| run.line.failed == 0).filter_map(|run| run.line.max_seconds))
}
