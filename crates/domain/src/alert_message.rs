//! What people are told: one message for a run that changes what is known of its night, never one for a job. The JSON form is described by
//! `docs/alert-event.schema.json`.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::alert_rules::Severity;
use crate::ids::{CauseId, ContentHash, JobName, PortfolioId, RunId, ScheduleName};
use crate::night::Verdict;
use crate::words::{ErrorCategory, RunStatus};

/// The version of the JSON form. Fields are added, never renamed or removed; then it stays.
pub const SCHEMA: &str = "nightbook.alert/1";

/// Portfolios that a message names at most.
pub const NAMED_PORTFOLIOS: usize = 5;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Something went wrong that was well before.
    Open,
    /// The same as people were told of already.
    Reminder,
    /// A new cause beside those that people were told of already.
    Update,
    /// Some causes are gone, others are not.
    PartialRecovery,
    /// All causes that people were told of are gone.
    Recovery,
    /// A slot passed without a run.
    Missed,
    /// A run goes on for longer than it may.
    Overdue,
    /// A control did not pass, and nothing else is new.
    Control,
    /// Expected portfolios are in no run, and nothing worse is new.
    Absent,
    /// A run changed figures that were recorded before.
    Restatement,
    /// Nothing went wrong; some things are worth knowing.
    Digest,
    /// Somebody tries a channel.
    Test,
}

impl AlertKind {
    /// Whether the message is about open incidents or their end.
    #[must_use]
    pub const fn is_of_incidents(self) -> bool {
        !matches!(self, Self::Restatement | Self::Digest | Self::Test)
    }

    /// As JSON and logs say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Reminder => "reminder",
            Self::Update => "update",
            Self::PartialRecovery => "partial_recovery",
            Self::Recovery => "recovery",
            Self::Missed => "missed",
            Self::Overdue => "overdue",
            Self::Control => "control",
            Self::Absent => "absent",
            Self::Restatement => "restatement",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }
}

/// One cause, as a message tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseLine {
    /// The cause: the fingerprint of an error, or a name such as `missing_records`.
    pub fingerprint: CauseId,
    /// The job that failed, where it is one.
    pub job: Option<JobName>,
    /// What kind of fault, where a job failed.
    pub category: Option<ErrorCategory>,
    /// What happened.
    pub message: String,
    /// Failed records with this cause.
    pub count: u64,
    /// Jobs that were skipped because of them.
    pub skipped: u64,
    /// Affected portfolios.
    pub portfolios_affected: u64,
    /// The first [`NAMED_PORTFOLIOS`] of them.
    pub portfolios: Vec<PortfolioId>,
    /// Whether people are told of it for the first time.
    pub new: bool,
    /// Nights that had it.
    pub runs: u32,
    /// The trading date of the first.
    pub since: NaiveDate,
}

/// A cause that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveredLine {
    /// The cause.
    pub fingerprint: CauseId,
    /// The job that failed, where it was one.
    pub job: Option<JobName>,
    /// What had happened.
    pub message: String,
    /// Nights that had it.
    pub runs: u32,
    /// The trading date of the first.
    pub since: NaiveDate,
    /// Seconds from the first run that had it to the run that shows that it is over.
    pub lasted_seconds: i64,
    /// The first affected portfolios that are declared closed instead of having succeeded.
    #[serde(default)]
    pub closed: Vec<PortfolioId>,
    /// Why it is closed, where no night shows that it is over: somebody accepted it, or its schedule is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertMessage {
    /// [`SCHEMA`].
    pub schema: String,
    /// The same for every delivery of this message, through whichever channel.
    pub alert_id: String,
    /// Which delivery through this channel it is, from 1.
    pub attempt: u32,
    /// What it is about.
    pub kind: AlertKind,
    /// How much it matters.
    pub severity: Severity,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// The same from the message that opens the first incident of a night series to the recovery of the last one, so that
    /// each key is closed by a message with the same key.
    pub dedup_key: String,
    /// The schedule, under its present name.
    pub schedule: ScheduleName,
    /// The night series; `None` in messages of earlier releases.
    #[serde(default)]
    pub night_series: Option<ScheduleName>,
    /// The run.
    pub batch_run_id: RunId,
    /// Its trading date.
    pub as_of: NaiveDate,
    /// How the night stands, in the words that runs have.
    pub status: RunStatus,
    /// How the night stands; `None` where no night was judged.
    #[serde(default)]
    pub night_verdict: Option<Verdict>,
    /// All of it in one line.
    pub title: String,
    /// The headline of the night.
    pub verdict: String,
    /// The largest causes, three at most.
    pub top_causes: Vec<CauseLine>,
    /// Causes in all.
    pub causes: u64,
    /// The first [`NAMED_PORTFOLIOS`] of the affected portfolios.
    pub portfolios: Vec<PortfolioId>,
    /// Affected portfolios in all.
    pub portfolios_affected: u64,
    /// Causes that are gone.
    pub recovered: Vec<RecoveredLine>,
    /// What is worth knowing beside: data quality, durations.
    pub notes: Vec<String>,
    /// Address of the run's page; of the index where the run has none.
    pub page: String,
    /// The command of the next step.
    pub rerun: Option<String>,
    /// The edition of the night that a restatement made; `None` in messages of other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<u64>,
}

/// The key of messages of a night series whose incidents began with these causes.
#[must_use]
pub fn dedup_key<'a>(schedule: &ScheduleName, causes: impl IntoIterator<Item = &'a CauseId>) -> String {
    let mut causes: Vec<&str> = causes.into_iter().map(CauseId::as_str).collect();
    causes.sort_unstable();
    causes.dedup();
    let hash = ContentHash::of(format!("{schedule}\n{}", causes.join("\n")).as_bytes());
    format!("{schedule}/{}", hash.short())
}

