//! The ports: what the use cases need from outside, in domain types only. One file for each port.
//!
//! A store takes events and returns the resulting state or a refusal. The decisions are [`crate::run::Run::next`] and
//! [`crate::work_item::WorkItem::next`]; a backend calls them inside a transaction, or writes the result on the
//! condition that the state has not changed. `domain::conformance` (a feature of this crate) holds the rules of each
//! port.

mod alerts;
mod cell;
mod chain;
mod comparer;
mod documents;
mod history;
mod inputs;
mod jobs;
mod nights;
mod publisher;
mod queue;
mod runs;
mod settings;
mod site;
mod store;
mod tallies;
mod time;
mod work_items;

use std::sync::Arc;

pub use alerts::{AlertBooks, AlertChannel, ChannelError, Notifier};
pub use cell::{Cell, DATA_DAYS, KEY_FIGURES};
pub use chain::Chain;
pub use comparer::{InputComparer, NoComparison};
pub use documents::Documents;
pub use history::{
    FailureSighting, History, JobRun, NotARecordCursor, PortfolioRun, RecordCursor, RecordPage, RecordQuery,
};
pub use inputs::{PinnedInputs, RunInputs};
pub use jobs::{JobRunner, PortfolioJobs};
pub use nights::{Keep, NightQuery, Nights};
pub use publisher::{PublishError, Publisher};
pub use queue::{WorkMessage, WorkQueue};
pub use runs::{RunCursor, RunPage, RunQuery, Runs, StoredRun, month_of};
pub use settings::SettingsFile;
pub use site::{SiteFile, SiteStore, WriteIf, Written};
pub use store::{Change, Creation, RunStore, StoreError};
pub use tallies::Tallies;
pub use time::{Clock, Randomness, Sleeper};
pub use work_items::WorkItems;

/// All ports that the use cases share.
#[derive(Clone)]
pub struct Ports {
    /// Records.
    pub store: Arc<dyn RunStore>,
    /// Documents.
    pub documents: Arc<dyn Documents>,
    /// The comparison of pinned inputs.
    pub comparer: Arc<dyn InputComparer>,
    /// Messages.
    pub queue: Arc<dyn WorkQueue>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Waiting.
    pub sleeper: Arc<dyn Sleeper>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}
