//! The decision on an early end.

use domain::ports::Change;
use domain::run::{RunEvent, RunPhase, RunRefusal};

use super::RunControl;
use crate::error::{ControlError, Refusal};
use crate::requests::{Accepted, CancelRequest};

impl RunControl {
    /// Records that an open run ends early, and has what is left of it ended. A run whose last step is under way ends by
    /// itself.
    ///
    /// # Errors
    /// [`ControlError`]; then the run stays as it is.
    pub async fn cancel(&self, request: &CancelRequest) -> Result<Accepted, ControlError> {
        let run = self.stored(request.run).await?.run;
        let id = run.batch_run_id;
        match run.phase {
            RunPhase::Missed => return Err(Refusal::Missed { run: id, as_of: run.as_of }.into()),
            RunPhase::Closed => return Err(Refusal::AlreadyEnded { run: id }.into()),
            RunPhase::Planning { .. } | RunPhase::Running | RunPhase::Closing { .. } => {}
        }
        let now = self.clock.now();
        match self.store.apply_run(id, &RunEvent::Cancel { now }).await? {
            Change::Applied(_) => {
                tracing::info!(batch_run_id = %id, event = "run.cancelled", "the run was canceled");
            }
            // It was closed in between, or is being closed: that is the end that was asked for.
            Change::Refused(_, RunRefusal::Closed) => return Err(Refusal::AlreadyEnded { run: id }.into()),
            Change::Refused(..) => {}
        }
        self.worker.end(id).await;
        Ok(Accepted::Canceling(id))
    }
}
