//! What the site and the alerts need of the settings, kept in the data folder so that `rerun` and `publish` know it
//! without the book.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use app::{Before, StoredSettings, has_runs, is_redaction_key};
use backends::local::{LocalPrograms, write_durably};
use backends::system::SystemRandomness;
use book::{Book, LineageSettings, RetentionSettings, Settings};
use chrono::{DateTime, Utc};
use domain::alert_rules::AlertRules;
use domain::ids::ScheduleName;
use domain::ports::{AlertChannel, Clock, Randomness as _, RunStore};
use serde::{Deserialize, Serialize};
use site::SiteOptions;

use crate::environment;

/// The file in the data folder.
const FILE: &str = "site-settings.json";

/// The file of the key that a redacted site hashes ids with.
const KEY_FILE: &str = "redaction-key";

/// The key of this data folder, made where there is none yet.
///
/// Where a site `was_redacted`, no key is made: the portfolios would get other ids beside the ones that are published.
fn redaction_key(data: &Path, was_redacted: bool) -> Result<String, KeyError> {
    let (path, site) = (data.join(KEY_FILE), data.join("site"));
    match std::fs::read_to_string(&path) {
        Ok(text) if is_redaction_key(text.trim_end()) => Ok(text.trim_end().to_owned()),
        Ok(text) => Err(KeyError::Damaged { path, site, bytes: text.len() }),
        Err(error) if error.kind() == ErrorKind::NotFound && was_redacted && site.join("index.html").exists() => {
            Err(KeyError::Missing { path, site })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = SystemRandomness.owner().0.simple().to_string();
            write_durably(&path, key.as_bytes()).map_err(|source| KeyError::File { path, source })?;
            Ok(key)
        }
        Err(source) => Err(KeyError::File { path, source }),
    }
}

/// Why the ids of a redacted site cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// It is no key.
    #[error(
        "the key of the redacted site, {}, has {bytes} bytes and is damaged: restore it from a backup, or remove it and {} \
         to publish under new ids", path.display(), site.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The folder of the site.
        site: PathBuf,
        /// Its size.
        bytes: usize,
    },
    /// It is gone.
    #[error(
        "the key of the redacted site, {}, is missing: restore it from a backup, or remove {} to publish under new ids",
        path.display(), site.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The folder of the site.
        site: PathBuf,
    },
    /// It cannot be read or made.
    #[error("the key of the redacted site, {}, cannot be read or written: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn missing(data: &Path) -> String {
    format!("{} is missing", data.join(FILE).display())
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
    /// Whether a book was read for them just now; else they are as they were stored.
    #[serde(skip)]
    of_book: bool,
}

impl SiteSettings {
    /// Those of a book in this folder.
    pub(crate) fn of(book: &Book, folder: &Path) -> Self {
        Self {
            kept: StoredSettings::of(book),
            book_dir: std::path::absolute(folder).ok(),
            served_at: None,
            of_book: true,
        }
    }

    /// As these, with other settings of the book: its portfolios, the folder and the address stay.
    pub(crate) fn with_settings(&self, settings: Settings) -> Self {
        Self { kept: StoredSettings { settings, withheld: None, ..self.kept.clone() }, ..self.clone() }
    }

    /// As these, with what this book says of its portfolios.
    pub(crate) fn with_portfolios_of(&self, book: &Book) -> Self {
        Self { kept: StoredSettings { cards: StoredSettings::of(book).cards, ..self.kept.clone() }, ..self.clone() }
    }

