//! The runs on `DynamoDB`.

use async_trait::async_trait;
use domain::alert::{AlertEvent, AlertRefusal, AlertState, is_delivered};
use domain::ids::RunId;
use domain::ports::{Change, Creation, RunCursor, RunPage, RunQuery, Runs, StoreError, StoredRun, month_of};
use domain::run::{PlannedPortfolio, Run, RunEvent, RunPhase, RunRefusal};
use domain::summary::RunSummary;
use domain::words::RunStatus;

use super::DynamoStore;
use super::document::{EXPIRES_AT, ITEM_LIMIT, Item, fill, number, text};
use super::keys::{self, time_text};
use super::manifests::manifest_of;
use super::meta::{Meta, meta_of};
use super::run_list::Row;
use super::table::{Pages, Range, Written, is_by, new_writer};

#[async_trait]
impl Runs for DynamoStore {
    async fn create_run(&self, run: &Run) -> Result<Creation<Run>, StoreError> {
        let id = run.batch_run_id;
        let doing = || format!("record run {id}");
        if let Some(meta) = self.meta(id).await? {
            return Ok(Creation::Existing(meta.run));
        }
        self.keep_dictionary().await?;
        for row in Self::rows_of(run) {
            let mut item = row.attributes();
            item.insert("as_of".to_owned(), text(run.as_of.to_string()));
            self.table.put(item, doing).await?;
        }
        self.list_active(id, 1).await?;
        let writer = new_writer();
        let (item, parts) = Meta { run: run.clone(), alert: AlertState::Open }.items(1, &writer)?;
        match self.table.put_if(item, parts, self.table.absent(), doing).await? {
            Written::Done(_) => {}
            Written::Refused(there) if is_by(there.as_ref(), &writer) => {}
            Written::Refused(there) => {
                let there = match &there {
                    Some(item) => meta_of(item)?,
                    None => self.need_meta(id).await?,
                };
                return Ok(Creation::Existing(there.run));
            }
        }
        self.remember(run);
        Ok(Creation::Created)
    }

    async fn apply_run(&self, id: RunId, event: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError> {
        let decide = |meta: &Meta| Ok(Meta { run: meta.run.next(event)?, alert: meta.alert });
        Ok(match self.change(id, decide, |meta| meta.run.is_result_of(event)).await? {
            Change::Applied(meta) => Change::Applied(meta.run),
            Change::Refused(meta, refusal) => Change::Refused(meta.run, refusal),
        })
    }

    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        let Some(meta) = self.meta(id).await? else { return Ok(None) };
        let summary = match meta.run.phase {
            // No closer has been there.
            RunPhase::Planning { .. } | RunPhase::Running => None,
            RunPhase::Closing { .. } | RunPhase::Closed | RunPhase::Missed => self.summary(id).await?,
        };
        Ok(Some(StoredRun::new(meta.run, summary)))
    }

    async fn put_manifest(
        &self,
        run: RunId,
        epoch: u32,
        bucket: u32,
        chunk: &[PlannedPortfolio],
    ) -> Result<(), StoreError> {
        let doing = || format!("write bucket {bucket} of the portfolios of run {run}");
        let mut item = Item::from([(EXPIRES_AT.to_owned(), number(self.expires_at()))]);
        let parts = fill(&mut item, &keys::manifest(run, epoch, bucket), &chunk, ITEM_LIMIT)?;
        for item in parts.into_iter().chain([item]) {
            self.table.put(item, doing).await?;
        }
        Ok(())
    }

    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
        let item = self.manifest_item(run, epoch, bucket).await?;
        item.map_or_else(|| Ok(Vec::new()), |item| manifest_of(&item, run, bucket))
    }

    async fn put_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        let id = summary.batch_run_id;
        let run = self.need_meta(id).await?.run;
        let there = match self.summary(id).await? {
            Some(there) => Some(there),
            None => self.create_summary(summary).await?,
        };
        match there {
            Some(there) => {
                // Whoever wrote it may have died before the rows.
                if !run.is_closed() {
                    self.write_rows(&there).await?;
                }
                Ok(Creation::Existing(RunSummary { publication: run.publication, ..there }))
            }
            None => {
                self.write_rows(summary).await?;
                Ok(Creation::Created)
            }
        }
    }

    async fn apply_alert(&self, id: RunId, event: &AlertEvent) -> Result<Change<AlertState, AlertRefusal>, StoreError> {
        let decide = |meta: &Meta| Ok(Meta { alert: meta.alert.next(event)?, run: meta.run.clone() });
        Ok(match self.change(id, decide, |meta| meta.alert.is_result_of(event)).await? {
            Change::Applied(meta) => Change::Applied(meta.alert),
            Change::Refused(meta, refusal) => Change::Refused(meta.alert, refusal),
        })
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        let after = query.cursor()?;
        let doing = || "read the list of runs".to_owned();
        // The shortest list that holds whatever fits.
        let pages = if let Some(origin) = query.rerun_of {
            Pages::of(keys::run_partition(origin), Range::Prefix(keys::RERUNS.to_owned()))
        } else if let Some(as_of) = query.as_of {
            Pages::of(keys::month_partition(&month_of(as_of)), Range::All)
        } else if let Some(month) = &query.month {
            Pages::of(keys::month_partition(month), Range::All)
        } else if query.status == Some(RunStatus::Running) {
            let mut runs: Vec<StoredRun> = self.active().await?.into_iter().map(|(stored, _)| stored).collect();
            runs.retain(|stored| query.selects(&stored.run, stored.status(), after));
            runs.sort_by_key(|stored| std::cmp::Reverse(RunCursor::of(&stored.run)));
            return Ok(RunPage::cut(runs, query.limit));
        } else if let Some(since) = query.started_since {
            Pages::of(keys::STARTED, Range::From(time_text(since)))
        } else {
            return self.walk_runs(query, after).await;
        };
        let rows = self.table.all(pages, doing).await?;
        let ids: Vec<RunId> = rows.iter().filter_map(Row::of).map(|row| row.id).collect();
        let mut runs: Vec<StoredRun> = self.load_runs(ids).await?.into_values().map(|(stored, _)| stored).collect();
        runs.retain(|stored| query.selects(&stored.run, stored.status(), after));
        runs.sort_by_key(|stored| std::cmp::Reverse(RunCursor::of(&stored.run)));
        Ok(RunPage::cut(runs, query.limit))
    }

    async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        let active = self.active().await?.into_iter();
        Ok(active.map(|(stored, _)| stored.run).filter(|run| !run.has_ended()).collect())
    }

    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError> {
        let active = self.active().await?.into_iter();
        let waiting = active.filter(|(stored, alert)| stored.run.has_ended() && !is_delivered(&stored.run, *alert));
        Ok(waiting.map(|(stored, _)| stored).collect())
    }
}
