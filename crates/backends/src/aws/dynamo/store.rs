//! The port, question by question; the answers are in the files beside this one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::alert::{AlertEvent, AlertRefusal, AlertState};
use domain::fold::{Fold, FoldEntry};
use domain::ids::{Fingerprint, JobName, PortfolioId, RunId};
use domain::ports::{
    Change, Creation, FailureSighting, JobRun, PortfolioRun, RecordQuery, RunPage, RunQuery, RunStore, StoreError,
    StoredRun,
};
use domain::record::JobRecord;
use domain::run::{PlannedPortfolio, Run, RunEvent, RunRefusal};
use domain::summary::RunSummary;
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};

use super::DynamoStore;

#[async_trait]
impl RunStore for DynamoStore {
    async fn create_run(&self, run: &Run) -> Result<Creation<Run>, StoreError> {
        self.create(run).await
    }

    async fn apply_run(&self, id: RunId, event: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError> {
        self.change_run(id, event).await
    }

    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        self.stored_run(id).await
    }

    async fn put_manifest(
        &self,
        run: RunId,
        epoch: u32,
        bucket: u32,
        chunk: &[PlannedPortfolio],
    ) -> Result<(), StoreError> {
        self.write_manifest(run, epoch, bucket, chunk).await
    }

    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
        self.read_manifest(run, epoch, bucket).await
    }

    async fn apply_item(
        &self,
        key: &ItemKey,
        name: &str,
        place: Place,
        event: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError> {
        self.change_item(key, name, place, event).await
    }

    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError> {
        self.read_item(key).await
    }

    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
        self.items_of_bucket(run, bucket).await
    }

    async fn fold(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError> {
        self.count_entry(run, bucket, entry).await
    }

    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError> {
        self.all_folds(run).await
    }

    async fn mark_full(&self, run: RunId, bucket: u32) -> Result<u32, StoreError> {
        self.mark_bucket(run, bucket).await
    }

    async fn put_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        self.write_summary(summary).await
    }

    async fn apply_alert(
        &self,
        run: RunId,
        event: &AlertEvent,
    ) -> Result<Change<AlertState, AlertRefusal>, StoreError> {
        self.change_alert(run, event).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        self.find_runs(query).await
    }

    async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        self.open().await
    }

    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError> {
        self.not_delivered().await
    }

    async fn records(&self, run: RunId, query: &RecordQuery) -> Result<Vec<JobRecord>, StoreError> {
        self.find_records(run, query).await
    }

    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        self.runs_of_portfolio(portfolio, limit).await
    }

    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        self.runs_of_job(job, limit).await
    }

    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        self.newest_success(job, portfolio).await
    }

    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        self.find_failures(since, fingerprint).await
    }

    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        self.first_sightings(causes).await
    }
}
