//! What was read, as the pages take it: already masked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{Fingerprint, JobName, PortfolioId, RunId};
use domain::job::JobSpec;
use domain::night::Night;
use domain::ports::{FailureSighting, JobRun, PortfolioRun};
use domain::record::JobRecord;
use domain::retry::RetryPolicy;
use domain::run::Run;
use domain::summary::{RunSummary, complete_records};
use domain::work_item::WorkItem;

use super::nights::NightData;
use crate::options::Card;

/// What pages need to know of a run that they only mention.
#[derive(Debug, Clone)]
pub(crate) struct RunFact {
    /// Whether its pages are there, so that others may link to them.
    pub(crate) linkable: bool,
    /// Whether it is closed: a job without a record is then missing.
    pub(crate) closed: bool,
    /// Its trading date.
    pub(crate) as_of: NaiveDate,
    /// Portfolios expected: where a cell stands depends on it.
    pub(crate) portfolios: u32,
    /// Its job list.
    pub(crate) jobs: Arc<[JobSpec]>,
    /// How its failures were tried again.
    pub(crate) retry: RetryPolicy,
    /// Its causes of failures.
    pub(crate) causes: Arc<[Cause]>,
}

/// A cause of failures in a run, as others mention it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cause {
    pub(crate) fingerprint: Fingerprint,
    /// How many portfolios it hit.
    pub(crate) portfolios: u64,
    pub(crate) first_seen: RunId,
}

/// Facts by run.
pub(crate) type Facts = BTreeMap<RunId, RunFact>;

/// A run with its summary, masked.
#[derive(Debug, Clone)]
pub(crate) struct RunHead {
    /// The run.
    pub(crate) run: Run,
    /// Its summary: the stored one, or of the state as it is.
    pub(crate) summary: RunSummary,
    /// Whether its page is there, and those of its jobs and its month.
    pub(crate) linkable: bool,
    /// Whether each of its portfolios has a page.
    pub(crate) portfolio_pages: bool,
    /// Whether it has ended and its publication is still to come.
    pub(crate) awaits_publication: bool,
}

/// A run with everything, masked.
#[derive(Debug, Clone)]
pub(crate) struct RunData {
    /// The run and its summary.
    pub(crate) head: RunHead,
    /// One item for each expected portfolio, by place.
    pub(crate) items: Arc<Vec<WorkItem>>,
    /// The ids of the items before masking, for questions to the store.
    pub(crate) ids: Arc<Vec<PortfolioId>>,
    /// The run as if it were all that is known of its date; `None` for a good run and for one that has not ended.
    pub(crate) alone: Arc<Option<Night>>,
}

impl RunData {
    /// The job list.
    pub(crate) fn jobs(&self) -> &[JobSpec] {
        self.head.run.plan.as_ref().map_or(&[], |plan| &plan.jobs)
    }

    /// Whether the run had its summary when this was read: from then on its items stay as they are, and it has pages of
    /// its own. A slot that was missed may be run late while its publication goes on.
    pub(crate) fn has_ended(&self) -> bool {
        self.head.run.has_outcome() && self.head.summary.closed_at.is_some()
    }

    /// One record a job, in order.
    pub(crate) fn records(&self, item: &WorkItem) -> Vec<JobRecord> {
        complete_records(item, self.jobs())
    }

    /// Whether the records are still there: they are kept for a shorter time than the summary.
    pub(crate) fn records_kept(&self) -> bool {
        !self.items.is_empty() || self.head.summary.portfolios_expected == 0
    }
}

/// What one portfolio page needs.
#[derive(Debug, Clone)]
pub(crate) struct PortfolioData {
    /// The masked id.
    pub(crate) id: PortfolioId,
    /// Its newest runs, newest first.
    pub(crate) runs: Vec<PortfolioRun>,
    /// Facts of these runs.
    pub(crate) facts: Facts,
    /// The records of the newest.
    pub(crate) newest: Option<WorkItem>,
    /// Last successes that lie further back than `runs`.
    pub(crate) older_successes: BTreeMap<JobName, JobRecord>,
    /// What the book says of it.
    pub(crate) card: Card,
    /// The newest night.
    pub(crate) night: Option<NightData>,
}

/// What one job page needs.
#[derive(Debug, Clone)]
pub(crate) struct JobData {
    pub(crate) job: JobName,
    /// Its newest closed runs, newest first.
    pub(crate) runs: Arc<Vec<JobRun>>,
    /// Facts of these runs.
    pub(crate) facts: Facts,
    /// Its last success.
    pub(crate) last: Option<JobRecord>,
    /// Causes of failures of every job in these runs, newest run first.
    pub(crate) sightings: Arc<Vec<FailureSighting>>,
    /// The newest of these runs, with everything, if its records are kept.
    pub(crate) newest: Option<RunData>,
    /// The last success of portfolios for which it did not succeed in the newest run.
    pub(crate) last_of: BTreeMap<PortfolioId, Option<JobRecord>>,
}

/// A job of a portfolio that failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FailedCell {
    pub(crate) portfolio: PortfolioId,
    pub(crate) job: JobName,
}

/// The run before another, as far as it is compared.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    pub(crate) head: RunHead,
    pub(crate) failed: BTreeSet<FailedCell>,
    /// Its portfolios; none where they are no longer kept.
    pub(crate) ids: BTreeSet<PortfolioId>,
}

/// What came before a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// The runs of each job that began before it, newest first.
    pub(crate) jobs: BTreeMap<JobName, Vec<JobRun>>,
    /// How long earlier runs took, newest first, in seconds.
    pub(crate) wall: Vec<f64>,
    /// The run before it; of a rerun the run that it repeats.
    pub(crate) before: Option<Before>,
}

/// Whether the page of `head` may compare itself with `other`.
pub(super) fn is_past_of(other: &RunHead, head: &RunHead) -> bool {
    other.run.plan.is_some()
        && other.summary.closed_at.is_some()
        && other.run.started_at < head.run.started_at
        && other.run.schedule == head.run.schedule
}

/// The run before `head` among `heads`, newest first; of a rerun the run that it repeats.
pub(crate) fn before_of<'a>(heads: &'a [RunHead], head: &RunHead) -> Option<&'a RunHead> {
    heads.iter().filter(|other| is_past_of(other, head)).find(|other| match head.run.rerun_of {
        Some(of) => other.run.batch_run_id == of,
        None => other.run.as_of < head.run.as_of && other.run.rerun_of.is_none(),
    })
}

/// Which of two runs is newer: by slot, start, id.
pub(crate) fn age_key(run: &Run) -> (DateTime<Utc>, DateTime<Utc>, RunId) {
    (run.scheduled_for, run.started_at, run.batch_run_id)
}
