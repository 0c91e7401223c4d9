//! `nightbook night`: how a night stands, why, and what to do.

use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use app::{Detail, NightReader, summary_now};
use backends::local::OpenError;
use backends::system::SystemClock;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{CauseId, PortfolioId, RunId};
use domain::night::history::CauseStanding;
use domain::night::report::NightReport;
use domain::night::{NightCause, NightControl, NightView, Verdict};
use domain::ports::{Clock as _, RunStore};
use domain::summary::RunSummary;
use serde_json::json;

use crate::commands::run::count;
use crate::exit::{NOT_WELL, door, refused};
use crate::output::{Output, paint, safe};
use crate::reading::{self, Records};

/// Portfolios or runs that a line names.
const NAMED: usize = 5;

/// Runs the command. Without a date it is about the newest night.
pub(crate) async fn run(data: &Path, as_of: Option<NaiveDate>, output: &Output) -> anyhow::Result<ExitCode> {
    let Records { store, nights, .. } = match reading::open(data).await {
        Ok(records) => records,
        Err(error) if holds_no_records(&error) => return nothing(&format!("{error:#}"), output),
        Err(error) => return Err(error),
    };
    let store = store.as_ref();
    let now = SystemClock.now();
    let view = match as_of {
        None => nights.newest(store, now).await?,
        Some(as_of) => {
            let book = match &nights.target {
                domain::night::next_step::CommandTarget::Folder { book, .. } => book.as_deref().map(Path::new),
                _ => None,
            };
            nights.require_date(as_of, now).map_err(|refusal| refused(refusal.into(), &door(data, book)))?;
            nights.of_date(store, as_of, None, now).await?
        }
    };
    let Some(view) = view else {
        let what = as_of.map_or_else(|| "There is no night".to_owned(), |date| format!("There is no night of {date}"));
        return nothing(&format!("{what} on record: no run took place and no slot was missed."), output);
    };
    let report = nights.report(store, &view, now).await?;
    if output.is_json() {
        output.json(&report)?;
    } else {
        let standings = nights.standings(store, &view.night, now).await?;
        print(&report, &standings, output);
        print_runs(store, &view, output).await?;
        output.line("");
        output.line(&step(&report));
    }
    Ok(exit_code(report.verdict))
}

/// Whether the records of this folder do not exist yet.
fn holds_no_records(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(OpenError::Missing { .. })))
}

/// No night is no good night.
fn nothing(reason: &str, output: &Output) -> anyhow::Result<ExitCode> {
    if output.is_json() {
        output.json(&json!({ "night": null, "reason": reason }))?;
    } else {
        output.line(reason);
    }
    Ok(NOT_WELL.into())
}

/// 0 for a night that can be relied on, else 1.
fn exit_code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Ok | Verdict::Warning => ExitCode::SUCCESS,
        Verdict::Running | Verdict::Missed | Verdict::Failed | Verdict::Partial => NOT_WELL.into(),
    }
}

/// The style of a verdict.
pub(crate) const fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Ok => AnsiColor::Green.on_default(),
        Verdict::Warning | Verdict::Partial => AnsiColor::Yellow.on_default(),
        Verdict::Failed | Verdict::Missed => AnsiColor::Red.on_default().bold(),
        Verdict::Running => AnsiColor::Cyan.on_default(),
    }
}

/// Prints the night of a run that has ended, for people.
///
/// # Errors
/// The store.
pub(crate) async fn print_after(
    store: &dyn RunStore,
    nights: &NightReader,
    summary: &RunSummary,
    output: &Output,
) -> anyhow::Result<()> {
    let now = SystemClock.now();
    if output.is_json() || summary.closed_at.is_none() {
        return Ok(());
    }
    if let Some(view) = nights.of_date(store, summary.as_of, None, now).await? {
        print_short(&nights.report(store, &view, now).await?, output);
    }
    Ok(())
}

/// The line of a night and its headline, and under them what to do: what `run` prints at its end.
pub(crate) fn print_short(report: &NightReport, output: &Output) {
    output.line(&headline(report));
    output.line(&step(report));
}

/// The headline without its action, which is printed on lines of its own.
fn headline(report: &NightReport) -> String {
    let word = paint(report.verdict.as_str(), verdict_style(report.verdict));
    let action = report.next_step.line();
    let what = report.headline.strip_suffix(&action).unwrap_or(&report.headline).trim_end();
    format!("Night of {}: {word}. {}", report.as_of, safe(what))
}

