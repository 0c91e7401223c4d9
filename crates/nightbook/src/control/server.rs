//! The side of `nightbook serve`: binds the socket, and answers requests with limits for clients that misbehave.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use app::{Accepted, CancelRequest, Door, PublishRequest, Published, RerunRequest, RunControl, publish_site};
use domain::ids::RunId;
use domain::redact::redact;
use domain::summary::RunSummary;
use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::protocol::{self, Command, Greeting, LineError, PROTOCOL, Reply, Request, VERSION};
use super::{ELSEWHERE, in_folder, in_runtime_folder, is_trusted};
use crate::engine::Engine;
use crate::exit::{self, BadInput, STORE, refused};
use crate::reading;
use crate::settings_reload::{Read, SettingsReload};
use crate::stop::Stop;

/// Clients at once; a further one is refused.
const CLIENTS: usize = 32;

/// The longest request in bytes: it names each portfolio at most.
const REQUEST_BYTES: u64 = 1 << 20;

/// How long a client may take to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to receive a reply.
const REPLY_TIME: Duration = Duration::from_secs(10);

/// Time between two looks at a run that a client waits for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The socket, for as long as `serve` holds the data folder. Its files go with it.
pub(crate) struct Socket {
    listener: UnixListener,
    files: Vec<PathBuf>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        for file in &self.files {
            // A file that stays is stale, and the next owner of the folder removes it.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Binds the socket of a data folder, in it or in the runtime folder of the user. The caller holds the lock of the
/// folder, so a socket that is there was left by a process that died.
///
/// # Errors
/// Neither place can be used.
pub(crate) fn bind(data: &Path) -> anyhow::Result<Socket> {
    let elsewhere = data.join(ELSEWHERE);
    remove(&elsewhere)?;
    let inside = match in_folder(data) {
        Some(path) => bind_at(&path),
        None => Err(anyhow::anyhow!("the path of the data folder is too long for a socket")),
    };
    let error = match inside {
        Ok(socket) => return Ok(socket),
        Err(error) => error,
    };
    let path = in_runtime_folder(data)
        .with_context(|| format!("{error:#}, and XDG_RUNTIME_DIR names no folder that can be used instead"))?;
    let mut socket = bind_at(&path)?;
    std::fs::write(&elsewhere, format!("{}\n", path.display()))
        .with_context(|| format!("cannot write {}", elsewhere.display()))?;
    socket.files.push(elsewhere);
    Ok(socket)
}

fn bind_at(path: &Path) -> anyhow::Result<Socket> {
    remove(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("cannot bind {}", path.display()))?;
    let socket = Socket { listener, files: vec![path.to_owned()] };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot restrict {}", path.display()))?;
    Ok(socket)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// What requests are answered with.
pub(crate) struct Server {
    /// The engine that does the work.
    pub(crate) engine: Arc<Engine>,
    /// The decisions, shared with the history API: one run at a time.
    pub(crate) control: Arc<RunControl>,
    /// The settings that a publication goes by.
    pub(crate) reload: Arc<SettingsReload>,
    /// The folder of the book that is served.
    pub(crate) book_dir: PathBuf,
    /// Held while the site is published on request: one request at a time.
    pub(crate) publishing: Mutex<()>,
}

/// Answers requests until the process stops.
pub(crate) async fn answer(socket: Socket, server: Arc<Server>, mut stop: Stop) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let accepted = tokio::select! {
            () = stop.stopped() => return,
            accepted = socket.listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, event = "serve.refused", "a command could not be accepted; others are");
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        };
        let (server, place) = (Arc::clone(&server), Arc::clone(&places).try_acquire_owned());
        tokio::spawn(async move {
            let outcome = match place {
                Ok(_place) => server.serve(stream).await,
                Err(_) => {
                    refuse(stream, &format!("{CLIENTS} commands wait for this `nightbook serve`; try again")).await
                }
            };
            // A client that went away does not end what it started.
            if let Err(error) = outcome {
                tracing::debug!(error = %error, "a command went away before it was answered");
            }
        });
    }
}

