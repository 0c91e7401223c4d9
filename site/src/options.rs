//! What the site says that is not in the records.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::alert_rules::Mute;
use domain::ids::PortfolioId;
use domain::night::next_step::CommandTarget;
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
    /// What the ids of portfolios are hashed with on a redacted site. Without it, whoever can guess an id can tell
    /// which hash is its.
    #[serde(default)]
    pub redaction_key: String,
    /// Whether pages of full detail may take the place of a redacted site.
    #[serde(default)]
    pub replaces_redacted: bool,
    /// The schedule, if there is one.
    pub schedule: Option<ScheduleView>,
    /// What is kept for how long, in one sentence.
    pub retention_note: String,
    /// What the book says of portfolios beside their positions; those of which it says nothing may be left out.
    #[serde(default)]
    pub cards: BTreeMap<PortfolioId, Card>,
    /// What the settings mute, as the index shows it.
    #[serde(default)]
    pub mutes: Vec<Mute>,
    /// Whether each portfolio has badges too: two more files for each, at each run.
    #[serde(default)]
    pub portfolio_badges: bool,
    /// The last trading date that may be run as of the publication. Records of a later date decide nothing; `None`: any
    /// date may be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_allowed: Option<NaiveDate>,
    /// The absolute path or address of the book, for commands on pages; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub book: Option<String>,
    /// Where the records are, for commands on pages.
    #[serde(default)]
    pub records: Records,
    /// Why newer settings were refused, and these are still in force; `None`: these are the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_warning: Option<String>,
    /// Why nothing may be published; `None`: pages may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
}

/// Where the records are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Records {
    /// It is not known: commands name a placeholder.
    #[default]
    Unknown,
    /// In a data folder, by its absolute path.
    Folder(String),
    /// In a table of the cloud, by its name.
    Table(String),
}

impl Records {
    /// What `--data` takes; `None` if it is not known.
    pub(crate) fn address(&self) -> Option<String> {
        match self {
            Self::Unknown => None,
            Self::Folder(folder) => Some(folder.clone()),
            Self::Table(table) => Some(format!("dynamodb://{table}")),
        }
    }
}

impl SiteOptions {
    /// What the commands on pages point to.
    pub(crate) fn target(&self) -> CommandTarget {
        let book = self.book.clone();
        match &self.records {
            _ if self.redacted => CommandTarget::Redacted,
            Records::Table(table) => CommandTarget::Table { book, table: table.clone() },
            Records::Folder(data) => CommandTarget::Folder { book, data: data.clone() },
            Records::Unknown => CommandTarget::Folder { book, data: "DATA".to_owned() },
        }
    }
}

/// What the book says of a portfolio.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its currency, for example `USD`; empty: USD.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub currency: String,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What to do when something is wrong with it. Shown as a link only where it begins with `https://` or `http://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook_url: Option<String>,
}

impl Card {
    /// The address of the runbook, if it is one that a page may link to.
    #[must_use]
    pub fn runbook(&self) -> Option<&str> {
        self.runbook_url.as_deref().filter(|url| {
            ["https://", "http://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
                && !url.contains(|c: char| c.is_whitespace() || c.is_control())
        })
    }
}

/// The schedule as the index shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// Its night series, which stays when it is renamed; empty: its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub series: String,
    /// Its rule.
    pub cron: String,
    /// The time zone of the rule.
    pub timezone: String,
    /// The slots at which a run is due, soonest first, from the earliest that is not overdue yet. The page shows the
    /// first without a run.
    pub next_due: Vec<DateTime<Utc>>,
    /// How much later than the slot a run may be before the page calls it overdue.
    pub grace_seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_become_links() {
        let link = |url: &str| Card { runbook_url: Some(url.into()), ..Card::default() }.runbook().is_some();
        assert!(link("https://wiki.example/runbook") && link("http://wiki/x?y=1#z"));
        for bad in [
            "javascript:alert(1)",
            "https://",
            "data:text/html,x",
            "//evil",
            "https://a b",
            " https://a",
            "file:///etc",
        ] {
            assert!(!link(bad), "{bad}");
        }
    }
}
