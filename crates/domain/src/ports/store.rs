//! The errors and answers that all stores share, and the supertrait of the six ports of the records.

use super::{Chain, History, Nights, Runs, Tallies, WorkItems};

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be reached, read or written. A retry may help.
    #[error("the store could not {doing}")]
    Unavailable {
        /// The operation, for example "write the records of portfolio a".
        doing: String,
        /// The backend's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Stored content does not match its hash, or cannot be parsed.
    #[error("{what} is damaged: {detail}; run `nightbook doctor` for the full list")]
    Damaged {
        /// The damaged object, for example "the results of portfolio a in run 7d0a...".
        what: String,
        /// The mismatch.
        detail: String,
    },
    /// An object that the request refers to does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// The object, for example "run 7d0a...".
        what: String,
    },
    /// The store was written by a newer release.
    #[error("{0}")]
    TooNew(String),
}

/// The outcome of an event: the new state, or the unchanged state and the refusal.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<T, R> {
    /// The event happened. Holds the state after it.
    Applied(T),
    /// The event was refused. Holds the unchanged state and the reason.
    Refused(T, R),
}

/// The outcome of a create-if-absent.
#[derive(Debug, Clone, PartialEq)]
pub enum Creation<T> {
    /// The object did not exist and now does.
    Created,
    /// The object existed. Holds the stored one.
    Existing(T),
}

/// All records of the runs and nights: the six ports together.
///
/// Every type that implements the six ports is a `RunStore`. A consumer that needs one port takes that port:
/// `&dyn RunStore` coerces to `&dyn History`.
pub trait RunStore: Runs + WorkItems + Tallies + History + Nights + Chain {}

impl<T: Runs + WorkItems + Tallies + History + Nights + Chain> RunStore for T {}
