//! A night: what the index shows of the newest one, and `nights/<as_of>/index.html`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use domain::ids::{CauseId, PortfolioId, RunId};
use domain::night::headline::Headline;
use domain::night::next_step::{CommandTarget, next_step};
use domain::night::{Acceptance, Night, NightBasis, NightCause, NightHead, PortfolioOutcome, Verdict};
use domain::words::JobStatus;
use serde::Serialize;

use super::controls::Controls;
use super::editions::EditionLine;
use super::run::NoteLine;
use super::{Named, RunLine, Stamp, portfolio_link, run_link, verdict_class, verdict_glyph};
use crate::gather::{NightData, RunHead};
use crate::text::count;

/// Causes, controls and portfolios that the index lists.
pub(crate) const FEW: usize = 5;
/// The same on the page of the night.
pub(crate) const MANY: usize = 500;
/// Portfolios that the index names for each cause.
const FEW_PORTFOLIOS: usize = 12;
/// Jobs up to which the title of a cause names each one.
const MOST_JOBS: usize = 3;

/// What is read of a night for its pages.
pub(crate) struct NightInput<'a> {
    pub(crate) data: &'a NightData,
    /// How long each cause lasts, in words.
    pub(crate) standings: &'a BTreeMap<CauseId, String>,
    /// Portfolios that have a page.
    pub(crate) with_page: &'a BTreeSet<PortfolioId>,
    /// Dates with a missed slot and no run.
    pub(crate) missed: &'a [NaiveDate],
    /// The runs of the night, masked, oldest first.
    pub(crate) runs: &'a [RunHead],
    /// What its commands point to.
    pub(crate) target: &'a CommandTarget,
    /// The page of the night, from the root, if it is there.
    pub(crate) link: Option<String>,
    /// The newest date with a close of a night before, for a night that has none.
    pub(crate) close_before: Option<NaiveDate>,
}

/// A run that a sentence names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunRef {
    pub(crate) short: String,
    pub(crate) link: Option<String>,
}

/// One cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CauseLine {
    pub(crate) cause: String,
    pub(crate) title: String,
    pub(crate) category: &'static str,
    pub(crate) message: String,
    pub(crate) standing: String,
    pub(crate) new: bool,
    pub(crate) locations: Vec<String>,
    pub(crate) run: Option<RunRef>,
    /// Affected portfolios, each with its page, from the root.
    pub(crate) portfolios: Vec<Named>,
    pub(crate) more: u64,
    pub(crate) affected: u64,
    /// Jobs that it explains, of those that did not succeed and belong to a portfolio that is present.
    pub(crate) explains: u64,
    pub(crate) of: u64,
    /// The same in hundredths.
    pub(crate) share: u64,
}

/// The verdict of a night with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NightBox {
    pub(crate) as_of: String,
    pub(crate) series: String,
    pub(crate) verdict: &'static str,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    /// The three sentences: portfolios, cause, action with its command.
    pub(crate) headline: String,
    pub(crate) portfolios: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    /// The date through which the data reaches, and whether it is older than the trading date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_through: Option<String>,
    pub(crate) stale: bool,
    #[serde(skip_serializing_if = "Controls::is_empty")]
    pub(crate) controls: Controls,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) absent: Vec<Named>,
    pub(crate) absent_count: u64,
    /// Whether a run of all portfolios has ended: else what is absent may be in the book.
    pub(crate) full_run_ended: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<CauseLine>,
    pub(crate) more_causes: u64,
    /// Restated figures, the newest edition first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) editions: Vec<EditionLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) in_progress: Vec<RunRef>,
    /// Missed nights that nobody ran, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) missed: Vec<String>,
    /// The newest close of the stored runs is older than this release: expected portfolios are those of the runs.
    pub(crate) from_runs: bool,
}

/// A portfolio on the page of a night.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PortfolioLine {
    #[serde(flatten)]
    pub(crate) portfolio: Named,
    pub(crate) name: String,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) word: &'static str,
    pub(crate) succeeded: u64,
    pub(crate) total: u64,
    /// Jobs that did not succeed, with their state.
    pub(crate) jobs: Vec<(String, &'static str)>,
    pub(crate) run: Option<RunRef>,
}

/// Somebody's acceptance of control results.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AcceptLine {
    pub(crate) what: String,
    pub(crate) author: String,
    pub(crate) at: Stamp,
    pub(crate) note: String,
}

