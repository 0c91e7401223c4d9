//! Trading dates: what their runs add up to, reruns taken in. The strip, the calendar and the feed stand on it.

use chrono::{DateTime, NaiveDate, Utc};
use domain::fold::JobCounts;
use domain::ids::RunId;
use domain::words::RunStatus;

use crate::gather::{RunHead, age_key};

/// One trading date.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TradingDay {
    pub(crate) as_of: NaiveDate,
    /// How the date stands after its newest run.
    pub(crate) status: RunStatus,
    pub(crate) counts: JobCounts,
    pub(crate) total: u64,
    /// The newest run.
    pub(crate) run: RunId,
    /// Whether the pages of that run are there.
    pub(crate) link: bool,
    /// The verdict of that run.
    pub(crate) verdict: String,
    /// The first run of the date.
    pub(crate) first: RunId,
    /// When the first run began.
    pub(crate) began: DateTime<Utc>,
    /// When the newest run that is closed was.
    pub(crate) closed_at: Option<DateTime<Utc>>,
    /// How many runs it has.
    pub(crate) runs: u64,
    /// Whether the newest run repeats another.
    pub(crate) rerun: bool,
    /// Whether something else than the schedule started the newest run.
    pub(crate) by_hand: bool,
}

impl TradingDay {
    /// Whether somebody should know: it has ended, and not well.
    pub(crate) const fn is_bad(&self) -> bool {
        matches!(self.status, RunStatus::Partial | RunStatus::Failed | RunStatus::Missed)
    }

    /// The share of the jobs that succeeded, in hundredths.
    pub(crate) fn share(&self) -> u64 {
        (self.counts.success * 100).checked_div(self.total).unwrap_or(0)
    }

    /// What is said of it.
    pub(crate) fn title(&self) -> String {
        let runs = if self.runs > 1 { format!(", {} runs", self.runs) } else { String::new() };
        match self.status {
            RunStatus::Missed => format!("{}: missed, no run{runs}", self.as_of),
            status => format!("{}: {status}, {} of {} jobs{runs}", self.as_of, self.counts.success, self.total),
        }
    }
}

/// The trading dates of these runs, newest date first.
pub(crate) fn days(heads: &[RunHead]) -> Vec<TradingDay> {
    let mut sorted: Vec<&RunHead> = heads.iter().collect();
    sorted.sort_by_key(|head| (std::cmp::Reverse(head.run.as_of), age_key(&head.run)));
    sorted.chunk_by(|a, b| a.run.as_of == b.run.as_of).filter_map(day).collect()
}

/// Whether this is a slot that passed without a run, for a date that has a run of all portfolios by other means: then
/// that run says how the date went.
pub(crate) fn is_made_up_for<'a>(head: &RunHead, mut others: impl Iterator<Item = &'a RunHead>) -> bool {
    let makes_up =
        |other: &RunHead| other.run.as_of == head.run.as_of && other.run.plan.is_some() && other.run.filter.is_empty();
    head.summary.status == RunStatus::Missed && others.any(makes_up)
}

/// The day of these runs of one date, oldest first.
fn day(all: &[&RunHead]) -> Option<TradingDay> {
    let runs: Vec<&RunHead> = all.iter().copied().filter(|head| !is_made_up_for(head, all.iter().copied())).collect();
    let (first, newest) = (runs.first()?, runs.last()?);
    let mut state: Option<(RunStatus, JobCounts, u64)> = None;
    for head in runs.iter().filter(|head| head.summary.closed_at.is_some() || head.summary.status == RunStatus::Missed)
    {
        let summary = &head.summary;
        let own = (summary.status, summary.counts(), summary.total_jobs);
        state = Some(match state {
            Some(before) if !head.run.filter.is_empty() && (before.2 > 0 || before.0 == RunStatus::Missed) => {
                // A rerun of what had not succeeded replaces just that. Of a run by hand for some portfolios the summary
                // does not say which of the others' jobs it replaced, so the date stands as it did.
                if head.run.rerun_of.is_some() { after_rerun(before, own.1) } else { before }
            }
            _ => own,
        });
    }
    let open = newest.summary.closed_at.is_none() && newest.summary.status == RunStatus::Running;
    let (status, counts, total) = match state {
        Some((_, counts, total)) if open && total > 0 => (RunStatus::Running, counts, total),
        Some(state) if !open => state,
        _ => (newest.summary.status, newest.summary.counts(), newest.summary.total_jobs),
    };
    Some(TradingDay {
        as_of: newest.run.as_of,
        status,
        counts,
        total,
        run: newest.run.batch_run_id,
        link: newest.linkable,
        verdict: newest.summary.verdict(),
        first: first.run.batch_run_id,
        began: first.run.started_at,
        closed_at: runs.iter().filter_map(|head| head.summary.closed_at).max(),
        runs: all.len() as u64,
        rerun: newest.run.rerun_of.is_some(),
        by_hand: newest.run.trigger != "schedule",
    })
}

fn after_rerun(before: (RunStatus, JobCounts, u64), rerun: JobCounts) -> (RunStatus, JobCounts, u64) {
    let (was, _, total) = before;
    let bad = rerun.failed + rerun.skipped + rerun.missing;
    let success = total.saturating_sub(bad);
    let status = match (bad, was) {
        (0, _) => RunStatus::Success,
        (_, RunStatus::Failed) if rerun.success == 0 => RunStatus::Failed,
        _ => RunStatus::Partial,
    };
    (status, JobCounts { success, ..rerun }, total)
}

/// A stretch of trading dates that did not go well.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Incident<'a> {
    /// Its dates, oldest first, at least one.
    pub(crate) days: Vec<&'a TradingDay>,
    /// The date that went well after it.
    pub(crate) recovered: Option<&'a TradingDay>,
}

/// The incidents in these dates (newest first), newest first. One whose beginning is not among them is left out: its
/// identity is its first run.
pub(crate) fn incidents(days: &[TradingDay], more_before: bool) -> Vec<Incident<'_>> {
    let mut found: Vec<Incident<'_>> = Vec::new();
    let mut current: Option<Incident<'_>> = None;
    let mut known = !more_before;
    for day in days.iter().rev().filter(|day| day.status != RunStatus::Running) {
        if day.is_bad() {
            if known {
                current.get_or_insert_with(|| Incident { days: Vec::new(), recovered: None }).days.push(day);
            }
        } else {
            known = true;
            found.extend(current.take().map(|incident| Incident { recovered: Some(day), ..incident }));
        }
    }
    found.extend(current);
    found.reverse();
    found
}
