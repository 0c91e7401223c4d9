//! `nightbook serve`: the site, the scheduler and the watch, in one process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::{HeaderValue, header};
use backends::system::SystemClock;
use book::next_due_slot;
use domain::ports::Clock as _;
use tower_http::compression::CompressionLayer;
use tower_http::services::{ServeDir, ServeFile};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::commands::run::read_usable;
use crate::engine::Engine;
use crate::output::Output;
use crate::scheduler::{Scheduler, is_interruption};
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
    let settings = SiteSettings::of(&book, book_dir).served_at(address.clone());
    let cores = book.settings.run.concurrency.map(|n| n as usize);
    let engine = Engine::open(data, settings.clone(), cores, stop.clone()).await?;
    settings.keep(data)?;
    let serving = tokio::spawn(serve_folder(listener, engine.site_folder(), stop.clone()));
    output.line(&format!("Site:  {address}/"));
    match next_due_slot(&book.settings.schedule, SystemClock.now()) {
        Some(slot) => output.line(&format!("Next run:  {} UTC", slot.format("%Y-%m-%d %H:%M"))),
        None => output.line("Next run:  none, the schedule has no further slot"),
    }
    let mut scheduler = Scheduler::new(&engine, book_dir, book).await?;
    loop {
        if let Err(error) = scheduler.round(&engine).await {
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
            () = stop.stopped() => break,
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
    serving.await.context("the web server ended badly")??;
    Ok(ExitCode::SUCCESS)
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
