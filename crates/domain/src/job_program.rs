//! Jobs that are programs of the user's own, in any language: what is called, and the port that calls it.
//!
//! What such a program is given and gives back is JSON, described in `docs/jobs.md`.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::job_context::JobContext;
use crate::record::JobError;

/// The most that a program may give back, in bytes.
pub const MOST_OUTPUT: usize = 4 << 20;

/// The program of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobProgram {
    /// A command of this machine. It gets its input on stdin and answers on stdout.
    Command {
        /// Program and arguments; no shell reads them. A program with a slash in it is relative to the book.
        words: Vec<String>,
        /// Names of the environment variables that it may see, beside a few that programs cannot do without.
        env: Vec<String>,
    },
    /// A Lambda function. It gets its input as its payload and answers with its result.
    Lambda {
        /// Its name.
        function: String,
    },
}

/// Calls programs of jobs.
#[async_trait]
pub trait JobPrograms: Send + Sync {
    /// Calls a program with this input and gives what it answered, at most [`MOST_OUTPUT`] bytes of it. Asks the
    /// context whether to go on at least every 50 ms; when it is not, or when the future is dropped, the program and
    /// what it started are ended.
    ///
    /// # Errors
    /// It could not be started (permanent where it is not there), ended badly, or answered too much.
    async fn call(&self, program: &JobProgram, input: Vec<u8>, context: &JobContext) -> Result<Vec<u8>, JobError>;
}
