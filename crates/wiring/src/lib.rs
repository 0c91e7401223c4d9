//! What every program of Nightbook needs to put the crates together: starts of runs, kept settings, records as they are
//! counted, log lines. The command line and the functions of the cloud share it, so that they mean the same.

mod kept;
mod log_lines;
mod records;
mod starts;

pub use kept::KeptSettings;
pub use log_lines::{LogLines, log_panic, of_request, printable_json, traced};
pub use records::{all_records, not_successful};
pub use starts::{by_hand, rerun, scheduled, started_as};
