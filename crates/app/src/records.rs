//! The records of a run as they are counted: one for each job of each portfolio that was expected.

use domain::ids::PortfolioId;
use domain::ports::{RunStore, StoreError, StoredRun};
use domain::record::JobRecord;
use domain::summary::complete_records;
use domain::words::JobStatus;
use domain::work_item::{ItemKey, Place, WorkItem};

/// Every record of a run, one for each job of each expected portfolio, in the order of the manifest.
///
/// # Errors
/// The store.
pub async fn all_records(store: &dyn RunStore, stored: &StoredRun) -> Result<Vec<JobRecord>, StoreError> {
    let mut found = Vec::new();
    let Some(plan) = &stored.run.plan else { return Ok(found) };
    for bucket in 0..plan.buckets() {
        let items = store.items(stored.run.batch_run_id, bucket).await?;
        for (index, planned) in (0..).zip(store.manifest(stored.run.batch_run_id, plan.epoch, bucket).await?) {
            let key = ItemKey { run: stored.run.batch_run_id, portfolio: planned.id };
            let place = Place { bucket, index };
            match items.iter().find(|item| item.key == key) {
                Some(item) => found.extend(complete_records(item, &plan.jobs)),
                None => found.extend(complete_records(&WorkItem::untouched(key, planned.name, place), &plan.jobs)),
            }
        }
    }
    Ok(found)
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
