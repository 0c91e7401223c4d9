//! Requests and outcomes, as plain values: they also travel between processes as JSON.

use chrono::NaiveDate;
use domain::ids::{CauseId, PortfolioId, RunId, ScheduleName};
use domain::note::NoteKind;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A run by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The trading date; `None`: the last completed session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<NaiveDate>,
    /// The portfolios; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub portfolios: Vec<PortfolioId>,
    /// What started the run, as its record shows it: 1 to 64 characters.
    pub trigger: String,
    /// Whether to run again although the same run is finished.
    #[serde(default)]
    pub again: bool,
}

/// A closed run again, on its pinned inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerunRequest {
    /// The run to repeat.
    pub run: RunId,
    /// Whether to repeat only the portfolios with failed, skipped or missing jobs.
    #[serde(default)]
    pub failed_only: bool,
    /// Repeat only the portfolios with this cause, a cause of the night or a fingerprint of the records, that have not
    /// succeeded since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseId>,
}

/// An early end of an open run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// The run to end.
    pub run: RunId,
}

/// A note on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnnotateRequest {
    /// The run.
    pub run: RunId,
    /// What the note is for.
    pub kind: NoteKind,
    /// Who writes it: 1 to 80 characters on one line.
    pub author: String,
    /// At most 1,000 characters; may be empty where the run is only acknowledged.
    #[serde(default)]
    pub text: String,
    /// Made by the client, so that the same note sent again is the same note; `None`: made from its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
}

/// A mute of a cause or of a portfolio: exactly one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteRequest {
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<CauseId>,
    /// The portfolio, with all its causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portfolio: Option<PortfolioId>,
    /// The last day of the mute, in UTC.
    pub until: NaiveDate,
    /// Why, as the site shows it: 1 to 200 characters on one line.
    pub reason: String,
    /// The schedule; `None`: every schedule with alerts on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleName>,
}

/// Why a control result may be relied on all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// The trading date of the night.
    pub as_of: NaiveDate,
    /// The night series; `None`: that of the schedule in force, else the first with a night of this date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<ScheduleName>,
    /// The name of the control.
    pub control: String,
    /// The portfolio whose results are accepted; `None`: all results of the control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portfolio: Option<PortfolioId>,
    /// Who accepts: 1 to 80 characters on one line.
    pub author: String,
    /// Why: 1 to 200 characters.
    pub note: String,
}

/// The pages of the newest run and of runs without pages, or of all runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// Whether to write every page from the records.
    #[serde(default)]
    pub rebuild: bool,
}

/// What became of a publish request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Files that were written; unchanged ones are not counted.
    pub files_written: u64,
    /// The publication that failed, which ended the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<PublicationFailure>,
}

/// A publication that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationFailure {
    /// The run; `None` where it was a rebuild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Why, masked.
    pub error: String,
}

/// What a request led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "batch_run_id", rename_all = "snake_case")]
pub enum Accepted {
    /// A new run begins.
    Begun(RunId),
    /// The same run exists and is still open: it continues.
    Continued(RunId),
    /// The same run exists and is closed.
    Finished(RunId),
    /// Every job of this run succeeded, so a rerun of its failures has nothing to do.
    NothingToRepeat(RunId),
    /// The run ends early.
    Canceling(RunId),
}

impl Accepted {
    /// The run that the outcome is about.
    #[must_use]
    pub const fn run(&self) -> RunId {
        match self {
            Self::Begun(run)
            | Self::Continued(run)
            | Self::Finished(run)
            | Self::NothingToRepeat(run)
            | Self::Canceling(run) => *run,
        }
    }
}
