//! One machine: a data folder.
//!
//! ```text
//! records.sqlite     runs, work items, job records, folds, summaries (the tables tell of themselves: `.schema`)
//! prices.sqlite      closes that were fetched from outside the book, if any
//! results/<run>.pack full results of the portfolios of a run, compressed, one after the other
//! snapshots/<sha>    pinned inputs, by the hash of their content, compressed
//! site/              the site
//! lock               held by the one process that writes
//! ```
//!
//! Writes go through one thread, which takes whatever waits into one transaction and answers all of it after one
//! sync: durable before it is acknowledged, without a sync for each record. Reads run on threads that may block, a
//! bounded number at once.

mod alert_books;
mod backup;
mod chain;
mod closes;
mod doctor;
mod documents;
mod folder;
mod history;
mod inventory;
mod leases;
mod mirror;
mod nights;
mod notes;
mod open;
mod programs;
mod queue;
mod reader;
mod rows;
mod runs;
mod schema;
mod space;
mod tallies;
mod upkeep;
mod work_items;
mod writer;

pub use backup::verify_backup_files;
pub use closes::{AskedSpans, Closes, LocalCloses};
pub use folder::{FolderSite, write_durably};
pub use open::{LocalStore, OpenError};
pub use programs::LocalPrograms;
pub use queue::{LocalQueue, Message};
pub use upkeep::RetentionDays;
