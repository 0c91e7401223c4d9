//! The summary of a run as it stands now: one reading for the command line, the history API and the cloud.

use std::collections::BTreeMap;

use domain::ports::{RunStore, StoreError, StoredRun};
use domain::run::{RunPhase, SealedPlan};
use domain::summary::{RunSummary, summarise};

/// How much of an open run is read. The totals are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The totals: one read, whatever the number of portfolios. The lines of the jobs and the causes are empty.
    Totals,
    /// The lines of the jobs and the causes too: one read for each 100 portfolios.
    Jobs,
}

/// The stored summary of a run, or that of an open one as it stands: what its ended portfolios add up to.
///
/// What has not ended counts as missing, so that the totals always add up.
///
/// # Errors
/// The store. It is asked only for an open run.
pub async fn summary_now(store: &dyn RunStore, stored: &StoredRun, detail: Detail) -> Result<RunSummary, StoreError> {
    if let Some(summary) = &stored.summary {
        return Ok(summary.clone());
    }
    let run = &stored.run;
    let planned = run.plan.is_some() && run.phase != RunPhase::Missed;
    let mut items = Vec::new();
    if planned && detail == Detail::Jobs {
        for bucket in 0..run.plan.as_ref().map_or(0, SealedPlan::buckets) {
            items.extend(store.items(run.batch_run_id, bucket).await?);
        }
        // The jobs of a portfolio count once all of them have ended, as in the folds.
        items.retain(|item| item.state.is_terminal());
    }
    let mut summary = summarise(run, &items, &BTreeMap::new());
    summary.publication = run.publication.clone();
    if planned && detail == Detail::Totals {
        add_folds(store, &mut summary).await?;
    }
    Ok(summary)
}

/// Adds up the folds of an open run.
async fn add_folds(store: &dyn RunStore, summary: &mut RunSummary) -> Result<(), StoreError> {
    summary.job_summary.clear();
    for fold in store.folds(summary.batch_run_id).await? {
        summary.successful_jobs += fold.jobs.success;
        summary.failed_jobs += fold.jobs.failed;
        summary.skipped_jobs += fold.jobs.skipped;
        summary.portfolios_processed += u64::from(fold.processed);
        let [full, limited, failed] = fold.quality.map(u64::from);
        summary.data_quality.full += full;
        summary.data_quality.limited += limited;
        summary.data_quality.failed += failed;
    }
    let ended = summary.successful_jobs + summary.failed_jobs + summary.skipped_jobs;
    summary.missing_jobs = summary.total_jobs.saturating_sub(ended);
    Ok(())
}
