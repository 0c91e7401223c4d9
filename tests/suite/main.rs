//! End-to-end tests: the program itself, from outside.
#![allow(clippy::unwrap_used, reason = "all of this is tests; helpers of theirs may unwrap like they do")]

mod agreement;
mod alerts;
mod api;
mod bounds;
mod channels;
mod commands;
mod control;
mod controls;
mod crash;
mod damage;
mod equity;
mod folder;
mod hostile;
mod http;
mod kill;
mod kill_writers;
mod limits;
mod lineage;
mod names;
mod night;
mod night_inputs;
mod outside;
mod own_jobs;
mod power_cut;
mod prices;
mod redaction;
mod secrets;
mod settings;
mod shortage;
mod smtp;
mod streams;
mod surfaces;
mod traces;
mod watch;
