//! The runs in memory.

use async_trait::async_trait;
use domain::alert::{AlertEvent, AlertRefusal, AlertState, is_delivered};
use domain::ids::RunId;
use domain::ports::{Change, Creation, RunPage, RunQuery, Runs, StoreError, StoredRun};
use domain::run::{PlannedPortfolio, Run, RunEvent, RunRefusal};
use domain::summary::RunSummary;

use super::MemoryStore;

#[async_trait]
impl Runs for MemoryStore {
    async fn create_run(&self, run: &Run) -> Result<Creation<Run>, StoreError> {
        let mut state = self.state();
        if let Some(existing) = state.runs.get(&run.batch_run_id) {
            return Ok(Creation::Existing(existing.clone()));
        }
        state.runs.insert(run.batch_run_id, run.clone());
        Ok(Creation::Created)
    }

    async fn apply_run(&self, id: RunId, event: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError> {
        let mut state = self.state();
        let run = state.need_run(id)?.clone();
        match run.next(event) {
            Err(refusal) => Ok(Change::Refused(run, refusal)),
            Ok(next) => {
                state.runs.insert(id, next.clone());
                Ok(Change::Applied(next))
            }
        }
    }

    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        let state = self.state();
        Ok(state.runs.get(&id).map(|run| state.stored(run)))
    }

    async fn put_manifest(
        &self,
        run: RunId,
        epoch: u32,
        bucket: u32,
        chunk: &[PlannedPortfolio],
    ) -> Result<(), StoreError> {
        self.state().manifests.insert((run, epoch, bucket), chunk.to_vec());
        Ok(())
    }

    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
        Ok(self.state().manifests.get(&(run, epoch, bucket)).cloned().unwrap_or_default())
    }

    async fn put_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        let mut state = self.state();
        let run = state.need_run(summary.batch_run_id)?;
        if let Some(existing) = state.stored(run).summary {
            return Ok(Creation::Existing(existing));
        }
        state.summaries.insert(summary.batch_run_id, summary.clone());
        Ok(Creation::Created)
    }

    async fn apply_alert(
        &self,
        run: RunId,
        event: &AlertEvent,
    ) -> Result<Change<AlertState, AlertRefusal>, StoreError> {
        let mut state = self.state();
        state.need_run(run)?;
        let alert = state.alerts.entry(run).or_default();
        match alert.next(event) {
            Err(refusal) => Ok(Change::Refused(*alert, refusal)),
            Ok(next) => {
                *alert = next;
                Ok(Change::Applied(next))
            }
        }
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        let after = query.cursor()?;
        let state = self.state();
        let newest = state.newest().into_iter();
        let selected = newest.filter(|run| query.selects(run, state.status(run), after));
        let enough = if query.limit == 0 { usize::MAX } else { query.limit.saturating_add(1) };
        Ok(RunPage::cut(selected.take(enough).map(|run| state.stored(run)).collect(), query.limit))
    }

    async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        let mut runs: Vec<Run> = self.state().runs.values().filter(|run| !run.has_ended()).cloned().collect();
        runs.sort_by_key(|run| run.started_at);
        Ok(runs)
    }

    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError> {
        let state = self.state();
        let delivered = |run: &Run| {
            let alert = state.alerts.get(&run.batch_run_id).copied().unwrap_or_default();
            is_delivered(run, alert)
        };
        let mut runs: Vec<StoredRun> =
            state.runs.values().filter(|run| run.has_ended() && !delivered(run)).map(|run| state.stored(run)).collect();
        runs.sort_by_key(|stored| stored.run.started_at);
        Ok(runs)
    }
}
