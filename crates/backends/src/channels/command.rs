//! A program that gets the message as JSON on its input.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use domain::alert_message::AlertMessage;
use domain::ports::ChannelError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Transport, failed, json};
use crate::group::Group;
use crate::program_environment::program_environment;

/// How much of what a failing command says is kept.
const SAID_BYTES: u64 = 16 << 10;

/// How long what a command has written may take to arrive once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Command {
    /// Program and arguments.
    pub(super) words: Vec<String>,
    /// Variables of the environment that it sees beside those that every program sees.
    pub(super) env: Vec<String>,
    pub(super) limit_seconds: u32,
}

#[async_trait]
impl Transport for Command {
    async fn carry(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        let failed = |what: String| failed(format!("the alert command {what}"));
        let (program, arguments) = self.words.split_first().ok_or_else(|| failed("is empty".into()))?;
        let json = json(message)?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(program_environment(&self.env))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("{program:?} could not be started: {error}")))?;
        // Whatever it started ends with it, however it ends.
        let group = Group::led_by(child.id());
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let telling = tokio::spawn(async move {
            if let Some(mut stdin) = stdin {
                // A command that does not read its input is not wrong; its exit code tells.
                let _ = stdin.write_all(&json).await;
            }
        });
        let hearing = tokio::spawn(async move {
            let mut said = Vec::new();
            if let Some(stderr) = stderr {
                let mut head = stderr.take(SAID_BYTES);
                // What cannot be read is not said; the rest is read so that the command can end, and not kept.
                let _ = head.read_to_end(&mut said).await;
                let _ = tokio::io::copy(&mut head.into_inner(), &mut tokio::io::sink()).await;
            }
            said
        });
        let limit = Duration::from_secs(self.limit_seconds.into());
        let status = tokio::time::timeout(limit, child.wait()).await;
        drop(group);
        telling.abort();
        let status = status.map_err(|_| failed(format!("{program:?} took longer than {} s", limit.as_secs())))?;
        let status = status.map_err(|error| failed(format!("{program:?} could not be waited for: {error}")))?;
        if status.success() {
            return Ok(());
        }
        // A process that left the group may keep the pipe open: what it says is not waited for.
        let said = tokio::time::timeout(LAST_WORDS, hearing).await.ok().and_then(Result::ok).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        Err(failed(format!("{program:?} ended with {status}: {}", said.trim())))
    }
}
