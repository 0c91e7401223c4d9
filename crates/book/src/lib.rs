//! Bytes to a typed, validated book: CSV files, settings, trading calendar.
//!
//! [`read`] takes a [`BookSource`] and gives a [`Reading`]: the book if it can be used, and every finding at once. What is
//! wrong never stops the reading; [`Scope`] says what it stops afterwards.

mod bytes;
pub mod calendar;
mod equity;
mod files;
mod issue;
mod memory;
mod model;
mod occ;
mod portfolios;
mod positions;
mod price_files;
mod prices;
mod read;
pub mod schedule;
mod sessions;
pub mod settings;
mod settings_file;
mod source;
mod table;
mod value;

pub use calendar::{Calendar, CalendarKind};
pub use equity::{EquityRow, UnusableEquity};
pub use files::{FileFacts, Orphan};
pub use issue::{Issue, Scope};
pub use model::{Book, Class, Lot, OptionTerms, Portfolio, Right};
pub use occ::{OccSymbol, parse_occ};
pub use prices::{PricePoint, Prices};
pub use read::{Reading, SettingsReading, read, read_folder, read_settings};
pub use schedule::{as_of_of_slot, is_due, next_due_slot, next_slot, slot_of};
pub use settings::{
    AddedJob, AlertSettings, AnswerForm, ControlRule, ControlSettings, CorrelationSettings, Detail, Factor,
    FactorSettings, FigureLimit, FreshnessSettings, GreekSettings, HttpPriceSettings, LimitScope, Limits,
    LineageSettings, MarketRiskSettings, OnStale, RateSettings, RetentionSettings, RunSettings, Scenario,
    ScheduleSettings, Settings, Shock, Side, SiteSettings, SnapshotSettings, job_of_figure,
};
pub use source::{BookError, BookSource, FolderSource, FolderStamp, MemorySource, SettingsStamp};
