//! Causes: what explains the jobs of a night that did not succeed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::input::{Failure, NightJob};
use super::outcomes::{JobOutcome, PortfolioOutcome};
use crate::ids::{CauseId, ContentHash, Fingerprint, JobName, PortfolioId, RunId};
use crate::words::{ErrorCategory, JobStatus};

/// A location in the input, as an error message names it: `positions.csv:39`, or a file alone.
static LOCATION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b([\w-][\w.-]*\.(?:csv|toml))\b(?::(\d+))?").ok());

/// A location in the input that has to be corrected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InputLocation {
    /// The file, relative to the book.
    pub file: String,
    /// The line, from 1; `None` if the message names the file alone.
    pub line: Option<u64>,
}

impl fmt::Display for InputLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// One cause of a night and its reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NightCause {
    /// The cause: the same wherever the category and the masked message are the same, whatever the job.
    pub cause: CauseId,
    /// The kind of fault; `None` if no job failed.
    pub category: Option<ErrorCategory>,
    /// The message as recorded, or the masked one where the affected portfolios have different messages.
    pub message: String,
    /// The jobs that it failed, in the order of the job list. For `missing_records` the jobs without a record.
    pub failed_jobs: Vec<JobName>,
    /// Every job that it failed, skipped or left without a record.
    pub jobs: Vec<JobName>,
    /// The portfolios that it affects, sorted.
    pub portfolios: Vec<PortfolioId>,
    /// Failed jobs that it explains.
    pub failed: u64,
    /// Skipped jobs that it explains.
    pub skipped: u64,
    /// Missing jobs that it explains.
    pub missing: u64,
    /// The locations in the input that its messages name, sorted.
    pub locations: Vec<InputLocation>,
    /// The run that holds most of the affected portfolios; the newest of several.
    pub batch_run_id: Option<RunId>,
}

impl NightCause {
    /// Jobs that it explains.
    #[must_use]
    pub const fn explains(&self) -> u64 {
        self.failed.saturating_add(self.skipped).saturating_add(self.missing)
    }

    /// A cause of the night as a whole, which affects no portfolio by name.
    #[must_use]
    pub(super) fn of_night(cause: CauseId, failure: Option<&Failure>, message: String, run: Option<RunId>) -> Self {
        let locations = failure.map(|failure| locations(&failure.message).collect::<BTreeSet<_>>()).unwrap_or_default();
        Self {
            cause,
            category: failure.map(|failure| failure.category),
            message,
            failed_jobs: Vec::new(),
            jobs: Vec::new(),
            portfolios: Vec::new(),
            failed: 0,
            skipped: 0,
            missing: 0,
            locations: locations.into_iter().collect(),
            batch_run_id: run,
        }
    }
}

/// The cause of a failure: a hash of its category and masked message. The job is not part of it.
#[must_use]
pub fn cause_of(failure: &Failure) -> CauseId {
    let hash = ContentHash::of(format!("{}\u{1f}{}", failure.category, failure.masked).as_bytes());
    // The first 16 of 64 hexadecimal digits are always a valid fingerprint.
    Fingerprint::new(&hash.as_str()[..16]).map_or_else(|_| CauseId::named(CauseId::OTHER), |id| CauseId::from(&id))
}

/// The locations in the input that a message names.
fn locations(message: &str) -> impl Iterator<Item = InputLocation> {
    LOCATION.iter().flat_map(move |pattern| pattern.captures_iter(message)).map(|found| InputLocation {
        file: found[1].to_owned(),
        line: found.get(2).and_then(|line| line.as_str().parse().ok()),
    })
}

/// A cause while its reach is collected.
#[derive(Debug, Default)]
struct Reach<'a> {
    failures: BTreeSet<&'a Failure>,
    failed_jobs: BTreeSet<usize>,
    jobs: BTreeSet<usize>,
    portfolios: BTreeSet<&'a PortfolioId>,
    counts: [u64; 3],
    runs: BTreeMap<RunId, u64>,
}

