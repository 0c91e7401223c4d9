//! The history in memory: every question is a search through everything.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::ids::{Fingerprint, JobName, PortfolioId, RunId};
use domain::ports::{
    FailureSighting, History, JobRun, PortfolioRun, RecordCursor, RecordPage, RecordQuery, StoreError,
};
use domain::record::JobRecord;
use domain::run::Run;
use domain::words::JobStatus;
use domain::work_item::ItemKey;

use super::MemoryStore;

#[async_trait]
impl History for MemoryStore {
    async fn records_page(
        &self,
        run: RunId,
        query: &RecordQuery,
        after: Option<RecordCursor>,
        limit: usize,
    ) -> Result<RecordPage, StoreError> {
        let state = self.state();
        let ended = state.of_run(run).into_iter().filter(|item| item.state.is_terminal());
        let records = ended.flat_map(RecordCursor::each_of);
        let following =
            records.filter(|(cursor, record)| after.is_none_or(|after| *cursor > after) && query.selects(record));
        Ok(RecordPage::cut(following.map(|(cursor, record)| (cursor, record.clone())), limit))
    }

    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        let state = self.state();
        let runs = state.newest().into_iter().filter_map(|run| {
            let item = state.items.get(&ItemKey { run: run.batch_run_id, portfolio: portfolio.clone() })?;
            Some(PortfolioRun::of(run, item))
        });
        Ok(runs.take(limit).collect())
    }

    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        let state = self.state();
        let runs = state.newest().into_iter().filter_map(|run| {
            let summary = state.summaries.get(&run.batch_run_id)?;
            Some(JobRun::of(summary, summary.job_summary.iter().find(|line| line.job == *job)?))
        });
        Ok(runs.take(limit).collect())
    }

    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        let state = self.state();
        let of_job: Vec<(&Run, &JobRecord)> = state.ended().filter(|(_, record)| record.job_name == *job).collect();
        let superseded = |run: &Run, record: &JobRecord| {
            of_job.iter().any(|(newer, other)| {
                other.portfolio_id == record.portfolio_id
                    && newer.as_of == run.as_of
                    && newer.started_at > run.started_at
                    && other.status != JobStatus::Success
            })
        };
        let newest = of_job
            .iter()
            .filter(|(_, record)| portfolio.is_none_or(|portfolio| record.portfolio_id == *portfolio))
            .filter(|(run, record)| record.status == JobStatus::Success && !superseded(run, record))
            .max_by_key(|(run, _)| (run.as_of, run.started_at));
        Ok(newest.map(|(_, record)| (*record).clone()))
    }

    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        let mut found = self.state().causes();
        found.retain(|sighting| {
            since.is_none_or(|since| sighting.started_at >= since)
                && fingerprint.is_none_or(|fingerprint| sighting.fingerprint == *fingerprint)
        });
        Ok(found)
    }

    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        let found = self.state().causes();
        let first = |cause: &&Fingerprint| {
            let sightings = found.iter().filter(|sighting| sighting.fingerprint == **cause);
            sightings.map(|sighting| (sighting.started_at, sighting.batch_run_id)).min()
        };
        Ok(causes.iter().filter_map(|cause| Some((cause.clone(), first(&cause)?.1))).collect())
    }
}
