//! What the site and the alerts need of the settings, kept in the data folder so that `rerun` and `publish` know it
//! without the book.

use std::path::{Path, PathBuf};

use book::{Detail, Settings, next_due_slot};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use site::{ScheduleView, SiteOptions};

use crate::notify::CommandNotifier;

/// The file in the data folder.
const FILE: &str = "site-settings.json";

/// The settings of the book that was last run here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SiteSettings {
    settings: Settings,
    /// Where `serve` listens, while it does.
    #[serde(skip)]
    served_at: Option<String>,
}

impl SiteSettings {
    /// Those of a book.
    pub(crate) const fn of(settings: Settings) -> Self {
        Self { settings, served_at: None }
    }

    /// As these, with the address that the site is served at.
    pub(crate) fn served_at(self, address: String) -> Self {
        Self { served_at: Some(address), ..self }
    }

    /// Those that were kept in this data folder; defaults where there are none.
    pub(crate) fn kept(data: &Path) -> Self {
        std::fs::read(data.join(FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_else(|| Self::of(Settings::default()))
    }

    /// Keeps them in this data folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn keep(&self, data: &Path) -> std::io::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        let mut file = tempfile::NamedTempFile::new_in(data)?;
        std::io::Write::write_all(&mut file, &json)?;
        file.persist(data.join(FILE)).map(drop).map_err(|error| error.error)
    }

    /// What the site needs, with the next slot after `now`.
    pub(crate) fn options(&self, now: DateTime<Utc>) -> SiteOptions {
        let schedule = &self.settings.schedule;
        SiteOptions {
            title: self.settings.site.title.clone(),
            base_url: self.settings.site.base_url.clone(),
            redacted: self.settings.site.detail == Detail::Redacted,
            schedule: Some(ScheduleView {
                name: schedule.name.to_string(),
                cron: schedule.cron.clone(),
                timezone: schedule.timezone.to_string(),
                next_due: next_due_slot(schedule, now),
                grace_seconds: u64::from(schedule.grace_minutes) * 60,
            }),
            retention_note: format!(
                "Records are kept for {} days, full results for {} days, summaries for ever.",
                self.settings.retention.records_days, self.settings.retention.results_days
            ),
        }
    }

    /// Who is told about a run that did not go well.
    pub(crate) fn notifier(&self, site: PathBuf) -> CommandNotifier {
        let base = self.settings.site.base_url.clone().or_else(|| self.served_at.clone()).unwrap_or_else(|| {
            let whole = std::path::absolute(&site).unwrap_or(site);
            format!("file://{}", whole.display())
        });
        CommandNotifier { base, command: self.settings.alerts.command.clone() }
    }
}