async fn refuse(stream: UnixStream, message: &str) -> Result<(), LineError> {
    let (_, to) = stream.into_split();
    Replies { to }.send(&Reply::Failed { message: message.to_owned(), exit_code: STORE }).await
}

/// Where replies go.
struct Replies {
    to: OwnedWriteHalf,
}

impl Replies {
    async fn send(&mut self, reply: &Reply) -> Result<(), LineError> {
        let sent = timeout(REPLY_TIME, protocol::write(&mut self.to, reply)).await;
        sent.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }
}

/// Reads a request; the text says why it cannot be taken.
async fn request_of(from: OwnedReadHalf) -> Result<Request, String> {
    let mut from = BufReader::new(from);
    let line = match timeout(REQUEST_TIME, protocol::read_bytes(&mut from, REQUEST_BYTES)).await {
        Ok(Ok(line)) => line,
        Ok(Err(LineError::TooLong)) => return Err(format!("the request has more than {REQUEST_BYTES} bytes")),
        Ok(Err(error)) => return Err(format!("the request cannot be read: {error}")),
        Err(_) => return Err(format!("the request took more than {} s", REQUEST_TIME.as_secs())),
    };
    let greeting: Greeting =
        serde_json::from_slice(&line).map_err(|error| format!("the request cannot be read: {error}"))?;
    if greeting.protocol != PROTOCOL || greeting.version != VERSION {
        return Err(format!(
            "`nightbook serve` (process {}) is version {VERSION} and this command is version {}: use the same version, or restart `serve` with the newer one",
            std::process::id(),
            greeting.version
        ));
    }
    serde_json::from_slice(&line).map_err(|error| format!("the request cannot be read: {error}"))
}

impl Server {
    async fn serve(&self, stream: UnixStream) -> Result<(), LineError> {
        if !is_trusted(&stream)? {
            return refuse(stream, "`nightbook serve` answers its own user and root only").await;
        }
        let (from, to) = stream.into_split();
        let mut replies = Replies { to };
        let last = match request_of(from).await {
            Ok(request) => match self.reply(&request, &mut replies).await {
                Ok(reply) => reply,
                Err(error) => {
                    Reply::Failed { message: redact(&format!("{error:#}")), exit_code: exit::number_of(&error) }
                }
            },
            Err(message) => Reply::Failed { message, exit_code: STORE },
        };
        replies.send(&last).await
    }

    /// Does what is asked. Returns the last reply.
    async fn reply(&self, request: &Request, replies: &mut Replies) -> anyhow::Result<Reply> {
        let data = &request.data;
        let book = match &request.command {
            Command::Start { book, .. } => book.as_path(),
            _ => self.book_dir.as_path(),
        };
        let door = exit::door(data, Some(book));
        match &request.command {
            Command::Start { book, request } => {
                self.refuse_other_book(book)?;
                let accepted = self.control.start(request).await.map_err(|error| busy_or_refused(error, &door))?;
                self.follow(accepted, replies).await
            }
            Command::Rerun { run, failed_only, cause } => {
                let run = self.find(data, run).await?;
                let request = RerunRequest { run, failed_only: *failed_only, cause: cause.clone() };
                let accepted = self.control.rerun(&request).await.map_err(|error| busy_or_refused(error, &door))?;
                self.follow(accepted, replies).await
            }
            Command::Cancel { run } => {
                let run = self.find(data, run).await?;
                let accepted =
                    self.control.cancel(&CancelRequest { run }).await.map_err(|error| refused(error, &door))?;
                self.follow(accepted, replies).await
            }
            Command::Publish { book, request } => {
                if let Some(book) = book {
                    self.refuse_other_book(book)?;
                }
                Ok(Reply::Published(self.publish(request, &door).await?))
            }
            Command::Accept(request) => {
                let nights = reading::nights_of(data, &self.engine.settings.current().settings);
                let accepted = self.control.accept(request, &nights).await.map_err(|error| refused(error, &door))?;
                let (store, now) = (self.engine.ports.store.as_ref(), self.engine.ports.clock.now());
                let report = nights.report(store, &accepted.view, now).await?;
                self.engine.publish_accepted(accepted.run).await?;
                Ok(Reply::Accepted(Box::new(report)))
            }
            Command::Mute(request) => {
                let mute = self.control.mute(request).await.map_err(|error| refused(error, &door))?;
                self.engine.show_changes().await;
                Ok(Reply::Muted(mute))
            }
        }
    }