/// The page of a night.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NightPage {
    pub(crate) night: NightBox,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) expected: u64,
    pub(crate) succeeded: u64,
    pub(crate) jobs: u64,
    pub(crate) totals: domain::night::Totals,
    pub(crate) runs: Vec<RunLine>,
    /// Portfolios, those that did not succeed first.
    pub(crate) lines: Vec<PortfolioLine>,
    pub(crate) more: u64,
    /// Whether a portfolio of the list has jobs that did not succeed and is not absent.
    pub(crate) has_unfinished: bool,
    /// Portfolios that are declared closed, each with its first closed date.
    pub(crate) closed: Vec<(Named, String)>,
    pub(crate) accepts: Vec<AcceptLine>,
    /// Notes on its runs, each with its run.
    pub(crate) notes: Vec<(RunRef, NoteLine)>,
    /// The page of its month, from the root.
    pub(crate) month: String,
}

/// What the page of a night has beyond its box.
pub(crate) struct NightPageInput<'a> {
    pub(crate) night: NightInput<'a>,
    /// Names of portfolios.
    pub(crate) names: &'a BTreeMap<PortfolioId, String>,
    pub(crate) notes: Vec<(RunId, NoteLine)>,
}

/// The verdict of a night with its reasons; at most so many of each.
pub(crate) fn night_box(input: &NightInput<'_>, most: usize) -> NightBox {
    let (night, head) = (&*input.data.night, &input.data.head);
    let headline = Headline::of(night, input.missed, input.target);
    let step = next_step(night, input.missed, input.target);
    let shown = headline.action.is_some();
    let present =
        |outcome: &PortfolioOutcome| outcome.jobs.iter().filter(|job| job.status != JobStatus::Success).count();
    let of = night.not_succeeded().filter(|(id, _)| !night.absent.contains(*id)).map(|(_, o)| present(o) as u64).sum();
    let portfolios = if most > FEW { MANY } else { FEW_PORTFOLIOS };
    NightBox {
        as_of: night.as_of.to_string(),
        series: night.night_series.to_string(),
        verdict: night.verdict.as_str(),
        class: verdict_class(night.verdict),
        glyph: verdict_glyph(night.verdict),
        headline: headline.to_string(),
        portfolios: headline.portfolios,
        cause: headline.cause,
        command: step.command.filter(|_| shown),
        step: shown.then_some(step.text),
        link: input.link.clone(),
        data_through: night.newest_close.or(input.close_before).map(|date| date.to_string()),
        stale: night.newest_close.is_some_and(|date| date < night.as_of),
        controls: Controls::of(&night.controls, input.with_page, most),
        absent: night.absent.iter().take(portfolios).map(|id| named(id, input.with_page)).collect(),
        absent_count: night.absent.len() as u64,
        full_run_ended: night.full_run_ended,
        more_causes: night.causes.len().saturating_sub(most) as u64,
        causes: night.causes.iter().take(most).map(|cause| cause_line(input, cause, of, portfolios)).collect(),
        editions: super::editions::lines(&night.editions, None, input.runs),
        in_progress: night.in_progress.iter().map(|run| run_ref(*run, input.runs)).collect(),
        missed: input.missed.iter().rev().map(ToString::to_string).collect(),
        from_runs: head.basis == NightBasis::Runs,
    }
}

fn named(id: &PortfolioId, with_page: &BTreeSet<PortfolioId>) -> Named {
    Named { id: id.to_string(), link: with_page.contains(id) }
}

pub(crate) fn run_ref(run: RunId, runs: &[RunHead]) -> RunRef {
    let linkable = runs.iter().any(|head| head.run.batch_run_id == run && head.linkable);
    RunRef { short: run.short(), link: linkable.then(|| run_link(run)) }
}

fn cause_line(input: &NightInput<'_>, cause: &NightCause, of: u64, most: usize) -> CauseLine {
    let standing = input.standings.get(&cause.cause).cloned().unwrap_or_default();
    CauseLine {
        cause: cause.cause.to_string(),
        title: title(cause),
        category: cause.category.map_or("", |category| category.as_str()),
        message: cause.message.clone(),
        new: standing == "new",
        standing,
        locations: cause.locations.iter().map(ToString::to_string).collect(),
        run: cause.batch_run_id.map(|run| run_ref(run, input.runs)),
        portfolios: cause.portfolios.iter().take(most).map(|id| named(id, input.with_page)).collect(),
        more: cause.portfolios.len().saturating_sub(most) as u64,
        affected: cause.portfolios.len() as u64,
        explains: cause.explains(),
        of,
        share: (cause.explains() * 100).checked_div(of).unwrap_or(0).min(100),
    }
}

/// `factor_analysis failed for 7 portfolios and stopped 14 jobs after it`.
fn title(cause: &NightCause) -> String {
    if cause.portfolios.is_empty() {
        return "The night as a whole".to_owned();
    }
    let whom = count(cause.portfolios.len() as u64, "portfolio");
    if cause.cause.as_str() == CauseId::MISSING {
        return format!("{} of {whom} left no record", count(cause.explains(), "job"));
    }
    let jobs = match cause.failed_jobs.len() {
        0 => return format!("{} of {whom} did not succeed", count(cause.explains(), "job")),
        n if n > MOST_JOBS => count(n as u64, "job"),
        _ => cause.failed_jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
    };
    let after = match cause.skipped {
        0 => String::new(),
        n => format!(" and stopped {} after it", count(n, "job")),
    };
    format!("{jobs} failed for {whom}{after}")
}

