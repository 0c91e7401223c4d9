//! Causes of failures over the runs: one entry each, however often it was seen.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::Serialize;

use crate::ids::{Fingerprint, JobName, PortfolioId, RunId};
use crate::ports::{FailureSighting, RunStore, StoreError};
use crate::words::ErrorCategory;

/// One cause over the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cause {
    /// The cause.
    pub fingerprint: Fingerprint,
    /// The kind of fault.
    pub category: ErrorCategory,
    /// The job that failed.
    pub job: JobName,
    /// The message of the newest sighting.
    pub message: String,
    /// Failed jobs.
    pub count: u64,
    /// The runs in which it was seen, newest first.
    pub runs: Vec<RunId>,
    /// Affected portfolios, sorted.
    pub portfolios: BTreeSet<PortfolioId>,
    /// The run in which it was first seen, on the whole record.
    pub first_seen_run: RunId,
    /// The earliest trading date among these sightings.
    pub first_as_of: NaiveDate,
    /// The newest run in which it was seen.
    pub last_seen_run: RunId,
    /// The latest trading date among these sightings.
    pub last_as_of: NaiveDate,
}

/// Sightings, newest first, grouped by cause, the most frequent first. One read, or none without sightings.
///
/// # Errors
/// The store.
pub async fn by_cause(store: &dyn RunStore, sightings: Vec<FailureSighting>) -> Result<Vec<Cause>, StoreError> {
    let fingerprints: BTreeSet<Fingerprint> = sightings.iter().map(|seen| seen.fingerprint.clone()).collect();
    if fingerprints.is_empty() {
        return Ok(Vec::new());
    }
    let first = store.first_seen(&fingerprints.into_iter().collect::<Vec<_>>()).await?;
    let mut causes: BTreeMap<Fingerprint, Cause> = BTreeMap::new();
    for seen in sightings {
        let cause = causes.entry(seen.fingerprint.clone()).or_insert_with(|| Cause {
            first_seen_run: first.get(&seen.fingerprint).copied().unwrap_or(seen.batch_run_id),
            fingerprint: seen.fingerprint.clone(),
            category: seen.category,
            job: seen.job.clone(),
            message: seen.message.clone(),
            count: 0,
            runs: Vec::new(),
            portfolios: BTreeSet::new(),
            first_as_of: seen.as_of,
            last_seen_run: seen.batch_run_id,
            last_as_of: seen.as_of,
        });
        cause.count += seen.count;
        cause.runs.push(seen.batch_run_id);
        cause.portfolios.extend(seen.portfolios);
        cause.first_as_of = cause.first_as_of.min(seen.as_of);
        cause.last_as_of = cause.last_as_of.max(seen.as_of);
    }
    let mut causes: Vec<Cause> = causes.into_values().collect();
    causes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    Ok(causes)
}
