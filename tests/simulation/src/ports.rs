//! The ports of one actor: the plain backend in memory behind calls that may go wrong, watched at every step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::alert::{AlertEvent, AlertRefusal, AlertState};
use domain::fold::{Fold, FoldEntry};
use domain::ids::{ContentHash, Fingerprint, JobName, Owner, PortfolioId, RunId, ScheduleName};
use domain::night::{NightHead, NightKey};
use domain::ports::{
    Change, Clock, Creation, Documents, FailureSighting, History, JobRun, Keep, NightQuery, Nights, Notifier,
    PortfolioRun, Ports, Randomness, RecordCursor, RecordPage, RecordQuery, RunPage, RunQuery, RunStore, Runs,
    SiteFile, SiteStore, Sleeper, StoreError, StoredRun, Tallies, WorkItems, WorkMessage, WorkQueue, WriteIf, Written,
};
use domain::record::{JobError, JobRecord};
use domain::run::{PlannedPortfolio, Run, RunEvent, RunRefusal};
use domain::summary::RunSummary;
use domain::words::{ErrorCategory, RunStatus};
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};
use futures::FutureExt as _;

use crate::coverage::Row;
use crate::executor::Micros;
use crate::queue::Message;
use crate::world::Handle;

/// The answer of the backend in memory, which never waits.
pub(crate) fn now<T>(future: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    future.now_or_never().unwrap_or_else(|| Err(StoreError::NotFound { what: "answer at once".into() }))
}

/// All ports of this actor.
pub(crate) fn ports(handle: &Handle) -> Ports {
    let port = Arc::new(Port(handle.clone()));
    Ports {
        comparer: Arc::new(domain::ports::NoComparison),
        store: Arc::clone(&port) as Arc<dyn RunStore>,
        documents: Arc::clone(&port) as Arc<dyn Documents>,
        queue: Arc::clone(&port) as Arc<dyn WorkQueue>,
        clock: Arc::clone(&port) as Arc<dyn Clock>,
        sleeper: Arc::clone(&port) as Arc<dyn Sleeper>,
        randomness: port,
    }
}

/// Every port of one actor.
pub(crate) struct Port(pub(crate) Handle);

#[async_trait]
impl Runs for Port {
    async fn create_run(&self, run: &Run) -> Result<Creation<Run>, StoreError> {
        let run = run.clone();
        self.0
            .call("create the run", move |h| {
                let reply = now(h.world.store.create_run(&run))?;
                h.saw_creation(&run, &reply);
                Ok(reply)
            })
            .await
    }

    async fn apply_run(&self, id: RunId, event: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError> {
        let event = event.clone();
        self.0
            .call(name_of_run_event(&event), move |h| {
                let before = now(h.world.store.run(id))?.map(|stored| stored.run);
                let reply = now(h.world.store.apply_run(id, &event))?;
                h.saw_run(before.as_ref(), &event, &reply);
                Ok(reply)
            })
            .await
    }

    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        self.0.call("read the run", move |h| now(h.world.store.run(id))).await
    }

    async fn put_manifest(
        &self,
        run: RunId,
        epoch: u32,
        bucket: u32,
        chunk: &[PlannedPortfolio],
    ) -> Result<(), StoreError> {
        let chunk = chunk.to_vec();
        self.0
            .call("write a manifest chunk", move |h| {
                now(h.world.store.put_manifest(run, epoch, bucket, &chunk))?;
                h.saw_manifest(run, epoch);
                Ok(())
            })
            .await
    }

    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
        self.0.call("read a manifest chunk", move |h| now(h.world.store.manifest(run, epoch, bucket))).await
    }

    async fn put_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        let summary = summary.clone();
        self.0
            .call("write the summary", move |h| {
                let reply = now(h.world.store.put_summary(&summary))?;
                h.saw_summary(&summary, &reply);
                Ok(reply)
            })
            .await
    }

    async fn apply_alert(
        &self,
        run: RunId,
        event: &AlertEvent,
    ) -> Result<Change<AlertState, AlertRefusal>, StoreError> {
        let event = *event;
        let what = match event {
            AlertEvent::Claim { .. } => "claim the alert",
            AlertEvent::Sent { .. } => "mark the alert sent",
            AlertEvent::GiveBack { .. } => "give the alert back",
        };
        self.0
            .call(what, move |h| {
                let reply = now(h.world.store.apply_alert(run, &event))?;
                if let Change::Refused(_, AlertRefusal::LeaseHeld) = reply {
                    h.world.state().coverage.hit(Row::AlertHeld);
                }
                Ok(reply)
            })
            .await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        let query = query.clone();
        self.0.call("read the runs", move |h| now(h.world.store.runs(&query))).await
    }

    async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        self.0.call("read the open runs", move |h| now(h.world.store.open_runs())).await
    }

    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError> {
        self.0.call("read what is not delivered", move |h| now(h.world.store.undelivered())).await
    }
}

