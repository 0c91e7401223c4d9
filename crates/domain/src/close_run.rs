//! Use case 3: close a run whose every portfolio has ended: summary, site, alert, closed.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};

use crate::alert::{AlertAbout, AlertEvent};
use crate::chain::append_run;
use crate::guards::{self, Guard};
use crate::ids::{Fingerprint, RunId};
use crate::night::folding::run_controls;
use crate::night::{KnownItems, NightView, keep_night, read_night};
use crate::ports::{Change, Creation, Notifier, Ports, PublishError, Publisher, RunStore, StoreError};
use crate::record::JobError;
use crate::redact::redact;
use crate::run::{PagesThere, Publication, Run, RunEvent, RunRefusal, SealedPlan};
use crate::summary::{RunSummary, abandoned_error, disagreement, summarise};
use crate::work_item::WorkItem;

/// How long a closer's lease lasts.
const CLOSE_LEASE: Duration = Duration::from_secs(300);

/// Time between two renewals of that lease while the site is being published.
const KEEP_CLOSE: Duration = Duration::from_secs(60);

/// How long the pages may hold up the alert, whose link leads to them.
const ALERT_WAIT: Duration = Duration::from_secs(120);

/// How long the pages of a run may take: a call that never returns must not keep the run open for ever.
const PUBLISH_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How long one delivery of an alert may take.
const ALERT_LEASE: Duration = Duration::from_secs(120);

/// What became of a close.
#[derive(Debug, Clone, PartialEq)]
pub enum Closed {
    /// This is its summary.
    Closed(Box<RunSummary>),
    /// Not every portfolio has ended, or another closer is at it.
    NotYet,
}

/// Closes a run, if every portfolio has ended. May be called any number of times by anyone.
///
/// The order is: summary, link of the chain, night, pages, alert, closed. A failed publication or delivery holds up neither the close nor the
/// other, and a slow publication holds up the alert for two minutes at most; each has its own status and is tried again
/// by `watch`.
///
/// # Errors
/// The store; then the message is not acknowledged, and the next closer goes on.
pub async fn close_run(
    ports: &Ports,
    publisher: &dyn Publisher,
    notifier: &dyn Notifier,
    id: RunId,
) -> Result<Closed, StoreError> {
    let Some(stored) = ports.store.run(id).await? else { return Ok(Closed::NotYet) };
    if let (true, Some(summary)) = (stored.run.is_closed(), stored.summary) {
        return Ok(Closed::Closed(Box::new(summary)));
    }
    let expected = match (&stored.run.plan, &stored.run.abandoned) {
        (Some(plan), _) => plan.portfolios,
        // Nothing of it was started: there is nothing to wait for.
        (None, Some(_)) => 0,
        (None, None) => return Ok(Closed::NotYet),
    };
    let folds = ports.store.folds(id).await?;
    let counted: u64 = folds.iter().map(|fold| fold.done.len() as u64).sum();
    if counted < u64::from(expected) {
        return Ok(Closed::NotYet);
    }
    let owner = ports.randomness.owner();
    let now = ports.clock.now();
    let event = RunEvent::ClaimClose { owner, now, lease_until: now + CLOSE_LEASE };
    let run = match ports.store.apply_run(id, &event).await? {
        Change::Applied(run) => run,
        Change::Refused(_, RunRefusal::Closed) => {
            let summary = ports.store.run(id).await?.and_then(|stored| stored.summary);
            return Ok(summary.map_or(Closed::NotYet, |summary| Closed::Closed(Box::new(summary))));
        }
        Change::Refused(..) => return Ok(Closed::NotYet),
    };
    let mut items = Vec::new();
    for bucket in 0..run.plan.as_ref().map_or(0, SealedPlan::buckets) {
        items.extend(ports.store.items(id, bucket).await?);
    }
    let summary = write_summary(ports, &run, &items, &folds).await?;
    append_run(ports.store.as_ref(), ports.clock.now(), &run, &summary, &items).await?;
    keep_night(ports, &run.night(), Some(KnownItems { run: id, items: &items })).await?;
    let Some(publication) = publish_and_tell(ports, publisher, notifier, &run, &summary).await? else {
        return Ok(Closed::NotYet);
    };
    match ports.store.apply_run(id, &RunEvent::Close { epoch: run.close_epoch }).await? {
        Change::Applied(_) | Change::Refused(_, RunRefusal::Closed) => {}
        Change::Refused(..) => return Ok(Closed::NotYet),
    }
    let summary = RunSummary { publication, ..summary };
    tracing::info!(
        batch_run_id = %id, as_of = %summary.as_of, status = %summary.status, total_jobs = summary.total_jobs,
        successful_jobs = summary.successful_jobs, failed_jobs = summary.failed_jobs,
        skipped_jobs = summary.skipped_jobs, missing_jobs = summary.missing_jobs,
        wall_seconds = summary.wall_seconds, event = "run.closed", "the run is closed"
    );
    Ok(Closed::Closed(Box::new(summary)))
}

