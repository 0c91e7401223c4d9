//! Settings stored beside the records, for components without access to the book.

use std::collections::BTreeMap;
use std::iter::successors;

use book::{Book, Detail, Portfolio, Settings, next_due_slot};
use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::{PortfolioId, ScheduleName};
use domain::ports::{Randomness, RunQuery, RunStore, SettingsFile, StoreError};
use serde::{Deserialize, Serialize};
use site::{Card, Records, ScheduleView, SiteOptions};

use crate::visibility::Before;

/// Slots that the site knows: one that is due now, and the next ones.
const DUE_SLOTS: usize = 3;

/// The stored settings; `None` before the first run.
///
/// # Errors
/// The file cannot be read, or [`StoreError::Damaged`].
pub async fn stored_settings(file: &dyn SettingsFile) -> Result<Option<StoredSettings>, StoreError> {
    let Some(json) = file.read().await? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|error| StoreError::Damaged {
        what: "the file of the stored settings".to_owned(),
        detail: format!("{error}; the next run from the book replaces it"),
    })
}

/// The settings that a site is published by. Where the stored ones are missing or damaged, nothing may be published.
///
/// # Errors
/// The file cannot be read.
pub async fn settings_to_publish_by(file: &dyn SettingsFile) -> Result<StoredSettings, StoreError> {
    match stored_settings(file).await {
        Ok(Some(settings)) => Ok(settings),
        Ok(None) => Ok(StoredSettings::withheld_because("the file of the stored settings is missing")),
        Err(error @ StoreError::Damaged { .. }) => Ok(StoredSettings::withheld_because(&error.to_string())),
        Err(error) => Err(error),
    }
}

/// Stores the settings of a book, as [`StoredSettings::decided`] allows. The key of a redacted site and the beginning of the records are made once and stay;
/// damaged settings are replaced.
///
/// # Errors
/// The file cannot be read or written, or the runs cannot be read.
pub async fn store_settings(
    file: &dyn SettingsFile,
    book: &Book,
    runs: &dyn RunStore,
    randomness: &dyn Randomness,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let before = match stored_settings(file).await {
        Err(error @ StoreError::Damaged { .. }) => {
            tracing::warn!(error = %error, event = "settings.replaced", "the stored settings are damaged and are replaced");
            Before::Unreadable(error.to_string())
        }
        read => match read? {
            Some(settings) => Before::Stored(Box::new(settings)),
            None if has_runs(runs).await? => {
                Before::Unreadable("the file of the stored settings is missing".to_owned())
            }
            None => Before::Nothing,
        },
    };
    let settings = StoredSettings::of(book).decided(&before);
    let stored = match before {
        Before::Stored(before) => Some(*before),
        Before::Nothing | Before::Unreadable(_) => None,
    };
    let settings = settings.after(stored.clone(), randomness, now);
    if stored.as_ref() == Some(&settings) {
        return Ok(());
    }
    let json = serde_json::to_vec_pretty(&settings).map_err(|error| StoreError::Unavailable {
        doing: "write the settings as JSON".to_owned(),
        source: error.into(),
    })?;
    file.write(json).await
}

/// Whether any run is on record: then a site may have been published.
///
/// # Errors
/// The store.
pub async fn has_runs(runs: &dyn RunStore) -> Result<bool, StoreError> {
    Ok(!runs.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await?.runs.is_empty())
}

/// The settings of the book that was run last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredSettings {
    /// The settings of the book.
    pub settings: Settings,
    /// Owner, tags, currency and runbook of the portfolios that have any.
    #[serde(default)]
    pub cards: BTreeMap<PortfolioId, Card>,
    /// The key that hashes ids on a redacted site; empty where another file holds it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub redaction_key: String,
    /// Why nothing may be published by these settings; `None`: pages may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    /// The beginning of the records; `None` where the store knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// When the night series of the schedule replaced another one; `None`: it is as old as the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series_since: Option<DateTime<Utc>>,
    /// Whether these are the default settings in place of those of a book, which are missing or cannot be read.
    #[serde(skip)]
    pub stand_in: bool,
}

