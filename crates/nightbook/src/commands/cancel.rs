//! `nightbook cancel RUN`: end an open run early.

use std::path::Path;
use std::process::ExitCode;

use backends::system::SystemClock;
use domain::ports::{Change, Clock as _, Ports};
use domain::run::{Run, RunEvent};

use crate::commands::rerun::refuse_missed;
use crate::engine::Engine;
use crate::exit::BadInput;
use crate::output::Output;
use crate::reading;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// Runs the command.
pub(crate) async fn run(data: &Path, run: &str, output: &Output, stop: Stop) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(data) {
        return crate::cloud::Cloud::connect(table).await?.cancel(run, output, stop).await;
    }
    reading::open_folder(data)?;
    let engine = Engine::open(data, SiteSettings::kept(data), None, stop).await?;
    let run = cancel(&engine.ports, run).await?;
    let summary = engine.drive(&run).await?;
    if output.is_json() {
        output.json(&summary)?;
    } else {
        output.run_line(&summary);
    }
    Ok(ExitCode::SUCCESS)
}

/// Cancels a run: what has not ended is given up, and the close is asked for.
pub(crate) async fn cancel(ports: &Ports, text: &str) -> anyhow::Result<Run> {
    let stored = reading::find(ports.store.as_ref(), text).await?;
    refuse_missed(&stored.run)?;
    let id = stored.run.batch_run_id;
    if stored.run.plan.is_none() && !stored.run.is_closed() {
        return Err(BadInput(format!(
            "run {id} was never sealed, so nothing of it has run: the same `nightbook run` plans it anew"
        ))
        .into());
    }
    let event = RunEvent::Cancel { now: SystemClock.now() };
    let run = match ports.store.apply_run(id, &event).await? {
        Change::Applied(run) => run,
        Change::Refused(_, refusal) => {
            return Err(BadInput(format!("run {id} cannot be cancelled: {refusal}")).into());
        }
    };
    domain::watch::mend(ports, &run).await?;
    Ok(run)
}