async fn write_summary(
    ports: &Ports,
    run: &Run,
    items: &[WorkItem],
    folds: &[crate::fold::Fold],
) -> Result<RunSummary, StoreError> {
    let causes: BTreeSet<Fingerprint> = items
        .iter()
        .flat_map(|item| &item.records)
        .filter_map(|record| record.error.as_ref().map(|error| error.fingerprint.clone()))
        .chain(abandoned_error(run).map(|error| error.fingerprint))
        .collect();
    let causes: Vec<Fingerprint> = causes.into_iter().collect();
    let mut first_seen = ports.store.first_seen(&causes).await?;
    // A closer that died after the summary has already recorded this run as the first.
    first_seen.retain(|_, first| *first != run.batch_run_id);
    let controls = run_controls(ports.store.as_ref(), run, items).await?;
    let summary = summarise(run, items, &first_seen).with_controls(controls);
    if let Some(disagreement) = disagreement(&summary, folds) {
        return Err(StoreError::Damaged {
            what: format!("the count of run {}", run.batch_run_id),
            detail: disagreement,
        });
    }
    match ports.store.put_summary(&summary).await? {
        Creation::Created => Ok(summary),
        Creation::Existing(existing) => {
            let existing = RunSummary { publication: Publication::Pending, ..existing };
            if existing != summary {
                tracing::error!(batch_run_id = %run.batch_run_id, event = "summary.differs", "two closers computed different summaries; the first stands");
            }
            Ok(existing)
        }
    }
}

/// Publishes and tells, and keeps the lease meanwhile; none where another closer took over.
async fn publish_and_tell(
    ports: &Ports,
    publisher: &dyn Publisher,
    notifier: &dyn Notifier,
    run: &Run,
    summary: &RunSummary,
) -> Result<Option<Publication>, StoreError> {
    let id = run.batch_run_id;
    let mut publishing = pin!(publish(ports, publisher, run));
    let (mut waited, mut told) = (Duration::ZERO, false);
    let publication = loop {
        match select(publishing.as_mut(), ports.sleeper.sleep(KEEP_CLOSE)).await {
            Either::Left((publication, _)) => break publication?,
            Either::Right(_) => {
                let lease_until = ports.clock.now() + CLOSE_LEASE;
                let keep = RunEvent::KeepClose { epoch: run.close_epoch, lease_until };
                if let Change::Refused(..) = ports.store.apply_run(id, &keep).await? {
                    return Ok(None);
                }
                waited += KEEP_CLOSE;
                if waited >= PUBLISH_LIMIT {
                    break record(ports, run, Err(PublishError::TooSlow { minutes: PUBLISH_LIMIT.as_secs() / 60 }))
                        .await?;
                }
                if waited >= ALERT_WAIT && !told {
                    tell(ports, notifier, summary).await?;
                    told = true;
                }
            }
        }
    };
    if !told {
        tell(ports, notifier, summary).await?;
    }
    Ok(Some(publication))
}

/// Publishes for a run and records how that went. The run itself never changes by it.
///
/// Where the publisher [spreads](Publisher::spreads) the run, the pages of its portfolios are asked for by messages, and
/// [`publish_bucket`] goes on: what is given then is [`Publication::UnderWay`].
///
/// # Errors
/// Only where the outcome could not be recorded.
pub async fn publish(ports: &Ports, publisher: &dyn Publisher, run: &Run) -> Result<Publication, StoreError> {
    let id = run.batch_run_id;
    if !publisher.spreads(run) {
        return record(ports, run, publisher.publish(id).await).await;
    }
    let files_written = match publisher.begin(id).await {
        Ok(files) => files,
        Err(error) => return record(ports, run, Err(error)).await,
    };
    let event = RunEvent::SpreadPages { now: ports.clock.now(), files_written, plan_epoch: run.plan_epoch };
    let run = match ports.store.apply_run(id, &event).await? {
        Change::Applied(run) => run,
        Change::Refused(run, _) => return Ok(run.publication),
    };
    if run.pages_left.is_empty() {
        return finish(ports, publisher, &run).await;
    }
    if let Err(error) = ports.queue.send_pages(id, run.pages_left.iter().copied().collect()).await {
        return record(ports, &run, Err(error.into())).await;
    }
    tracing::info!(batch_run_id = %id, buckets = run.pages_left.len(), event = "publication.spread", "the pages of the portfolios of a run were asked for, bucket by bucket");
    Ok(run.publication)
}

/// Has the pages of an ended run written again.
///
/// Its publication is pending from now on, so that the watch publishes it unless somebody does before. One that is not
/// through yet is left to whoever is at it.
///
/// # Errors
/// The store.
pub async fn request_pages(store: &dyn RunStore, id: RunId) -> Result<(), StoreError> {
    let Some(run) = store.run(id).await?.map(|stored| stored.run) else { return Ok(()) };
    if run.has_ended() && matches!(run.publication, Publication::Published { .. }) {
        let event = RunEvent::Publish { publication: Publication::Pending, plan_epoch: run.plan_epoch };
        store.apply_run(id, &event).await?;
    }
    Ok(())
}

