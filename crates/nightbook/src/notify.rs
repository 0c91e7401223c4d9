//! The alert of a run: one log event, and the command of `[alerts]` with the same as JSON on its stdin.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use domain::alert::RunAlert;
use domain::ports::Notifier;
use domain::record::JobError;
use domain::words::ErrorCategory;
use tokio::io::AsyncWriteExt as _;

/// How long the command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

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
    let stdin = child.stdin.take();
    let delivered = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is not wrong; its exit code tells.
            let _ = stdin.write_all(&json).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(COMMAND_LIMIT, delivered)
        .await
        .map_err(|_| failed(format!("{program:?} took longer than {} s", COMMAND_LIMIT.as_secs())))?
        .map_err(|error| failed(format!("{program:?} could not be waited for: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("{program:?} ended with {}: {}", output.status, said.trim())))
    }
}
