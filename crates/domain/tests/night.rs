//! The night: examples that once gave a wrong page, properties for any sequence of runs, and commands in a real shell.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

#[path = "night/editions.rs"]
mod night_editions;
#[path = "night/examples.rs"]
mod night_examples;
#[path = "night/heads.rs"]
mod night_heads;
#[path = "night/next_steps.rs"]
mod night_next_steps;
#[path = "night/properties.rs"]
mod night_properties;
#[path = "night/samples.rs"]
mod night_samples;
#[path = "night/shell.rs"]
mod night_shell;
