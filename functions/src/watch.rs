//! `watch`: finds what was left lying, and has it mended by whoever does it.
//!
//! Messages are sent again, items ended from outside and counted, `start-run` is called for what was not planned, and
//! `close-run` asked for what is not published.

use std::sync::Arc;

use app::{
    Beginning, DueSlot, SlotRules, StoredSettings, catch_up_order, due_slot, open_slots, slot_record, stored_settings,
};
use async_trait::async_trait;
use chrono::TimeDelta;
use domain::alerting::Alerting;
use domain::ids::RunId;
use domain::metrics::CloudMetric;
use domain::ports::{AlertBooks, AlertChannel, Notifier as _, Ports, SettingsFile, StoreError};
use domain::redact::redact;
use domain::run::RunPhase;
use domain::start_run::StartRun;
use domain::watch::{Sweep, mend_all};
use serde::Serialize;
use serde_json::{Value, json};

use crate::environment::command_target;
use crate::metrics::Metrics;

/// How much longer than the grace a slot that is to be run late is waited for, before it is recorded as missed.
const LATE_START: TimeDelta = TimeDelta::minutes(15);

/// Slots that one sweep starts late or records as missed: after a long silence the newest and the oldest come first, and
/// the others in the next sweeps.
const MOST_SLOTS: usize = 20;

/// How long a slot that is recorded as missed is tried again: whatever kept it from being started may be mended.
const MISSED_IS_TRIED: TimeDelta = TimeDelta::days(1);

/// Slots that one sweep looks at.
const MOST_LOOKED_AT: usize = 400;

/// Ended runs whose delivery one sweep asks for.
const MOST_DELIVERIES: usize = 20;

/// Calls `start-run`, without waiting for it.
#[async_trait]
pub trait CallStart: Send + Sync {
    /// Hands it a payload.
    ///
    /// # Errors
    /// The call was not taken.
    async fn call_start(&self, payload: &Value) -> Result<(), StoreError>;
}

#[async_trait]
impl CallStart for backends::aws::StartFunction {
    async fn call_start(&self, payload: &Value) -> Result<(), StoreError> {
        self.call(payload).await
    }
}

/// What a sweep found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Messages sent again.
    pub sent: usize,
    /// Items ended from outside.
    pub settled: usize,
    /// Ended items that had not been counted.
    pub folded: usize,
    /// Runs that `start-run` was called for: they wait for their planner.
    pub resumed: usize,
    /// Slots that `start-run` was called for: nobody had started them.
    pub late: usize,
    /// Slots that were recorded as missed.
    pub missed: Vec<RunId>,
    /// Ended runs whose pages or alert `close-run` was asked for.
    pub deliveries: usize,
    /// Open runs, of which the index is refreshed.
    pub open: usize,
}

/// What `watch` needs.
#[derive(Clone)]
pub struct Watcher {
    /// The ports.
    pub ports: Ports,
    /// The alert books.
    pub books: Arc<dyn AlertBooks>,
    /// The settings of the book.
    pub keeper: Arc<dyn SettingsFile>,
    /// The ways to people.
    pub channels: Vec<Arc<dyn AlertChannel>>,
    /// Whoever starts runs.
    pub start: Arc<dyn CallStart>,
    /// Metrics.
    pub metrics: Metrics,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

/// Keeps the first error, and tells the others.
#[derive(Debug, Default)]
struct Errors(Option<anyhow::Error>);

impl Errors {
    fn keep<T>(&mut self, outcome: anyhow::Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => return Some(value),
            Err(error) if self.0.is_none() => self.0 = Some(error),
            Err(error) => {
                tracing::error!(error = %redact(&format!("{error:#}")), event = "watch.failed", "a further thing could not be mended");
            }
        }
        None
    }
}

