//! What is wrong with a night: the causes of its jobs, absent portfolios, controls that did not pass.

use std::collections::{BTreeMap, BTreeSet};

use crate::alert_message::plural;
use crate::ids::{CauseId, JobName, PortfolioId};
use crate::incident::IncidentKind;
use crate::night::{Control, Level, Night, NightCause, NightControl, Verdict};
use crate::summary::RunSummary;
use crate::words::ErrorCategory;

/// Something wrong with a night.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) cause: CauseId,
    pub(super) jobs: BTreeSet<JobName>,
    pub(super) job: Option<JobName>,
    pub(super) category: Option<ErrorCategory>,
    pub(super) message: String,
    pub(super) count: u64,
    pub(super) skipped: u64,
    pub(super) portfolios: Vec<PortfolioId>,
}

impl Seen {
    /// Something that no job failed for.
    pub(super) fn plain(cause: CauseId, message: String, portfolios: Vec<PortfolioId>) -> Self {
        let count = (portfolios.len() as u64).max(1);
        let (jobs, job, category) = (BTreeSet::new(), None, None);
        Self { cause, jobs, job, category, message, count, skipped: 0, portfolios }
    }

    /// What it is about.
    pub(super) fn kind(&self) -> IncidentKind {
        IncidentKind::of(&self.cause)
    }

    fn of_cause(cause: &NightCause) -> Self {
        let jobs: BTreeSet<JobName> = cause.failed_jobs.iter().cloned().collect();
        let count = cause.failed.saturating_add(cause.missing);
        Self {
            cause: cause.cause.clone(),
            job: cause.category.and_then(|_| cause.failed_jobs.first().cloned()),
            jobs,
            category: cause.category,
            message: cause.message.clone(),
            count: if cause.portfolios.is_empty() { count.max(1) } else { count },
            skipped: cause.skipped,
            portfolios: cause.portfolios.clone(),
        }
    }
}

/// What is wrong with a night, the largest cause first, then absent portfolios, then controls.
pub(super) fn seen_of(night: &Night) -> Vec<Seen> {
    if night.verdict == Verdict::Running {
        return Vec::new();
    }
    let mut seen: Vec<Seen> = night.causes.iter().map(Seen::of_cause).collect();
    if !night.absent.is_empty() {
        let message = format!("{} in no run of the night", plural(night.absent.len() as u64, "expected portfolio"));
        let absent = night.absent.iter().cloned().collect();
        seen.push(Seen::plain(CauseId::named(CauseId::ABSENT), message, absent));
    }
    seen.extend(of_controls(night));
    seen
}

/// The controls that did not pass and that nobody accepted, failures first. `portfolios` is left to the absent portfolios
/// themselves.
fn of_controls(night: &Night) -> Vec<Seen> {
    let open = |result: &&NightControl| {
        result.accepted.is_none() && result.result.level > Level::Ok && result.result.control != Control::Portfolios
    };
    let mut results: BTreeMap<Control, Vec<&NightControl>> = BTreeMap::new();
    for result in night.controls.iter().filter(open) {
        results.entry(result.result.control).or_default().push(result);
    }
    let worst = |results: &[&NightControl]| results.iter().map(|result| result.result.level).max();
    let mut controls: Vec<(Control, Vec<&NightControl>)> = results.into_iter().collect();
    controls.sort_by_key(|(_, results)| std::cmp::Reverse(worst(results)));
    let seen = controls.into_iter().filter_map(|(control, results)| {
        let first = results.iter().max_by_key(|result| result.result.level)?;
        let portfolios: BTreeSet<PortfolioId> =
            results.iter().filter_map(|result| result.result.portfolio_id.clone()).collect();
        let more = match results.len() {
            1 => String::new(),
            n => format!(" (and {})", plural(n as u64 - 1, "more result")),
        };
        let message = format!("{}{more}", first.result.message);
        // With one result about the whole run, the incident is about the run and names no portfolios.
        let of_run = results.iter().any(|result| result.result.portfolio_id.is_none());
        let portfolios = if of_run { Vec::new() } else { portfolios.into_iter().collect() };
        Some(Seen::plain(CauseId::of_control(control), message, portfolios))
    });
    seen.collect()
}

/// The causes of this night by the fingerprints of the errors that a run recorded.
pub(super) fn fingerprints(summary: &RunSummary, night: &Night) -> BTreeMap<CauseId, CauseId> {
    let of = |cluster: &crate::summary::FailureCluster| {
        let here = |cause: &&NightCause| {
            cause.category == Some(cluster.category)
                && match cluster.portfolios.first() {
                    Some(first) => cause.failed_jobs.contains(&cluster.job) && cause.portfolios.contains(first),
                    None => cause.portfolios.is_empty(),
                }
        };
        let cause = night.causes.iter().find(here)?;
        Some((CauseId::from(&cluster.fingerprint), cause.cause.clone()))
    };
    summary.failures.iter().filter_map(of).collect()
}
