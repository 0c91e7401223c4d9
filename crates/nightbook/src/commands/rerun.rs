//! `nightbook rerun RUN`: the same again, on the pinned inputs, as a new run.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use backends::local::LocalStore;
use domain::identity;
use domain::ids::PortfolioId;
use domain::ports::{RunStore as _, StoredRun};
use domain::run::{Run, RunPhase};
use domain::start_run::StartRun;
use domain::words::JobStatus;
use jobs::SnapshotInputs;

use crate::commands::run::{exit_code, report};
use crate::commands::show::all_records;
use crate::engine::Engine;
use crate::exit::BadInput;
use crate::output::Output;
use crate::progress::Bars;
use crate::reading;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// Runs the command.
pub(crate) async fn run(
    data: &Path,
    run: &str,
    failed_only: bool,
    cores: Option<usize>,
    output: &Output,
    bars: &Bars,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    // The reading store says clearly what is wrong with a folder that holds no records, before anything is made.
    reading::open(data)?;
    let engine = Engine::open(data, SiteSettings::kept(data), cores, stop).await?;
    let original = reading::find(&engine.store, run).await?;
    refuse_missed(&original.run)?;
    if !original.run.is_closed() {
        return Err(BadInput(format!(
            "run {} is still open: let it end (the same `nightbook run` goes on with it), or cancel it",
            original.run.batch_run_id
        ))
        .into());
    }
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
    let filter = if failed_only { not_successful(store, original).await? } else { run.filter.clone() };
    if failed_only && filter.is_empty() {
        return Ok(None);
    }
    let mut repeat = 1;
    while store.run(identity::rerun(run.batch_run_id, failed_only, repeat)).await?.is_some() {
        repeat += 1;
    }
    Ok(Some(StartRun {
        id: identity::rerun(run.batch_run_id, failed_only, repeat),
        schedule: run.schedule.clone(),
        trigger: "rerun".to_owned(),
        as_of: run.as_of,
        scheduled_for: run.scheduled_for,
        rerun_of: Some(run.batch_run_id),
        repeat,
        filter,
    }))
}

/// Portfolios with a failed, skipped or missing job.
async fn not_successful(store: &LocalStore, original: &StoredRun) -> anyhow::Result<Vec<PortfolioId>> {
    let mut found: Vec<PortfolioId> = all_records(store, original)
        .await?
        .into_iter()
        .filter(|record| record.status != JobStatus::Success)
        .map(|record| record.portfolio_id)
        .collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
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
