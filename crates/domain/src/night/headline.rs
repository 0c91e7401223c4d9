//! The headline: portfolios, cause and action, one sentence each.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::causes::{InputLocation, NightCause};
use super::controls::{Level, NightControl};
use super::next_step::{CommandTarget, missed_dates, next_step};
use super::verdict::Verdict;
use super::{Night, PortfolioOutcome, capitalized, count};
use crate::ids::CauseId;
use crate::words::{JobStatus, JobType};

/// Causes that the headline names.
const MOST_CAUSES: usize = 3;

/// Locations that the headline names for one cause.
const MOST_LOCATIONS: usize = 5;

/// Characters of one message in the headline.
const MESSAGE_CHARS: usize = 200;

/// What a reader sees first. [`fmt::Display`] puts the sentences on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headline {
    /// How many portfolios are good or not, and what is missing.
    pub portfolios: String,
    /// Why; `None` if nothing is wrong.
    pub cause: Option<String>,
    /// What to do, with its command; `None` if nothing is to be done.
    pub action: Option<String>,
}

impl Headline {
    /// The headline of a night. `missed` are the dates of the series with a missed slot and no run.
    #[must_use]
    pub fn of(night: &Night, missed: &[NaiveDate], target: &CommandTarget) -> Self {
        let step = next_step(night, missed, target);
        let nothing_to_do = night.verdict == Verdict::Ok && missed.is_empty() && night.in_progress.is_empty();
        Self {
            portfolios: portfolios(night, missed),
            cause: cause(night, target.is_redacted()),
            action: (!nothing_to_do).then(|| step.line()),
        }
    }
}

impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.portfolios)?;
        for sentence in [&self.cause, &self.action].into_iter().flatten() {
            write!(f, " {sentence}")?;
        }
        Ok(())
    }
}

fn portfolios(night: &Night, missed: &[NaiveDate]) -> String {
    let expected = night.expected_portfolios();
    match night.verdict {
        Verdict::Running if expected == 0 => format!("The run of {} is in progress.", night.as_of),
        Verdict::Running => {
            format!("The run of {} is in progress for {}.", night.as_of, count(expected, "portfolio"))
        }
        Verdict::Missed => no_run(night, missed),
        Verdict::Failed if expected == 0 => "No portfolio was processed.".to_owned(),
        Verdict::Ok => format!("{}.", all_good(night)),
        Verdict::Warning => format!("{}, {}.", all_good(night), verb(results(night, Level::Warning), "warns", "warn")),
        Verdict::Failed | Verdict::Partial => match incomplete(night) {
            Some(text) => text,
            None => format!("{}, {}.", all_good(night), verb(results(night, Level::Failure), "failed", "failed")),
        },
    }
}

fn no_run(night: &Night, missed: &[NaiveDate]) -> String {
    let dates = missed_dates(night, missed);
    match (dates.first(), dates.last()) {
        (Some(first), Some(last)) if first != last => {
            format!("No run took place for {} trading dates from {first} to {last}.", dates.len())
        }
        _ => format!("No run took place for {}.", night.as_of),
    }
}

fn all_good(night: &Night) -> String {
    let jobs = match night.jobs.len() {
        1 => "The job".to_owned(),
        n => format!("All {n} jobs"),
    };
    match night.expected_portfolios() {
        1 => format!("{jobs} succeeded for 1 portfolio"),
        n => format!("{jobs} succeeded for all {n} portfolios"),
    }
}

fn verb(results: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(results, "control result"), if results == 1 { one } else { many })
}

fn results(night: &Night, level: Level) -> u64 {
    open_controls(night, level).count() as u64
}

fn open_controls(night: &Night, level: Level) -> impl Iterator<Item = &NightControl> {
    night.controls.iter().filter(move |control| control.accepted.is_none() && control.result.level == level)
}

/// "7 of 100 portfolios have no risk figures, 1 is absent."
fn incomplete(night: &Night) -> Option<String> {
    let not_good: Vec<&PortfolioOutcome> =
        night.not_succeeded().filter(|(id, _)| !night.absent.contains(*id)).map(|(_, outcome)| outcome).collect();
    let (bad, absent) = (not_good.len() as u64, night.absent.len() as u64);
    let of_all = |n: u64| {
        let all = count(night.expected_portfolios(), "portfolio");
        format!("{n} of {all}")
    };
    let is = |n: u64| if n == 1 { "is" } else { "are" };
    let has = |n: u64| if n == 1 { "has" } else { "have" };
    let lacks = what_is_missing(night, &not_good);
    match (bad, absent) {
        (0, 0) => None,
        (0, absent) => Some(format!("{} {} absent.", of_all(absent), is(absent))),
        (bad, 0) => Some(format!("{} {} {lacks}.", of_all(bad), has(bad))),
        (bad, absent) => Some(format!("{} {} {lacks}, {absent} {} absent.", of_all(bad), has(bad), is(absent))),
    }
}

