//! `nightbook accept DATE --control C`: a control result may be relied on all the same.

use std::path::Path;
use std::process::ExitCode;

use app::{AcceptRequest, BookOf};
use domain::night::report::NightReport;

use crate::commands::night::print_short;
use crate::control::client::{Outcome, connect, unexpected};
use crate::control::protocol::Command;
use crate::engine::Engine;
use crate::environment;
use crate::exit::{door, refused};
use crate::output::Output;
use crate::reading;
use crate::run_control::of_command;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// Who accepts, where nobody is named: the user of this process.
pub(crate) fn default_author() -> String {
    ["USER", "LOGNAME"].into_iter().find_map(environment::named).unwrap_or_else(|| "unknown".to_owned())
}

/// Runs the command.
pub(crate) async fn run(data: &Path, request: AcceptRequest, output: &Output, stop: Stop) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(data) {
        let night = crate::cloud::Cloud::connect(table).await?.accept(data, &request).await?;
        return report(&night, output);
    }
    reading::open_folder(data)?;
    let settings = SiteSettings::kept(data);
    let nights = reading::nights_of(data, &settings);
    let door = door(data, settings.book_dir());
    let night = match Engine::open(data, settings, None, stop.clone()).await {
        Ok(engine) => {
            let control = of_command(&engine, BookOf::Nowhere);
            let accepted = control.accept(&request, &nights).await.map_err(|error| refused(error, &door))?;
            let (store, now) = (engine.ports.store.as_ref(), engine.ports.clock.now());
            let night = nights.report(store, &accepted.view, now).await?;
            engine.publish_accepted(accepted.run).await?;
            night
        }
        Err(error) => {
            let connection = connect(data, error).await?;
            match connection.request(data, Command::Accept(request), stop, |_| ()).await? {
                Outcome::Accepted(night) => *night,
                outcome => return Err(unexpected(&outcome)),
            }
        }
    };
    report(&night, output)
}

fn report(night: &NightReport, output: &Output) -> anyhow::Result<ExitCode> {
    if output.is_json() {
        output.json(night)?;
    } else {
        output.line("Accepted; the pages of the night show it.");
        print_short(night, output);
    }
    Ok(ExitCode::SUCCESS)
}
