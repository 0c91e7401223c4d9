//! Exit codes, and how an error finds its own.

use std::path::Path;
use std::process::ExitCode;

use app::{ControlError, Door};
use domain::names::{NameError, UnknownName};

/// The run is partial or failed, or something that was verified is not in order.
pub(crate) const NOT_WELL: u8 = 1;
/// Bad input or settings.
pub(crate) const BAD_INPUT: u8 = 2;
/// A store could not be reached or written.
pub(crate) const STORE: u8 = 3;
/// Interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// An error of the input or the settings: the message is for the person at the keyboard.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadInput(pub(crate) String);

/// The records are written, and the site could not be published. Its exit code is that of a store.
#[derive(Debug, thiserror::Error)]
#[error("the site was not published: {0}")]
pub(crate) struct NotPublished(pub(crate) String);

/// Somebody pressed Ctrl-C or sent SIGTERM.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// A request that `nightbook serve` answered with an error, with the exit code that it has there.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Remote {
    /// What happened and what to do.
    pub(crate) message: String,
    /// The exit code.
    pub(crate) exit_code: u8,
}

/// The command line as messages advise it.
pub(crate) fn door(data: &Path, book: Option<&Path>) -> Door {
    let book = book.map(|book| book.display().to_string());
    Door::CommandLine { data: data.display().to_string(), book }
}

/// A refusal as an error of the input, with what to do; the store's own errors stay as they are.
pub(crate) fn refused(error: ControlError, door: &Door) -> anyhow::Error {
    match error {
        ControlError::Refused(refusal) => BadInput(refusal.message(door)).into(),
        ControlError::Store(error) => error.into(),
    }
}

/// The exit code of an error, from the types in its chain.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    number_of(error).into()
}

/// [`code_of`] as a number, to be sent to another process.
pub(crate) fn number_of(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(Remote { exit_code, .. }) = cause.downcast_ref() {
            return *exit_code;
        }
        if cause.is::<Interrupted>() {
            return INTERRUPTED;
        }
        let refused = matches!(cause.downcast_ref(), Some(ControlError::Refused(_)));
        let unknown_name = cause.is::<UnknownName>() || matches!(cause.downcast_ref(), Some(NameError::Unknown(_)));
        if refused || unknown_name || cause.is::<BadInput>() || cause.is::<book::BookError>() {
            return BAD_INPUT;
        }
    }
    // What is left is the store, the disk, the network: the machine, not the person.
    STORE
}
