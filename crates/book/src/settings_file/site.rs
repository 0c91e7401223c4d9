//! `[site]`: the published pages.

use super::Draft;
use super::walk::{Key, key};
use crate::portfolios::is_web_address;
use crate::settings::Detail;

pub(super) const KEYS: &[Key<Draft>] = &[
    key("title", |walk, entry, draft| {
        if let Some(title) = walk.short_text(entry.key, entry.value, 100) {
            draft.settings.site.title = title;
        }
    }),
    key("base_url", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        if is_web_address(&text) && !text.contains(['?', '#']) {
            draft.settings.site.base_url = Some(text.trim_end_matches('/').to_owned());
        } else {
            let wanted = "`base_url` must begin with https:// or http:// and have no spaces, user, password, ? or #";
            walk.error(&span, wanted);
        }
    }),
    key("detail", |walk, entry, draft| {
        if let Some(detail) = walk.choice(entry.key, entry.value, &["full", "redacted"]) {
            draft.settings.site.detail = if detail == "full" { Detail::Full } else { Detail::Redacted };
            draft.settings.site.detail_is_stated = true;
        }
    }),
    key("portfolio_badges", |walk, entry, draft| {
        if let Some(badges) = walk.flag(entry.key, entry.value) {
            draft.settings.site.portfolio_badges = badges;
        }
    }),
];
