//! Use case 4: find what was left lying and mend it, by the same use cases that would have done it.

use std::collections::BTreeMap;

use crate::close_run::{Told, publish, tell};
use crate::expected_items::with_untouched;
use crate::guards::{self, Guard};
use crate::ids::RunId;
use crate::night::keep_night;
use crate::night::keeping::keep_missing_nights;
use crate::ports::{Change, Creation, Notifier, Ports, Publisher, StoreError, StoredRun, WorkMessage};
use crate::redact::redact;
use crate::run::{Publication, Run, RunPhase};
use crate::start_run::{StartRun, abandon};
use crate::summary::{RunSummary, summarise};
use crate::tail::run_tail;
use crate::work_item::{GiveUp, ItemEvent, ItemState, MAX_ATTEMPTS, WorkItem};

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

/// Mends an open run that was sealed or abandoned.
///
/// The close of an abandoned run is asked for: nothing else is to be done for it. Of a sealed run, this
/// sends the message again for every portfolio that nobody works on, settles what is past the
/// deadline or was claimed too often, counts what had ended, and asks for the close when all is done. A run that is being
/// closed is left to its closer until the lease has passed. Where the queue says that most of these messages wait in it
/// still, none is sent: the work is slow, not lost, and what is missing shows once the queue is shorter.
///
/// # Errors
/// The store or the queue; the next sweep goes on where this one stopped.
pub async fn mend(ports: &Ports, run: &Run) -> Result<Mended, StoreError> {
    let mut mended = Mended::default();
    if matches!(run.phase, RunPhase::Planning { .. } | RunPhase::Closed | RunPhase::Missed)
        || !guards::on(Guard::Sweeper)
    {
        return Ok(mended);
    }
    if let RunPhase::Closing { lease_until, .. } = run.phase
        && lease_until >= ports.clock.now()
    {
        return Ok(mended);
    }
    let id = run.batch_run_id;
    let Some(plan) = &run.plan else {
        if run.abandoned.is_some() {
            ports.queue.send_close(id).await?;
            mended.close_asked = true;
        }
        return Ok(mended);
    };
    let folds = ports.store.folds(id).await?;
    // Of all buckets, as the store counts them: one that was full before may not have been marked yet, and the last
    // one may become full here.
    let mut full = 0;
    let mut again = Vec::new();
    for bucket in 0..plan.buckets() {
        let done = folds.iter().find(|fold| fold.bucket == bucket).map(|fold| &fold.done);
        if done.is_some_and(|done| done.len() == plan.bucket_len(bucket) as usize) {
            full = ports.store.mark_full(id, bucket).await?;
            continue;
        }
        let manifest = ports.store.manifest(id, plan.epoch, bucket).await?;
        let items = ports.store.items(id, bucket).await?;
        for item in with_untouched(id, bucket, manifest, items) {
            if done.is_some_and(|done| done.contains(&item.place.index)) {
                continue;
            }
            let ended = if item.state.is_terminal() {
                mended.folded += 1;
                Some(item.clone())
            } else {
                let ended = settle_if_hopeless(ports, run, &item).await?;
                mended.settled += usize::from(ended.is_some());
                ended
            };
            match ended {
                Some(item) => mended.close_asked |= run_tail(ports, plan, &item).await?,
                None if lies_idle(ports, &item) => {
                    again.push(WorkMessage { key: item.key, name: item.portfolio_name, place: item.place });
                }
                None => {}
            }
        }
    }
    if !again.is_empty() && !mostly_waiting(ports, again.len()).await {
        mended.sent += again.len();
        ports.queue.send_work(again).await?;
    }
    if full == plan.buckets() && !mended.close_asked {
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

impl Mended {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.settled += other.settled;
        self.folded += other.folded;
        self.close_asked |= other.close_asked;
    }
}

/// Whether at least half as many messages wait in the queue as could be sent: how many they are is known about only, and
/// some of those that were received are not claimed yet. A queue that does not answer holds up nothing.
async fn mostly_waiting(ports: &Ports, idle: usize) -> bool {
    let waiting = ports.queue.waiting_work().await.unwrap_or_else(|error| {
        tracing::warn!(error = %error, event = "queue.unknown", "the length of the work queue is not known; what lies idle is sent again");
        None
    });
    waiting.is_some_and(|waiting| waiting.saturating_mul(2) >= idle as u64)
}

fn lies_idle(ports: &Ports, item: &WorkItem) -> bool {
    match item.state {
        ItemState::Pending => true,
        ItemState::Working { lease_until, .. } => lease_until < ports.clock.now(),
        ItemState::Done | ItemState::Lost | ItemState::TimedOut | ItemState::Cancelled => false,
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

/// What a sweep over everything found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Over all open runs.
    pub mended: Mended,
    /// Runs that wait for their planner: the caller, who knows where their inputs are, starts them again.
    pub unplanned: Vec<RunId>,
    /// Runs that were abandoned: nobody planned them in time, or somebody canceled them.
    pub abandoned: Vec<RunId>,
    /// Slots that were recorded as missed.
    pub missed: Vec<RunId>,
    /// Publications that were made up for.
    pub published: usize,
    /// Publications that failed again.
    pub not_published: usize,
    /// Alerts that are out of the way now.
    pub told: usize,
    /// Alerts that could not be delivered again.
    pub not_told: usize,
}

/// What was delivered late, or could not be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Publications that were made up for.
    pub published: usize,
    /// Publications that failed again.
    pub not_published: usize,
    /// Alerts that are out of the way now.
    pub told: usize,
    /// Alerts that could not be delivered again.
    pub not_told: usize,
}

impl Sweep {
    /// Says in one line what was done, where anything was.
    fn log(&self) {
        if *self == Self::default() {
            return;
        }
        tracing::info!(
            sent = self.mended.sent,
            settled = self.mended.settled,
            folded = self.mended.folded,
            unplanned = self.unplanned.len(),
            abandoned = self.abandoned.len(),
            missed = self.missed.len(),
            published = self.published,
            not_published = self.not_published,
            told = self.told,
            not_told = self.not_told,
            event = "watch.swept",
            "the watch found something that was left lying"
        );
    }
}

/// Looks for everything that was left lying, and mends or reports it: open runs, slots that passed without a run,
/// pages that are not published, alerts that are not out.
///
/// `passed` are the slots that nobody will run any more; a domain without a calendar cannot know them. One that has a
/// run is left alone. A run that cannot be mended does not keep the others from it.
///
/// # Errors
/// The first error of the store or the queue, after everything else was looked at; the next sweep tries again.
pub async fn watch(
    ports: &Ports,
    publisher: &dyn Publisher,
    notifier: &dyn Notifier,
    passed: &[StartRun],
) -> Result<Sweep, StoreError> {
    let (mut sweep, mut first_error) = mend_all(ports, passed).await;
    match deliver(ports, publisher, notifier).await {
        Ok(Delivered { published, not_published, told, not_told }) => {
            sweep = Sweep { published, not_published, told, not_told, ..sweep };
        }
        Err(error) => keep_first(&mut first_error, error),
    }
    sweep.log();
    first_error.map_or(Ok(sweep), Err)
}

/// The part of [`watch`] that needs neither the site nor people.
///
/// Mends open runs, records the slots of `passed` that have no run as missed, and folds nights that have runs but no
/// head. Gives what was done, and the first error
/// after everything was looked at.
pub async fn mend_all(ports: &Ports, passed: &[StartRun]) -> (Sweep, Option<StoreError>) {
    let mut sweep = Sweep::default();
    let mut first_error = None;
    let open = ports.store.open_runs().await.unwrap_or_else(|error| {
        keep_first(&mut first_error, error);
        Vec::new()
    });
    for run in open {
        if let Err(error) = mend_one(ports, &run, &mut sweep).await {
            keep_first(&mut first_error, error);
        }
    }
    for start in passed {
        match record_missed(ports, start).await {
            Ok(true) => sweep.missed.push(start.id),
            Ok(false) => {}
            Err(error) => keep_first(&mut first_error, error),
        }
    }
    if guards::on(Guard::NightSweep)
        && let Err(error) = keep_missing_nights(ports).await
    {
        keep_first(&mut first_error, error);
    }
    (sweep, first_error)
}

/// Mends an open run, abandons one that can no longer be planned, or notes that it waits for its planner.
async fn mend_one(ports: &Ports, run: &Run, sweep: &mut Sweep) -> Result<(), StoreError> {
    let now = ports.clock.now();
    if let Some(reason) = run.must_be_abandoned(now) {
        abandon(ports, run.batch_run_id, reason).await?;
        sweep.abandoned.push(run.batch_run_id);
    } else if run.waits_for_planner(now) {
        sweep.unplanned.push(run.batch_run_id);
    } else {
        sweep.mended.add(&mend(ports, run).await?);
    }
    Ok(())
}

fn keep_first(first: &mut Option<StoreError>, error: StoreError) {
    match first {
        None => *first = Some(error),
        Some(_) => tracing::error!(error = %error, event = "watch.failed", "a further run could not be mended"),
    }
}

/// Records that the slot of this start passed without a run: once, and never where there is one. Returns whether it was
/// recorded now.
///
/// # Errors
/// The store.
pub async fn record_missed(ports: &Ports, start: &StartRun) -> Result<bool, StoreError> {
    let missed = start.missed(ports.clock.now());
    let recorded = ports.store.create_run(&missed).await? == Creation::Created;
    if recorded {
        tracing::warn!(
            batch_run_id = %start.id, as_of = %start.as_of, scheduled_for = %start.scheduled_for,
            event = "slot.missed", "a scheduled slot passed without a run"
        );
        keep_night(ports, &start.night(), None).await?;
    }
    Ok(recorded)
}

/// Failed deliveries of alerts in one round, after which the others wait for the next: each may take a minute, and what
/// fails for three runs fails for all.
const MOST_FAILED_ALERTS: usize = 3;

/// Delivers what is not delivered yet of the runs that have ended: pages, and alerts.
///
/// Pages come in the order of their last try, and end with the first that fails: what fails, fails for all as a rule,
/// and one run whose pages always fail is behind all others in the next round. Alerts of the newest runs come first.
///
/// # Errors
/// The first error of the store, after everything else was tried.
pub async fn deliver(
    ports: &Ports,
    publisher: &dyn Publisher,
    notifier: &dyn Notifier,
) -> Result<Delivered, StoreError> {
    let mut delivered = Delivered::default();
    let mut first_error = None;
    let waiting = ports.store.undelivered().await?;
    let mut pages: Vec<&Run> = waiting.iter().map(|stored| &stored.run).collect();
    let now = ports.clock.now();
    pages.retain(|run| run.wants_pages(now));
    pages.sort_by_key(|run| match run.publication {
        Publication::Failed { at, .. } => Some(at),
        Publication::Pending | Publication::UnderWay { .. } | Publication::Published { .. } => None,
    });
    for run in pages {
        match publish(ports, publisher, run).await {
            Ok(Publication::Failed { .. }) => {
                delivered.not_published += 1;
                break;
            }
            Ok(Publication::Published { .. }) => delivered.published += 1,
            Ok(Publication::Pending | Publication::UnderWay { .. }) => {}
            Err(error) => keep_first(&mut first_error, error),
        }
    }
    for stored in waiting.iter().rev() {
        match tell(ports, notifier, &summary_of(stored)).await {
            Ok(Told::Told) => delivered.told += 1,
            Ok(Told::Elsewhere) => {}
            Ok(Told::NotDelivered) => delivered.not_told += 1,
            Err(error) => keep_first(&mut first_error, error),
        }
        if delivered.not_told == MOST_FAILED_ALERTS {
            break;
        }
    }
    if let Err(error) = notifier.catch_up().await {
        tracing::error!(error = %redact(&error.message), event = "alert.failed", "what is due of the alerts could not be told; the next round tries again");
    }
    first_error.map_or(Ok(delivered), Err)
}

/// Delivers what is not delivered yet of one run that has ended: its pages, then its alert.
///
/// # Errors
/// The store.
pub async fn deliver_run(
    ports: &Ports,
    publisher: &dyn Publisher,
    notifier: &dyn Notifier,
    stored: &StoredRun,
) -> Result<Delivered, StoreError> {
    let mut delivered = Delivered::default();
    if stored.run.wants_pages(ports.clock.now()) {
        match publish(ports, publisher, &stored.run).await? {
            Publication::Failed { .. } => delivered.not_published += 1,
            Publication::Published { .. } => delivered.published += 1,
            Publication::Pending | Publication::UnderWay { .. } => {}
        }
    }
    match tell(ports, notifier, &summary_of(stored)).await? {
        Told::Told => delivered.told += 1,
        Told::Elsewhere => {}
        Told::NotDelivered => delivered.not_told += 1,
    }
    Ok(delivered)
}

/// The summary of a run that has ended: a missed one has none on record.
fn summary_of(stored: &StoredRun) -> RunSummary {
    stored.summary.clone().unwrap_or_else(|| summarise(&stored.run, &[], &BTreeMap::new()))
}
