//! Random operations on a store, against a plain model of it, by `proptest-state-machine`.
//!
//! A backend implements [`Backend`] and runs [`harness::StoreTest`]; a sequence that disagrees is shrunk to the shortest.

pub mod harness;
pub mod model;
pub mod operation;

/// A store that can be opened, closed and opened again.
pub trait Backend: std::fmt::Debug {
    /// What it is.
    type Store: domain::ports::RunStore;
    /// A new, empty one.
    fn new() -> Self;
    /// The store, open.
    fn store(&self) -> &Self::Store;
    /// Closes the store and opens it again.
    fn reopen(self) -> Self;
}
