//! The decision on a mute.

use std::collections::BTreeSet;

use domain::alert_rules::Mute;
use domain::alerting::change_book;
use domain::ids::ScheduleName;
use domain::names::{NameError, require_portfolio};

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
        if let Some(portfolio) = &request.portfolio {
            match require_portfolio(self.store.as_ref(), portfolio).await {
                Ok(()) => {}
                Err(NameError::Store(error)) => return Err(error.into()),
                Err(unknown) => return Err(Refusal::Mute { why: unknown.to_string() }.into()),
            }
        }
        let series = self.series_to_mute(request).await?;
        let MuteRequest { fingerprint, portfolio, .. } = request.clone();
        let mute = Mute { fingerprint, portfolio, until, reason };
        let now = self.clock.now();
        let mut recorded: Vec<String> = Vec::new();
        for series in series {
            let refused = change_book(self.alerts.as_ref(), &series, |book| book.mute(mute.clone(), now).err()).await;
            match refused {
                // It is the same for every book: the end lies in the past, and nothing was recorded.
                Ok(Some(refusal)) => return Err(Refusal::Mute { why: refusal.to_string() }.into()),
                Ok(None) => recorded.push(series.to_string()),
                Err(error) if recorded.is_empty() => return Err(error.into()),
                Err(error) => {
                    let done = recorded.join(", ");
                    let why = format!("recorded for {done}, not for {series}: {error}; mute it again");
                    return Err(Refusal::Mute { why }.into());
                }
            }
        }
        tracing::info!(until = %mute.until, reason = mute.reason, event = "alert.muted", "alerts were muted");
        self.worker.refresh_index().await;
        Ok(mute)
    }
    /// The night series whose alerts are muted: the one that was asked for, or all that have alerts or nights on record.
    async fn series_to_mute(&self, request: &MuteRequest) -> Result<Vec<ScheduleName>, ControlError> {
        if let Some(schedule) = &request.schedule {
            return Ok(vec![schedule.clone()]);
        }
        let mut series: BTreeSet<ScheduleName> = self.alerts.alert_schedules().await?.into_iter().collect();
        series.extend(self.store.night_series().await?);
        if series.is_empty() {
            return Err(Refusal::NothingToMute.into());
        }
        Ok(series.into_iter().collect())
    }
}
