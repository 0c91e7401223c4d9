//! Keeps the index true between two publications: what became of alerts, and the settings in force.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use domain::alerting::Alerting;
use domain::ports::Notifier as _;
use domain::redact::redact;

use super::{Engine, Shown, jobs_at_once};
use crate::live_settings::InForce;
use crate::settings_reload::Outcome;

/// Tells what is due of the alerts; what cannot be told is logged, and tried again.
pub(super) async fn catch_up(notifier: &Alerting) {
    if let Err(error) = notifier.catch_up().await {
        tracing::warn!(error = %redact(&error.message), event = "alert.failed", "what is due of the alerts could not be told, and is tried again");
    }
}

impl Engine {
    /// Tells what is due of the alerts: what was put off, what an earlier process left, or a receiver did not take then.
    pub(crate) async fn tell_due(&self) {
        catch_up(&self.notifier()).await;
        self.show_changes().await;
    }

    /// Writes the index again if alerts or settings have changed since it was written: pages are written before
    /// anybody is alerted. A failure is logged, and the next call tries again.
    pub(crate) async fn show_changes(&self) {
        let refreshed = async {
            let settings = self.settings.current();
            let alerts = site::alerts_shown(&self.store, self.ports.clock.now()).await?;
            let same = {
                let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.alerts == alerts && shown.settings.as_ref() == Some(&settings)
            };
            if !same {
                self.publisher_by(&settings).refresh_index().await?;
                *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Shown { alerts, settings: Some(settings) };
            }
            anyhow::Ok(())
        };
        if let Err(error) = refreshed.await {
            tracing::warn!(
                error = format!("{error:#}"),
                event = "publication.failed",
                "the index could not be refreshed with changed alerts or settings"
            );
        }
    }

    /// Writes the index again; a failure is logged, and the next publication shows what this one would have.
    pub(crate) async fn refresh_index(&self) {
        let settings = self.settings.current();
        match self.publisher_by(&settings).refresh_index().await {
            Ok(_) => self.wrote_index_by(settings),
            Err(error) => tracing::warn!(
                error = %error, event = "publication.failed", "the index could not be refreshed"
            ),
        }
    }

    /// Records that the index was written by these settings: by others if they were replaced meanwhile.
    pub(super) fn wrote_index_by(&self, settings: Arc<InForce>) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).settings = Some(settings);
    }

    /// Shows what a reload of the settings changed, and wakes the scheduler.
    pub(crate) async fn show_settings(&self, outcome: Outcome) {
        if outcome == Outcome::Same {
            return;
        }
        let settings = self.settings.current();
        let wanted = settings.settings.settings().run.concurrency.map(|jobs| jobs as usize);
        self.cores.store(jobs_at_once(wanted), Ordering::Relaxed);
        if outcome == Outcome::Redacted
            && let Err(error) = self.publisher_by(&settings).rebuild().await
        {
            tracing::error!(
                error = %error,
                event = "publication.failed",
                "the site is redacted from now on, and pages from before could not be written again; run `nightbook publish --rebuild`"
            );
        }
        self.show_changes().await;
        self.attention.at_rest.notify_one();
    }
}
