//! The night as it is stored: a small head under a version, and a document with the whole fold.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::editions::{Edition, Why};
use super::input::Acceptance;
use super::{Night, NightCause, NightControl, Totals, Verdict};
use crate::ids::{ContentHash, PortfolioId, RunId, ScheduleName};
use crate::ports::StoredRun;

/// Bytes of a head as JSON at most.
pub const MOST_BYTES: usize = 20_000;

/// Bytes of the acceptances of a head as JSON at most.
pub const MOST_ACCEPTANCE_BYTES: usize = 8_000;

/// Absent portfolios that a head names. The document has all of them.
pub const MOST_ABSENT: usize = 100;

/// Causes and control results that a head names. The document has all of them.
pub const MOST_LISTED: usize = 10;

/// How much a head names of what its document has in full.
#[derive(Clone, Copy)]
struct Room {
    /// Absent portfolios.
    absent: usize,
    /// Causes and control results, and changed figures of an edition.
    listed: usize,
    /// Editions, the newest ones.
    editions: usize,
    /// Portfolios, locations and jobs of a cause, and portfolios of an edition.
    portfolios: usize,
    /// Runs, the newest ones.
    runs: usize,
    /// Characters of a message.
    message_chars: usize,
}

/// From the room of almost every night to that of one whose names and messages are as long as they may be.
const ROOMS: [Room; 4] = [
    Room {
        absent: MOST_ABSENT,
        listed: MOST_LISTED,
        editions: 3,
        portfolios: MOST_LISTED,
        runs: 50,
        message_chars: 300,
    },
    Room { absent: MOST_ABSENT, listed: 5, editions: 2, portfolios: 5, runs: 30, message_chars: 150 },
    Room { absent: 50, listed: 3, editions: 1, portfolios: 3, runs: 20, message_chars: 100 },
    Room { absent: 10, listed: 1, editions: 1, portfolios: 1, runs: 10, message_chars: 60 },
];

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

/// The stored summary of a night: what lists and calendars need. At most [`MOST_BYTES`] as JSON.
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
    /// The head of a night: with as much of each list as its size allows.
    #[must_use]
    pub fn of(night: &Night, facts: HeadFacts) -> Self {
        let fits = |head: &Self| json_bytes(head) <= MOST_BYTES;
        let [first, rest @ ..] = ROOMS;
        let mut head = Self::within(night, facts.clone(), first);
        for room in rest {
            if fits(&head) {
                break;
            }
            head = Self::within(night, facts.clone(), room);
        }
        head
    }

    fn within(night: &Night, facts: HeadFacts, room: Room) -> Self {
        let newest_runs = night.runs.len().saturating_sub(room.runs);
        let newest_editions = night.editions.len().saturating_sub(room.editions);
        Self {
            night_series: night.night_series.clone(),
            as_of: night.as_of,
            version: facts.version,
            schedule: facts.schedule,
            verdict: night.verdict,
            totals: night.totals,
            expected_portfolios: night.expected_portfolios(),
            succeeded_portfolios: night.outcomes.values().filter(|outcome| outcome.succeeded_wholly()).count() as u64,
            absent: night.absent.iter().take(room.absent).cloned().collect(),
            absent_count: night.absent.len() as u64,
            controls: night.controls.iter().take(room.listed).map(|control| room.control(control)).collect(),
            control_count: night.controls.len() as u64,
            causes: night.causes.iter().take(room.listed).map(|cause| room.cause(cause)).collect(),
            cause_count: night.causes.len() as u64,
            runs: night.runs[newest_runs..].to_vec(),
            run_count: night.runs.len() as u64,
            in_progress: night.in_progress.iter().take(room.runs).copied().collect(),
            full_run: facts.full_run,
            newest_close: night.newest_close,
            editions: night.editions[newest_editions..].iter().map(|edition| room.edition(edition)).collect(),
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

/// Bytes of a value as JSON.
fn json_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

/// Whether a head has room for these acceptances.
#[must_use]
pub fn has_room_for(acceptances: &[Acceptance]) -> bool {
    json_bytes(&acceptances) <= MOST_ACCEPTANCE_BYTES
}

impl Room {
    /// An edition with its first figures; the document has the rest and what changed in the inputs.
    fn edition(&self, edition: &Edition) -> Edition {
        let mut edition = edition.shortened();
        edition.changed.truncate(self.listed);
        edition.portfolios.truncate(self.portfolios);
        edition.why = Why::UNKNOWN;
        edition
    }

    fn message(&self, message: &str) -> String {
        message.chars().take(self.message_chars).collect()
    }

    fn control(&self, control: &NightControl) -> NightControl {
        let mut control = control.clone();
        control.result.message = self.message(&control.result.message);
        control
    }

    fn cause(&self, cause: &NightCause) -> NightCause {
        let mut cause = cause.clone();
        cause.message = self.message(&cause.message);
        cause.portfolios.truncate(self.portfolios);
        cause.locations.truncate(self.portfolios);
        if self.portfolios < MOST_LISTED {
            cause.jobs.truncate(self.portfolios);
            cause.failed_jobs.truncate(self.portfolios);
        }
        cause
    }
}
