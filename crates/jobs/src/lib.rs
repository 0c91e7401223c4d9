//! The nine jobs: the calculations applied to a book, with the rules of data quality.
//!
//! A run pins its inputs in a [`Snapshot`] (by [`BookInputs`], or for a rerun by [`SnapshotInputs`]); a [`Runner`] runs
//! the jobs of the [`job_list`](job_list()) on it. What portfolios share is worked out once per run ([`shared`]). A job is
//! one file in [`jobs`] and one line in [`registry`].

pub mod comparison;
mod controls;
mod equity;
pub mod exposure;
mod input_hashes;
pub mod inputs;
pub mod job_list;
pub mod jobs;
mod night;
pub mod profit;
mod program;
mod quality;
pub mod registry;
mod results;
pub mod revaluation;
pub mod runner;
pub mod shared;
pub mod snapshot;

pub use comparison::SnapshotComparer;
pub use equity::{EquityBasis, equity_bases};
pub use input_hashes::{input_hashes, same_beside};
pub use inputs::{BookInputs, Fetched, NoGate, PriceGate, SnapshotInputs};
pub use job_list::job_list;
pub use night::{judged_differently, planned_night, stored_input_hashes};
pub use results::expand;
pub use runner::Runner;
pub use snapshot::{Snapshot, SnapshotError};
