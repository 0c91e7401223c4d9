//! `[lineage]`: where the events of OpenLineage go.

use super::Draft;
use super::walk::{Key, key};
use crate::portfolios::is_web_address;

pub(super) const KEYS: &[Key<Draft>] = &[
    key("namespace", |walk, entry, draft| {
        if let Some(namespace) = walk.short_text(entry.key, entry.value, 100) {
            draft.settings.lineage.namespace = namespace;
        }
    }),
    key("file", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        if text.is_empty() || text.len() > 4_096 || text.contains('\0') {
            walk.error(&span, "`file` must be the path of a file; a relative one lies in the data folder");
        } else {
            draft.settings.lineage.file = Some(text);
        }
    }),
    key("url", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        if is_web_address(&text) {
            draft.settings.lineage.url = Some(text);
        } else {
            let wanted = "`url` must begin with https:// or http:// and have no spaces, user or password; a key is named by `key_env`";
            walk.error(&span, wanted);
        }
    }),
    key("key_env", |walk, entry, draft| {
        if let Some(name) = walk.variable_name(entry.key, entry.value) {
            draft.settings.lineage.key_env = Some(name);
        }
    }),
];