/// What the portfolios lack. Risk figures count as missing where most jobs of that family did not succeed: what is left
/// (Greeks, correlations) does not say what a portfolio can lose.
fn what_is_missing(night: &Night, portfolios: &[&PortfolioOutcome]) -> &'static str {
    let nothing = |outcome: &&PortfolioOutcome| outcome.jobs.iter().all(|job| job.status != JobStatus::Success);
    if portfolios.iter().all(nothing) {
        return "no results";
    }
    let no_risk = |outcome: &&PortfolioOutcome| {
        let risk = night.jobs.iter().zip(&outcome.jobs).filter(|(job, _)| job.job_type == JobType::RiskMetrics);
        let (bad, all) = risk
            .fold((0u64, 0u64), |(bad, all), (_, job)| (bad + u64::from(job.status != JobStatus::Success), all + 1));
        all > 0 && bad * 2 > all
    };
    if portfolios.iter().all(no_risk) { "no risk figures" } else { "incomplete results" }
}

fn cause(night: &Night, redacted: bool) -> Option<String> {
    if night.verdict == Verdict::Missed {
        return None;
    }
    let mut sentences: Vec<String> = match night.causes.as_slice() {
        [] => Vec::new(),
        [one] if one.portfolios.is_empty() => vec![format!("{}.", capitalized(&what(one, redacted)))],
        [one] => {
            let explains = match one.explains() {
                1 => "explains the job that did not succeed".to_owned(),
                n => format!("explains all {n} jobs that did not succeed"),
            };
            let of_present = if night.absent.is_empty() { "" } else { " in the portfolios that are present" };
            vec![format!("1 cause {explains}{of_present}: {}.", what(one, redacted))]
        }
        causes => causes
            .iter()
            .take(MOST_CAUSES)
            .map(|cause| format!("{}: {}.", cause.portfolios.len(), what(cause, redacted)))
            .collect(),
    };
    let more = night.causes.len().saturating_sub(MOST_CAUSES);
    if more > 0 {
        sentences.push(format!("{}.", count(more as u64, "more cause")));
    }
    let level = if night.verdict == Verdict::Warning { Level::Warning } else { Level::Failure };
    if let Some(first) = open_controls(night, level).next() {
        sentences.push(control_sentence(first, redacted));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

fn control_sentence(control: &NightControl, redacted: bool) -> String {
    let verb = if control.result.level == Level::Failure { "failed" } else { "warns" };
    let name = control.result.control;
    match control.result.message.trim_end_matches('.') {
        message if redacted || message.is_empty() => format!("Control {name} {verb}."),
        message => {
            let said = cut(message);
            let end = if said.ends_with('…') { "" } else { "." };
            format!("Control {name} {verb}: {said}{end}")
        }
    }
}

/// What a cause is, in few words, with its locations.
fn what(cause: &NightCause, redacted: bool) -> String {
    if redacted {
        return match (cause.cause.as_str(), cause.category) {
            (CauseId::MISSING, _) => "work was lost".to_owned(),
            (_, Some(category)) => format!("{category} error"),
            (_, None) => "no error was recorded".to_owned(),
        };
    }
    let message = readable(&cause.message);
    let known = cause.locations.iter().all(|location| message.contains(&location.to_string()));
    if known { message.into_owned() } else { format!("{message} ({})", locations(&cause.locations)) }
}

/// The part of a message before its advice. Where the message is masked, the marks give way to words.
fn readable(message: &str) -> Cow<'_, str> {
    let said = message.split(';').next().unwrap_or(message).trim().trim_end_matches('.');
    if !said.contains('<') {
        return cut(said);
    }
    let plain = said.replace("portfolio <symbol>", "the portfolio");
    let words: Vec<&str> = plain.split(' ').filter(|word| !is_masked_location(word)).collect();
    let text = words.join(" ");
    let marks = ["<symbol>", "<text>", "<date>", "<path>", "<id>", "<n>"];
    let text = marks.iter().fold(text, |text, mark| text.replace(mark, "…"));
    Cow::Owned(cut(&text).into_owned())
}

/// Whether a word is the location of a masked message: its lines are listed apart.
fn is_masked_location(word: &str) -> bool {
    word.trim_end_matches([':', ',']).ends_with(":<n>") && word.contains('.')
}

/// The beginning of a long text: its whole sentences, or its whole words.
fn cut(text: &str) -> Cow<'_, str> {
    let Some((at, _)) = text.char_indices().nth(MESSAGE_CHARS) else { return Cow::Borrowed(text) };
    if let Some(end) = text[..at].rfind(". ") {
        return Cow::Borrowed(&text[..end]);
    }
    Cow::Owned(format!("{}…", &text[..text[..at].rfind(' ').unwrap_or(at)]))
}

/// "positions.csv:39, :112, :340".
fn locations(locations: &[InputLocation]) -> String {
    let mut named: Vec<String> = Vec::new();
    let mut files: BTreeSet<&str> = BTreeSet::new();
    for location in locations.iter().take(MOST_LOCATIONS) {
        let first_of_file = files.insert(&location.file);
        named.push(match location.line {
            Some(line) if !first_of_file => format!(":{line}"),
            _ => location.to_string(),
        });
    }
    let more = locations.len().saturating_sub(MOST_LOCATIONS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
