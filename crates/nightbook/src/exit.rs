//! Exit codes, and how an error finds its own.

use std::path::Path;
use std::process::ExitCode;

use app::{ControlError, Door};
use domain::names::{NameError, UnknownName};
use domain::record::JobError;
use domain::words::ErrorCategory;

/// The run is partial or failed, or something that was verified is not in order.
pub(crate) const NOT_WELL: u8 = 1;
/// Bad input or settings.
pub(crate) const BAD_INPUT: u8 = 2;
/// A store could not be reached or written, the machine has too little of something, or the program failed.
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

/// Why the inputs of a run could not be prepared. Only a permanent fault lies in the input; every other is the store, the
/// machine or the program.
pub(crate) fn unusable_inputs(error: JobError) -> anyhow::Error {
    let causes: Vec<&str> = std::iter::once(&error.message).chain(&error.chain).map(String::as_str).collect();
    let causes = causes.join(": ");
    match error.category {
        ErrorCategory::Permanent => BadInput(causes).into(),
        _ => anyhow::anyhow!("{causes}; run the same command again"),
    }
}

/// Whether the input or the settings are the reason, not the machine.
pub(crate) fn is_bad_input(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let of_the_book = cause.downcast_ref::<book::BookError>().is_some_and(|error| !error.is_of_the_machine());
        let unknown_name = cause.is::<UnknownName>() || matches!(cause.downcast_ref(), Some(NameError::Unknown(_)));
        let refused = matches!(cause.downcast_ref(), Some(ControlError::Refused(_)));
        cause.is::<BadInput>() || refused || unknown_name || of_the_book
    })
}

/// The exit code of an error, from the types in its chain.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    number_of(error).into()
}

/// [`code_of`] as a number, to be sent to another process.
pub(crate) fn number_of(error: &anyhow::Error) -> u8 {
    if let Some(Remote { exit_code, .. }) = error.chain().find_map(|cause| cause.downcast_ref()) {
        return *exit_code;
    }
    if error.chain().any(|cause| cause.is::<Interrupted>()) {
        return INTERRUPTED;
    }
    // What is not bad input is the store, the disk, the network: the machine, not the person.
    if is_bad_input(error) { BAD_INPUT } else { STORE }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn only_what_a_person_can_fix_in_the_input_is_bad_input() {
        let too_many_open_files = || Error::from_raw_os_error(24);
        for (error, code) in [
            (unusable_inputs(JobError::new(ErrorCategory::Permanent, "the book has no portfolio x")), BAD_INPUT),
            (unusable_inputs(JobError::new(ErrorCategory::Internal, "the inputs could not be prepared")), STORE),
            (unusable_inputs(JobError::new(ErrorCategory::Transient, "the store is busy")), STORE),
            (book::BookError::unreadable("prices.csv", ErrorKind::NotFound.into()).into(), BAD_INPUT),
            (book::BookError::unreadable("prices.csv", ErrorKind::OutOfMemory.into()).into(), STORE),
            (book::BookError::unreadable("prices.csv", too_many_open_files()).into(), STORE),
            (anyhow::Error::new(too_many_open_files()), STORE),
            (Interrupted("stopped".to_owned()).into(), INTERRUPTED),
        ] {
            assert_eq!(code_of(&error), ExitCode::from(code), "{error:#}");
        }
    }

    #[test]
    fn a_failed_preparation_names_its_causes() {
        let mut error = JobError::new(ErrorCategory::Internal, "the inputs could not be prepared");
        error.chain.push("no thread could be started".to_owned());
        let text = unusable_inputs(error).to_string();
        assert_eq!(text, "the inputs could not be prepared: no thread could be started; run the same command again");
    }
}