    /// The settings of the book.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.kept.settings
    }

    /// Whether nothing may be published by these settings.
    pub(crate) fn is_withheld(&self) -> bool {
        self.kept.why_withheld().is_some()
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

    /// Those that were kept in this data folder. Where they are missing or cannot be read: defaults, and nothing may be
    /// published by them.
    pub(crate) fn kept(data: &Path) -> Self {
        match Self::stored(data) {
            Ok(Some(settings)) => settings,
            Ok(None) => Self { kept: StoredSettings::withheld_because(&missing(data)), ..Self::default() },
            Err(why) => Self { kept: StoredSettings::withheld_because(&why), ..Self::default() },
        }
    }

    /// Those that were kept in this data folder; `None` where there are none, and an error where they cannot be read.
    fn stored(data: &Path) -> Result<Option<Self>, String> {
        let path = data.join(FILE);
        let unreadable = |why: &dyn std::fmt::Display| format!("{} cannot be read ({why})", path.display());
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(&error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// These settings as they are in force in this data folder, with the key of a redacted site: [`StoredSettings::decided`]
    /// decides whether anything may be published. Those of a book are stored; `now` is when they are in force.
    ///
    /// # Errors
    /// The folder or its records cannot be read or written.
    pub(crate) async fn in_force(self, data: &Path, runs: &dyn RunStore, now: DateTime<Utc>) -> anyhow::Result<Self> {
        if !self.of_book {
            let redacted = self.is_redacted();
            return Ok(self.with_key_or_withheld(data, redacted));
        }
        let before = match Self::stored(data) {
            Ok(Some(settings)) => Before::Stored(Box::new(settings.kept)),
            Ok(None) if !has_runs(runs).await? => Before::Nothing,
            Ok(None) => Before::Unreadable(missing(data)),
            Err(why) => Before::Unreadable(why),
        };
        let was_redacted = match &before {
            Before::Nothing => false,
            Before::Stored(before) => before.is_redacted(),
            Before::Unreadable(_) => true,
        };
        let settings = Self { kept: self.kept.decided(&before), ..self };
        // The key first: settings of a redacted site are not stored without it.
        let with_key = settings.clone().with_key_or_withheld(data, was_redacted);
        settings.keep(data, now).context("cannot store the settings in the data folder")?;
        Ok(with_key)
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
        let before = Self::stored(data).ok().flatten().map(|stored| stored.kept);
        let kept = self.kept.clone().in_place_of(before.as_ref(), now);
        write_durably(&data.join(FILE), &serde_json::to_vec_pretty(&Self { kept, ..self.clone() })?)
    }

    /// As these, without the key of a redacted site: what is stored beside the key's own file.
    pub(crate) fn without_key(&self) -> Self {
        Self { kept: StoredSettings { redaction_key: String::new(), ..self.kept.clone() }, ..self.clone() }
    }

    /// As these, with the key of a redacted site: made once, and kept in the data folder beside the site, not in it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(crate) fn with_redaction_key(mut self, data: &Path, was_redacted: bool) -> Result<Self, KeyError> {
        self.kept.redaction_key = if self.is_redacted() { redaction_key(data, was_redacted)? } else { String::new() };
        Ok(self)
    }

    /// As these, with the key of a redacted site; without a key nothing may be published.
    fn with_key_or_withheld(self, data: &Path, was_redacted: bool) -> Self {
        match self.clone().with_redaction_key(data, was_redacted) {
            Ok(settings) => settings,
            Err(why) => {
                let withheld = self.kept.withheld.clone().or_else(|| Some(why.to_string()));
                Self { kept: StoredSettings { withheld, ..self.kept }, ..self }
            }
        }
    }

    /// Why these settings of the book may not replace the ones in force; `None`: they may.
    pub(crate) fn refusal_of(&self, next: &Settings) -> Option<String> {
        let next = StoredSettings { settings: next.clone(), ..self.kept.clone() };
        next.decided(&Before::Stored(Box::new(self.kept.clone()))).withheld
    }

    /// What the site needs as of `now`, with the folder of the book.
    pub(crate) fn options(&self, now: DateTime<Utc>) -> SiteOptions {
        let book = self.book_dir.as_deref().map(|folder| folder.display().to_string());
        // The settings in force were decided by those before: see `StoredSettings::decided`.
        SiteOptions { book, replaces_redacted: true, ..self.kept.options(now) }
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
