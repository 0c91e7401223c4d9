//! Every door gives the same decision on the same state.
#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod decisions;
mod starts;
mod world;
