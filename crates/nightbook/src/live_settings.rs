//! The settings in force: one value that engine, scheduler, metrics, publisher and alerts read, replaced as a whole.

use std::sync::{Arc, PoisonError, RwLock};

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
pub(crate) struct LiveSettings(RwLock<Arc<InForce>>);

impl LiveSettings {
    /// With these settings in force.
    pub(crate) fn new(settings: SiteSettings) -> Self {
        Self(RwLock::new(Arc::new(InForce { settings, refused: None })))
    }

    /// The settings in force now.
    pub(crate) fn current(&self) -> Arc<InForce> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts these settings in force. Returns what was in force before.
    pub(crate) fn apply(&self, settings: SiteSettings) -> Arc<InForce> {
        self.replace(InForce { settings, refused: None })
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
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::new(next))
    }
}
