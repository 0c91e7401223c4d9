//! `nightbook run`: one trading date, or a span of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use backends::system::{SystemClock, SystemRandomness, TokioSleeper};
use book::{Book, Reading};
use chrono::NaiveDate;
use domain::ids::PortfolioId;
use domain::ports::Clock as _;
use domain::start_run::StartRun;
use domain::summary::RunSummary;
use domain::words::RunStatus;
use jobs::{BookInputs, PriceGate};
use serde_json::json;
use wiring::by_hand;

use crate::commands::rerun::refuse_wait;
use crate::engine::Engine;
use crate::exit::{BadInput, NOT_WELL};
use crate::output::Output;
use crate::progress::Bars;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// What `run` was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) book: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) as_of: Option<NaiveDate>,
    pub(crate) span: Option<(NaiveDate, NaiveDate)>,
    pub(crate) portfolios: Vec<PortfolioId>,
    pub(crate) trigger: String,
    pub(crate) again: bool,
    pub(crate) concurrency: Option<usize>,
    pub(crate) wait: bool,
}

/// Runs the command.
pub(crate) async fn run(asked: Asked, output: &Output, bars: &Bars, stop: Stop) -> anyhow::Result<ExitCode> {
    let book = read_usable(&asked.book)?;
    let calendar = book.settings.schedule.calendar;
    let zone = book.settings.schedule.timezone;
    let dates = match asked.span {
        Some((from, to)) if from > to => {
            return Err(BadInput(format!("--from {from} lies after --to {to}: give the earlier date first")).into());
        }
        Some((from, to)) => calendar.sessions(from, to),
        None => vec![asked.as_of.unwrap_or_else(|| calendar.last_completed_session(SystemClock.now(), zone))],
    };
    if let (None, [date]) = (asked.span, dates.as_slice())
        && !calendar.is_session(*date)
    {
        no_session(&book, *date, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    for id in &asked.portfolios {
        if !book.portfolios.iter().any(|portfolio| portfolio.id == *id) {
            return Err(BadInput(format!(
                "there is no portfolio {id} in {}: the book has {}",
                asked.book.join("portfolios.csv").display(),
                known(&book)
            ))
            .into());
        }
    }
    let book = Arc::new(book);
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(&asked.data) {
        return crate::cloud::Cloud::connect(table).await?.run(&book, &asked, &dates, output, bars, stop).await;
    }
    refuse_wait(asked.wait)?;
    let cores = asked.concurrency.or_else(|| book.settings.run.concurrency.map(|n| n as usize));
    let settings = SiteSettings::of(&book, &asked.book);
    let engine = Engine::open(&asked.data, settings.clone(), cores, stop).await?;
    settings.keep(&asked.data)?;
    engine.retire().await?;
    let mut summaries = Vec::with_capacity(dates.len());
    for date in &dates {
        let start = by_hand(&engine.store, &book, *date, &asked.portfolios, &asked.trigger, asked.again).await?;
        let bar = bars.of_run(&engine, *date, asked.portfolios.len().max(1), book.portfolios.len());
        let summary = one(&engine, &book, &start, engine.prices(&book)).await;
        bar.done();
        let summary = summary?;
        if !output.is_json() {
            output.run_line(&summary);
        }
        summaries.push(summary);
    }
    report(&summaries, asked.span.is_some(), &asked.data, output)?;
    Ok(exit_code(&summaries))
}

/// Runs one start on a book.
pub(crate) async fn one(
    engine: &Engine,
    book: &Arc<Book>,
    start: &StartRun,
    gate: Arc<dyn PriceGate>,
) -> anyhow::Result<RunSummary> {
    let inputs = BookInputs::new(
        Arc::clone(book),
        Arc::new(SystemClock),
        gate,
        Arc::new(TokioSleeper),
        Arc::new(SystemRandomness),
    );
    engine.run(start, &inputs).await
}

/// Reads a book that can be run; the errors of one that cannot are the message.
pub(crate) fn read_usable(dir: &Path) -> anyhow::Result<Book> {
    let Reading { book, errors, warnings } = book::read_folder(dir)?;
    let Some(book) = book else {
        let lines: Vec<String> = errors.iter().take(20).map(ToString::to_string).collect();
        let more = errors.len().saturating_sub(lines.len());
        let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
        return Err(BadInput(format!(
            "the book {} cannot be run, {} in all (`nightbook check --book {}` lists them):\n{}{more}",
            dir.display(),
            count(errors.len(), "error"),
            dir.display(),
            lines.join("\n"),
        ))
        .into());
    };
    if !errors.is_empty() {
        tracing::warn!(
            errors = errors.len(), first = %errors[0], event = "book.errors",
            "the book has errors: they fail the portfolios they belong to, or leave prices out; `nightbook check` lists them"
        );
    }
    if !warnings.is_empty() {
        tracing::info!(warnings = warnings.len(), first = %warnings[0], event = "book.warnings", "the book has warnings; `nightbook check` lists them");
    }
    Ok(book)
}

/// "1 error", "2 errors".
pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn known(book: &Book) -> String {
    let ids: Vec<&str> = book.portfolios.iter().take(10).map(|portfolio| portfolio.id.as_str()).collect();
    let more = book.portfolios.len().saturating_sub(ids.len());
    if more > 0 { format!("{} and {more} more", ids.join(", ")) } else { ids.join(", ") }
}

fn no_session(book: &Book, date: NaiveDate, output: &Output) -> anyhow::Result<()> {
    let calendar = book.settings.schedule.calendar;
    let next = calendar.next_session(date);
    let why = calendar.holiday_name(date).map_or_else(|| "no trading day".to_owned(), |name| name.to_string());
    let reason = format!("{date} is not a session: {why}");
    if output.is_json() {
        output.json(&json!({"run": null, "reason": reason, "next_session": next}))
    } else {
        output.line(&format!("{reason}. Nothing to run; the next session is {next}."));
        Ok(())
    }
}

/// Prints what was run.
pub(crate) fn report(summaries: &[RunSummary], many: bool, data: &Path, output: &Output) -> anyhow::Result<()> {
    match (output.is_json(), many, summaries) {
        (true, false, [summary]) => output.json(summary),
        (true, ..) => output.json(&json!({ "runs": summaries })),
        (false, ..) => {
            if let Some(last) = summaries.last() {
                if crate::place::table(data).is_none() {
                    output.line(&format!("Site:  {}", data.join("site").join("index.html").display()));
                }
                output.line(&format!("More:  nightbook show {} --data {}", last.batch_run_id.short(), data.display()));
            } else {
                output.line("There is no session in this span.");
            }
            Ok(())
        }
    }
}

/// 0 where every run succeeded, else 1.
pub(crate) fn exit_code(summaries: &[RunSummary]) -> ExitCode {
    if summaries.iter().all(|summary| summary.status == RunStatus::Success) {
        ExitCode::SUCCESS
    } else {
        NOT_WELL.into()
    }
}
