//! A run under way, as the index shows it.

use chrono::{DateTime, Utc};
use domain::ids::RunId;
use domain::run::RunPhase;
use domain::work_item::ItemState;
use serde::Serialize;

use super::Stamp;
use crate::gather::RunData;

/// Working items listed, at most.
const MOST_WORKING: usize = 50;

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

/// The run under way as of `now`.
pub(crate) fn running(data: &RunData, now: DateTime<Utc>) -> RunningView {
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
            RunPhase::Planning { .. } => "planning",
            RunPhase::Running => "running",
            RunPhase::Closing { .. } => "closing",
            RunPhase::Closed => "closed",
            RunPhase::Missed => "missed",
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
