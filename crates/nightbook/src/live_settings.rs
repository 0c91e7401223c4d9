//! The settings in force: one value that engine, scheduler, metrics, publisher and alerts read, replaced as a whole.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use app::SlotRules;
use chrono::{DateTime, Utc};
use domain::redact::redact;
use site::SiteOptions;

use crate::site_settings::SiteSettings;

/// The settings in force, and why newer ones are not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InForce {
    /// The settings.
    pub(crate) settings: SiteSettings,
    /// Why the settings in the book were refused; `None`: those in the book are these. Secrets are masked.
    pub(crate) refused: Option<Arc<str>>,
}

impl InForce {
    /// What the site needs: the settings, the next slots after `now`, and a warning if newer settings were refused.
    pub(crate) fn options(&self, now: DateTime<Utc>) -> SiteOptions {
        SiteOptions { settings_warning: self.refused.as_deref().map(str::to_owned), ..self.settings.options(now) }
    }
}

/// Holds the settings in force. A reader takes [`LiveSettings::current`] once for everything that must agree.
#[derive(Debug)]
pub(crate) struct LiveSettings {
    current: RwLock<Arc<InForce>>,
    /// Rules for slots that came into force and that nobody has taken yet, and since when, oldest first.
    slot_rules: Mutex<Vec<(DateTime<Utc>, SlotRules)>>,
}

impl LiveSettings {
    /// With these settings in force.
    pub(crate) fn new(settings: SiteSettings) -> Self {
        Self { current: RwLock::new(Arc::new(InForce { settings, refused: None })), slot_rules: Mutex::default() }
    }

    /// The settings in force now.
    pub(crate) fn current(&self) -> Arc<InForce> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts these settings in force at this instant.
    pub(crate) fn apply(&self, settings: SiteSettings, now: DateTime<Utc>) {
        let rules = SlotRules::of(settings.settings());
        let before = self.replace(InForce { settings, refused: None });
        if SlotRules::of(before.settings.settings()) != rules {
            self.slot_rules.lock().unwrap_or_else(PoisonError::into_inner).push((now, rules));
        }
    }

    /// The rules for slots that came into force since the last call, and since when, oldest first.
    pub(crate) fn take_slot_rules(&self) -> Vec<(DateTime<Utc>, SlotRules)> {
        std::mem::take(&mut *self.slot_rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the settings in force and records why newer ones are refused. Returns whether the reason is new.
    pub(crate) fn refuse(&self, why: &str) -> bool {
        let why: Arc<str> = redact(why).into();
        let current = self.current();
        if current.refused.as_ref() == Some(&why) {
            return false;
        }
        self.replace(InForce { settings: current.settings.clone(), refused: Some(why) });
        true
    }

    fn replace(&self, next: InForce) -> Arc<InForce> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::new(next))
    }
}
