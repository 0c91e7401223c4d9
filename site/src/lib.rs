//! The status site: static pages that are pure functions of the records.
//!
//! [`SitePublisher`] reads what a run changed from the [`domain::ports::RunStore`], builds a view model for each page
//! (`views`, pure and serializable), renders it (`pages`, pure: the same input gives the same bytes), and writes it to
//! the [`domain::ports::SiteStore`], the index last. Nothing reachable from the index links to a page that is not
//! there.
//!
//! Texts of others (names, messages, notes) pass through `mask` once, on their way in: there they are withheld on a
//! redacted site, and control characters are made visible on any other.

mod assets;
mod chart;
mod days;
mod gather;
mod mask;
mod nothing;
mod options;
mod pages;
mod publisher;
#[cfg(test)]
mod tests;
mod text;
mod views;

pub use nothing::{NoAlerts, NoNotes};
pub use options::{Card, Records, ScheduleView, SiteOptions};
pub use publisher::{SiteParts, SitePublisher, Spread};
pub use views::alerts::{AlertsShown, alerts_shown};
