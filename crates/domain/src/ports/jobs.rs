//! The jobs that a run executes.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ids::{JobName, PortfolioId};
use crate::job_context::JobContext;
use crate::record::{JobError, JobOutput};
use crate::run::Run;

/// Runs jobs of a run on its pinned inputs.
#[async_trait]
pub trait JobRunner: Send + Sync {
    /// Prepares a portfolio; what all portfolios of a run share is prepared once.
    async fn open(&self, run: &Run, portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError>;
}

/// The jobs of one portfolio in one run. Outputs of earlier jobs are kept for later ones.
#[async_trait]
pub trait PortfolioJobs: Send + Sync {
    /// Runs one attempt of a job. A panic is an `internal` error. The time limit is the caller's: it cancels the
    /// context, and drops the future of a job that does not listen; its late output is thrown away.
    async fn run(&self, job: &JobName, context: JobContext) -> Result<JobOutput, JobError>;
    /// The full results so far, as one JSON document; `None` if no job has any.
    fn results(&self) -> Result<Option<Vec<u8>>, JobError>;
    /// Ids and symbols of the portfolio, which fingerprints must not depend on.
    fn known_ids(&self) -> Vec<String>;
}
