//! A seeded simulation of the run protocol.
//!
//! The production use cases (start, process, close, watch, and the publisher of the site) run on a single thread and
//! in simulated time, over ports that fail in every way of [`faults::Fault`]; the promises are checked at every step
//! against what was seen. The same seed gives the same schedule, event for event and byte for byte.
//!
//! [`schedule`] runs one schedule, [`suite`] many of them; the program `simulate` is the command line.

mod actors;
mod chain;
pub mod coverage;
pub mod executor;
pub mod faults;
mod invariants;
mod nights;
mod ports;
mod queue;
mod scenario;
pub mod schedule;
mod site_check;
pub mod stories;
pub mod suite;
mod world;

pub use world::{Promise, Violation};
