//! A cause over several nights: since when it lasts, whether it came back, and when it is over.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::causes::NightCause;
use super::verdict::Verdict;
use super::{Night, count};
use crate::ids::{CauseId, JobName, PortfolioId};
use crate::words::JobStatus;

/// Affected portfolios up to which each one must have recovered. Above, a full run without the cause is enough.
pub const MOST_PORTFOLIOS: usize = 500;

/// How long a cause lasts, as of the newest night that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseStanding {
    /// The first of the consecutive nights that have it.
    pub since: NaiveDate,
    /// Consecutive nights that have it, from 1. Nights that were missed are not counted and do not interrupt.
    pub nights: u32,
    /// Good nights between its last end and `since`; `None` if it was never seen before.
    pub back_after: Option<u32>,
}

/// Why a cause is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Affected portfolios that succeeded in the jobs that the cause had failed.
    pub succeeded: u64,
    /// Affected portfolios that were declared closed instead.
    pub closed: Vec<PortfolioId>,
}

/// What a night shows about a portfolio that a cause had affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It succeeded in the jobs that the cause had failed.
    Succeeded,
    /// It is declared closed.
    Closed,
}

/// Whether this night shows that a cause is over for one affected portfolio. `None` for a portfolio that is absent, or
/// that did not get as far as these jobs: it shows nothing.
#[must_use]
pub fn shown(night: &Night, id: &PortfolioId, jobs: &BTreeSet<JobName>) -> Option<Shown> {
    if night.closed.contains_key(id) {
        return Some(Shown::Closed);
    }
    let good = |(job, outcome): (&super::NightJob, &super::JobOutcome)| {
        outcome.status == JobStatus::Success || !jobs.contains(&job.name)
    };
    // A job that is not in the job list any more cannot fail.
    let succeeded = night.jobs.iter().zip(&night.outcomes.get(id)?.jobs).all(good);
    (succeeded && !night.absent.contains(id)).then_some(Shown::Succeeded)
}

/// Portfolios and jobs that a cause has failed since it was last over.
#[derive(Debug, Default)]
struct Affected {
    portfolios: BTreeSet<PortfolioId>,
    jobs: BTreeSet<JobName>,
}

impl CauseStanding {
    /// The words for a reader: `new`, `since 2026-11-20 (3 nights)`, `back after 2 good nights`.
    #[must_use]
    pub fn text(&self) -> String {
        match (self.nights, self.back_after) {
            (0 | 1, None) => "new".to_owned(),
            (0 | 1, Some(good)) => format!("back after {}", count(good.into(), "good night")),
            (nights, None) => format!("since {} ({nights} nights)", self.since),
            (nights, Some(good)) => {
                format!("since {} ({nights} nights), back after {}", self.since, count(good.into(), "good night"))
            }
        }
    }
}

impl Affected {
    fn add(&mut self, cause: &NightCause) {
        self.portfolios.extend(cause.portfolios.iter().cloned());
        self.jobs.extend(cause.failed_jobs.iter().cloned());
    }

    /// Whether this night shows that the cause is over for each affected portfolio. A portfolio that is absent, or that
    /// did not get as far as the jobs, shows nothing.
    fn recovery(&self, night: &Night) -> Option<Recovery> {
        if self.portfolios.len() > MOST_PORTFOLIOS {
            let full = night.full_run_ended;
            return full.then(|| Recovery { succeeded: self.portfolios.len() as u64, closed: Vec::new() });
        }
        let mut recovery = Recovery { succeeded: 0, closed: Vec::new() };
        for id in &self.portfolios {
            match shown(night, id, &self.jobs)? {
                Shown::Succeeded => recovery.succeeded += 1,
                Shown::Closed => recovery.closed.push(id.clone()),
            }
        }
        Some(recovery)
    }
}

/// Whether a later night shows that a cause is over, and why. None while it has the cause, is not judged, or leaves an
/// affected portfolio open.
#[must_use]
pub fn recovery(cause: &NightCause, later: &Night) -> Option<Recovery> {
    if !is_judged(later) || cause_on(later, &cause.cause).is_some() {
        return None;
    }
    let mut affected = Affected::default();
    affected.add(cause);
    affected.recovery(later)
}

/// How long a cause lasts as of the newest of these nights of one series, in any order. `None` if it is over or was
/// never seen.
#[must_use]
pub fn standing<'a>(nights: impl IntoIterator<Item = &'a Night>, cause: &CauseId) -> Option<CauseStanding> {
    let mut nights: Vec<&Night> = nights.into_iter().collect();
    nights.sort_unstable_by_key(|night| night.as_of);
    let mut standing: Option<CauseStanding> = None;
    let mut affected = Affected::default();
    let mut good_nights = 0u32;
    for night in nights {
        match (cause_on(night, cause), &mut standing) {
            (Some(seen), Some(known)) if good_nights == 0 => {
                known.nights = known.nights.saturating_add(1);
                affected.add(seen);
            }
            (Some(seen), known) => {
                let back_after = known.is_some().then_some(good_nights);
                *known = Some(CauseStanding { since: night.as_of, nights: 1, back_after });
                affected = Affected::default();
                affected.add(seen);
                good_nights = 0;
            }
            (None, Some(_)) if is_judged(night) => {
                if good_nights > 0 || affected.recovery(night).is_some() {
                    good_nights = good_nights.saturating_add(1);
                }
            }
            (None, _) => {}
        }
    }
    standing.filter(|_| good_nights == 0)
}

fn cause_on<'a>(night: &'a Night, cause: &CauseId) -> Option<&'a NightCause> {
    night.causes.iter().find(|seen| seen.cause == *cause)
}

/// Whether the night says how its portfolios stand: a full run ended, or only filtered runs took place.
#[must_use]
pub const fn is_judged(night: &Night) -> bool {
    !matches!(night.verdict, Verdict::Running | Verdict::Missed)
}
