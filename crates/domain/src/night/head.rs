//! The night as it is stored: a small head under a version, and a document with the whole fold.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::editions::{Edition, Why};
use super::input::Acceptance;
use super::{Night, NightCause, NightControl, Totals, Verdict};
use crate::ids::{ContentHash, PortfolioId, RunId, ScheduleName};
use crate::ports::StoredRun;

/// Absent portfolios that a head names. The document has all of them.
pub const MOST_ABSENT: usize = 100;

/// Causes and control results that a head names. The document has all of them.
pub const MOST_LISTED: usize = 10;

/// Editions that a head names, the newest ones.
const MOST_EDITIONS: usize = 3;

/// Portfolios that a cause or an edition in a head names. The document has all of them.
const MOST_PORTFOLIOS: usize = 10;

/// Runs that a head names, the newest ones.
const MOST_RUNS: usize = 50;

/// Characters of a message in a head.
const MESSAGE_CHARS: usize = 300;

/// Which night: a night series and a trading date.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NightKey {
    /// The night series.
    pub series: ScheduleName,
    /// The trading date.
    pub as_of: NaiveDate,
}

/// The series without a segment of its own in the addresses of pages.
const DEFAULT_SERIES: &str = "nightly";

impl NightKey {
    /// The page of the night, from the root of the site.
    #[must_use]
    pub fn page(&self) -> String {
        let Self { series, as_of } = self;
        if series.as_str() == DEFAULT_SERIES {
            format!("nights/{as_of}/index.html")
        } else {
            format!("nights/{series}/{as_of}/index.html")
        }
    }
}

/// From what a night was folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NightBasis {
    /// From sealed plans.
    #[default]
    Plans,
    /// From runs of releases that sealed nothing for the night: the portfolios of the run are the expected ones.
    Runs,
}

/// The stored summary of a night: what lists and calendars need. At most about 20 KB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightHead {
    /// The night series.
    pub night_series: ScheduleName,
    /// The trading date.
    pub as_of: NaiveDate,
    /// How often it was written; 0 before the first time.
    pub version: u64,
    /// The schedule of the newest run, under its name then.
    pub schedule: ScheduleName,
    /// How the night stands.
    pub verdict: Verdict,
    /// The job counts.
    pub totals: Totals,
    /// The number of expected portfolios.
    pub expected_portfolios: u64,
    /// The number of expected portfolios that succeeded in every job.
    pub succeeded_portfolios: u64,
    /// The first absent portfolios, sorted.
    pub absent: Vec<PortfolioId>,
    /// The number of absent portfolios.
    pub absent_count: u64,
    /// The worst control results, shortened.
    pub controls: Vec<NightControl>,
    /// The number of control results other than `ok`.
    pub control_count: u64,
    /// The largest causes, shortened.
    pub causes: Vec<NightCause>,
    /// The number of causes.
    pub cause_count: u64,
    /// The newest runs, oldest first.
    pub runs: Vec<RunId>,
    /// The number of runs.
    pub run_count: u64,
    /// The runs that are open.
    pub in_progress: Vec<RunId>,
    /// The newest full run. `None` if every run was filtered.
    pub full_run: Option<RunId>,
    /// The date through which the data reaches.
    pub newest_close: Option<NaiveDate>,
    /// The newest editions, oldest first, shortened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub editions: Vec<Edition>,
    /// The number of editions beside the first.
    #[serde(default)]
    pub edition_count: u64,
    /// What somebody accepted, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acceptances: Vec<Acceptance>,
    /// From what it was folded.
    #[serde(default)]
    pub basis: NightBasis,
    /// The document with the [`Night`].
    pub document: ContentHash,
    /// When it was folded.
    pub folded_at: DateTime<Utc>,
}

/// What is told of a head beside the fold itself.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadFacts {
    /// The version of the head that this one replaces; 0 for the first.
    pub version: u64,
    /// The schedule of the newest run.
    pub schedule: ScheduleName,
    /// The newest full run.
    pub full_run: Option<RunId>,
    /// What somebody accepted.
    pub acceptances: Vec<Acceptance>,
    /// From what the night was folded.
    pub basis: NightBasis,
    /// The document with the night.
    pub document: ContentHash,
    /// When it was folded.
    pub folded_at: DateTime<Utc>,
}

impl NightHead {
    /// The head of a night.
    #[must_use]
    pub fn of(night: &Night, facts: HeadFacts) -> Self {
        let newest_runs = night.runs.len().saturating_sub(MOST_RUNS);
        Self {
            night_series: night.night_series.clone(),
            as_of: night.as_of,
            version: facts.version,
            schedule: facts.schedule,
            verdict: night.verdict,
            totals: night.totals,
            expected_portfolios: night.expected_portfolios(),
            succeeded_portfolios: night.outcomes.values().filter(|outcome| outcome.succeeded_wholly()).count() as u64,
            absent: night.absent.iter().take(MOST_ABSENT).cloned().collect(),
            absent_count: night.absent.len() as u64,
            controls: night.controls.iter().take(MOST_LISTED).map(short_control).collect(),
            control_count: night.controls.len() as u64,
            causes: night.causes.iter().take(MOST_LISTED).map(short_cause).collect(),
            cause_count: night.causes.len() as u64,
            runs: night.runs[newest_runs..].to_vec(),
            run_count: night.runs.len() as u64,
            in_progress: night.in_progress.iter().take(MOST_RUNS).copied().collect(),
            full_run: facts.full_run,
            newest_close: night.newest_close,
            editions: night.editions[night.editions.len().saturating_sub(MOST_EDITIONS)..]
                .iter()
                .map(short_edition)
                .collect(),
            edition_count: night.editions.len() as u64,
            acceptances: facts.acceptances,
            basis: facts.basis,
            document: facts.document,
            folded_at: facts.folded_at,
        }
    }

    /// Whether it was folded after this run was recorded, and after it ended if it has ended.
    ///
    /// A head names its newest runs only. An older one that it does not name counts as known.
    #[must_use]
    pub fn knows(&self, stored: &StoredRun) -> bool {
        let id = stored.run.batch_run_id;
        let is_over = stored.summary.is_some() || stored.run.is_closed();
        let is_named = self.runs.contains(&id) || self.run_count > self.runs.len() as u64;
        is_named && !(is_over && self.in_progress.contains(&id))
    }

    /// Whether this is the head of this night: what both say is the same.
    #[must_use]
    pub fn is_of(&self, night: &Night) -> bool {
        let facts = HeadFacts {
            version: self.version,
            schedule: self.schedule.clone(),
            full_run: self.full_run,
            acceptances: self.acceptances.clone(),
            basis: self.basis,
            document: self.document.clone(),
            folded_at: self.folded_at,
        };
        Self::of(night, facts) == *self
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> NightKey {
        NightKey { series: self.night_series.clone(), as_of: self.as_of }
    }
}

/// An edition with its first figures; the document has the rest and what changed in the inputs.
fn short_edition(edition: &Edition) -> Edition {
    let mut edition = edition.shortened();
    edition.changed.truncate(MOST_LISTED);
    edition.portfolios.truncate(MOST_PORTFOLIOS);
    edition.why = Why::UNKNOWN;
    edition
}

fn short(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS).collect()
}

fn short_control(control: &NightControl) -> NightControl {
    let mut control = control.clone();
    control.result.message = short(&control.result.message);
    control
}

fn short_cause(cause: &NightCause) -> NightCause {
    let mut cause = cause.clone();
    cause.message = short(&cause.message);
    cause.portfolios.truncate(MOST_PORTFOLIOS);
    cause.locations.truncate(MOST_PORTFOLIOS);
    cause
}