impl Watcher {
    /// One sweep. What fails for one run keeps no other from being looked at.
    ///
    /// # Errors
    /// The first error, after everything else was looked at; the next sweep tries again.
    pub async fn sweep(&self) -> anyhow::Result<Swept> {
        let (ports, store) = (&self.ports, self.ports.store.as_ref());
        let (mut swept, mut errors) = (Swept::default(), Errors::default());
        let settings = errors.keep(stored_settings(self.keeper.as_ref()).await.map_err(Into::into)).flatten();
        let Unserved { late, again, passed } = match &settings {
            Some(settings) => errors.keep(self.unserved(settings).await.map_err(Into::into)).unwrap_or_default(),
            None => Unserved::default(),
        };
        let (Sweep { mended, unplanned, missed, .. }, error) = mend_all(ports, &passed).await;
        if let Some(error) = error {
            errors.keep::<()>(Err(error.into()));
        }
        swept = Swept { sent: mended.sent, settled: mended.settled, folded: mended.folded, missed, ..swept };
        for id in unplanned {
            let called = self.start.call_start(&json!({ "resume": id })).await;
            swept.resumed += usize::from(errors.keep(called.map_err(Into::into)).is_some());
        }
        for start in late.iter().chain(&again) {
            let payload = json!({ "schedule": start.schedule, "scheduled_time": start.scheduled_for });
            let called = self.start.call_start(&payload).await;
            swept.late += usize::from(errors.keep(called.map_err(Into::into)).is_some());
        }
        let open = errors.keep(store.open_runs().await.map_err(Into::into)).unwrap_or_default();
        for run in open.iter().filter(|run| run.phase == RunPhase::Running) {
            // The one writer of the site shows how the run stands, or closes it.
            let asked = ports.queue.send_close(run.batch_run_id).await;
            swept.open += usize::from(errors.keep(asked.map_err(Into::into)).is_some());
        }
        let waiting = errors.keep(store.undelivered().await.map_err(Into::into)).unwrap_or_default();
        // A slot that is being run late is reported by its run; if that does not come, the next sweep reports the slot.
        let is_late = |id: RunId| late.iter().any(|start| start.id == id) && swept.missed.contains(&id);
        let waiting = waiting.iter().filter(|stored| !is_late(stored.run.batch_run_id));
        for stored in waiting.take(MOST_DELIVERIES) {
            let asked = ports.queue.send_close(stored.run.batch_run_id).await;
            swept.deliveries += usize::from(errors.keep(asked.map_err(Into::into)).is_some());
        }
        if let Some(settings) = settings {
            let base = settings.settings.site.base_url.clone().unwrap_or_default();
            let rules = settings.settings.alerts.rules_in_force();
            let series = Some(settings.settings.schedule.night_series().clone());
            let (books, channels) = (Arc::clone(&self.books), self.channels.clone());
            let notifier = Alerting::new(ports, books, rules, channels, base, command_target(), series);
            if let Err(error) = notifier.catch_up().await {
                errors
                    .keep::<()>(Err(anyhow::anyhow!("what is due of the alerts could not be told: {}", error.message)));
            }
        }
        let now = ports.clock.now();
        let oldest = open.iter().map(|run| (now - run.started_at).num_seconds().max(0)).max().unwrap_or(0);
        let found =
            [(CloudMetric::OldestOpenRunSeconds, oldest as f64), (CloudMetric::SlotsMissed, swept.missed.len() as f64)];
        self.metrics.put(now, &found, &[]);
        if let Some(error) = errors.0 {
            return Err(error);
        }
        self.metrics.put(now, &[(CloudMetric::WatchSweeps, 1.0)], &[]);
        if swept != Swept::default() {
            tracing::info!(
                sent = swept.sent,
                settled = swept.settled,
                folded = swept.folded,
                resumed = swept.resumed,
                late = swept.late,
                missed = swept.missed.len(),
                deliveries = swept.deliveries,
                open = swept.open,
                event = "watch.swept",
                "the watch found something to do"
            );
        }
        Ok(swept)
    }

    /// The slots past their grace that nobody has started.
    async fn unserved(&self, stored: &StoredSettings) -> Result<Unserved, StoreError> {
        let mut unserved = Unserved::default();
        let Some(records) = stored.since else { return Ok(unserved) };
        let (store, now) = (self.ports.store.as_ref(), self.ports.clock.now());
        let rules = SlotRules::of(&stored.settings);
        let beginning = Beginning { records, series: stored.series_since };
        let open = open_slots(store, &rules, beginning, now).await?;
        let mut seen = open.after;
        let mut slots = open.missed;
        while let Some(slot) = rules.next_until(seen, now).filter(|slot| rules.grace_ends(*slot) < now) {
            seen = slot;
            slots.push(rules.scheduled(slot));
        }
        catch_up_order(&mut slots, open.newest_run);
        for start in slots.into_iter().take(MOST_LOOKED_AT) {
            if unserved.late.len().max(unserved.passed.len()) >= MOST_SLOTS {
                break;
            }
            let (slot, record) = (start.scheduled_for, slot_record(store, &start).await?);
            match (due_slot(&rules, slot, now, &record, true), &record.run) {
                (DueSlot::Start, Some(missed)) => {
                    if unserved.again.len() < MOST_SLOTS && now < missed.started_at + MISSED_IS_TRIED {
                        unserved.again.push(record.start_of(&start));
                    }
                }
                (DueSlot::Start, None) => {
                    // The site names those that wait behind the newest one until they are run.
                    let is_behind = !unserved.late.is_empty();
                    if is_behind || now > rules.grace_ends(slot) + LATE_START {
                        unserved.passed.push(start.clone());
                    }
                    unserved.late.push(start);
                }
                (DueSlot::Missed, _) => unserved.passed.push(start),
                (DueSlot::Settled | DueSlot::Waits, _) => {}
            }
        }
        Ok(unserved)
    }
}

/// The slots past their grace that nobody has started, none from before there were records.
#[derive(Debug, Default)]
struct Unserved {
    /// To be started late: the newest first, then the others from the oldest on.
    late: Vec<StartRun>,
    /// Recorded as missed not long ago: what kept them from being started may have been mended.
    again: Vec<StartRun>,
    /// To be recorded as missed.
    passed: Vec<StartRun>,
}