    /// The run that a person means, by the settings in force.
    async fn find(&self, data: &Path, text: &str) -> anyhow::Result<RunId> {
        let nights = reading::nights_of(data, &self.engine.settings.current().settings);
        Ok(reading::find(self.engine.ports.store.as_ref(), &nights, data, text, None).await?.run.batch_run_id)
    }

    /// The settings in force are those of the book that is served, so no other book is run beside it.
    fn refuse_other_book(&self, book: &Path) -> anyhow::Result<()> {
        let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if whole(book) == whole(&self.book_dir) {
            return Ok(());
        }
        let text = format!(
            "`nightbook serve` (process {}) serves the book {} from this data folder; use --book {}, or another folder with --data",
            std::process::id(),
            self.book_dir.display(),
            self.book_dir.display()
        );
        Err(BadInput(text).into())
    }

    async fn publish(&self, request: &PublishRequest, door: &Door) -> anyhow::Result<Published> {
        let _only = self.publishing.lock().await;
        let reload = Arc::clone(&self.reload);
        // Whatever kept the site back may have been mended outside of the file of the settings.
        let when = if self.engine.settings.current().settings.is_withheld() { Read::Always } else { Read::Changed };
        let outcome = tokio::task::spawn_blocking(move || reload.look(when)).await?;
        self.engine.show_settings(outcome).await;
        let published = publish_site(&self.engine.ports, &self.engine.publisher(), request).await;
        published.map_err(|error| refused(error, door))
    }

    /// Waits until the run of an outcome is closed and says how far it is. A client that goes away ends only this.
    async fn follow(&self, accepted: Accepted, replies: &mut Replies) -> anyhow::Result<Reply> {
        let run = match accepted {
            Accepted::NothingToRepeat(run) => return Ok(Reply::NothingToRepeat(run)),
            Accepted::Finished(run) => {
                if let Some(stored) = self.engine.ports.store.run(run).await?.filter(|stored| stored.run.is_closed()) {
                    self.engine.publish_missing(&stored.run).await?;
                }
                run
            }
            Accepted::Begun(run) | Accepted::Continued(run) | Accepted::Canceling(run) => run,
        };
        replies.send(&Reply::Recorded(run)).await?;
        let handled = || self.engine.watched().handled();
        let (before, mut said) = (handled(), 0);
        loop {
            if let Some(summary) = self.closed(run).await? {
                return Ok(Reply::Closed(Box::new(summary)));
            }
            let ended = handled().saturating_sub(before);
            if ended != said {
                said = ended;
                replies.send(&Reply::Progress(ended)).await?;
            }
            self.engine.ports.sleeper.sleep(LOOK_EVERY).await;
        }
    }

    /// The summary of a run that is closed.
    async fn closed(&self, run: RunId) -> anyhow::Result<Option<RunSummary>> {
        let stored = self.engine.ports.store.run(run).await?.with_context(|| format!("run {run} is gone"))?;
        Ok(if stored.run.is_closed() { stored.summary } else { None })
    }
}

/// Another run that is active is no fault of the input: the folder is in use.
fn busy_or_refused(error: app::ControlError, door: &Door) -> anyhow::Error {
    match error {
        app::ControlError::Refused(refusal @ app::Refusal::Active { .. }) => anyhow::anyhow!(refusal.message(door)),
        error => refused(error, door),
    }
}