#[async_trait]
impl WorkItems for Port {
    async fn apply_item(
        &self,
        key: &ItemKey,
        name: &str,
        place: Place,
        event: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError> {
        let (key, name, event) = (key.clone(), name.to_owned(), event.clone());
        self.0
            .call(name_of_item_event(&event), move |h| {
                let before = now(h.world.store.item(&key))?;
                let reply = now(h.world.store.apply_item(&key, &name, place, &event))?;
                h.saw_item(before.as_ref(), &event, &reply);
                Ok(reply)
            })
            .await
    }

    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError> {
        let key = key.clone();
        self.0.call("read an item", move |h| now(h.world.store.item(&key))).await
    }

    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
        self.0.call("read the items of a bucket", move |h| now(h.world.store.items(run, bucket))).await
    }
}

#[async_trait]
impl Tallies for Port {
    async fn fold(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError> {
        let entry = *entry;
        self.0
            .call("fold", move |h| {
                let fold = now(h.world.store.fold(run, bucket, &entry))?;
                h.saw_fold(run, &fold);
                Ok(fold)
            })
            .await
    }

    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError> {
        self.0.call("read the folds", move |h| now(h.world.store.folds(run))).await
    }

    async fn mark_full(&self, run: RunId, bucket: u32) -> Result<u32, StoreError> {
        self.0
            .call("mark a bucket full", move |h| {
                let full = now(h.world.store.mark_full(run, bucket))?;
                h.saw_full(run, bucket);
                Ok(full)
            })
            .await
    }
}

#[async_trait]
impl History for Port {
    async fn records_page(
        &self,
        run: RunId,
        query: &RecordQuery,
        after: Option<RecordCursor>,
        limit: usize,
    ) -> Result<RecordPage, StoreError> {
        let query = query.clone();
        self.0.call("read records", move |h| now(h.world.store.records_page(run, &query, after, limit))).await
    }

    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        let portfolio = portfolio.clone();
        self.0.call("read the runs of a portfolio", move |h| now(h.world.store.portfolio_runs(&portfolio, limit))).await
    }

    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        let job = job.clone();
        self.0.call("read the runs of a job", move |h| now(h.world.store.job_runs(&job, limit))).await
    }

    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        let (job, portfolio) = (job.clone(), portfolio.cloned());
        self.0.call("read a last success", move |h| now(h.world.store.last_success(&job, portfolio.as_ref()))).await
    }

    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        let fingerprint = fingerprint.cloned();
        self.0.call("read failures", move |h| now(h.world.store.failures(since, fingerprint.as_ref()))).await
    }

    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        let causes = causes.to_vec();
        self.0.call("read when causes were first seen", move |h| now(h.world.store.first_seen(&causes))).await
    }
}

const fn name_of_run_event(event: &RunEvent) -> &'static str {
    match event {
        RunEvent::TakeOverPlan { .. } => "take over the plan",
        RunEvent::Seal { .. } => "seal the plan",
        RunEvent::AbandonPlan { .. } => "abandon the plan",
        RunEvent::ReleasePlan { .. } => "give the plan back",
        RunEvent::Cancel { .. } => "cancel the run",
        RunEvent::ClaimClose { .. } => "claim the close",
        RunEvent::KeepClose { .. } => "keep the close",
        RunEvent::Close { .. } => "close the run",
        RunEvent::PagesWritten { .. } => "record that pages are there",
        RunEvent::SpreadPages { .. } => "spread the publication",
        RunEvent::BucketWritten { .. } => "record that the pages of a bucket are there",
        RunEvent::Publish { .. } => "record the publication",
        RunEvent::VoidLease { .. } => "void the lease of the run",
    }
}

const fn name_of_item_event(event: &ItemEvent) -> &'static str {
    match event {
        ItemEvent::Claim { .. } => "claim the item",
        ItemEvent::Heartbeat { .. } => "heartbeat",
        ItemEvent::GiveBack { .. } => "give the item back",
        ItemEvent::Finish { .. } => "finish the item",
        ItemEvent::Settle { .. } => "settle the item",
        ItemEvent::VoidLease => "void the lease of the item",
    }
}

#[async_trait]
impl Documents for Port {
    async fn put_results(&self, key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError> {
        let key = key.clone();
        self.0.call("write results", move |h| now(h.world.store.put_results(&key, json.clone()))).await
    }

    async fn results(&self, key: &ItemKey, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        let (key, hash) = (key.clone(), hash.clone());
        self.0.call("read results", move |h| now(h.world.store.results(&key, &hash))).await
    }

    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError> {
        self.0.call("write the snapshot", move |h| now(h.world.store.put_snapshot(bytes.clone()))).await
    }

    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        let hash = hash.clone();
        self.0.call("read the snapshot", move |h| now(h.world.store.snapshot(&hash))).await
    }
}

