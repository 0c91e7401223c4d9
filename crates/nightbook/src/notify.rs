//! The alert of a run: one log event, and the command of `[alerts]` with the same as JSON on its stdin.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use domain::alert::RunAlert;
use domain::ports::Notifier;
use domain::record::JobError;
use domain::words::ErrorCategory;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long the command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// How much of what a failing command says is kept; a message is shorter still.
const SAID_BYTES: u64 = 16 << 10;

/// Logs an alert, and hands it to a command where there is one.
#[derive(Debug, Clone)]
pub(crate) struct CommandNotifier {
    /// Address of the site.
    pub(crate) base: String,
    /// Program and arguments.
    pub(crate) command: Option<Vec<String>>,
}

#[async_trait]
impl Notifier for CommandNotifier {
    fn site_base(&self) -> String {
        self.base.clone()
    }

    async fn notify(&self, alert: &RunAlert) -> Result<(), JobError> {
        let causes: Vec<String> = alert
            .top_causes
            .iter()
            .map(|cause| format!("{} x {} ({}): {}", cause.count, cause.job, cause.category, cause.message))
            .collect();
        tracing::warn!(
            batch_run_id = %alert.batch_run_id, alert_id = %alert.alert_id, as_of = %alert.as_of,
            status = %alert.status, verdict = %alert.verdict, top_causes = %causes.join(" | "), page = %alert.page,
            rerun = %alert.rerun, event = "run.alert", "the run did not go well: {}", alert.verdict
        );
        match &self.command {
            Some(command) => run_command(command, alert).await,
            None => Ok(()),
        }
    }
}

async fn run_command(command: &[String], alert: &RunAlert) -> Result<(), JobError> {
    let failed = |what: String| JobError::new(ErrorCategory::Transient, format!("the alert command {what}"));
    let (program, arguments) =
        command.split_first().ok_or_else(|| failed("is empty: set [alerts] command in nightbook.toml".into()))?;
    let json = serde_json::to_vec(alert).map_err(|error| JobError::from_error(ErrorCategory::Internal, &error))?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("{program:?} could not be started: {error}")))?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let told = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is not wrong; its exit code tells.
            let _ = stdin.write_all(&json).await;
        }
    };
    let heard = async {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            let mut head = stderr.take(SAID_BYTES);
            // What cannot be read is not said; the rest is read so that the command can end, and not kept.
            let _ = head.read_to_end(&mut said).await;
            let _ = tokio::io::copy(&mut head.into_inner(), &mut tokio::io::sink()).await;
        }
        said
    };
    let delivered = async { tokio::join!(told, heard, child.wait()) };
    let ((), said, status) = tokio::time::timeout(COMMAND_LIMIT, delivered)
        .await
        .map_err(|_| failed(format!("{program:?} took longer than {} s", COMMAND_LIMIT.as_secs())))?;
    let status = status.map_err(|error| failed(format!("{program:?} could not be waited for: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&said);
        Err(failed(format!("{program:?} ended with {status}: {}", said.trim())))
    }
}
