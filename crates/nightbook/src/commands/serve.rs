//! `nightbook serve`: the site, the scheduler and the watch, in one process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{HeaderValue, header};
use backends::system::SystemClock;
use book::{Book, as_of_of_slot, next_slot};
use chrono::{DateTime, Utc};
use domain::identity;
use domain::ids::RunId;
use domain::ports::{Clock as _, RunQuery, RunStore as _};
use domain::run::{Run, RunPhase};
use domain::start_run::StartRun;
use domain::watch::{mend, mend_all};
use jobs::{NoGate, SnapshotInputs};
use tower_http::compression::CompressionLayer;
use tower_http::services::{ServeDir, ServeFile};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::commands::run::{one, read_usable};
use crate::engine::{Engine, deliver_again};
use crate::output::Output;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// Time between two looks of the watch, and the longest that the scheduler sleeps: a machine that slept or whose
/// clock was set finds its slot within this time.
const WATCH_EVERY: Duration = Duration::from_secs(60);

/// Runs the command.
pub(crate) async fn run(
    book_dir: &Path,
    data: &Path,
    listen: &str,
    output: &Output,
    mut stop: Stop,
) -> anyhow::Result<ExitCode> {
    let book = read_usable(book_dir)?;
    let listener = bind(listen).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let settings = SiteSettings::of(book.settings.clone()).served_at(address.clone());
    let cores = book.settings.run.concurrency.map(|n| n as usize);
    let engine = Engine::open(data, settings.clone(), cores, stop.clone()).await?;
    settings.keep(data)?;
    let serving = tokio::spawn(serve_folder(listener, engine.site_folder(), stop.clone()));
    output.line(&format!("Site:  {address}/"));
    match next_slot(&book.settings.schedule, SystemClock.now()) {
        Some(slot) => output.line(&format!("Next run:  {} UTC", slot.format("%Y-%m-%d %H:%M"))),
        None => output.line("Next run:  none, the schedule has no further slot"),
    }
    let mut last_look = engine.store.created_at().await?.max(newest_slot(&engine).await?.unwrap_or_default());
    loop {
        if let Err(error) = look(&engine, book_dir, &mut last_look).await {
            if error.chain().any(|cause| cause.is::<crate::exit::Interrupted>()) {
                return Err(error);
            }
            tracing::error!(
                error = format!("{error:#}"),
                event = "serve.failed",
                "a round of the scheduler and the watch failed; the next one tries again"
            );
        }
        tokio::select! {
            () = stop.stopped() => break,
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
    serving.await.context("the web server ended badly")??;
    Ok(ExitCode::SUCCESS)
}

/// One round: go on with what is open, run what is due, deliver what is undelivered, retire what is old.
async fn look(engine: &Engine, book_dir: &Path, last_look: &mut DateTime<Utc>) -> anyhow::Result<()> {
    mend_all(&engine.ports).await?;
    for open in engine.ports.store.open_runs().await? {
        go_on(engine, book_dir, &open).await?;
    }
    let now = SystemClock.now();
    let book = Arc::new(read_usable(book_dir)?);
    let schedule = &book.settings.schedule;
    // Every slot since the last look: more than one where the machine slept.
    let mut due = Vec::new();
    let mut after = *last_look;
    while let Some(slot) = next_slot(schedule, after).filter(|slot| *slot <= now) {
        due.push(slot);
        after = slot;
    }
    for (at, slot) in due.iter().enumerate() {
        let newest = at + 1 == due.len();
        if newest || schedule.catch_up {
            let start = scheduled(&book, *slot);
            if schedule.calendar.is_session(start.as_of) && engine.store.run(start.id).await?.is_none() {
                one(engine, &book, &start, Arc::new(NoGate)).await?;
            }
        } else {
            tracing::warn!(slot = %slot, event = "slot.missed", "a scheduled slot was missed and, as the settings say, is not caught up");
        }
        *last_look = *slot;
    }
    let recent = engine.store.runs(&RunQuery { limit: 20, ..RunQuery::default() }).await?;
    let closed = recent.runs.into_iter().filter(|stored| stored.run.is_closed());
    deliver_again(engine, &closed.filter_map(|stored| stored.summary).collect::<Vec<_>>()).await?;
    engine.retire(&book.settings).await?;
    Ok(())
}

/// Goes on with a run that is open: on its pinned inputs where it has them, else from the book.
async fn go_on(engine: &Engine, book_dir: &Path, open: &Run) -> anyhow::Result<()> {
    if !matches!(open.phase, RunPhase::Planning { .. }) {
        mend(&engine.ports, open).await?;
        engine.drive(open).await?;
        return Ok(());
    }
    let start = StartRun {
        id: open.batch_run_id,
        schedule: open.schedule.clone(),
        trigger: open.trigger.clone(),
        as_of: open.as_of,
        scheduled_for: open.scheduled_for,
        rerun_of: open.rerun_of,
        repeat: open.repeat,
        filter: open.filter.clone(),
    };
    match open.rerun_of {
        Some(of) => {
            let original = original(engine, of).await?;
            let inputs = SnapshotInputs::new(Arc::clone(&engine.ports.documents), original, open.filter.clone());
            engine.run(&start, &inputs).await?;
        }
        None => {
            let book = Arc::new(read_usable(book_dir)?);
            one(engine, &book, &start, Arc::new(NoGate)).await?;
        }
    }
    Ok(())
}

async fn original(engine: &Engine, of: RunId) -> anyhow::Result<Run> {
    Ok(engine.store.run(of).await?.with_context(|| format!("run {of}, which is to be repeated, is not on record"))?.run)
}

/// The start of the run of a slot.
fn scheduled(book: &Book, slot: DateTime<Utc>) -> StartRun {
    let schedule = &book.settings.schedule;
    StartRun {
        id: identity::scheduled(&schedule.name, slot),
        schedule: schedule.name.clone(),
        trigger: "schedule".to_owned(),
        as_of: as_of_of_slot(schedule, slot),
        scheduled_for: slot,
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
    }
}

/// The newest slot that a scheduled run stands for.
async fn newest_slot(engine: &Engine) -> anyhow::Result<Option<DateTime<Utc>>> {
    let page = engine.store.runs(&RunQuery { limit: 50, ..RunQuery::default() }).await?;
    Ok(page.runs.iter().find(|stored| stored.run.trigger == "schedule").map(|stored| stored.run.scheduled_for))
}

/// Serves a site that is there, until the process is stopped.
pub(crate) async fn site_only(index: &Path, listen: &str, output: &Output, stop: Stop) -> anyhow::Result<ExitCode> {
    let listener = bind(listen).await?;
    let address = listener.local_addr()?;
    output.line(&format!("Open:  http://{address}/   (Ctrl-C ends)"));
    let folder = index.parent().map(Path::to_path_buf).unwrap_or_default();
    serve_folder(listener, folder, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Listens on an address; one that is taken or wrong is bad input.
async fn bind(listen: &str) -> anyhow::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(listen).await.map_err(|error| {
        anyhow::Error::new(crate::exit::BadInput(format!(
            "cannot listen on {listen} ({error}): give another address with --listen, for example 127.0.0.1:0 for any free port"
        )))
    })
}

async fn serve_folder(listener: tokio::net::TcpListener, folder: PathBuf, mut stop: Stop) -> anyhow::Result<()> {
    let fixed = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    let files = ServeDir::new(&folder).not_found_service(ServeFile::new(folder.join("404.html")));
    let router = Router::new()
        .fallback_service(files)
        .layer(CompressionLayer::new())
        .layer(fixed(header::CACHE_CONTROL, "no-cache"))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.stopped().await })
        .await
        .context("the web server failed")
}
