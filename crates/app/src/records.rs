//! The records of a run as they are counted: one for each job of each portfolio that was expected.

use domain::expected_items::all_expected_items;
use domain::ids::{CauseId, PortfolioId};
use domain::night::Failure;
use domain::night::causes::cause_of;
use domain::ports::{RunStore, StoreError, StoredRun};
use domain::record::JobRecord;
use domain::summary::complete_records;
use domain::words::JobStatus;

/// Every record of a run, one for each job of each expected portfolio, in the order of the manifest.
///
/// # Errors
/// The store.
pub async fn all_records(store: &dyn RunStore, stored: &StoredRun) -> Result<Vec<JobRecord>, StoreError> {
    let mut found = Vec::new();
    let Some(plan) = &stored.run.plan else { return Ok(found) };
    for item in all_expected_items(store, &stored.run).await? {
        found.extend(complete_records(&item, &plan.jobs));
    }
    Ok(found)
}

/// Portfolios with a job that failed by this cause, sorted: a cause of the night or a fingerprint of the records.
///
/// # Errors
/// The store.
pub async fn with_cause(
    store: &dyn RunStore,
    stored: &StoredRun,
    cause: &CauseId,
) -> Result<Vec<PortfolioId>, StoreError> {
    let records = all_records(store, stored).await?;
    let others = records.into_iter().filter(|record| has_cause(record, cause));
    let mut found: Vec<PortfolioId> = others.map(|record| record.portfolio_id).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn has_cause(record: &JobRecord, cause: &CauseId) -> bool {
    match (record.status, &record.error) {
        (JobStatus::Failed, Some(error)) => {
            cause_of(&Failure::of(error)) == *cause || error.fingerprint.as_str() == cause.as_str()
        }
        (JobStatus::Failed, None) => cause.as_str() == CauseId::OTHER,
        // Of a closed run nothing comes any more.
        (JobStatus::Missing | JobStatus::Pending | JobStatus::Running, _) => cause.as_str() == CauseId::MISSING,
        (JobStatus::Success | JobStatus::Skipped, _) => false,
    }
}

/// Portfolios with a failed, skipped or missing job, sorted.
///
/// # Errors
/// The store.
pub async fn not_successful(store: &dyn RunStore, stored: &StoredRun) -> Result<Vec<PortfolioId>, StoreError> {
    let records = all_records(store, stored).await?;
    let others = records.into_iter().filter(|record| record.status != JobStatus::Success);
    let mut found: Vec<PortfolioId> = others.map(|record| record.portfolio_id).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
