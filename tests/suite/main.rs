//! End-to-end tests: the program itself, from outside.

mod commands;
mod crash;