/// How a portfolio stands on a night.
pub(crate) fn state(night: &Night, id: &PortfolioId) -> (&'static str, &'static str, &'static str) {
    if night.absent.contains(id) {
        return ("miss", "◇", "absent");
    }
    let Some(outcome) = night.outcomes.get(id) else {
        return if night.closed.contains_key(id) { ("none", "·", "closed") } else { ("none", "·", "not expected") };
    };
    let of = |status| outcome.jobs.iter().filter(|job| job.status == status).count();
    match (of(JobStatus::Success), outcome.run()) {
        (n, _) if n > 0 && n == outcome.jobs.len() => ("ok", "✓", "success"),
        (_, None) if night.verdict == Verdict::Running => ("run", "▶", "running"),
        (0, _) if of(JobStatus::Missing) == outcome.jobs.len() => ("miss", "◇", "missing"),
        (0, _) => ("bad", "✕", "failed"),
        _ => ("part", "▲", "partial"),
    }
}

fn portfolio_line(input: &NightPageInput<'_>, id: &PortfolioId, outcome: &PortfolioOutcome) -> PortfolioLine {
    let night = &*input.night.data.night;
    let (class, glyph, word) = state(night, id);
    let bad = night.jobs.iter().zip(&outcome.jobs).filter(|(_, job)| job.status != JobStatus::Success);
    PortfolioLine {
        portfolio: named(id, input.night.with_page),
        name: input.names.get(id).cloned().unwrap_or_default(),
        class,
        glyph,
        word,
        succeeded: outcome.jobs.iter().filter(|job| job.status == JobStatus::Success).count() as u64,
        total: outcome.jobs.len() as u64,
        jobs: bad.map(|(job, outcome)| (job.name.to_string(), outcome.status.as_str())).collect(),
        run: outcome.run().map(|run| run_ref(run, input.night.runs)),
    }
}

/// Acceptances as a list shows them, newest first.
pub(crate) fn accepts(acceptances: &[Acceptance]) -> Vec<AcceptLine> {
    let line = |acceptance: &Acceptance| AcceptLine {
        what: match &acceptance.portfolio {
            Some(id) => format!("{} of {id}", acceptance.control),
            None => acceptance.control.to_string(),
        },
        author: acceptance.author.clone(),
        at: Stamp::of(acceptance.at),
        note: acceptance.note.clone(),
    };
    acceptances.iter().rev().map(line).collect()
}

/// The page of a night.
pub(crate) fn page(input: &NightPageInput<'_>) -> NightPage {
    let data = input.night.data;
    let (night, head): (&Night, &NightHead) = (&data.night, &data.head);
    let mut sorted: Vec<(&PortfolioId, &PortfolioOutcome)> = night.outcomes.iter().collect();
    let weight = |id: &PortfolioId, outcome: &PortfolioOutcome| {
        let bad = outcome.jobs.iter().filter(|job| job.status != JobStatus::Success).count();
        std::cmp::Reverse((night.absent.contains(id), bad))
    };
    sorted.sort_by_cached_key(|(id, outcome)| weight(id, outcome));
    let lines: Vec<PortfolioLine> =
        sorted.iter().take(MANY).map(|(id, outcome)| portfolio_line(input, id, outcome)).collect();
    let notes = input.notes.iter().map(|(run, note)| (run_ref(*run, input.night.runs), note.clone()));
    NightPage {
        night: night_box(&input.night, MANY),
        stamp: input.night.runs.iter().filter_map(|head| head.summary.closed_at).max().map(Stamp::of),
        expected: head.expected_portfolios,
        succeeded: head.succeeded_portfolios,
        jobs: night.jobs.len() as u64,
        totals: night.totals,
        runs: input.night.runs.iter().rev().map(RunLine::of).collect(),
        has_unfinished: lines.iter().any(|line| line.word != "absent" && !line.jobs.is_empty()),
        lines,
        more: sorted.len().saturating_sub(MANY) as u64,
        closed: night.closed.iter().map(|(id, date)| (named(id, input.night.with_page), date.to_string())).collect(),
        accepts: accepts(&head.acceptances),
        notes: notes.collect(),
        month: crate::pages::month_path(&night.as_of.format("%Y-%m").to_string()),
    }
}

impl Named {
    /// The page, from the root.
    pub(crate) fn path(&self) -> String {
        portfolio_link(&self.id)
    }
}
