//! `nightbook rerun RUN`: the same again, on the pinned inputs, as a new run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use app::{BookOf, Decided, RerunRequest};
use domain::ids::{CauseId, RunId};
use domain::summary::RunSummary;

use crate::commands::night::print_after;
use crate::commands::run::{exit_code, report};
use crate::control::client::{Outcome, connect, unexpected};
use crate::control::protocol::Command;
use crate::engine::Engine;
use crate::exit::{BadInput, door, refused};
use crate::output::Output;
use crate::progress::Bars;
use crate::reading;
use crate::run_control::of_command;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// What `rerun` was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) data: PathBuf,
    pub(crate) run: String,
    pub(crate) failed_only: bool,
    pub(crate) cause: Option<CauseId>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) wait: bool,
}

/// Runs the command.
pub(crate) async fn run(asked: Asked, output: &Output, bars: &Bars, stop: Stop) -> anyhow::Result<ExitCode> {
    let Asked { data, run, failed_only, cause, concurrency, wait } = &asked;
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(data) {
        let cloud = crate::cloud::Cloud::connect(table).await?;
        return cloud.rerun(&asked, output, bars, stop).await;
    }
    refuse_wait(*wait)?;
    // The reading store says clearly what is wrong with a folder that holds no records, before anything is made.
    reading::open_folder(data)?;
    let settings = SiteSettings::kept(data);
    let nights = reading::nights_of(data, &settings);
    let door = door(data, settings.book_dir());
    let engine = match Engine::open(data, settings, *concurrency, stop.clone()).await {
        Ok(engine) => engine,
        Err(error) => return under_serve(&asked, error, output, bars, stop).await,
    };
    let original = reading::find(&engine.store, &nights, data, run, None).await?;
    let control = of_command(&engine, BookOf::Nowhere);
    let request = RerunRequest { run: original.run.batch_run_id, failed_only: *failed_only, cause: cause.clone() };
    let decided = control.decide_rerun(&request).await.map_err(|error| refused(error, &door))?;
    let Decided::Run(work) = decided else {
        output.line(&nothing_to_repeat(request.run));
        return Ok(ExitCode::SUCCESS);
    };
    let inputs = work.pinned_inputs(Arc::clone(&engine.ports.documents)).context("a rerun has pinned inputs")?;
    let portfolios = work.start.filter.len();
    let bar = bars.of_run(&engine, original.run.as_of, portfolios, portfolios);
    let summary = engine.run(&work.start, inputs.as_ref()).await;
    bar.done();
    let summary = summary?;
    if !output.is_json() {
        output.run_line(&summary);
    }
    print_after(&engine.store, &nights, &summary, output).await?;
    let summaries = [summary];
    report(&summaries, false, data, output)?;
    exit_code(&summaries, summaries.iter().all(RunSummary::is_good), data)
}

/// Has the `serve` that holds the data folder do it; `error` says why the folder could not be opened.
async fn under_serve(
    asked: &Asked,
    error: anyhow::Error,
    output: &Output,
    bars: &Bars,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    let connection = connect(&asked.data, error).await?;
    if asked.concurrency.is_some() {
        tracing::warn!("--concurrency has no effect while `nightbook serve` runs: set concurrency in [run]");
    }
    let command = Command::Rerun { run: asked.run.clone(), failed_only: asked.failed_only, cause: asked.cause.clone() };
    let bar = bars.spinner();
    let outcome = connection.request(&asked.data, command, stop, |ended| bar.set_position(ended)).await;
    bar.finish_and_clear();
    match outcome? {
        Outcome::Closed(summary) => {
            if !output.is_json() {
                output.run_line(&summary);
            }
            let nights = reading::nights_of(&asked.data, &SiteSettings::kept(&asked.data));
            print_after(&reading::open_folder(&asked.data)?, &nights, &summary, output).await?;
            let summaries = [*summary];
            report(&summaries, false, &asked.data, output)?;
            exit_code(&summaries, summaries.iter().all(RunSummary::is_good), &asked.data)
        }
        Outcome::NothingToRepeat(run) => {
            output.line(&nothing_to_repeat(run));
            Ok(ExitCode::SUCCESS)
        }
        outcome @ (Outcome::Published(_) | Outcome::Muted(_) | Outcome::Accepted(_)) => Err(unexpected(&outcome)),
    }
}

/// The sentence for a rerun of failures, or of a cause, of which nothing is left.
pub(crate) fn nothing_to_repeat(run: RunId) -> String {
    format!("Everything asked for of run {run} has succeeded: there is nothing to run again.")
}

/// `--wait` means nothing where the run is worked on by this very process.
pub(crate) fn refuse_wait(wait: bool) -> anyhow::Result<()> {
    if wait {
        return Err(
            BadInput("--wait is for the cloud: on a data folder the run is always waited for".to_owned()).into()
        );
    }
    Ok(())
}
