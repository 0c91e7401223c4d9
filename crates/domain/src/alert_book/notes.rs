//! What is worth knowing of a run that did not fail.

use std::collections::BTreeMap;

use crate::alert_message::plural;
use crate::alert_rules::AlertRules;
use crate::baseline::{Band, Pace};
use crate::ids::JobName;
use crate::summary::RunSummary;

/// Something worth knowing of a run that is no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The same for the same thing in another run.
    pub key: String,
    /// What.
    pub text: String,
}

/// What is worth knowing of a run: `past` are the durations (95th percentile, in seconds) of earlier runs by job, the
/// newest first.
#[must_use]
pub fn notes(summary: &RunSummary, past: &BTreeMap<JobName, Vec<f64>>, rules: &AlertRules) -> Vec<Note> {
    let mut notes = Vec::new();
    let quality = &summary.data_quality;
    let poor = quality.limited + quality.failed;
    if summary.portfolios_expected > 0 && poor as f64 > rules.quality_share * summary.portfolios_expected as f64 {
        notes.push(Note {
            key: "quality".to_owned(),
            text: format!(
                "Data quality: {poor} of {} without full data, {} of them without any",
                plural(summary.portfolios_expected, "portfolio"),
                quality.failed
            ),
        });
    }
    for line in &summary.job_summary {
        let (Some(seconds), Some(past)) = (line.p95_seconds, past.get(&line.job)) else { continue };
        let Some(band) = Band::of(past.iter().copied()) else { continue };
        let pace = band.pace(seconds);
        if pace == Pace::Usual || (seconds - band.median).abs() <= rules.pace_seconds {
            continue;
        }
        notes.push(Note {
            key: format!("{}:{}", if pace == Pace::Slow { "slow" } else { "fast" }, line.job),
            text: format!(
                "{} is {}: 95 % of portfolios within {seconds:.1} s, usual are {:.1} s (median of {} runs)",
                line.job,
                pace.words(),
                band.median,
                band.of
            ),
        });
    }
    notes
}
