//! The history API over records in memory, without a server.
#![allow(clippy::unwrap_used, reason = "all of this is tests; helpers of theirs may unwrap like they do")]

mod access;
mod changes;
mod description;
mod names;
mod night;
mod pages;
mod questions;
mod refusals;
mod store;
