//! How much a site may show: it becomes full by an explicit setting only, and nothing is published in doubt.

use book::Detail;

use crate::stored_settings::StoredSettings;

/// The digits of a key: a random number of 128 bits in hexadecimal.
const KEY_DIGITS: usize = 32;

/// What is known of the settings by which the site was published before.
#[derive(Debug, Clone, PartialEq)]
pub enum Before {
    /// There are no runs, so nothing was published.
    Nothing,
    /// They are missing or cannot be read; the text says which file and why.
    Unreadable(String),
    /// These.
    Stored(Box<StoredSettings>),
}

/// The most that a deployment lets the site show, whatever the book says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MostDetail {
    /// It does not say: a site that is redacted stays so.
    #[default]
    Unstated,
    /// Full detail, also in place of a redacted site.
    Full,
    /// Names, money and messages are withheld.
    Redacted,
}

impl MostDetail {
    /// What a setting says: `full`, and anything else that is set means redacted.
    #[must_use]
    pub fn of(setting: Option<&str>) -> Self {
        match setting {
            None => Self::Unstated,
            Some(text) if text.eq_ignore_ascii_case("full") => Self::Full,
            Some(_) => Self::Redacted,
        }
    }
}

impl StoredSettings {
    /// These settings, redacted where the deployment allows no more.
    #[must_use]
    pub fn at_most(mut self, most: MostDetail) -> Self {
        if most == MostDetail::Redacted {
            self.settings.site.detail = Detail::Redacted;
        }
        self
    }

    /// Settings that nothing may be published by, because those on record are missing or cannot be read.
    #[must_use]
    pub fn withheld_because(why: &str) -> Self {
        let advice = "run `nightbook publish` with --book, or restore the file from a backup";
        let mut settings = Self { withheld: Some(format!("{why}: {advice}")), stand_in: true, ..Self::default() };
        settings.settings.site.detail = Detail::Redacted;
        settings
    }

    /// These settings of a book in place of those before. A book that does not state `detail` never makes a redacted site
    /// full: the site stays redacted, and nothing is published until the book states it.
    #[must_use]
    pub fn decided(mut self, before: &Before) -> Self {
        self.withheld = None;
        let site = &self.settings.site;
        if site.detail_is_stated || site.detail == Detail::Redacted {
            return self;
        }
        let why = match before {
            Before::Nothing => return self,
            Before::Stored(before) if !before.is_redacted() => return self,
            Before::Stored(_) => "this site is redacted",
            Before::Unreadable(why) => why,
        };
        self.withheld = Some(format!(
            "{why}, and nightbook.toml does not state `detail`: write detail = \"redacted\" or detail = \"full\" in \
             [site] of nightbook.toml, and publish again"
        ));
        self.settings.site.detail = Detail::Redacted;
        self
    }

    /// Why nothing may be published by these settings; `None`: pages may be written.
    #[must_use]
    pub fn why_withheld(&self) -> Option<String> {
        let without_key = self.is_redacted() && !is_redaction_key(&self.redaction_key);
        self.withheld.clone().or_else(|| {
            without_key
                .then(|| "the key of the redacted site is missing or damaged: restore it from a backup".to_owned())
        })
    }
}

/// Whether a text is a key that a redacted site can hash ids with: 32 hexadecimal digits. A shorter one can be guessed.
#[must_use]
pub fn is_redaction_key(text: &str) -> bool {
    text.len() == KEY_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(detail: Detail, stated: bool) -> StoredSettings {
        let mut settings = StoredSettings::default();
        settings.settings.site.detail = detail;
        settings.settings.site.detail_is_stated = stated;
        settings
    }

    fn before(detail: Detail) -> Before {
        Before::Stored(Box::new(settings(detail, false)))
    }

    #[test]
    fn only_a_stated_detail_makes_a_redacted_site_full() {
        let lost = Before::Unreadable("site-settings.json is empty".into());
        for (detail, stated, before, shows) in [
            (Detail::Full, false, Before::Nothing, Some(Detail::Full)),
            (Detail::Full, false, before(Detail::Full), Some(Detail::Full)),
            (Detail::Full, false, before(Detail::Redacted), None),
            (Detail::Full, false, lost.clone(), None),
            (Detail::Full, true, before(Detail::Redacted), Some(Detail::Full)),
            (Detail::Full, true, lost.clone(), Some(Detail::Full)),
            (Detail::Redacted, true, before(Detail::Full), Some(Detail::Redacted)),
            (Detail::Redacted, true, lost.clone(), Some(Detail::Redacted)),
        ] {
            let decided = settings(detail, stated).decided(&before);
            let context = format!("{detail:?}, stated: {stated}, before: {before:?}");
            assert_eq!(decided.withheld.is_none().then_some(decided.settings.site.detail), shows, "{context}");
            assert!(shows.is_some() || decided.is_redacted(), "{context}");
        }
    }

    #[test]
    fn doubt_lasts_until_the_book_states_it() {
        let doubt = settings(Detail::Full, false).decided(&before(Detail::Redacted));
        let again = settings(Detail::Full, false).decided(&Before::Stored(Box::new(doubt)));
        assert!(again.withheld.is_some() && again.is_redacted());
        let stated = settings(Detail::Full, true).decided(&Before::Stored(Box::new(again)));
        assert!(stated.withheld.is_none() && !stated.is_redacted());
    }

    #[test]
    fn a_deployment_shows_more_only_by_the_word_for_it() {
        for (setting, most) in [
            (None, MostDetail::Unstated),
            (Some("full"), MostDetail::Full),
            (Some("FULL"), MostDetail::Full),
            (Some("redacted"), MostDetail::Redacted),
            (Some("redactd"), MostDetail::Redacted),
            (Some(" full"), MostDetail::Redacted),
        ] {
            assert_eq!(MostDetail::of(setting), most, "{setting:?}");
            let allowed = settings(Detail::Full, true).at_most(most);
            assert_eq!(allowed.is_redacted(), most == MostDetail::Redacted, "{setting:?}");
        }
    }

    #[test]
    fn a_redacted_site_needs_a_whole_key() {
        for key in ["", "0", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdeg"] {
            let settings = StoredSettings { redaction_key: key.into(), ..settings(Detail::Redacted, true) };
            assert!(settings.why_withheld().is_some(), "{key:?}");
        }
        let key = "0123456789abcdef0123456789abcdef".to_owned();
        assert_eq!(StoredSettings { redaction_key: key, ..settings(Detail::Redacted, true) }.why_withheld(), None);
        assert_eq!(settings(Detail::Full, false).why_withheld(), None);
    }
}
