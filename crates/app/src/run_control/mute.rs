//! The decision on a mute.

use domain::alert_rules::Mute;
use domain::alerting::change_book;

use super::RunControl;
use crate::error::{ControlError, Refusal};
use crate::requests::MuteRequest;
use crate::texts::{one_line, refused};

/// The longest reason of a mute, in characters.
const REASON_CHARS: usize = 200;

impl RunControl {
    /// Mutes a cause or a portfolio until the end of a day in UTC, in place of an earlier mute of the same.
    ///
    /// # Errors
    /// [`ControlError`]; then nothing is recorded.
    pub async fn mute(&self, request: &MuteRequest) -> Result<Mute, ControlError> {
        if request.fingerprint.is_some() == request.portfolio.is_some() {
            return Err(refused("fingerprint", "give either a fingerprint or a portfolio").into());
        }
        let end = request.until.succ_opt().and_then(|day| day.and_hms_opt(0, 0, 0));
        let until = end.ok_or_else(|| refused("until", "there is no day after it"))?.and_utc();
        let reason = one_line("reason", &request.reason, REASON_CHARS)?;
        let schedules = match &request.schedule {
            Some(schedule) => vec![schedule.clone()],
            None => self.alerts.alert_schedules().await?,
        };
        if schedules.is_empty() {
            return Err(Refusal::NothingToMute.into());
        }
        let MuteRequest { fingerprint, portfolio, .. } = request.clone();
        let mute = Mute { fingerprint, portfolio, until, reason };
        let now = self.clock.now();
        for schedule in schedules {
            let refused =
                change_book(self.alerts.as_ref(), &schedule, |book| book.mute(mute.clone(), now).err()).await?;
            if let Some(refusal) = refused {
                return Err(Refusal::Mute { why: refusal.to_string() }.into());
            }
        }
        tracing::info!(until = %mute.until, reason = mute.reason, event = "alert.muted", "alerts were muted");
        self.worker.refresh_index().await;
        Ok(mute)
    }
}
