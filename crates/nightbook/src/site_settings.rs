//! What the site and the alerts need of the settings, kept in the data folder so that `rerun` and `publish` know it
//! without the book.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use app::StoredSettings;
use backends::local::LocalPrograms;
use backends::system::SystemRandomness;
use book::{Book, LineageSettings, RetentionSettings, Settings};
use chrono::{DateTime, Utc};
use domain::alert_rules::AlertRules;
use domain::ids::ScheduleName;
use domain::ports::{AlertChannel, Clock, Randomness as _};
use serde::{Deserialize, Serialize};
use site::SiteOptions;

use crate::environment;

/// The file in the data folder.
const FILE: &str = "site-settings.json";

/// The file of the key that a redacted site hashes ids with.
const KEY_FILE: &str = "redaction-key";

/// The key of this data folder, made where there is none yet.
fn redaction_key(data: &Path) -> std::io::Result<String> {
    match std::fs::read_to_string(data.join(KEY_FILE)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = SystemRandomness.owner().0.simple().to_string();
            let mut file = tempfile::NamedTempFile::new_in(data)?;
            std::io::Write::write_all(&mut file, key.as_bytes())?;
            match file.persist_noclobber(data.join(KEY_FILE)) {
                Ok(_) => Ok(key),
                // Another process made one in between.
                Err(_) => std::fs::read_to_string(data.join(KEY_FILE)),
            }
        }
        read => read,
    }
}

/// The settings of the book that was last run here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SiteSettings {
    #[serde(flatten)]
    kept: StoredSettings,
    /// The folder of the book, in which the programs of its jobs are called.
    #[serde(default)]
    book_dir: Option<PathBuf>,
    /// Where `serve` listens, while it does.
    #[serde(skip)]
    served_at: Option<String>,
}

impl SiteSettings {
    /// Those of a book in this folder.
    pub(crate) fn of(book: &Book, folder: &Path) -> Self {
        Self { kept: StoredSettings::of(book), book_dir: std::path::absolute(folder).ok(), served_at: None }
    }

    /// As these, with other settings of the book: its portfolios, the folder and the address stay.
    pub(crate) fn with_settings(&self, settings: Settings) -> Self {
        Self { kept: StoredSettings { settings, ..self.kept.clone() }, ..self.clone() }
    }

    /// As these, with what this book says of its portfolios.
    pub(crate) fn with_portfolios_of(&self, book: &Book) -> Self {
        Self { kept: StoredSettings { cards: StoredSettings::of(book).cards, ..self.kept.clone() }, ..self.clone() }
    }

    /// The settings of the book.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.kept.settings
    }

    /// Whether names, money and messages are withheld from the site.
    pub(crate) fn is_redacted(&self) -> bool {
        self.kept.is_redacted()
    }

    /// How long records and results are kept.
    pub(crate) const fn retention(&self) -> &RetentionSettings {
        &self.kept.settings.retention
    }

    /// Who is told of runs in the form of OpenLineage.
    pub(crate) const fn lineage(&self) -> &LineageSettings {
        &self.kept.settings.lineage
    }

    /// The folder of the book that was run last, where it is known.
    pub(crate) fn book_dir(&self) -> Option<&Path> {
        self.book_dir.as_deref()
    }

    /// Calls the programs of jobs.
    pub(crate) fn programs(&self) -> LocalPrograms {
        LocalPrograms::new(self.book_dir.clone())
    }

    /// As these, with the address that the site is served at.
    pub(crate) fn served_at(self, address: String) -> Self {
        Self { served_at: Some(address), ..self }
    }

    /// Those that were kept in this data folder; defaults where there are none.
    pub(crate) fn kept(data: &Path) -> Self {
        Self::stored(data).unwrap_or_default()
    }

    fn stored(data: &Path) -> Option<Self> {
        std::fs::read(data.join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// When the night series of the schedule replaced another one in this data folder; `None`: it is as old as the records.
    pub(crate) const fn series_since(&self) -> Option<DateTime<Utc>> {
        self.kept.series_since
    }

    /// Keeps them in this data folder, in place of those that are there; `now` is when they are in force.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn keep(&self, data: &Path, now: DateTime<Utc>) -> std::io::Result<()> {
        let before = Self::stored(data).map(|stored| stored.kept);
        let kept = self.kept.clone().in_place_of(before.as_ref(), now);
        let json = serde_json::to_vec_pretty(&Self { kept, ..self.clone() })?;
        let mut file = tempfile::NamedTempFile::new_in(data)?;
        std::io::Write::write_all(&mut file, &json)?;
        file.persist(data.join(FILE)).map(drop).map_err(|error| error.error)
    }

    /// As these, without the key of a redacted site: what is stored beside the key's own file.
    pub(crate) fn without_key(&self) -> Self {
        Self { kept: StoredSettings { redaction_key: String::new(), ..self.kept.clone() }, ..self.clone() }
    }

    /// As these, with the key of a redacted site: made once, and kept in the data folder beside the site, not in it.
    ///
    /// # Errors
    /// The key cannot be read or kept.
    pub(crate) fn with_redaction_key(mut self, data: &Path) -> std::io::Result<Self> {
        self.kept.redaction_key = if self.kept.is_redacted() { redaction_key(data)? } else { String::new() };
        Ok(self)
    }

    /// What the site needs as of `now`, with the folder of the book.
    pub(crate) fn options(&self, now: DateTime<Utc>) -> SiteOptions {
        let book = self.book_dir.as_deref().map(|folder| folder.display().to_string());
        SiteOptions { book, ..self.kept.options(now) }
    }

    /// The name of the schedule.
    pub(crate) fn schedule(&self) -> &ScheduleName {
        &self.kept.settings.schedule.name
    }

    /// The night series of the book that was run last; `None` if no settings were kept or they cannot be read.
    pub(crate) fn series(&self) -> Option<ScheduleName> {
        self.book_dir.as_ref().map(|_| self.kept.settings.schedule.night_series().clone())
    }

    /// Where the site is, for links.
    pub(crate) fn base(&self, site: PathBuf) -> String {
        self.kept.settings.site.base_url.clone().or_else(|| self.served_at.clone()).unwrap_or_else(|| {
            let whole = std::path::absolute(&site).unwrap_or(site);
            format!("file://{}", whole.display())
        })
    }

    /// The ways to people, with what they need of the environment.
    pub(crate) fn channels(&self, clock: &Arc<dyn Clock>) -> Vec<Arc<dyn AlertChannel>> {
        let all = self.kept.settings.alerts.all_channels();
        all.iter().map(|spec| backends::channels::channel(spec, &environment::variable, clock)).collect()
    }

    /// When people are told.
    pub(crate) fn rules(&self) -> AlertRules {
        self.kept.settings.alerts.rules_in_force()
    }
}
