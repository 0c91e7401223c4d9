//! Which nights of a request must run: `run --plan` prints them, and a span runs no others.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use app::{Lookup, NeededNight, NightAction, NightReader, Wanted};
use backends::system::SystemClock;
use book::Book;
use chrono::NaiveDate;
use domain::ids::PortfolioId;
use domain::night::next_step::CommandTarget;
use domain::night::{NightKey, Verdict};
use domain::ports::{Clock as _, Documents, RecordQuery, RunStore};
use domain::summary::RunSummary;
use domain::words::RunStatus;
use serde_json::json;

use crate::commands::night::print_after;
use crate::commands::run::{Asked, count, exit_code, report};
use crate::exit::NOT_WELL;
use crate::output::Output;
use crate::reading;

/// The nights of a request, with what is to be done for each: of a single date what was asked for, of a span only what
/// has changed.
///
/// # Errors
/// The store.
pub(crate) async fn nights(
    store: &dyn RunStore,
    documents: &dyn Documents,
    book: &Arc<Book>,
    dates: &[NaiveDate],
    asked: &Asked,
) -> anyhow::Result<Vec<NeededNight>> {
    if asked.span.is_none() && !asked.plan {
        return Ok(dates.iter().map(|date| NeededNight::first(*date, &asked.portfolios)).collect());
    }
    let lookup = Lookup { store, documents, book, now: SystemClock.now() };
    let wanted = Wanted { portfolios: &asked.portfolios, trigger: &asked.trigger, again: asked.again };
    // A single date is run as it was asked for.
    Ok(lookup.nights(dates, wanted, asked.span.is_some()).await?)
}

/// Prints what a `run` would do, and runs nothing. Works beside `serve`.
///
/// # Errors
/// The store, or the output.
pub(crate) async fn plan(
    book: &Arc<Book>,
    dates: &[NaiveDate],
    asked: &Asked,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let is_new = crate::place::table(&asked.data).is_none() && !asked.data.join("records.sqlite").exists();
    let nights = if is_new {
        NeededNight::all_first(dates, &asked.portfolios, book)
    } else {
        let records = reading::open(&asked.data).await?;
        nights(records.store.as_ref(), records.documents.as_ref(), book, dates, asked).await?
    };
    if output.is_json() {
        output.json(&json!({ "plan": nights }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for night in &nights {
        output.line(&line(night));
    }
    let runs = nights.iter().filter(|night| night.action != NightAction::LeaveOut).count();
    output.line(&format!("{} of {} to run. Nothing was run.", runs, count(nights.len(), "night")));
    Ok(ExitCode::SUCCESS)
}

fn line(night: &NeededNight) -> String {
    let whom = |portfolios: &[PortfolioId]| match portfolios.len() {
        0 => "all portfolios".to_owned(),
        n => count(n, "portfolio"),
    };
    match night.action {
        NightAction::Run => {
            let reasons: Vec<&str> = std::iter::once(&night.reason).chain(&night.notes).map(String::as_str).collect();
            format!("{}  run {}: {}", night.as_of, whom(&night.portfolios), reasons.join("; "))
        }
        NightAction::Continue => format!("{}  continue {}: {}", night.as_of, whom(&night.portfolios), night.reason),
        NightAction::LeaveOut => format!("{}  leave out: {}", night.as_of, night.reason),
    }
}

/// Reports the runs of a request and names the nights that were left out of it. The exit code is that of the runs, and
/// 1 where a night that was left out is not well.
///
/// # Errors
/// The store, the output, or a publication that failed.
pub(crate) async fn conclude(
    store: &dyn RunStore,
    book: &Book,
    nights: &[NeededNight],
    summaries: &[RunSummary],
    asked: &Asked,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let left_out: Vec<&NeededNight> = nights.iter().filter(|night| night.action == NightAction::LeaveOut).collect();
    if asked.span.is_some() && output.is_json() {
        output.json(&json!({ "runs": summaries, "left_out": left_out }))?;
    } else {
        for night in &left_out {
            output.line(&line(night));
        }
        if summaries.is_empty() && !left_out.is_empty() {
            output.line("Every night has a run with the same inputs; to run them anyway, add --again.");
        } else {
            if let Some(last) = summaries.last() {
                let nights = NightReader { schedule: book.settings.schedule.clone(), target: target(asked) };
                print_after(store, &nights, last, output).await?;
            }
            report(summaries, asked.span.is_some(), &asked.data, output)?;
        }
    }
    let is_good = all_asked_for_are_good(store, summaries, &asked.portfolios).await?;
    let code = exit_code(summaries, is_good, &asked.data)?;
    for night in left_out {
        if !is_well(store, book, night).await? {
            return Ok(NOT_WELL.into());
        }
    }
    Ok(code)
}

/// Whether the portfolios that were asked for (empty: all) succeeded in each of these runs, and no control failed for them.
///
/// A run that answers may have more portfolios than were asked for.
async fn all_asked_for_are_good(
    store: &dyn RunStore,
    summaries: &[RunSummary],
    portfolios: &[PortfolioId],
) -> anyhow::Result<bool> {
    for summary in summaries.iter().filter(|summary| !summary.is_good()) {
        if portfolios.is_empty() {
            return Ok(false);
        }
        for id in portfolios {
            let query = RecordQuery { portfolio: Some(id.clone()), ..RecordQuery::default() };
            if !summary.is_good_for(id, &store.records(summary.batch_run_id, &query).await?) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Where the commands of the report on a night point.
fn target(asked: &Asked) -> CommandTarget {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string();
    let book = Some(whole(&asked.book));
    match crate::place::table(&asked.data) {
        Some(table) => CommandTarget::Table { book, table: table.to_owned() },
        None => CommandTarget::Folder { book, data: whole(&asked.data) },
    }
}

/// Whether a night that was left out is good.
async fn is_well(store: &dyn RunStore, book: &Book, night: &NeededNight) -> anyhow::Result<bool> {
    let key = NightKey { series: book.settings.schedule.night_series().clone(), as_of: night.as_of };
    if let Some(head) = store.night(&key).await? {
        return Ok(matches!(head.verdict, Verdict::Ok | Verdict::Warning));
    }
    let Some(run) = night.batch_run_id else { return Ok(true) };
    let stored = store.run(run).await?;
    Ok(stored.is_none_or(|stored| stored.status() == RunStatus::Success))
}

/// What a progress bar of a run counts to.
pub(crate) fn portfolios_of(night: &NeededNight, book: &Book) -> usize {
    if night.portfolios.is_empty() { book.portfolios.len() } else { night.portfolios.len() }
}

/// The store of a folder that another process holds, for reading.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn beside_serve(data: &Path) -> anyhow::Result<backends::local::LocalStore> {
    reading::open_folder(data)
}
