//! `nightbook serve`: the site, the scheduler and the watch, in one process.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use api::Api;
use backends::local::LocalStore;
use backends::system::SystemClock;
use book::next_due_slot;
use domain::note::RunNotes;
use domain::ports::{Clock as _, RunStore};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::book_folder::read_usable;
use crate::control::{self, server::Server};
use crate::engine::Engine;
use crate::metrics::{self, Asked, Metrics};
use crate::output::Output;
use crate::reading;
use crate::run_control;
use crate::scheduler::{Scheduler, is_interruption};
use crate::settings_reload::{SettingsReload, Wake, keep_looking};
use crate::site_settings::SiteSettings;
use crate::stop::Stop;
use crate::web;

/// Time between two looks of the watch, and the longest that the scheduler sleeps: a machine that slept or whose
/// clock was set finds its slot within this time.
const WATCH_EVERY: Duration = Duration::from_secs(60);

/// Runs the command.
pub(crate) async fn run(
    book_dir: &Path,
    data: &Path,
    listen: &str,
    output: &Output,
    metrics: Metrics,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    let wake = Wake::new()?;
    let book = read_usable(book_dir)?;
    let bound = web::bind(listen).await?;
    let address = format!("http://{}", bound.address);
    let settings = SiteSettings::of(&book, book_dir).served_at(address.clone());
    let cores = book.settings.run.concurrency.map(|n| n as usize);
    let engine = Arc::new(Engine::open(data, settings, cores, stop.clone()).await?);
    // Connections of its own: questions do not wait for the run, nor the run for them.
    let records: Arc<dyn RunStore> = Arc::new(LocalStore::open_read_only(data)?);
    let live = Arc::clone(&engine.settings);
    let asked = Asked {
        store: Arc::clone(&records),
        clock: Arc::clone(&engine.ports.clock),
        live: engine.watched(),
        nights: Arc::new(reading::LiveNights { data: data.to_path_buf(), settings: Arc::clone(&engine.settings) }),
        next_due: Box::new(move |now| next_due_slot(&live.current().settings.settings().schedule, now)),
    };
    let metrics_router = api::protect(metrics::router(metrics.clone(), asked), bound.access.clone());
    let control = Arc::new(run_control::serving(&engine, book_dir.to_path_buf()));
    let api = Api::new(records, Arc::clone(&engine.ports.clock), bound.access.clone())
        .with_notes(Arc::new(engine.store.clone()))
        .with_control(Arc::clone(&control))
        .with_nights(Arc::new(reading::LiveNights { data: data.to_path_buf(), settings: Arc::clone(&engine.settings) }))
        .with_live(engine.watched());
    let router = web::site_and_api(&engine.site_folder(), api, bound.access.clone());
    let router = metrics.counting(metrics_router.merge(router));
    let whole = std::path::absolute(book_dir)?;
    let reload = Arc::new(SettingsReload::new(&whole, data, Arc::clone(&engine.settings)));
    let next_slot = next_due_slot(&book.settings.schedule, SystemClock.now());
    // Before anybody is answered: from here on a store that fails ends no `serve`, only a round of it.
    let mut scheduler = Scheduler::new(&engine, book_dir, book, Arc::clone(&reload)).await?;
    let serving = web::start(bound, router, stop.clone())?;
    let server = Server {
        engine: Arc::clone(&engine),
        control,
        reload: Arc::clone(&reload),
        book_dir: whole,
        publishing: Mutex::default(),
    };
    let commands = take_commands(data, server, stop.clone());
    output.line(&format!("Site:  {address}/"));
    output.line(&format!("API:   {address}/api/v1/openapi.json"));
    match next_slot {
        Some(slot) => output.line(&format!("Next run:  {} UTC", slot.format("%Y-%m-%d %H:%M"))),
        None => output.line("Next run:  none, the schedule has no further slot"),
    }
    tokio::spawn(keep_looking(reload, Arc::clone(&engine), wake, stop.clone()));
    let outcome = rounds(&mut scheduler, &engine, stop).await;
    if let Some(commands) = commands {
        // It removes the socket while this process still holds the folder.
        commands.await?;
    }
    outcome?;
    serving.ended().await?;
    Ok(ExitCode::SUCCESS)
}

/// One round of the scheduler after the other until the process is asked to stop.
async fn rounds(scheduler: &mut Scheduler, engine: &Engine, mut stop: Stop) -> anyhow::Result<()> {
    loop {
        if let Err(error) = scheduler.round(engine).await {
            if is_interruption(&error) {
                return Err(error);
            }
            tracing::error!(
                error = format!("{error:#}"),
                event = "serve.failed",
                "a round of the scheduler and the watch failed; the next one tries again"
            );
        }
        tokio::select! {
            () = stop.stopped() => return Ok(()),
            () = tokio::time::sleep(WATCH_EVERY) => {}
            () = engine.attention.at_rest.notified() => engine.publish_asked().await,
        }
    }
}

/// Takes commands through the control socket. Without a socket `serve` works all the same, and commands say that the
/// folder is in use.
fn take_commands(data: &Path, server: Server, stop: Stop) -> Option<JoinHandle<()>> {
    match control::server::bind(data) {
        Ok(socket) => Some(tokio::spawn(control::server::answer(socket, Arc::new(server), stop))),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                event = "control.unavailable",
                "there is no control socket: commands on the data folder are refused while this process runs"
            );
            None
        }
    }
}

/// Serves a site that is there and the records behind it, for reading, until the process is stopped.
pub(crate) async fn site_only(
    index: &Path,
    data: &Path,
    listen: &str,
    output: &Output,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    let bound = web::bind(listen).await?;
    let address = bound.address;
    let store = Arc::new(LocalStore::open_read_only(data)?);
    let notes: Arc<dyn RunNotes> = Arc::clone(&store) as Arc<dyn RunNotes>;
    let api = Api::new(store, Arc::new(SystemClock), bound.access.clone())
        .with_notes(notes)
        .with_nights(Arc::new(reading::nights_of(data, &SiteSettings::kept(data))));
    let router = web::site_and_api(&web::folder_of(index), api, bound.access.clone());
    let serving = web::start(bound, router, stop)?;
    output.line(&format!("Open:  http://{address}/   (Ctrl-C ends)"));
    serving.ended().await?;
    Ok(ExitCode::SUCCESS)
}
