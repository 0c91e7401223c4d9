//! What the site says that is not in the records.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Settings of the site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteOptions {
    /// The name at the head of every page.
    pub title: String,
    /// The address that the site will have, if it is known: used by `404.html` and the feed only, all other links are
    /// relative.
    pub base_url: Option<String>,
    /// Whether names, ids, money and messages are withheld.
    pub redacted: bool,
    /// The schedule, if there is one.
    pub schedule: Option<ScheduleView>,
    /// What is kept for how long, in one sentence.
    pub retention_note: String,
}

/// The schedule as the index shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// Its rule.
    pub cron: String,
    /// The time zone of the rule.
    pub timezone: String,
    /// The next slot as of the publication. One that is not after the newest run is not shown.
    pub next_due: Option<DateTime<Utc>>,
    /// How much later than the slot a run may be before the page calls it overdue.
    pub grace_seconds: u64,
}
