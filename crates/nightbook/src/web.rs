//! The web server of `serve` and `demo`: the site and the history API on one listener, on threads of its own, with
//! limits for clients that are slow or many.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{Access, Api, Tokens};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tower_http::compression::CompressionLayer;
use tower_http::services::{ServeDir, ServeFile};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::environment;
use crate::exit::BadInput;
use crate::stop::Stop;

/// Connections at once; others wait until one ends.
const CONNECTIONS: usize = 4_096;

/// Files that the process may have open, where the system lets it choose: each connection is one.
const OPEN_FILES: u64 = 8_192;

/// How long a client may take to send the head of a request, or be silent between two.
const HEAD_TIME: Duration = Duration::from_secs(15);

/// How long a client may take to receive the next piece of an answer.
const RECEIVE_TIME: Duration = Duration::from_secs(30);

/// Header lines of a request.
const HEADER_LINES: usize = 64;

/// Bytes of the head of a request.
const HEAD_BYTES: usize = 32 * 1024;

/// How long answers may take to end after a signal.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The shortest token.
const TOKEN_CHARS: usize = 16;

/// A listener, and the address that it got.
pub(crate) struct Bound {
    listener: std::net::TcpListener,
    /// The address.
    pub(crate) address: SocketAddr,
    /// Who may come.
    pub(crate) access: Access,
}

/// Listens on an address; one that is taken or wrong is bad input, and so is one that others can reach without a token.
///
/// # Errors
/// [`BadInput`].
pub(crate) async fn bind(listen: &str) -> anyhow::Result<Bound> {
    let tokens = environment::tokens();
    for (name, token) in [("NIGHTBOOK_TOKEN", &tokens.0), ("NIGHTBOOK_READ_TOKEN", &tokens.1)] {
        let usable = |token: &String| token.len() >= TOKEN_CHARS && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !token.as_ref().is_none_or(usable) {
            let text = format!(
                "{name} is not usable: a token has at least {TOKEN_CHARS} letters, digits or signs and no space; `openssl rand -hex 32` makes one"
            );
            return Err(BadInput(text).into());
        }
    }
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| {
        anyhow::Error::new(BadInput(format!(
            "cannot listen on {listen} ({error}): give another address with --listen, for example 127.0.0.1:0 for any free port"
        )))
    })?;
    let listener = listener.into_std()?;
    let address = listener.local_addr()?;
    let access = match Tokens::new(tokens.0.as_deref(), tokens.1.as_deref()) {
        Some(tokens) => Access::Tokens(tokens),
        None if address.ip().is_loopback() => Access::Loopback,
        None => {
            let text = format!(
                "{address} can be reached by others, so it needs a token: set NIGHTBOOK_TOKEN (may read and write) or NIGHTBOOK_READ_TOKEN (may only read), or listen on 127.0.0.1"
            );
            return Err(BadInput(text).into());
        }
    };
    Ok(Bound { listener, address, access })
}

/// The site in a folder, and the API beside it.
pub(crate) fn site_and_api(folder: &Path, api: Api, access: Access) -> Router {
    let fixed = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    let files = ServeDir::new(folder).not_found_service(ServeFile::new(folder.join("404.html")));
    let root = folder.to_path_buf();
    let site = Router::new()
        .fallback_service(files)
        .layer(from_fn(move |request, next| only_pages(root.clone(), request, next)))
        .layer(CompressionLayer::new())
        .layer(fixed(header::CACHE_CONTROL, "no-cache"))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"));
    api::router(api).fallback_service(api::protect(site, access))
}

/// The longest name of a file that a file system takes, in bytes.
const NAME_BYTES: usize = 255;

/// Answers what is no page with 404: hidden files, names that no file can have, and whatever lies behind a link, which may
/// lead out of the site.
async fn only_pages(root: PathBuf, request: Request, next: Next) -> Response {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    let mut place = root;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        place.push(part);
        let is_link = || std::fs::symlink_metadata(&place).is_ok_and(|file| file.is_symlink());
        if part.starts_with('.') || part.len() > NAME_BYTES || part.contains('\0') || is_link() {
            return StatusCode::NOT_FOUND.into_response();
        }
    }
    next.run(request).await
}

/// A server at work.
pub(crate) struct Serving(tokio::sync::oneshot::Receiver<anyhow::Result<()>>);

impl Serving {
    /// Returns when it has ended.
    ///
    /// # Errors
    /// It ended badly.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        self.0.await.context("the web server ended badly")?
    }
}

/// Serves until the process is stopped, on threads of its own: many readers do not hold up a run, nor a run them.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(bound: Bound, router: Router, stop: Stop) -> anyhow::Result<Serving> {
    more_open_files();
    let (send, ended) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("web")
        .enable_all()
        .build()
        .context("the web server cannot be started")?;
    std::thread::Builder::new().name("web-server".to_owned()).spawn(move || {
        let outcome = runtime.block_on(serve(bound.listener, router, stop));
        runtime.shutdown_background();
        // Nobody waits for it any more.
        let _ = send.send(outcome);
    })?;
    Ok(Serving(ended))
}

/// Lets the process have more open files, up to what the system allows.
fn more_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|now| now < wanted) {
        // With fewer, connections wait for each other.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

async fn serve(listener: std::net::TcpListener, router: Router, mut stop: Stop) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener).context("the web server cannot listen")?;
    let open = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_headers(HEADER_LINES).max_buf_size(HEAD_BYTES);
    loop {
        let place = tokio::select! {
            () = stop.stopped() => break,
            place = Arc::clone(&open).acquire_owned() => place?,
        };
        let accepted = tokio::select! {
            () = stop.stopped() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, event = "serve.refused", "a connection could not be taken; others are tried");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(RECEIVE_TIME));
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
        tokio::spawn(async move {
            // A client that goes away, or is cut off, is its own affair.
            let _ = connection.await;
            drop(place);
        });
    }
    // Whoever has not received the answer by then goes without.
    let _ = tokio::time::timeout(STOP_GRACE, graceful.shutdown()).await;
    Ok(())
}

/// The folder of a site, from its index.
pub(crate) fn folder_of(index: &Path) -> PathBuf {
    index.parent().map(Path::to_path_buf).unwrap_or_default()
}
