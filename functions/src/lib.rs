//! The entry points of the cloud: what each of the five functions does with its event, over the ports of `domain`.
//!
//! The decisions are those of the use cases; here an event is read, a use case is called, and its answer is given in
//! the form that the service expects. [`cloud`] puts the ports together from the environment; everything else takes
//! them as arguments, so that it runs on any backend.

pub mod close;
pub mod cloud;
pub mod environment;
pub mod logs;
pub mod message;
pub mod metrics;
pub mod run_control;
pub mod settings;
pub mod shelf;
pub mod source;
pub mod start;
pub mod watch;
pub mod work;

use domain::redact::redact;
use lambda_runtime::Diagnostic;

/// An error of a call as Lambda reports it, with all its causes and without secrets. The runtime logs it.
#[must_use]
pub fn fault(error: &anyhow::Error) -> Diagnostic {
    Diagnostic { error_type: "Nightbook.Failed".to_owned(), error_message: redact(&format!("{error:#}")) }
}

/// An error before the first call, with all its causes and without secrets.
#[must_use]
pub fn cannot_begin(error: &anyhow::Error) -> lambda_runtime::Error {
    let text = redact(&format!("{error:#}"));
    tracing::error!(error = %text, event = "function.failed", "the function cannot begin");
    text.into()
}
