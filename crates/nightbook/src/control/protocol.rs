//! The lines that travel through the control socket: one JSON request, then JSON replies, the last of which ends it.

use std::path::PathBuf;

use app::{AcceptRequest, MuteRequest, PublishRequest, Published, StartRequest};
use domain::alert_rules::Mute;
use domain::ids::{CauseId, RunId};
use domain::night::report::NightReport;
use domain::summary::RunSummary;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The version of these lines.
pub(super) const PROTOCOL: u32 = 1;

/// The version of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The longest line in bytes: a summary names each cause, a request each portfolio.
const MOST_BYTES: u64 = 16 << 20;

/// What every request of every version begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Greeting {
    /// The protocol.
    pub(super) protocol: u32,
    /// The version of the program that asks.
    pub(super) version: String,
}

/// A request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    #[serde(flatten)]
    pub(super) greeting: Greeting,
    /// What `--data` names, as the command was given it: messages repeat it.
    pub(super) data: PathBuf,
    /// The command.
    pub(super) command: Command,
}

impl Request {
    /// A request of this program.
    pub(super) fn new(data: PathBuf, command: Command) -> Self {
        Self { greeting: Greeting { protocol: PROTOCOL, version: VERSION.to_owned() }, data, command }
    }
}

/// What `serve` is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Run one date of a book.
    Start {
        /// The folder of the book.
        book: PathBuf,
        /// The run.
        request: StartRequest,
    },
    /// Run a closed run again.
    Rerun {
        /// Its id, the beginning of it, or `latest`.
        run: String,
        /// Only what did not succeed.
        failed_only: bool,
        /// Only the portfolios with this cause.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<CauseId>,
    },
    /// End an open run early.
    Cancel {
        /// Its id, the beginning of it, or `latest`.
        run: String,
    },
    /// Write the site again.
    Publish {
        /// The folder of the book that `--book` names.
        book: Option<PathBuf>,
        /// Which pages.
        request: PublishRequest,
    },
    /// Mute alerts.
    Mute(MuteRequest),
    /// Accept results of a control.
    Accept(AcceptRequest),
}

/// What `serve` says. Every reply but the first two is the last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The run is recorded: it continues without a client.
    Recorded(RunId),
    /// Portfolios of the run that have ended.
    Progress(u64),
    /// The run is closed.
    Closed(Box<RunSummary>),
    /// Every job of the run succeeded.
    NothingToRepeat(RunId),
    /// The site is written, or could not be.
    Published(Published),
    /// The mute is recorded.
    Muted(Mute),
    /// The acceptance is recorded, and this is the night now.
    Accepted(Box<NightReport>),
    /// The request failed.
    Failed {
        /// What happened and what to do.
        message: String,
        /// The exit code of the command.
        exit_code: u8,
    },
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// The other end closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The connection failed.
    #[error("the connection failed")]
    Broken(#[from] std::io::Error),
    /// The line is longer than [`MOST_BYTES`].
    #[error("the line has more than {MOST_BYTES} bytes")]
    TooLong,
    /// It is not one of the lines of this protocol.
    #[error("the line cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

/// Reads the bytes of a line, which has at most `most` bytes.
pub(super) async fn read_bytes(from: &mut (impl AsyncBufRead + Unpin + Send), most: u64) -> Result<Vec<u8>, LineError> {
    let mut line = Vec::new();
    let read = from.take(most).read_until(b'\n', &mut line).await?;
    match (line.last(), read as u64) {
        (Some(b'\n'), _) => Ok(line),
        (_, read) if read == most => Err(LineError::TooLong),
        _ => Err(LineError::Closed),
    }
}

/// Reads a line.
pub(super) async fn read<T: DeserializeOwned>(from: &mut (impl AsyncBufRead + Unpin + Send)) -> Result<T, LineError> {
    Ok(serde_json::from_slice(&read_bytes(from, MOST_BYTES).await?)?)
}

/// Writes a line.
pub(super) async fn write<T: Serialize + Sync>(
    to: &mut (impl AsyncWrite + Unpin + Send),
    line: &T,
) -> Result<(), LineError> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    to.write_all(&bytes).await?;
    to.flush().await?;
    Ok(())
}
