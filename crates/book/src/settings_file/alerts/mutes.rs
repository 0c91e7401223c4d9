//! `[[alerts.mute]]`: causes and portfolios that nobody is notified of for a while.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, Utc};
use domain::alert_rules::Mute;
use domain::ids::{CauseId, PortfolioId};
use toml::de::DeValue;

use crate::settings_file::walk::{Entry, Key, Walk, key};
use crate::settings_file::{Table, Value};

/// What is read of a mute.
#[derive(Default)]
struct MuteDraft {
    fingerprint: Option<CauseId>,
    portfolio: Option<PortfolioId>,
    until: Option<DateTime<Utc>>,
    reason: Option<String>,
}

/// The keys of a mute.
const KEYS: &[Key<MuteDraft>] = &[
    key("fingerprint", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        match CauseId::new(text) {
            Ok(cause) => draft.fingerprint = Some(cause),
            Err(_) => walk.error(&span, format!("`fingerprint` must be {}", CauseId::ALLOWED)),
        }
    }),
    key("portfolio", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        match PortfolioId::new(text) {
            Ok(id) => draft.portfolio = Some(id),
            Err(_) => walk.error(&span, format!("`portfolio` may have {}", PortfolioId::ALLOWED)),
        }
    }),
    key("until", |walk, entry, draft| draft.until = walk.until(entry.value)),
    key("reason", |walk, entry, draft| draft.reason = walk.short_text(entry.key, entry.value, 200)),
];

impl Walk<'_> {
    /// Reads `[[alerts.mute]]`.
    pub(super) fn mutes(&mut self, entry: &Entry<'_, '_>) -> Vec<Mute> {
        self.each(entry.key, entry.value, |walk, table, span| walk.mute(table, span))
    }

    fn mute(&mut self, table: &Table<'_>, span: &Range<usize>) -> Option<Mute> {
        let mut draft = MuteDraft::default();
        self.keys("alerts.mute", table, KEYS, &mut draft);
        if table.get("fingerprint").is_some() == table.get("portfolio").is_some() {
            self.error(span, "a mute has either a `fingerprint` or a `portfolio`");
            return None;
        }
        for key in ["until", "reason"] {
            if table.get(key).is_none() {
                self.error(span, format!("the mute has no `{key}`: what is muted comes back, and says why it was"));
            }
        }
        let MuteDraft { fingerprint, portfolio, until, reason } = draft;
        (fingerprint.is_some() || portfolio.is_some()).then_some(())?;
        Some(Mute { fingerprint, portfolio, until: until?, reason: reason? })
    }

    /// A day (until its end, in UTC) or an instant.
    fn until(&mut self, value: &Value<'_>) -> Option<DateTime<Utc>> {
        let text = match value.get_ref() {
            DeValue::Datetime(time) => time.to_string(),
            DeValue::String(text) => text.trim().to_owned(),
            _ => String::new(),
        };
        let day = || text.parse::<NaiveDate>().ok()?.succ_opt()?.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
        let instant = || DateTime::parse_from_rfc3339(&text).ok().map(|time| time.with_timezone(&Utc));
        let until = day().or_else(instant);
        if until.is_none() {
            self.error(
                &value.span(),
                "`until` must be a day, as 2026-12-31, or an instant with its offset, as 2026-12-31T18:00:00Z",
            );
        }
        until
    }
}