#[async_trait]
impl WorkQueue for Port {
    async fn send_work(&self, messages: Vec<WorkMessage>) -> Result<(), StoreError> {
        self.0
            .call("send work", move |h| {
                h.saw_sweep(Row::SweptMessage);
                for message in &messages {
                    h.saw_message(message);
                    h.world.send(Message::Work(message.clone()));
                }
                Ok(())
            })
            .await
    }

    async fn waiting_work(&self) -> Result<Option<u64>, StoreError> {
        self.0
            .call("ask how long the queue is", |h| {
                let waiting = h.world.waiting_work();
                if waiting > 0 {
                    h.world.state().coverage.hit(Row::StillWaiting);
                }
                Ok(Some(waiting))
            })
            .await
    }

    async fn send_close(&self, run: RunId) -> Result<(), StoreError> {
        self.0
            .call("ask for the close", move |h| {
                h.saw_sweep(Row::SweptClose);
                h.world.send(Message::Close(run));
                Ok(())
            })
            .await
    }

    async fn send_pages(&self, run: RunId, buckets: Vec<u32>) -> Result<(), StoreError> {
        self.0
            .call("ask for the pages of buckets", move |h| {
                for bucket in &buckets {
                    h.world.send(Message::Pages(run, *bucket));
                }
                Ok(())
            })
            .await
    }
}

#[async_trait]
impl SiteStore for Port {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = path.to_owned();
        self.0.call("read a page", move |h| now(h.world.site.read(&path))).await
    }

    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        let (file, condition) = (file.clone(), condition.clone());
        self.0
            .call("write a page", move |h| {
                let written = now(h.world.site.write(&file, &condition))?;
                h.saw_page(&file, written);
                Ok(written)
            })
            .await
    }

    async fn list(&self) -> Result<Vec<String>, StoreError> {
        self.0.call("list the pages", move |h| now(h.world.site.list())).await
    }

    async fn damaged(&self) -> Result<Vec<String>, StoreError> {
        self.0.call("verify the pages", move |h| now(h.world.site.damaged())).await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        let path = path.to_owned();
        self.0.call("remove a page", move |h| now(h.world.site.remove(&path))).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.0.call("flush the site", move |h| now(h.world.site.flush())).await
    }
}

#[async_trait]
impl Notifier for Port {
    async fn tell(&self, summary: &RunSummary, _: &domain::night::Night) -> Result<(), JobError> {
        if matches!(summary.status, RunStatus::Success | RunStatus::Running) {
            return Ok(());
        }
        let summary = summary.clone();
        let delivered = self.0.call("deliver the alert", move |h| {
            h.saw_delivery(&summary);
            Ok(())
        });
        delivered.await.map_err(|error| JobError::from_error(ErrorCategory::Transient, &error))
    }

    async fn catch_up(&self) -> Result<(), JobError> {
        Ok(())
    }
}

impl Clock for Port {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
}

#[async_trait]
impl Sleeper for Port {
    async fn sleep(&self, time: Duration) {
        self.0.world.timeline.wait(Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX)).await;
    }
}

impl Randomness for Port {
    fn owner(&self) -> Owner {
        self.0.owner()
    }

    fn jitter(&self) -> f64 {
        self.0.jitter()
    }
}

#[async_trait]
impl Nights for Port {
    async fn night(&self, key: &NightKey) -> Result<Option<NightHead>, StoreError> {
        let key = key.clone();
        self.0.call("read a night", move |h| now(h.world.store.night(&key))).await
    }

    async fn put_night(&self, head: &NightHead) -> Result<bool, StoreError> {
        let head = head.clone();
        self.0
            .call("write a night", move |h| {
                let before = now(h.world.store.night(&head.key()))?;
                let written = now(h.world.store.put_night(&head))?;
                h.saw_night(before.as_ref(), &head, written);
                Ok(written)
            })
            .await
    }

    async fn nights(&self, query: &NightQuery) -> Result<Vec<NightHead>, StoreError> {
        let query = query.clone();
        self.0
            .call("read the nights", move |h| {
                h.saw_nights_read();
                now(h.world.store.nights(&query))
            })
            .await
    }

    async fn night_series(&self) -> Result<Vec<ScheduleName>, StoreError> {
        self.0.call("read the night series", move |h| now(h.world.store.night_series())).await
    }

    async fn put_night_document(&self, bytes: Vec<u8>, keep: Keep) -> Result<ContentHash, StoreError> {
        self.0.call("write a night document", move |h| now(h.world.store.put_night_document(bytes.clone(), keep))).await
    }

    async fn night_document(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        let hash = hash.clone();
        self.0.call("read a night document", move |h| now(h.world.store.night_document(&hash))).await
    }
}
