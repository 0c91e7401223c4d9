//! The rules of Nightbook: words, records, state machines, use cases and ports. No I/O, no clock, no async runtime.
//!
//! The way of one run, in the order the code runs:
//!
//! 1. [`identity`] derives the run's id from what it is, so that a repeated trigger finds the same run.
//! 2. [`start_run`] reads and pins the inputs through [`ports::RunInputs`], writes the manifest, seals the
//!    [`run::Run`] and sends one message for each portfolio.
//! 3. [`process_portfolio`] claims a [`work_item::WorkItem`], runs its jobs in order with [`retry`], and finishes the
//!    item exactly once.
//! 4. [`tail`] counts the ended item in its [`fold::Fold`], and asks for the close when every bucket is full.
//! 5. [`close_run`] computes the [`summary::RunSummary`] from the records, has the site published and the
//!    alert sent through [`ports::Notifier`].
//! 6. [`watch`] finds what was left lying, by the same use cases.
//!
//! What must hold at each step, and would lose or double something if it did not, has a name in [`guards`].
//!
//! Everything outside is reached through the traits of [`ports`]; `conformance` (a feature) holds the rules that each
//! implementation of the store must obey.

pub mod alert;
pub mod alert_book;
pub mod alert_message;
pub mod alert_rules;
pub mod alerting;
pub mod baseline;
pub mod causes;
pub mod close_run;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod events;
pub mod expected_items;
pub mod fingerprint;
pub mod fold;
pub mod guards;
pub mod identity;
pub mod ids;
pub mod incident;
pub mod job;
pub mod job_context;
pub mod job_program;
pub mod log_settings;
pub mod lost_reply;
pub mod metrics;
pub mod names;
pub mod night;
pub mod note;
pub mod ports;
pub mod process_portfolio;
pub mod readable_json;
pub mod recent_runs;
pub mod record;
pub mod redact;
pub mod retry;
pub mod run;
pub mod run_jobs;
pub mod shell;
pub mod start_run;
pub mod summary;
pub mod tail;
pub mod template;
mod time_limit;
pub mod trace;
pub mod watch;
pub mod words;
pub mod work_item;
pub mod zone;