/// "1 portfolio", "2 portfolios".
pub(crate) fn plural(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A time as people say it: "3 days 4 h", "5 h 20 min", "under a minute".
pub(crate) fn lasted(seconds: i64) -> String {
    let time = TimeDelta::seconds(seconds);
    let (days, hours, minutes) = (time.num_days(), time.num_hours() % 24, time.num_minutes() % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => "under a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => plural(days.unsigned_abs(), "day"),
        (days, hours, _) => format!("{} {hours} h", plural(days.unsigned_abs(), "day")),
    }
}

fn named(portfolios: &[PortfolioId], all: u64) -> String {
    let names: Vec<&str> = portfolios.iter().map(PortfolioId::as_str).collect();
    match all.saturating_sub(names.len() as u64) {
        0 => names.join(", "),
        more if names.is_empty() => plural(more, "portfolio"),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

impl CauseLine {
    fn text(&self) -> String {
        let what = match (&self.job, self.category) {
            (Some(job), Some(category)) => format!("{job} failed ({category})"),
            (Some(job), None) => format!("{job} failed"),
            (None, _) => self.fingerprint.to_string(),
        };
        let whom = match self.portfolios_affected {
            0 => String::new(),
            n => format!(" in {}", plural(n, "portfolio")),
        };
        let skipped = match self.skipped {
            0 => String::new(),
            n => format!(", {} skipped because of it", plural(n, "job")),
        };
        let known = match (self.new, self.runs) {
            (true, 0 | 1) => "new".to_owned(),
            (true, runs) => format!("new, {}", nights_since(self.since, runs)),
            (false, runs) => format!("known, {}", nights_since(self.since, runs)),
        };
        format!("{what}{whom}{skipped} [{}, {known}]: {}", self.fingerprint, self.message.replace('\n', " "))
    }
}

impl RecoveredLine {
    fn text(&self) -> String {
        format!(
            "{} [{}, {}]: {}",
            self.what(),
            self.fingerprint,
            self.duration_and_reason(),
            self.message.replace('\n', " ")
        )
    }

    /// The job, or the cause where no job failed.
    pub(crate) fn what(&self) -> String {
        self.job.as_ref().map_or_else(|| self.fingerprint.to_string(), ToString::to_string)
    }

    /// "since 2026-11-24, 3 nights; declared closed: p1".
    pub(crate) fn duration_and_reason(&self) -> String {
        let mut text = nights_since(self.since, self.runs);
        if !self.closed.is_empty() {
            text += &format!("; declared closed: {}", named(&self.closed, self.closed.len() as u64));
        }
        if let Some(because) = &self.because {
            text += &format!("; {}", because.replace('\n', " "));
        }
        text
    }
}

/// How long a cause lasts: "since 2026-11-24, 3 nights".
pub(crate) fn nights_since(since: NaiveDate, nights: u32) -> String {
    format!("since {since}, {}", plural(nights.into(), "night"))
}

impl AlertMessage {
    /// The message as plain text, for people: what stands in an e-mail and in a chat.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.verdict);
        // Writing to a text cannot fail.
        if !self.top_causes.is_empty() {
            let _ = writeln!(text, "\nCauses:");
            for (at, cause) in self.top_causes.iter().enumerate() {
                let _ = writeln!(text, "{}. {}", at + 1, cause.text());
            }
            let more = self.causes.saturating_sub(self.top_causes.len() as u64);
            if more > 0 {
                let _ = writeln!(text, "and {}", plural(more, "more cause"));
            }
        }
        if self.portfolios_affected > 0 {
            let _ = writeln!(text, "\nPortfolios: {}", named(&self.portfolios, self.portfolios_affected));
        }
        if !self.recovered.is_empty() {
            let _ = writeln!(text, "\nRecovered:");
            for gone in &self.recovered {
                let _ = writeln!(text, "- {}", gone.text());
            }
        }
        if !self.notes.is_empty() {
            let heading = if self.kind == AlertKind::Restatement { "What changed" } else { "Worth knowing" };
            let _ = writeln!(text, "\n{heading}:");
            for note in &self.notes {
                let _ = writeln!(text, "- {note}");
            }
        }
        let _ = writeln!(text, "\nPage: {}", self.page);
        if let Some(rerun) = &self.rerun {
            let _ = writeln!(text, "Next: {rerun}");
        }
        let _ = writeln!(text, "Alert: {} (attempt {})", self.alert_id, self.attempt);
        text
    }

    /// A message to try a channel with.
    #[must_use]
    pub fn test(schedule: ScheduleName, id: RunId, base: &str, now: DateTime<Utc>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            alert_id: format!("{id}/test"),
            attempt: 1,
            kind: AlertKind::Test,
            severity: Severity::Info,
            created_at: now,
            dedup_key: dedup_key(&schedule, []),
            night_series: None,
            night_verdict: None,
            title: format!("{schedule}: a test of this channel"),
            verdict: "This is a test: nothing happened.".to_owned(),
            schedule,
            batch_run_id: id,
            as_of: now.date_naive(),
            status: RunStatus::Success,
            top_causes: Vec::new(),
            causes: 0,
            portfolios: Vec::new(),
            portfolios_affected: 0,
            recovered: Vec::new(),
            notes: Vec::new(),
            page: format!("{}/index.html", base.trim_end_matches('/')),
            rerun: None,
            edition: None,
        }
    }
}

/// How much a night of this status matters.
#[must_use]
pub const fn severity_of(status: RunStatus) -> Severity {
    match status {
        RunStatus::Failed | RunStatus::Missed => Severity::Critical,
        RunStatus::Partial | RunStatus::Running => Severity::Warning,
        RunStatus::Success => Severity::Info,
    }
}