/// The next step. Its command is printed as it is, so that it can be pasted.
fn step(report: &NightReport) -> String {
    let text = safe(&report.next_step.text);
    match &report.next_step.command {
        Some(command) => format!("{text}\n  {command}"),
        None => text,
    }
}

fn print(report: &NightReport, standings: &[(CauseId, CauseStanding)], output: &Output) {
    output.line(&headline(report));
    let totals = &report.totals;
    output.line(&format!(
        "{} success + {} failed + {} skipped + {} missing = {} jobs of {} expected portfolios",
        totals.success, totals.failed, totals.skipped, totals.missing, totals.total_jobs, report.expected_portfolios
    ));
    let through = report.newest_close.map_or_else(|| "-".to_owned(), |date| date.to_string());
    output.line(&format!(
        "schedule {}  series {}  data through {through}  next run due {}",
        report.schedule,
        report.night_series,
        stamp(report.due_at)
    ));
    if !report.absent.is_empty() {
        output.line(&format!("absent: {}", listed(&report.absent)));
    }
    for control in &report.controls {
        output.line("");
        control_lines(control, output);
    }
    for cause in &report.causes {
        output.line("");
        let since = standings.iter().find(|(id, _)| *id == cause.cause).map(|(_, standing)| standing.text());
        cause_lines(cause, since.as_deref(), output);
    }
    for edition in &report.editions {
        output.line("");
        output.line(&format!(
            "edition {}: run {} at {} changed {} figures of {} portfolios",
            edition.number,
            edition.batch_run_id.short(),
            stamp(Some(edition.at)),
            edition.changed_count,
            edition.portfolios.len()
        ));
    }
}

fn control_lines(control: &NightControl, output: &Output) {
    let result = &control.result;
    let what = result.symbol.clone().or_else(|| result.figure.clone());
    let of = [result.portfolio_id.as_ref().map(PortfolioId::to_string), what];
    let of: Vec<String> = of.into_iter().flatten().map(|text| safe(&text)).collect();
    let level = serde_json::to_value(result.level).ok().and_then(|word| word.as_str().map(str::to_owned));
    let subject = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
    output.line(&format!(
        "control {} {}{subject}: {}",
        result.control,
        level.unwrap_or_default(),
        safe(&result.message)
    ));
    if let Some(accepted) = &control.accepted {
        let (at, author, note) = (stamp(Some(accepted.at)), safe(&accepted.author), safe(&accepted.note));
        output.line(&format!("  accepted {at} by {author}: {note}"));
    }
}

fn cause_lines(cause: &NightCause, since: Option<&str>, output: &Output) {
    let kind = cause.category.map_or_else(String::new, |category| format!(" ({category})"));
    let since = since.map_or_else(String::new, |since| format!(", {since}"));
    output.line(&format!("cause {}{kind}{since}: {}", cause.cause, safe(&cause.message)));
    if cause.portfolios.is_empty() {
        return;
    }
    output.line(&format!(
        "  {} failed + {} skipped + {} missing jobs of {}: {}",
        cause.failed,
        cause.skipped,
        cause.missing,
        count(cause.portfolios.len(), "portfolio"),
        listed(&cause.portfolios)
    ));
    if !cause.jobs.is_empty() {
        output.line(&format!("  jobs: {}", listed(&cause.jobs)));
    }
}

async fn print_runs(store: &dyn RunStore, view: &NightView, output: &Output) -> anyhow::Result<()> {
    let runs = &view.night.runs;
    let newest = &runs[runs.len().saturating_sub(NAMED)..];
    output.line("");
    if newest.len() < runs.len() {
        output.line(&format!("{} runs, the newest {}:", runs.len(), newest.len()));
    }
    for run in newest {
        if let Some(stored) = store.run(*run).await? {
            output.run_line(&summary_now(store, &stored, Detail::Totals).await?);
        }
    }
    let open: Vec<String> = view.night.in_progress.iter().map(RunId::short).collect();
    if !open.is_empty() {
        output.line(&format!("in progress: {}", open.join(", ")));
    }
    Ok(())
}

fn stamp(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// "a, b and 3 more".
fn listed<T: ToString>(items: &[T]) -> String {
    let named: Vec<String> = items.iter().take(NAMED).map(|item| safe(&item.to_string())).collect();
    let more = items.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
