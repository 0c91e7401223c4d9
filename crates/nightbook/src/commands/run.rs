//! `nightbook run`: one trading date, or a span of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use app::{BookOf, Dates, Door, NeededNight, NightAction, Refusal, StartRequest, startable};
use backends::system::{SystemClock, SystemRandomness, TokioSleeper};
use book::Book;
use chrono::NaiveDate;
use domain::ids::PortfolioId;
use domain::ports::Clock as _;
use domain::run::Publication;
use domain::shell::command_line;
use domain::start_run::StartRun;
use domain::summary::RunSummary;
use jobs::{BookInputs, PriceGate};
use serde_json::json;

use crate::book_folder::read_usable;
use crate::commands::needed;
use crate::commands::rerun::refuse_wait;
use crate::control::client::{Outcome, connect, connect_again, unexpected};
use crate::control::protocol::Command;
use crate::engine::Engine;
use crate::exit::{NOT_WELL, NotPublished, door, refused};
use crate::output::Output;
use crate::progress::Bars;
use crate::run_control::of_command;
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
    pub(crate) plan: bool,
    pub(crate) concurrency: Option<usize>,
    pub(crate) wait: bool,
}

impl Asked {
    fn dates(&self) -> Dates {
        match self.span {
            Some((from, to)) => Dates::Span { from, to },
            None => Dates::One(self.as_of),
        }
    }

    /// The request for one of the nights.
    pub(crate) fn request(&self, night: &NeededNight) -> StartRequest {
        StartRequest {
            as_of: Some(night.as_of),
            portfolios: night.portfolios.clone(),
            trigger: self.trigger.clone(),
            again: self.again,
        }
    }

    /// Where messages lead to.
    pub(crate) fn door(&self) -> Door {
        door(&self.data, Some(&self.book))
    }
}

/// Runs the command.
pub(crate) async fn run(asked: Asked, output: &Output, bars: &Bars, stop: Stop) -> anyhow::Result<ExitCode> {
    let book = Arc::new(read_usable(&asked.book)?);
    let dates = match startable(&book, asked.dates(), &asked.portfolios, SystemClock.now()) {
        Ok(dates) => dates,
        Err(Refusal::NoSession { date, why, next }) => {
            no_session(date, &why, next, output)?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(refusal) => return Err(refused(refusal.into(), &asked.door())),
    };
    if asked.plan {
        return needed::plan(&book, &dates, &asked, output).await;
    }
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(&asked.data) {
        return crate::cloud::Cloud::connect(table).await?.run(&book, &asked, &dates, output, bars, stop).await;
    }
    refuse_wait(asked.wait)?;
    let cores = asked.concurrency.or_else(|| book.settings.run.concurrency.map(|n| n as usize));
    let settings = SiteSettings::of(&book, &asked.book);
    let engine = match Engine::open(&asked.data, settings, cores, stop.clone()).await {
        Ok(engine) => engine,
        Err(error) => return under_serve(&asked, &book, &dates, error, output, bars, stop).await,
    };
    engine.retire().await?;
    let control = of_command(&engine, BookOf::Loaded(Arc::clone(&book)));
    let nights = needed::nights(&engine.store, &engine.store, &book, &dates, &asked).await?;
    let mut summaries = Vec::with_capacity(dates.len());
    for night in nights.iter().filter(|night| night.action != NightAction::LeaveOut) {
        let work = control.decide_start(&asked.request(night)).await;
        let work = work.map_err(|error| refused(error, &asked.door()))?;
        let bar = bars.of_run(&engine, night.as_of, night.portfolios.len().max(1), book.portfolios.len());
        let summary = one(&engine, &book, &work.start, engine.prices(&book)).await;
        bar.done();
        let summary = summary?;
        if !output.is_json() {
            output.run_line(&summary);
        }
        summaries.push(summary);
    }
    needed::conclude(&engine.store, &book, &nights, &summaries, &asked, output).await
}

/// Has the `serve` that holds the data folder run the dates; `error` says why the folder could not be opened.
async fn under_serve(
    asked: &Asked,
    book: &Arc<Book>,
    dates: &[NaiveDate],
    error: anyhow::Error,
    output: &Output,
    bars: &Bars,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    let mut connection = Some(connect(&asked.data, error).await?);
    if asked.concurrency.is_some() {
        tracing::warn!("--concurrency has no effect while `nightbook serve` runs: set concurrency in [run]");
    }
    let store = needed::beside_serve(&asked.data)?;
    let nights = needed::nights(&store, &store, book, dates, asked).await?;
    let mut summaries = Vec::with_capacity(dates.len());
    for night in nights.iter().filter(|night| night.action != NightAction::LeaveOut) {
        let connection = match connection.take() {
            Some(first) => first,
            None => {
                let ended = "`nightbook serve` ended; run the command again for the other dates";
                connect_again(&asked.data, anyhow::anyhow!(ended)).await?
            }
        };
        let command = Command::Start { book: std::path::absolute(&asked.book)?, request: asked.request(night) };
        let bar = bars.counted(night.as_of, needed::portfolios_of(night, book) as u64);
        let outcome = connection.request(&asked.data, command, stop.clone(), |ended| bar.set_position(ended)).await;
        bar.finish_and_clear();
        let outcome = outcome?;
        let Outcome::Closed(summary) = outcome else { return Err(unexpected(&outcome)) };
        if !output.is_json() {
            output.run_line(&summary);
        }
        summaries.push(*summary);
    }
    needed::conclude(&store, book, &nights, &summaries, asked, output).await
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

/// "1 error", "2 errors".
pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn no_session(date: NaiveDate, why: &str, next: NaiveDate, output: &Output) -> anyhow::Result<()> {
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
                if crate::place::table(data).is_none() && not_published(summaries).is_none() {
                    output.line(&format!("Site:  {}", data.join("site").join("index.html").display()));
                }
                let show = ["nightbook", "show", &last.batch_run_id.short(), "--data", &data.to_string_lossy()];
                output.line(&format!("More:  {}", command_line(show)));
            } else {
                output.line("There is no session in this span.");
            }
            Ok(())
        }
    }
}

/// Why the newest publication that failed did; `None` where all went well.
fn not_published(summaries: &[RunSummary]) -> Option<&str> {
    summaries.iter().rev().find_map(|summary| match &summary.publication {
        Publication::Failed { error, .. } => Some(error.as_str()),
        Publication::Pending | Publication::UnderWay { .. } | Publication::Published { .. } => None,
    })
}

/// 0 if all that was asked for is good, else 1. A publication that failed wins: it is an error with exit code 3.
pub(crate) fn exit_code(summaries: &[RunSummary], is_good: bool, data: &Path) -> anyhow::Result<ExitCode> {
    if let Some(error) = not_published(summaries) {
        let again = command_line(["nightbook", "publish", "--data", &data.to_string_lossy()]);
        let advice = format!("{error}; to publish again: {again}");
        return Err(NotPublished(advice).into());
    }
    if is_good { Ok(ExitCode::SUCCESS) } else { Ok(NOT_WELL.into()) }
}
