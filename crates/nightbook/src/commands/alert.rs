//! `nightbook alert`: try a channel, list what is open, mute it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use app::{BookOf, MuteRequest};
use backends::system::{SystemClock, SystemRandomness};
use domain::alert_book::AlertBook;
use domain::alert_message::AlertMessage;
use domain::alert_rules::Mute;
use domain::ids::{ChannelName, RunId};
use domain::incident::IncidentState;
use domain::ports::{AlertBooks as _, Clock, Randomness as _};
use domain::redact::redact;
use serde_json::json;

use crate::book_folder::read_usable;
use crate::cli::AlertCommand;
use crate::control::client::{Outcome, connect, unexpected};
use crate::control::protocol::Command;
use crate::engine::Engine;
use crate::exit::{BadInput, STORE, door, refused};
use crate::output::Output;
use crate::reading;
use crate::run_control::of_command;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// Runs the command.
pub(crate) async fn run(command: AlertCommand, output: &Output, stop: Stop) -> anyhow::Result<ExitCode> {
    match command {
        AlertCommand::Test { channel, data, book } => test(&channel, &data.data, book.as_deref(), output).await,
        AlertCommand::List { data } => list(&data.data, output).await,
        AlertCommand::Mute { fingerprint, portfolio, until, reason, data } => {
            let request = MuteRequest { fingerprint, portfolio, until, reason, schedule: None };
            mute(&request, &data.data, output, stop).await
        }
    }
}

async fn test(name: &ChannelName, data: &Path, book: Option<&Path>, output: &Output) -> anyhow::Result<ExitCode> {
    let settings = match book {
        Some(book) => SiteSettings::of(&read_usable(book)?, book),
        None => SiteSettings::kept(data),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let channels = settings.channels(&clock);
    let Some(channel) = channels.iter().find(|channel| channel.name() == name) else {
        let known: Vec<&str> = channels.iter().map(|channel| channel.name().as_str()).collect();
        let known = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
        return Err(BadInput(format!(
            "there is no channel {name} in the settings, there are: {known}; --book DIR reads those of a book that was not run yet"
        ))
        .into());
    };
    let id = RunId(SystemRandomness.owner().0);
    let base = settings.base(data.join("site"));
    let message = AlertMessage::test(settings.schedule().clone(), id, &base, clock.now());
    let error = channel.deliver(&message).await.err().map(|error| redact(&error.message));
    if output.is_json() {
        output.json(
            &json!({ "channel": name, "alert_id": message.alert_id, "delivered": error.is_none(), "error": error }),
        )?;
    } else {
        match &error {
            None => output.line(&format!("{name}: the test message was delivered, as {}", message.alert_id)),
            Some(error) => output.line(&format!("{name}: not delivered: {error}")),
        }
    }
    Ok(if error.is_none() { ExitCode::SUCCESS } else { STORE.into() })
}

/// The state of an incident in a word or two.
fn state_words(state: IncidentState) -> String {
    match state {
        IncidentState::Waiting { .. } => "waiting".to_owned(),
        IncidentState::Open { .. } => "open".to_owned(),
        IncidentState::Reminded { reminders, .. } => format!("reminded x{reminders}"),
        IncidentState::MutedUntil { until, .. } => format!("muted until {}", until.format("%Y-%m-%d")),
        IncidentState::Recovered { .. } => "recovered".to_owned(),
    }
}

async fn list(data: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    let store = reading::open_folder(data)?;
    let mut books: Vec<AlertBook> = Vec::new();
    for schedule in store.alert_schedules().await? {
        books.push(store.alert_book(&schedule).await?);
    }
    let now = SystemClock.now();
    let undelivered: Vec<_> = books.iter().flat_map(|book| book.undelivered(now)).collect();
    let rules = SiteSettings::kept(data).rules();
    let mutes: Vec<&Mute> =
        rules.mutes.iter().chain(books.iter().flat_map(|book| &book.mutes)).filter(|mute| mute.until > now).collect();
    if output.is_json() {
        let incidents: Vec<_> = books
            .iter()
            .flat_map(|book| book.incidents.values().map(|incident| (book.shown_schedule(), incident)))
            .map(|(schedule, incident)| json!({ "schedule": schedule, "incident": incident }))
            .collect();
        let undelivered: Vec<_> = undelivered
            .iter()
            .map(|told| {
                json!({
                    "channel": told.channel, "waiting": told.waiting, "given_up": told.given_up,
                    "since": told.since, "error": told.error,
                })
            })
            .collect();
        output.json(&json!({ "incidents": incidents, "mutes": mutes, "undelivered": undelivered }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = books
        .iter()
        .flat_map(|book| book.incidents.values().map(|incident| (book.shown_schedule(), incident)))
        .map(|(schedule, incident)| {
            vec![
                schedule.to_string(),
                incident.cause.to_string(),
                state_words(incident.state),
                incident.job.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                incident.state.runs().to_string(),
                incident.opened_as_of.to_string(),
                incident.affected.to_string(),
                incident.message.lines().next().unwrap_or_default().chars().take(80).collect(),
            ]
        })
        .collect();
    if rows.is_empty() {
        output.line("Nothing is open.");
    } else {
        output.table(&["SCHEDULE", "CAUSE", "STATE", "JOB", "NIGHTS", "SINCE", "PORTFOLIOS", "MESSAGE"], &rows);
    }
    for mute in mutes {
        let what = match (&mute.fingerprint, &mute.portfolio) {
            (Some(cause), _) => cause.to_string(),
            (None, portfolio) => portfolio.as_ref().map(|id| format!("portfolio {id}")).unwrap_or_default(),
        };
        output.line(&format!("Muted until {}: {what}: {}", mute.until.format("%Y-%m-%d %H:%M UTC"), mute.reason));
    }
    for told in undelivered {
        output.line(&format!(
            "Not delivered through {}: {} waiting, {} given up, since {}: {}",
            told.channel,
            told.waiting,
            told.given_up,
            told.since.format("%Y-%m-%d %H:%M UTC"),
            told.error
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn mute(request: &MuteRequest, data: &Path, output: &Output, stop: Stop) -> anyhow::Result<ExitCode> {
    reading::open_folder(data)?;
    let mute = match Engine::open(data, SiteSettings::kept(data), None, stop.clone()).await {
        Ok(engine) => {
            let control = of_command(&engine, BookOf::Nowhere);
            let mute = control.mute(request).await.map_err(|error| refused(error, &door(data, None)))?;
            engine.show_changes().await;
            mute
        }
        Err(error) => {
            let command = Command::Mute(request.clone());
            match connect(data, error).await?.request(data, command, stop, |_| ()).await? {
                Outcome::Muted(mute) => mute,
                outcome => return Err(unexpected(&outcome)),
            }
        }
    };
    if output.is_json() {
        output.json(&mute)?;
    } else {
        output.line(&format!("Muted until {}; the index shows it.", mute.until.format("%Y-%m-%d %H:%M UTC")));
    }
    Ok(ExitCode::SUCCESS)
}
