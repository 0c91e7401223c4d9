//! The next step: one sentence and one command, the same on every surface.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::causes::NightCause;
use super::controls::{Control, Level, NightControl};
use super::verdict::Verdict;
use super::{Night, OpenRun, capitalized, count};
use crate::ids::{CauseId, PortfolioId, RunId};
use crate::shell::command_line;
use crate::words::ErrorCategory;

/// Portfolios up to which a command names each one. Above, it runs all portfolios.
const MOST_NAMED: usize = 200;

/// Ids or symbols up to which a sentence names each one.
const MOST_IN_TEXT: usize = 3;

/// The trigger of runs of the schedule.
const SCHEDULED: &str = "schedule";

/// The trigger of a run by hand that names no other.
const BY_HAND: &str = "manual";

/// Where the commands of a reader must point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandTarget {
    /// Records in a data folder.
    Folder {
        /// Absolute path of the book; `None` if it is not known.
        book: Option<String>,
        /// Absolute path of the data folder.
        data: String,
    },
    /// Records in a table of the cloud.
    Table {
        /// Absolute path or address of the book; `None` if it is not known.
        book: Option<String>,
        /// Name of the table.
        table: String,
    },
    /// A page that must not show paths, ids of portfolios, symbols or messages.
    Redacted,
}

/// What to do about a night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NextStep {
    /// A sentence. It ends with a colon where a command follows.
    pub text: String,
    /// A line for a POSIX shell; `None` if no command helps.
    pub command: Option<String>,
}

impl CommandTarget {
    /// Whether the reader must not see details.
    #[must_use]
    pub const fn is_redacted(&self) -> bool {
        matches!(self, Self::Redacted)
    }

    fn book(&self) -> String {
        let known = match self {
            Self::Folder { book, .. } | Self::Table { book, .. } => book.clone(),
            Self::Redacted => None,
        };
        known.unwrap_or_else(|| "BOOK".to_owned())
    }

    fn data(&self) -> String {
        match self {
            Self::Folder { data, .. } => data.clone(),
            Self::Table { table, .. } => format!("dynamodb://{table}"),
            Self::Redacted => "DATA".to_owned(),
        }
    }

    fn run(&self, dates: &[String], portfolios: &[&PortfolioId]) -> String {
        let mut words = vec!["nightbook".to_owned(), "run".to_owned()];
        words.extend(["--book".to_owned(), self.book(), "--data".to_owned(), self.data()]);
        words.extend(dates.iter().cloned());
        for id in portfolios {
            words.extend(["--portfolio".to_owned(), id.to_string()]);
        }
        command_line(words)
    }

    fn run_date(&self, as_of: NaiveDate, portfolios: &[&PortfolioId]) -> String {
        self.run(&["--as-of".to_owned(), as_of.to_string()], portfolios)
    }

    fn rerun(&self, run: RunId, cause: &CauseId) -> String {
        let (run, data) = (run.to_string(), self.data());
        command_line(["nightbook", "rerun", &run, "--cause", cause.as_str(), "--data", &data])
    }
}

impl NextStep {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), command: None }
    }

    fn command(text: impl Into<String>, command: String) -> Self {
        Self { text: text.into(), command: Some(command) }
    }

    /// The sentence and its command on one line.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.command {
            Some(command) => format!("{} {command}", self.text),
            None => self.text.clone(),
        }
    }
}

/// What to do about a night. `missed` are the dates of the series with a missed slot and no run, in any order.
///
/// In this order: wait for a run that is open; run missed nights; correct the input and run the portfolios
/// that did not succeed; rerun what may succeed by itself; look into a control result. Total.
#[must_use]
pub fn next_step(night: &Night, missed: &[NaiveDate], target: &CommandTarget) -> NextStep {
    if !night.in_progress.is_empty() {
        return wait(night, target);
    }
    if night.verdict == Verdict::Missed {
        return run_missed(&missed_dates(night, missed), target);
    }
    correct_input(night, target)
        .or_else(|| run_whole(night, target))
        .or_else(|| run_the_others(night, target))
        .or_else(|| retry(night, target))
        .or_else(|| look_into(night, Level::Failure, target))
        .or_else(|| (!missed.is_empty()).then(|| run_missed(&missed_dates(night, missed), target)))
        .or_else(|| look_into(night, Level::Warning, target))
        .unwrap_or_else(|| NextStep::text("No action is needed."))
}

/// The missed dates, with that of the night itself where it is one.
pub(super) fn missed_dates(night: &Night, missed: &[NaiveDate]) -> BTreeSet<NaiveDate> {
    let own = (night.verdict == Verdict::Missed).then_some(night.as_of);
    missed.iter().copied().chain(own).collect()
}