/// Publishes the portfolios of a bucket of a run whose publication is spread over messages; whoever writes the last of
/// them ends the publication. May be called any number of times, in any order.
///
/// Gives how the publication stands by now; none where there is nothing to do for this bucket. What could not be written
/// is recorded as a failed publication, and asked for again by `watch`.
///
/// # Errors
/// The store; then the message is not acknowledged, and comes again.
pub async fn publish_bucket(
    ports: &Ports,
    publisher: &dyn Publisher,
    id: RunId,
    bucket: u32,
) -> Result<Option<Publication>, StoreError> {
    let Some(stored) = ports.store.run(id).await? else { return Ok(None) };
    let mut run = stored.run;
    if run.pages_left.contains(&bucket) {
        let files_written = match publisher.publish_bucket(id, bucket).await {
            Ok(files) => files,
            Err(error) => return record(ports, &run, Err(error)).await.map(Some),
        };
        let event = RunEvent::BucketWritten { bucket, files_written, plan_epoch: run.plan_epoch };
        match ports.store.apply_run(id, &event).await? {
            Change::Applied(after) => run = after,
            Change::Refused(..) => return Ok(None),
        }
    }
    // Whoever wrote the last bucket may have died before the end: its message comes again. One for a run whose buckets
    // were never written ends nothing: the pages would lead to others that are not there.
    let all_there = run.pages_left.is_empty() && run.pages >= PagesThere::Portfolios;
    if all_there && !matches!(run.publication, Publication::Pending | Publication::Published { .. }) {
        return finish(ports, publisher, &run).await.map(Some);
    }
    Ok(Some(run.publication))
}

/// The last step of a publication that was spread.
async fn finish(ports: &Ports, publisher: &dyn Publisher, run: &Run) -> Result<Publication, StoreError> {
    let written = publisher.finish(run.batch_run_id).await;
    record(ports, run, written.map(|files| run.publication.files_under_way() + files)).await
}

/// Records how a publication went.
async fn record(ports: &Ports, run: &Run, outcome: Result<u64, PublishError>) -> Result<Publication, StoreError> {
    let id = run.batch_run_id;
    let at = ports.clock.now();
    let publication = match outcome {
        Ok(files_written) => Publication::Published { at, files_written },
        Err(error) => {
            let error = JobError::from_error(crate::words::ErrorCategory::Transient, &error);
            let text = redact(&std::iter::once(error.message).chain(error.chain).collect::<Vec<_>>().join(": "));
            tracing::error!(batch_run_id = %id, error = %text, event = "publication.failed", "the site could not be published; the run stands, and publishing is tried again");
            Publication::Failed { at, error: text }
        }
    };
    let event = RunEvent::Publish { publication: publication.clone(), plan_epoch: run.plan_epoch };
    if let Change::Refused(..) = ports.store.apply_run(id, &event).await? {
        tracing::debug!(batch_run_id = %id, "what was published is of a slot that is run late by now");
    }
    Ok(publication)
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is out of the way now: it was delivered, or there was nothing to tell.
    Told,
    /// Somebody else delivers it, or has.
    Elsewhere,
    /// It could not be delivered, and stays open.
    NotDelivered,
}

/// Tells people what there is to tell of a run that has ended, once.
///
/// # Errors
/// The store. A failed delivery is logged, and the alert stays open for the next try.
pub async fn tell(ports: &Ports, notifier: &dyn Notifier, summary: &RunSummary) -> Result<Told, StoreError> {
    let about = AlertAbout::of(summary.status);
    let id = summary.batch_run_id;
    let Some(stored) = ports.store.run(id).await? else { return Ok(Told::Elsewhere) };
    let view = read_night(ports.store.as_ref(), &stored.run.night(), ports.clock.now()).await?;
    let Some(NightView { night, .. }) = view else { return Ok(Told::Elsewhere) };
    // The lease counts from the claim: the reads before may be slow.
    let (owner, now) = (ports.randomness.owner(), ports.clock.now());
    let claim = AlertEvent::Claim { owner, now, lease_until: now + ALERT_LEASE, about };
    if let Change::Refused(..) = ports.store.apply_alert(id, &claim).await?
        && guards::on(Guard::AlertClaim)
    {
        return Ok(Told::Elsewhere);
    }
    if let Err(error) = notifier.tell(summary, &night).await {
        tracing::error!(batch_run_id = %id, alert_id = %format!("{id}/{}", about.as_str()), error = %redact(&error.message), event = "alert.failed", "the alert of a run could not be delivered and stays open");
        ports.store.apply_alert(id, &AlertEvent::GiveBack { owner }).await?;
        return Ok(Told::NotDelivered);
    }
    ports.store.apply_alert(id, &AlertEvent::Sent { owner, now: ports.clock.now() }).await?;
    Ok(Told::Told)
}
