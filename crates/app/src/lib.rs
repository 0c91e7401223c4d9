//! The decisions that every program of Nightbook shares.
//!
//! [`RunControl`] decides what may be started, repeated and canceled; the command line, the history API and the functions
//! of the cloud parse a request, call it, and print its outcome. Ports lead to everything outside: this crate knows no
//! command line, no HTTP and no service of a cloud.

mod book_reader;
mod dates;
mod door;
mod due_slots;
mod error;
mod needed;
mod night_reader;
mod records;
mod requests;
mod run_control;
mod run_lookup;
mod run_summary;
mod slot_records;
mod start_requests;
mod stored_settings;
mod texts;
mod visibility;

pub use book_reader::{BookReader, read_usable, usable_book};
pub use dates::{Dates, allowed_dates};
pub use door::Door;
pub use due_slots::{DueSlot, SlotRecord, SlotRules, catch_up_order, due_slot, grace};
pub use error::{ControlError, Refusal};
pub use needed::{Lookup, NeededNight, NightAction, Wanted};
pub use night_reader::{NightReader, NightSettings, verdicts_of};
pub use records::{all_records, not_successful, with_cause};
pub use requests::{
    AcceptRequest, Accepted, AnnotateRequest, CancelRequest, MuteRequest, PublicationFailure, PublishRequest,
    Published, RerunRequest, StartRequest,
};
pub use run_control::{
    AcceptedNight, ActiveRuns, BookOf, ControlParts, Decided, Inputs, NoWorker, RunControl, RunWorker, StartElsewhere,
    Starts, Work, publish_site, startable,
};
pub use run_lookup::{RunLookup, RunText, find_run, run_of_night};
pub use run_summary::{Detail, summary_now};
pub use slot_records::{Beginning, OpenSlots, open_slots, slot_record};
pub use start_requests::{by_hand, started_as};
pub use stored_settings::{StoredSettings, has_runs, settings_to_publish_by, store_settings, stored_settings};
pub use visibility::{Before, MostDetail, is_redaction_key};
