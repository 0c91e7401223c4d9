//! `nightbook cancel RUN`: end an open run early.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use app::{BookOf, CancelRequest, Door, NightReader, RunControl};
use domain::ports::Ports;
use domain::run::Run;
use domain::watch::mend;

use crate::control::client::{Outcome, connect, unexpected};
use crate::control::protocol::Command;
use crate::engine::Engine;
use crate::exit::{door, refused};
use crate::output::Output;
use crate::reading;
use crate::run_control::of_command;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// Runs the command.
pub(crate) async fn run(data: &Path, run: &str, output: &Output, stop: Stop) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(data) {
        return crate::cloud::Cloud::connect(table).await?.cancel(data, run, output, stop).await;
    }
    reading::open_folder(data)?;
    let settings = SiteSettings::kept(data);
    let door = door(data, settings.book_dir());
    let nights = reading::nights_of(data, &settings);
    let summary = match Engine::open(data, settings, None, stop.clone()).await {
        Ok(engine) => {
            let control = of_command(&engine, BookOf::Nowhere);
            let run = cancel(&control, &engine.ports, &nights, data, run, &door).await?;
            engine.drive(&run).await?
        }
        Err(error) => {
            let command = Command::Cancel { run: run.to_owned() };
            match connect(data, error).await?.request(data, command, stop, |_| ()).await? {
                Outcome::Closed(summary) => *summary,
                outcome => return Err(unexpected(&outcome)),
            }
        }
    };
    if output.is_json() {
        output.json(&summary)?;
    } else {
        output.run_line(&summary);
    }
    Ok(ExitCode::SUCCESS)
}

/// Cancels a run and ends what is left of it.
pub(crate) async fn cancel(
    control: &RunControl,
    ports: &Ports,
    nights: &NightReader,
    data: &Path,
    text: &str,
    door: &Door,
) -> anyhow::Result<Run> {
    let id = reading::find(ports.store.as_ref(), nights, data, text, None).await?.run.batch_run_id;
    control.cancel(&CancelRequest { run: id }).await.map_err(|error| refused(error, door))?;
    let run = ports.store.run(id).await?.with_context(|| format!("there is no run {id}"))?.run;
    mend(ports, &run).await?;
    Ok(run)
}
