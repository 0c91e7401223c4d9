//! `nightbook rerun RUN`: the same again, on the pinned inputs, as a new run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use backends::local::LocalStore;
use domain::ports::StoredRun;
use domain::run::{Run, RunPhase};
use domain::start_run::StartRun;
use jobs::SnapshotInputs;

use crate::commands::run::{exit_code, report};
use crate::engine::Engine;
use crate::exit::BadInput;
use crate::output::Output;
use crate::progress::Bars;
use crate::reading;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// What `rerun` was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) data: PathBuf,
    pub(crate) run: String,
    pub(crate) failed_only: bool,
    pub(crate) concurrency: Option<usize>,
    pub(crate) wait: bool,
}

/// Runs the command.
pub(crate) async fn run(asked: Asked, output: &Output, bars: &Bars, stop: Stop) -> anyhow::Result<ExitCode> {
    let Asked { data, run, failed_only, concurrency, wait } = &asked;
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(data) {
        let cloud = crate::cloud::Cloud::connect(table).await?;
        return cloud.rerun(run, *failed_only, *wait, output, bars, stop).await;
    }
    refuse_wait(*wait)?;
    let failed_only = *failed_only;
    // The reading store says clearly what is wrong with a folder that holds no records, before anything is made.
    reading::open_folder(data)?;
    let engine = Engine::open(data, SiteSettings::kept(data), *concurrency, stop).await?;
    let original = reading::find(&engine.store, run).await?;
    refuse_unfinished(&original.run)?;
    let Some(start) = again(&engine.store, &original, failed_only).await? else {
        output
            .line(&format!("Every job of run {} succeeded: there is nothing to run again.", original.run.batch_run_id));
        return Ok(ExitCode::SUCCESS);
    };
    let portfolios = start.filter.clone();
    let inputs = SnapshotInputs::new(Arc::clone(&engine.ports.documents), original.run.clone(), portfolios.clone());
    let bar = bars.of_run(&engine, original.run.as_of, portfolios.len(), portfolios.len());
    let summary = engine.run(&start, &inputs).await;
    bar.done();
    let summary = summary?;
    if !output.is_json() {
        output.run_line(&summary);
    }
    let summaries = [summary];
    report(&summaries, false, data, output)?;
    Ok(exit_code(&summaries))
}

/// The start of a rerun; none where every job succeeded and only others were asked for.
pub(crate) async fn again(
    store: &LocalStore,
    original: &StoredRun,
    failed_only: bool,
) -> anyhow::Result<Option<StartRun>> {
    let run = &original.run;
    let portfolios = if failed_only { wiring::not_successful(store, original).await? } else { run.filter.clone() };
    if failed_only && portfolios.is_empty() {
        return Ok(None);
    }
    Ok(Some(wiring::rerun(store, run, failed_only, portfolios).await?))
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

/// Only what has ended can be run again.
pub(crate) fn refuse_unfinished(run: &Run) -> anyhow::Result<()> {
    refuse_missed(run)?;
    if run.is_closed() {
        return Ok(());
    }
    let id = run.batch_run_id;
    let text = format!("run {id} is still open: let it end (the same `nightbook run` goes on with it), or cancel it");
    Err(BadInput(text).into())
}

/// A slot without a run has nothing to repeat or to cancel: what to do instead.
pub(crate) fn refuse_missed(run: &Run) -> anyhow::Result<()> {
    if run.phase != RunPhase::Missed {
        return Ok(());
    }
    let (id, as_of) = (run.batch_run_id, run.as_of);
    let text =
        format!("{id} is a slot that passed without a run: `nightbook run --book DIR --as-of {as_of}` makes up for it");
    Err(BadInput(text).into())
}