/// The causes of a night, the one that explains most first.
///
/// A skipped job belongs to the cause of the job that stopped it. A job without a record belongs to
/// `missing_records`; jobs of absent portfolios have no cause, since nothing was tried. What no record explains
/// belongs to `other`. `run_order` gives the position of a run among the runs of the night.
#[must_use]
pub fn causes(
    jobs: &[NightJob],
    outcomes: &BTreeMap<PortfolioId, PortfolioOutcome>,
    absent: &BTreeSet<PortfolioId>,
    run_order: &BTreeMap<RunId, usize>,
) -> Vec<NightCause> {
    let mut reaches: BTreeMap<CauseId, Reach<'_>> = BTreeMap::new();
    for (id, portfolio) in outcomes.iter().filter(|(id, _)| !absent.contains(*id)) {
        let mut affected: BTreeSet<CauseId> = BTreeSet::new();
        for (at, job) in portfolio.jobs.iter().enumerate() {
            if job.status == JobStatus::Success {
                continue;
            }
            let cause = cause_in(jobs, &portfolio.jobs, at);
            let reach = reaches.entry(cause.clone()).or_default();
            reach.jobs.insert(at);
            reach.portfolios.insert(id);
            reach.counts[slot(job.status)] += 1;
            if job.status != JobStatus::Skipped {
                reach.failed_jobs.insert(at);
            }
            reach.failures.extend(job.failure.as_ref());
            affected.insert(cause);
        }
        for cause in affected {
            if let (Some(run), Some(reach)) = (portfolio.run(), reaches.get_mut(&cause)) {
                *reach.runs.entry(run).or_default() += 1;
            }
        }
    }
    let mut causes: Vec<NightCause> =
        reaches.into_iter().map(|(cause, reach)| reach.into_cause(cause, jobs, run_order)).collect();
    // Stable: causes that explain as much as another stay in the order of their ids.
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.explains()));
    causes
}

const fn slot(status: JobStatus) -> usize {
    match status {
        JobStatus::Failed => 0,
        JobStatus::Skipped => 1,
        JobStatus::Missing | JobStatus::Pending | JobStatus::Running | JobStatus::Success => 2,
    }
}

/// The cause of the job at this position of the job list.
fn cause_in(jobs: &[NightJob], outcomes: &[JobOutcome], at: usize) -> CauseId {
    let mut at = at;
    // A chain of skipped jobs is at most as long as the job list; a longer one is a circle.
    for _ in 0..=jobs.len() {
        let outcome = &outcomes[at];
        match (outcome.status, &outcome.failure, &outcome.skipped_because) {
            (JobStatus::Failed, Some(failure), _) => return cause_of(failure),
            (JobStatus::Missing, _, _) => return CauseId::named(CauseId::MISSING),
            (JobStatus::Skipped, _, Some(stopped_by)) => match jobs.iter().position(|job| job.name == *stopped_by) {
                Some(before) => at = before,
                None => break,
            },
            _ => break,
        }
    }
    CauseId::named(CauseId::OTHER)
}

impl Reach<'_> {
    fn into_cause(self, cause: CauseId, jobs: &[NightJob], run_order: &BTreeMap<RunId, usize>) -> NightCause {
        let names = |at: &BTreeSet<usize>| at.iter().map(|at| jobs[*at].name.clone()).collect();
        let messages: BTreeSet<&str> = self.failures.iter().map(|failure| failure.message.as_str()).collect();
        let first = self.failures.first();
        let message = match (messages.len(), first) {
            (1, Some(failure)) => failure.message.clone(),
            (_, Some(failure)) => failure.masked.clone(),
            (_, None) if cause.as_str() == CauseId::MISSING => {
                "the work was lost or ended before these jobs were recorded".to_owned()
            }
            (_, None) => "no error was recorded".to_owned(),
        };
        let locations: BTreeSet<InputLocation> = messages.iter().flat_map(|message| locations(message)).collect();
        let run = self.runs.iter().max_by_key(|(run, count)| (**count, run_order.get(run).copied()));
        NightCause {
            category: first.map(|failure| failure.category),
            message,
            failed_jobs: names(&self.failed_jobs),
            jobs: names(&self.jobs),
            portfolios: self.portfolios.iter().map(|id| (*id).clone()).collect(),
            failed: self.counts[0],
            skipped: self.counts[1],
            missing: self.counts[2],
            locations: locations.into_iter().collect(),
            batch_run_id: run.map(|(run, _)| *run),
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_message_are_found() {
        let location = |file: &str, line| InputLocation { file: file.into(), line };
        let found: Vec<InputLocation> =
            locations("see positions.csv:39: quantity, /srv/b/prices-eu.csv and nightbook.toml").collect();
        assert_eq!(
            found,
            [location("positions.csv", Some(39)), location("prices-eu.csv", None), location("nightbook.toml", None)]
        );
        assert_eq!(locations("0.5 of 3.csvs").count(), 0);
    }

    #[test]
    fn a_cause_is_its_category_and_masked_message() {
        let failure = |category, message: &str, masked: &str| Failure {
            category,
            message: message.into(),
            masked: masked.into(),
        };
        let one = failure(ErrorCategory::Permanent, "a of p1", "a of <symbol>");
        assert_eq!(cause_of(&one), cause_of(&failure(ErrorCategory::Permanent, "a of p2", "a of <symbol>")));
        assert_ne!(cause_of(&one), cause_of(&failure(ErrorCategory::Transient, "a of p1", "a of <symbol>")));
        assert_ne!(cause_of(&one), cause_of(&failure(ErrorCategory::Permanent, "a of p1", "b of <symbol>")));
        // Pinned: incidents and mutes are stored under it.
        assert_eq!(cause_of(&one).as_str(), "386cfee810ccaa32");
    }
}
