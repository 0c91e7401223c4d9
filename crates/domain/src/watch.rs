//! Use case 4: find what was left lying and mend it, by the same use cases that would have done it.

use crate::guards::{self, Guard};
use crate::ids::RunId;
use crate::ports::{Change, Ports, StoreError, WorkMessage};
use crate::run::{Run, RunPhase};
use crate::tail::run_tail;
use crate::work_item::{GiveUp, ItemEvent, ItemKey, ItemState, MAX_ATTEMPTS, Place, WorkItem};

/// What a sweep over one run found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Messages sent again.
    pub sent: usize,
    /// Items ended from outside.
    pub settled: usize,
    /// Ended items that had not been counted.
    pub folded: usize,
    /// Whether the close was asked for.
    pub close_asked: bool,
}

/// Mends a sealed run.
///
/// Sends the message again for every portfolio that nobody works on, settles what is past the
/// deadline or was claimed too often, counts what had ended, and asks for the close when all is done.
///
/// # Errors
/// The store or the queue; the next sweep goes on where this one stopped.
pub async fn mend(ports: &Ports, run: &Run) -> Result<Mended, StoreError> {
    let mut mended = Mended::default();
    let Some(plan) = &run.plan else { return Ok(mended) };
    if matches!(run.phase, RunPhase::Planning { .. } | RunPhase::Closed) || !guards::on(Guard::Sweeper) {
        return Ok(mended);
    }
    let id = run.batch_run_id;
    let folds = ports.store.folds(id).await?;
    let mut full = 0;
    for bucket in 0..plan.buckets() {
        let done = folds.iter().find(|fold| fold.bucket == bucket).map(|fold| &fold.done);
        if done.is_some_and(|done| done.len() == plan.bucket_len(bucket) as usize) {
            ports.store.mark_full(id, bucket).await?;
            full += 1;
            continue;
        }
        let manifest = ports.store.manifest(id, plan.epoch, bucket).await?;
        let items = ports.store.items(id, bucket).await?;
        let mut again = Vec::new();
        for (index, portfolio) in (0..).zip(manifest) {
            if done.is_some_and(|done| done.contains(&index)) {
                continue;
            }
            let key = ItemKey { run: id, portfolio: portfolio.id };
            let place = Place { bucket, index };
            let item = items.iter().find(|item| item.key == key).cloned();
            let item = item.unwrap_or_else(|| WorkItem::untouched(key.clone(), portfolio.name.clone(), place));
            let ended = if item.state.is_terminal() {
                mended.folded += 1;
                Some(item)
            } else {
                let ended = settle_if_hopeless(ports, run, &item).await?;
                mended.settled += usize::from(ended.is_some());
                ended
            };
            match ended {
                Some(item) => mended.close_asked |= run_tail(ports, plan, &item).await?,
                None if lies_idle(ports, &items, &key) => {
                    again.push(WorkMessage { key, name: portfolio.name, place });
                }
                None => {}
            }
        }
        mended.sent += again.len();
        if !again.is_empty() {
            ports.queue.send_work(again).await?;
        }
    }
    if full == plan.buckets() {
        ports.queue.send_close(id).await?;
        mended.close_asked = true;
    }
    if mended != Mended::default() {
        tracing::info!(
            batch_run_id = %id, sent = mended.sent, settled = mended.settled, folded = mended.folded,
            close_asked = mended.close_asked, event = "run.mended", "mended a run that was left lying"
        );
    }
    Ok(mended)
}

fn lies_idle(ports: &Ports, items: &[WorkItem], key: &ItemKey) -> bool {
    match items.iter().find(|item| item.key == *key).map(|item| item.state) {
        None | Some(ItemState::Pending) => true,
        Some(ItemState::Working { lease_until, .. }) => lease_until < ports.clock.now(),
        Some(ItemState::Done | ItemState::Lost | ItemState::TimedOut | ItemState::Cancelled) => false,
    }
}

/// Ends an item that is past the deadline of its run or was claimed too often; none where there is still hope.
pub(crate) async fn settle_if_hopeless(
    ports: &Ports,
    run: &Run,
    item: &WorkItem,
) -> Result<Option<WorkItem>, StoreError> {
    let now = ports.clock.now();
    let idle = match item.state {
        ItemState::Working { lease_until, .. } => lease_until < now,
        _ => true,
    };
    let why = if run.cancelled_at.is_some() {
        GiveUp::Cancelled
    } else if run.gives_up_at().is_some_and(|at| at < now) {
        GiveUp::TimedOut
    } else if idle && item.counted_attempts >= MAX_ATTEMPTS {
        GiveUp::Lost
    } else {
        return Ok(None);
    };
    let event = ItemEvent::Settle { why, now };
    match ports.store.apply_item(&item.key, &item.portfolio_name, item.place, &event).await? {
        Change::Applied(item) => {
            tracing::warn!(
                batch_run_id = %item.key.run, portfolio_id = %item.key.portfolio, state = item.state.as_str(),
                event = "portfolio.settled", "a portfolio was given up"
            );
            Ok(Some(item))
        }
        // Somebody ended it first: its own end counts.
        Change::Refused(item, _) => Ok(item.state.is_terminal().then_some(item)),
    }
}

/// Mends every open run; gives the ids of the runs that wait for their planner, so that the caller, who knows where
/// their inputs are, can start them again.
///
/// # Errors
/// The store or the queue.
pub async fn mend_all(ports: &Ports) -> Result<Vec<RunId>, StoreError> {
    let mut unplanned = Vec::new();
    for run in ports.store.open_runs().await? {
        match run.phase {
            RunPhase::Planning { lease_until, .. } => {
                if lease_until < ports.clock.now() {
                    unplanned.push(run.batch_run_id);
                }
            }
            _ => {
                mend(ports, &run).await?;
            }
        }
    }
    Ok(unplanned)
}
