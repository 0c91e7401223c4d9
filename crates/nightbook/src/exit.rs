//! Exit codes, and how an error finds its own.

use std::process::ExitCode;

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

/// Somebody pressed Ctrl-C or sent SIGTERM.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// The exit code of an error, from the types in its chain.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    for cause in error.chain() {
        if cause.is::<Interrupted>() {
            return INTERRUPTED.into();
        }
        let unknown_name = cause.is::<UnknownName>() || matches!(cause.downcast_ref(), Some(NameError::Unknown(_)));
        if unknown_name || cause.is::<BadInput>() || cause.is::<book::BookError>() {
            return BAD_INPUT.into();
        }
    }
    // What is left is the store, the disk, the network: the machine, not the person.
    STORE.into()
}
