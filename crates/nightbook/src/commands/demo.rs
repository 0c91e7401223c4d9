//! `nightbook demo`: a sample book, ten trading days of it, the site in a browser.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use app::{Lookup, Wanted, by_hand};
use async_trait::async_trait;
use backends::system::SystemClock;
use book::Book;
use book::Calendar;
use chrono::NaiveDate;
use domain::night::keeping::accept_control;
use domain::night::{Acceptance, Control, NightKey};
use domain::ports::Clock as _;
use domain::record::JobError;
use domain::summary::RunSummary;
use domain::words::ErrorCategory;
use jobs::{Fetched, PriceGate};
use serde_json::json;

use crate::book_folder::read_usable;
use crate::commands::init::write_files;
use crate::commands::run::one;
use crate::engine::Engine;
use crate::exit::BadInput;
use crate::output::Output;
use crate::progress::Bars;
use crate::sample::{SampleNight, sample_nights};
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// Sessions of prices before the last night.
const SESSIONS: usize = 320;

/// A price source that is down at the first attempt, as they are.
#[derive(Debug)]
struct DownAtFirst(bool);

#[async_trait]
impl PriceGate for DownAtFirst {
    async fn open(&self, _book: &Book, _as_of: NaiveDate, attempt: u32) -> Result<Fetched, JobError> {
        if self.0 && attempt == 1 {
            Err(JobError::new(ErrorCategory::Transient, "the price source did not answer within 10 s"))
        } else {
            Ok(Fetched::default())
        }
    }
}

/// Accepts the results of the control `freshness` on this night.
async fn accept_freshness(engine: &Engine, night: &NightKey, note: &str) -> anyhow::Result<()> {
    let (author, note, at) = ("demo".to_owned(), note.to_owned(), engine.ports.clock.now());
    let acceptance = Acceptance { control: Control::Freshness, portfolio: None, author, note, at };
    let (store, clock) = (engine.ports.store.as_ref(), engine.ports.clock.as_ref());
    accept_control(store, clock, night, acceptance).await?;
    Ok(())
}

/// The night that a run of the demo belongs to; the sample book names no series.
fn night_of(summary: &RunSummary) -> NightKey {
    NightKey { series: summary.schedule.clone(), as_of: summary.as_of }
}

/// Writes the book of a night and runs its date.
async fn run_night(
    engine: &Engine,
    book_dir: &Path,
    night: &SampleNight,
    again: bool,
    bars: &Bars,
) -> anyhow::Result<RunSummary> {
    write_files(book_dir, &night.files)?;
    let book = Arc::new(read_usable(book_dir)?);
    let start = {
        let documents = engine.ports.documents.as_ref();
        let lookup = Lookup { store: &engine.store, documents, book: &book, now: SystemClock.now() };
        by_hand(lookup, night.as_of, Wanted { portfolios: &[], trigger: "demo", again }).await?
    };
    let bar = bars.of_run(engine, night.as_of, 1, book.portfolios.len());
    let summary = one(engine, &book, &start, Arc::new(DownAtFirst(night.price_fault))).await;
    bar.done();
    summary
}

/// Runs the nights again whose closes were corrected, on the last book: their figures are restated.
async fn run_corrected(
    engine: &Engine,
    book_dir: &Path,
    nights: &[SampleNight],
    output: &Output,
    bars: &Bars,
) -> anyhow::Result<Vec<RunSummary>> {
    let mut restated = Vec::new();
    let Some(last) = nights.last() else { return Ok(restated) };
    for night in nights.iter().filter(|night| night.run_again) {
        let corrected = SampleNight { as_of: night.as_of, ..last.clone() };
        let summary = run_night(engine, book_dir, &corrected, true, bars).await?;
        if !output.is_json() {
            output.run_line(&summary);
            output
                .line("          The close of AAPL is corrected, and the date is run again: its figures are restated.");
        }
        restated.push(summary);
    }
    Ok(restated)
}

/// Runs the command; gives the exit code, and whether the site is to be served.
pub(crate) async fn run(
    dir: &Path,
    as_of: Option<NaiveDate>,
    listen: Option<&str>,
    output: &Output,
    bars: &Bars,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    let calendar = book::ScheduleSettings { calendar: Calendar::Nyse, ..book::ScheduleSettings::default() };
    let last = as_of.unwrap_or_else(|| calendar.last_completed_session(SystemClock.now()));
    if !calendar.is_session(last) {
        return Err(BadInput(format!(
            "--as-of {last} is not a session: the one before it is {}",
            calendar.previous_session(last)
        ))
        .into());
    }
    let last_allowed = calendar.last_allowed(SystemClock.now());
    if last > last_allowed {
        return Err(
            BadInput(format!("--as-of {last} cannot be run yet: the last allowed date is {last_allowed}")).into()
        );
    }
    let nights = sample_nights(&calendar.last_sessions(last, SESSIONS));
    let (book_dir, data) = (dir.join("book"), dir.join("data"));
    let first = nights.first().ok_or_else(|| BadInput("the sample has no nights".into()))?;
    write_files(&book_dir, &first.files)?;
    let settings = SiteSettings::of(&read_usable(&book_dir)?, &book_dir);
    let engine = Engine::open(&data, settings, None, stop.clone()).await?;
    if !output.is_json() {
        output.line(&format!("Ten nights of three portfolios with 75 positions, from {} to {last}:", first.as_of));
    }
    let mut summaries = Vec::with_capacity(nights.len());
    for night in &nights {
        let summary = run_night(&engine, &book_dir, night, false, bars).await?;
        if let Some(note) = night.accepted {
            accept_freshness(&engine, &night_of(&summary), note).await?;
        }
        if !output.is_json() {
            output.run_line(&summary);
            output.line(&format!("          {}", night.story));
        }
        summaries.push(summary);
    }
    let restated = run_corrected(&engine, &book_dir, &nights, output, bars).await?;
    let bytes: u64 = engine.store.disk_usage()?.values().sum();
    let bad = summaries.iter().rev().find(|summary| !summary.failures.is_empty());
    let index = engine.site_folder().join("index.html");
    drop(engine);
    if output.is_json() {
        output
            .json(&json!({ "runs": summaries, "restated": restated, "site": index, "book": book_dir, "data": data }))?;
    } else {
        output.line("");
        output.line(&format!(
            "A night takes {:.0} kB on disk (records, results, pinned inputs and site; {} nights, {:.1} MB).",
            bytes as f64 / 1e3 / summaries.len().max(1) as f64,
            summaries.len(),
            bytes as f64 / 1e6
        ));
        output.line("The three most telling commands to try next:");
        let shown = data.display();
        output.line(&format!("  nightbook last factor_analysis --data {shown}"));
        let telling = bad.map_or_else(|| "latest".to_owned(), |summary| summary.batch_run_id.short());
        output.line(&format!("  nightbook show {telling} --data {shown}"));
        output.line(&format!("  nightbook failures --data {shown}"));
        output.line("(from the source: `cargo run --release --` in place of `nightbook`)");
        output.line("");
        output.line(&format!("Site:  {}", index.display()));
    }
    match listen {
        Some(listen) => crate::commands::serve::site_only(&index, &data, listen, output, stop).await,
        // The demo's failures are its point, not its outcome.
        None => Ok(ExitCode::SUCCESS),
    }
}