/// A run that is open is worked on, or was interrupted: the records do not tell the two apart.
fn wait(night: &Night, target: &CommandTarget) -> NextStep {
    let ids = listed(night.in_progress.iter().map(|run| run.short()));
    let (text, alone) = match night.in_progress.len() {
        1 => (format!("Wait until run {ids} has ended."), true),
        _ => (format!("Wait until each of the runs {ids} has ended."), false),
    };
    // In the cloud the next sweep of `watch` continues it.
    if matches!(target, CommandTarget::Table { .. }) {
        return NextStep::text(text);
    }
    let which = |run: &OpenRun| if alone { "it".to_owned() } else { format!("run {}", run.id.short()) };
    let continued = night.open_runs.iter().find_map(|run| Some((run, continuing(night.as_of, run, target)?)));
    match (continued, night.open_runs.first()) {
        (Some((run, command)), _) => {
            NextStep::command(format!("{text} If {} was interrupted, continue it:", which(run)), command)
        }
        (None, Some(run)) if run.trigger == SCHEDULED => {
            NextStep::text(format!("{text} If {} was interrupted, `nightbook serve` continues it.", which(run)))
        }
        (None, _) => NextStep::text(text),
    }
}

/// The command that continues an interrupted run. `None` for a run of the schedule, and where the command would name
/// what the reader must not see.
fn continuing(as_of: NaiveDate, run: &OpenRun, target: &CommandTarget) -> Option<String> {
    if run.is_rerun {
        let (id, data) = (run.id.to_string(), target.data());
        return Some(command_line(["nightbook", "rerun", &id, "--data", &data]));
    }
    // A run with another trigger is another run.
    let by_hand = run.trigger == BY_HAND;
    if run.trigger == SCHEDULED || (target.is_redacted() && !(by_hand && run.filter.is_empty())) {
        return None;
    }
    let mut dates = vec!["--as-of".to_owned(), as_of.to_string()];
    if !by_hand {
        dates.extend(["--trigger".to_owned(), run.trigger.clone()]);
    }
    Some(target.run(&dates, &run.filter.iter().collect::<Vec<_>>()))
}

/// One command over the gap: `run --from --to` leaves out the nights that have a run.
fn run_missed(dates: &BTreeSet<NaiveDate>, target: &CommandTarget) -> NextStep {
    match (dates.first(), dates.last()) {
        (Some(from), Some(to)) if from != to => {
            let span = ["--from".to_owned(), from.to_string(), "--to".to_owned(), to.to_string()];
            NextStep::command(format!("Run the {} missed nights:", dates.len()), target.run(&span, &[]))
        }
        (Some(date), _) => NextStep::command("Run the missed night:", target.run_date(*date, &[])),
        _ => NextStep::text("No action is needed."),
    }
}

/// What has to be corrected in the input before a run can succeed, and the run of the portfolios concerned.
fn correct_input(night: &Night, target: &CommandTarget) -> Option<NextStep> {
    let redacted = target.is_redacted();
    let permanent: Vec<&NightCause> = night.causes.iter().filter(|cause| needs_correction(cause)).collect();
    let stale: Vec<&NightControl> = night.controls.iter().filter(|control| is_stale(control)).collect();
    let mut fixes: Vec<String> = Vec::new();
    if !permanent.is_empty() {
        fixes.push(correction(&permanent, redacted));
    }
    if !night.absent.is_empty() && night.full_run_ended {
        fixes.push(restoration(&night.absent, redacted));
    }
    if !stale.is_empty() {
        fixes.push(missing_closes(night.as_of, &stale, redacted));
    }
    if fixes.is_empty() {
        return None;
    }
    let affected: Vec<&PortfolioId> = night.not_succeeded().map(|(id, _)| id).collect();
    let whole = redacted
        || !night.absent.is_empty()
        || !stale.is_empty()
        || affected.len() == night.outcomes.len()
        || affected.len() > MOST_NAMED;
    let portfolios = if whole { &[] } else { affected.as_slice() };
    let text = format!("{}, then run:", capitalized(&fixes.join(", ")));
    Some(NextStep::command(text, target.run_date(night.as_of, portfolios)))
}

fn needs_correction(cause: &NightCause) -> bool {
    cause.category == Some(ErrorCategory::Permanent) || cause.cause.as_str() == CauseId::NO_PORTFOLIOS
}

fn is_stale(control: &NightControl) -> bool {
    control.accepted.is_none()
        && control.result.level == Level::Failure
        && matches!(control.result.control, Control::NewestClose | Control::Freshness)
}

