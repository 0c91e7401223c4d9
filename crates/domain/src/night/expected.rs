//! Which portfolios a night should have, and which of them are in no run.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::input::{NightPlan, NightRun};
use super::members::NightMembers;
use crate::ids::PortfolioId;

/// The run that decides the expected portfolios, the job list and the run-level control results of a night, with its
/// plan.
///
/// It is the newest full run that counts ([`NightRun::counts`]). Without one it is the newest full run that ended,
/// then the newest filtered run that counts, then the newest filtered run that ended. A run that is still open decides
/// only where no planned run has ended. `runs` are in the order of [`NightRun::order`].
#[must_use]
pub fn deciding_run<'a>(runs: &[&'a NightRun]) -> Option<(&'a NightRun, &'a NightPlan)> {
    runs.iter()
        .filter(|run| run.is_ended() || run.is_open())
        .filter_map(|run| run.plan.as_ref().map(|plan| (*run, plan)))
        .max_by_key(|(run, _)| (run.is_ended(), run.is_full(), run.counts(), run.order()))
}

/// The closures of a plan that are in force on this trading date.
#[must_use]
pub fn closed(plan: &NightPlan, as_of: NaiveDate) -> BTreeMap<PortfolioId, NaiveDate> {
    plan.closures.iter().filter(|(_, date)| **date <= as_of).map(|(id, date)| (id.clone(), *date)).collect()
}

/// The expected portfolios: the open ones of the plan and those expected the night before, without those that are
/// closed on this trading date.
#[must_use]
pub fn expected(plan: &NightPlan, as_of: NaiveDate) -> BTreeSet<PortfolioId> {
    let is_closed = |id: &PortfolioId| plan.closures.get(id).is_some_and(|date| *date <= as_of);
    plan.open.iter().chain(&plan.expected_before).filter(|id| !is_closed(id)).cloned().collect()
}

/// The expected portfolios that the book does not have on this trading date: those of the night before that are neither
/// open nor declared closed.
#[must_use]
pub fn not_in_book(members: &NightMembers, as_of: NaiveDate) -> BTreeSet<PortfolioId> {
    let is_closed = |id: &PortfolioId| members.closures.get(id).is_some_and(|date| *date <= as_of);
    let expected = members.expected_before.iter();
    expected.filter(|id| !members.open.contains_key(*id) && !is_closed(id)).cloned().collect()
}

/// The expected portfolios that are in no run of the date.
///
/// A portfolio is in a run that counts, in the deciding run, in the plan of an open run whose filter does not leave it
/// out, or in an ended run that left a record of it. A canceled or lost run that left no record does not make a portfolio
/// present.
#[must_use]
pub fn absent(
    expected: &BTreeSet<PortfolioId>,
    runs: &[&NightRun],
    deciding: Option<&NightRun>,
) -> BTreeSet<PortfolioId> {
    let decides = |run: &NightRun| deciding.is_some_and(|other| other.id == run.id);
    let mut absent = expected.clone();
    for run in runs {
        // The portfolios of an open run may not be known one by one; its plan and its filter say which it has.
        if let (true, Some(plan)) = (run.is_open(), &run.plan) {
            let is_held = |id: &PortfolioId| plan.open.contains(id) && (run.is_full() || run.filter.contains(id));
            absent.retain(|id| !is_held(id));
        }
        let whole = run.counts() || decides(run);
        for (id, portfolio) in &run.portfolios {
            let recorded = run.is_ended() && (portfolio.ended_on_its_own || !portfolio.jobs.is_empty());
            if whole || recorded {
                absent.remove(id);
            }
        }
    }
    absent
}
