//! The side of a command whose data folder is held by `nightbook serve`: sends the request and waits for its end.

use std::path::Path;

use anyhow::Context as _;
use app::Published;
use backends::local::OpenError;
use domain::alert_rules::Mute;
use domain::ids::RunId;
use domain::night::report::NightReport;
use domain::shell::command_line;
use domain::summary::RunSummary;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::protocol::{self, Command, LineError, Reply, Request};
use super::{is_absent, is_trusted, place};
use crate::exit::{Interrupted, Remote};
use crate::stop::Stop;

/// A connection to the `serve` that holds the data folder.
pub(crate) struct Connection {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

/// The outcome of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The run is closed.
    Closed(Box<RunSummary>),
    /// Every job of this run succeeded.
    NothingToRepeat(RunId),
    /// The site was published, or could not be.
    Published(Published),
    /// The mute is recorded.
    Muted(Mute),
    /// The acceptance is recorded, and this is the night now.
    Accepted(Box<NightReport>),
}

/// Connects to the `serve` that holds a data folder. Returns `error`, the reason why the folder could not be opened, if
/// no `serve` answers or the reason is another one.
///
/// # Errors
/// `error`, or the socket cannot be used.
pub(crate) async fn connect(data: &Path, error: anyhow::Error) -> anyhow::Result<Connection> {
    let in_use = error.chain().any(|cause| matches!(cause.downcast_ref(), Some(OpenError::InUse { .. })));
    if in_use { connect_again(data, error).await } else { Err(error) }
}

/// Connects to a `serve` that is known to hold the data folder; `absent` is returned where nobody answers.
///
/// # Errors
/// `absent`, or the socket cannot be used.
pub(crate) async fn connect_again(data: &Path, absent: anyhow::Error) -> anyhow::Result<Connection> {
    let Some(path) = place(data) else { return Err(absent) };
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Err(absent),
        Err(other) => return Err(other).with_context(|| format!("cannot connect to {}", path.display())),
    };
    if !is_trusted(&stream)? {
        anyhow::bail!("{} belongs to another user; nothing was sent", path.display());
    }
    let (from, to) = stream.into_split();
    Ok(Connection { from: BufReader::new(from), to })
}

impl Connection {
    /// Sends a request and waits until it is done. `progress` is called with the portfolios that have ended.
    ///
    /// # Errors
    /// [`Remote`] with the message and the exit code of `serve`, [`Interrupted`] on Ctrl-C, or the connection.
    pub(crate) async fn request(
        mut self,
        data: &Path,
        command: Command,
        mut stop: Stop,
        mut progress: impl FnMut(u64),
    ) -> anyhow::Result<Outcome> {
        let request = Request::new(data.to_owned(), command);
        let broken = "cannot reach the `nightbook serve` that holds the data folder";
        protocol::write(&mut self.to, &request).await.context(broken)?;
        let mut recorded: Option<RunId> = None;
        loop {
            let reply = tokio::select! {
                biased;
                () = stop.stopped() => return Err(detached(recorded, data).into()),
                reply = protocol::read::<Reply>(&mut self.from) => reply,
            };
            match reply {
                Ok(Reply::Recorded(run)) => recorded = Some(run),
                Ok(Reply::Progress(ended)) => progress(ended),
                Ok(Reply::Closed(summary)) => return Ok(Outcome::Closed(summary)),
                Ok(Reply::NothingToRepeat(run)) => return Ok(Outcome::NothingToRepeat(run)),
                Ok(Reply::Published(published)) => return Ok(Outcome::Published(published)),
                Ok(Reply::Accepted(night)) => return Ok(Outcome::Accepted(night)),
                Ok(Reply::Muted(mute)) => return Ok(Outcome::Muted(mute)),
                Ok(Reply::Failed { message, exit_code }) => return Err(Remote { message, exit_code }.into()),
                Err(LineError::Closed) => return Err(ended(recorded)),
                Err(error) => return Err(error).context(broken),
            }
        }
    }
}

/// The command ends, and what it started does not.
fn detached(recorded: Option<RunId>, data: &Path) -> Interrupted {
    Interrupted(match recorded {
        Some(run) => format!(
            "detached: run {run} continues under `nightbook serve`; to cancel it: {}",
            command_line(["nightbook", "cancel", run.to_string().as_str(), "--data", &data.to_string_lossy()])
        ),
        None => "detached: `nightbook serve` may still do what was asked".to_owned(),
    })
}

fn ended(recorded: Option<RunId>) -> anyhow::Error {
    match recorded {
        Some(run) => {
            anyhow::anyhow!(
                "`nightbook serve` ended; run {run} is open, and continues when `nightbook serve` starts again"
            )
        }
        None => anyhow::anyhow!("`nightbook serve` ended before it answered; run the command again"),
    }
}

/// Refuses an outcome that does not belong to the request: a defect of ours.
pub(crate) fn unexpected(outcome: &Outcome) -> anyhow::Error {
    anyhow::anyhow!("`nightbook serve` answered something else than was asked: {outcome:?}")
}