/// "fix positions.csv and portfolios.csv:5"; a file with one target is named with its line.
fn correction(causes: &[&NightCause], redacted: bool) -> String {
    if redacted {
        return "fix the input that the failed jobs name".to_owned();
    }
    let mut files: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for input in causes.iter().flat_map(|cause| &cause.locations) {
        files.entry(&input.file).or_default().extend(input.line);
    }
    if files.is_empty() {
        return match causes.first() {
            Some(cause) if cause.cause.as_str() == CauseId::NO_PORTFOLIOS => {
                "add an open portfolio to portfolios.csv".to_owned()
            }
            Some(cause) => match cause.failed_jobs.first() {
                Some(job) => format!("correct what makes {job} fail"),
                None => "correct the input of the run".to_owned(),
            },
            None => "correct the input".to_owned(),
        };
    }
    let names = files.iter().map(|(file, lines)| match (lines.first(), lines.len()) {
        (Some(line), 1) => format!("{file}:{line}"),
        _ => (*file).to_owned(),
    });
    format!("fix {}", listed(names))
}

fn restoration(absent: &BTreeSet<PortfolioId>, redacted: bool) -> String {
    if redacted || absent.len() > MOST_IN_TEXT {
        let absent = count(absent.len() as u64, "absent portfolio");
        return format!("add {absent} to portfolios.csv again or declare them closed (closed_on)");
    }
    let pronoun = if absent.len() == 1 { "it" } else { "them" };
    format!("add {} to portfolios.csv again or declare {pronoun} closed (closed_on)", listed(absent))
}

fn missing_closes(as_of: NaiveDate, stale: &[&NightControl], redacted: bool) -> String {
    let symbols: BTreeSet<&str> = stale.iter().filter_map(|control| control.result.symbol.as_deref()).collect();
    match symbols.len() {
        0 => format!("add the closes of {as_of} to the prices"),
        _ if redacted => format!("add the closes of {as_of} to the prices"),
        1..=MOST_IN_TEXT => format!("add the closes of {as_of} for {}", listed(&symbols)),
        n => format!(
            "add the closes of {as_of} for {} and {} more",
            symbols.iter().take(MOST_IN_TEXT).copied().collect::<Vec<_>>().join(", "),
            n - MOST_IN_TEXT
        ),
    }
}

/// A night of which nothing was planned has no run to repeat: it is run as a whole.
fn run_whole(night: &Night, target: &CommandTarget) -> Option<NextStep> {
    let step = || NextStep::command("Run the night again:", target.run_date(night.as_of, &[]));
    night.outcomes.is_empty().then(step)
}

/// A night whose runs were all filtered: what is absent may be in the book, and was not asked for.
fn run_the_others(night: &Night, target: &CommandTarget) -> Option<NextStep> {
    let step =
        || NextStep::command("No run of all portfolios has ended; run the night:", target.run_date(night.as_of, &[]));
    (!night.absent.is_empty() && !night.full_run_ended).then(step)
}

/// What may succeed by itself: the largest cause, in the run that holds most of its portfolios.
fn retry(night: &Night, target: &CommandTarget) -> Option<NextStep> {
    let (cause, run) = night.causes.iter().find_map(|cause| cause.batch_run_id.map(|run| (cause, run)))?;
    let whom = count(cause.portfolios.len() as u64, "portfolio");
    Some(NextStep::command(format!("Rerun the {whom} with this cause:"), target.rerun(run, &cause.cause)))
}

fn look_into(night: &Night, level: Level, target: &CommandTarget) -> Option<NextStep> {
    let open = |control: &&NightControl| control.accepted.is_none() && control.result.level == level;
    let first = night.controls.iter().find(open)?.result.control;
    let results = night.controls.iter().filter(open).filter(|control| control.result.control == first).count();
    let (what, it) = match results {
        1 => (format!("the result of control {first}"), "it"),
        n => (format!("the {n} results of control {first}"), "them"),
    };
    let (date, data) = (night.as_of.to_string(), target.data());
    let accept = ["nightbook", "accept", &date, "--control", first.as_str(), "--note", "TEXT", "--data", &data];
    let text = format!("Check {what}; correct the input, or accept {it}, with your reason for TEXT:");
    Some(NextStep::command(text, command_line(accept)))
}

/// "a", "a and b", "a, b and c".
fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.pop() {
        None => String::new(),
        Some(last) if items.is_empty() => last,
        Some(last) => format!("{} and {last}", items.join(", ")),
    }
}
