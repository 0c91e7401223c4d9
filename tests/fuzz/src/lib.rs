//! Hostile bytes for everything that reads bytes: books, settings, messages, stored items, pinned inputs, site files.
//!
//! Each target is a plain function of bytes that panics where a property does not hold, so that it runs under the
//! stable compiler here and could run under any other fuzzer. Inputs come from the committed corpus, changed by
//! deterministic, format-aware mutations.

mod engine;
mod mutate;
mod targets;

pub use engine::{Failure, corpus, fuzz, keep_panics, stands};
pub use mutate::{Dice, mutate};
pub use targets::{TARGETS, Target, find};