impl StoredSettings {
    /// The settings of a book, without a key.
    #[must_use]
    pub fn of(book: &Book) -> Self {
        let card = |portfolio: &Portfolio| Card {
            currency: portfolio.currency.clone(),
            owner: portfolio.owner.clone(),
            tags: portfolio.tags.clone(),
            runbook_url: portfolio.runbook_url.clone(),
        };
        let dollars = Card { currency: "USD".to_owned(), ..Card::default() };
        let cards = book.portfolios.iter().map(|portfolio| (portfolio.id.clone(), card(portfolio)));
        Self {
            settings: book.settings.clone(),
            cards: cards.filter(|(_, card)| *card != dollars).collect(),
            redaction_key: String::new(),
            withheld: None,
            since: None,
            series_since: None,
            stand_in: false,
        }
    }

    /// The night series of the book; `None` where its settings are missing or cannot be read.
    #[must_use]
    pub fn series(&self) -> Option<&ScheduleName> {
        (!self.stand_in).then(|| self.settings.schedule.night_series())
    }

    /// These settings in place of `before`: a night series that replaces another one is in force from `now` on.
    #[must_use]
    pub fn in_place_of(self, before: Option<&Self>, now: DateTime<Utc>) -> Self {
        let series = |of: &Self| of.settings.schedule.night_series().clone();
        let series_since = match before {
            Some(before) if series(before) != series(&self) => Some(now),
            Some(before) => before.series_since,
            None => None,
        };
        Self { series_since, ..self }
    }

    /// These settings in place of `before`: the key of a redacted site and the beginning of the records stay, and are
    /// made at the first write.
    #[must_use]
    pub fn after(self, before: Option<Self>, randomness: &dyn Randomness, now: DateTime<Utc>) -> Self {
        let settings = self.in_place_of(before.as_ref(), now);
        let (key, since) = before.map_or_else(Default::default, |before| (before.redaction_key, before.since));
        let redaction_key = if key.is_empty() { randomness.owner().0.simple().to_string() } else { key };
        Self { redaction_key, since: since.or(Some(now)), ..settings }
    }

    /// Whether names, money and messages are withheld from the site.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.settings.site.detail == Detail::Redacted
    }

    /// The options of the site as of `now`. Where the book and the records are is not part of the settings.
    #[must_use]
    pub fn options(&self, now: DateTime<Utc>) -> SiteOptions {
        let schedule = &self.settings.schedule;
        let grace = TimeDelta::minutes(i64::from(schedule.grace_minutes));
        // A slot without a run is due until its grace has passed.
        let not_overdue = now.checked_sub_signed(grace).unwrap_or(now);
        let slots = successors(next_due_slot(schedule, not_overdue), |slot| next_due_slot(schedule, *slot));
        SiteOptions {
            title: self.settings.site.title.clone(),
            base_url: self.settings.site.base_url.clone(),
            redacted: self.is_redacted(),
            redaction_key: self.redaction_key.clone(),
            replaces_redacted: false,
            cards: self.cards.clone(),
            portfolio_badges: self.settings.site.portfolio_badges,
            schedule: Some(ScheduleView {
                name: schedule.name.to_string(),
                cron: schedule.cron.clone(),
                timezone: schedule.timezone.to_string(),
                series: schedule.night_series().to_string(),
                next_due: slots.take(DUE_SLOTS).collect(),
                grace_seconds: u64::from(schedule.grace_minutes) * 60,
            }),
            retention_note: format!(
                "Records are kept for {} days, full results for {} days, summaries for ever.",
                self.settings.retention.records_days, self.settings.retention.results_days
            ),
            mutes: self.settings.alerts.rules.mutes.clone(),
            settings_warning: None,
            withheld: self.why_withheld(),
            last_allowed: Some(schedule.last_allowed(now)),
            book: None,
            records: Records::Unknown,
        }
    }
}
