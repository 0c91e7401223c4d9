//! What people could not be told, and what they asked not to be.

use chrono::{DateTime, Utc};
use domain::alert_book::Undelivered;
use domain::alert_rules::Mute;
use domain::ports::{AlertBooks, StoreError};
use serde::Serialize;

use super::Stamp;
use crate::mask::Mask;
use crate::text::visible;

/// Longest part of an error that a banner shows, in characters.
const ERROR_CHARS: usize = 300;

/// What the index shows of the alert books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertsShown {
    /// Channels through which something could not be delivered.
    pub undelivered: Vec<Undelivered>,
    /// Mutes by command.
    pub mutes: Vec<Mute>,
}

/// Reads what the index shows of the alert books as of `now`.
///
/// # Errors
/// The store.
pub async fn alerts_shown(books: &dyn AlertBooks, now: DateTime<Utc>) -> Result<AlertsShown, StoreError> {
    let mut shown = AlertsShown::default();
    for schedule in books.alert_schedules().await? {
        let book = books.alert_book(&schedule).await?;
        shown.undelivered.extend(book.undelivered(now));
        shown.mutes.extend(book.mutes.into_iter().filter(|mute| mute.until > now));
    }
    Ok(shown)
}

/// The same in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct AlertsView {
    pub(crate) undelivered: Vec<String>,
    pub(crate) mutes: Vec<String>,
}

impl AlertsView {
    pub(crate) fn of(shown: &AlertsShown, settings: &[Mute], mask: &Mask, now: DateTime<Utc>) -> Self {
        let undelivered = shown.undelivered.iter().map(|told| {
            let messages = match (told.waiting, told.given_up) {
                (waiting, 0) => format!("{waiting} waiting, and tried again"),
                (0, given_up) => format!("{given_up} given up"),
                (waiting, given_up) => format!("{waiting} waiting, {given_up} given up"),
            };
            let error: String = mask.text(&told.error).chars().take(ERROR_CHARS).collect();
            format!(
                "Alerts do not get through the channel {} since {} ({messages}): {error}",
                told.channel,
                Stamp::of(told.since).text
            )
        });
        let mutes = settings.iter().chain(&shown.mutes).filter(|mute| mute.until > now).map(|mute| {
            let what = match (&mute.fingerprint, &mute.portfolio) {
                (Some(cause), _) => format!("cause {cause}"),
                (None, Some(portfolio)) => format!("portfolio {}", mask.id(portfolio)),
                (None, None) => "nothing".to_owned(),
            };
            format!("{what} until {}: {}", Stamp::of(mute.until).text, visible(&mask.text(&mute.reason)))
        });
        Self { undelivered: undelivered.collect(), mutes: mutes.collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.undelivered.is_empty() && self.mutes.is_empty()
    }
}
