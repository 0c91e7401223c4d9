//! `watch`: finds what was left lying, and has it mended by whoever does it.
//!
//! Messages are sent again, items ended from outside and counted, `start-run` is called for what was not planned, and
//! `close-run` asked for what is not published.

use std::sync::Arc;

use app::{DueSlot, SettingsFile, due_slot, grace, stored_settings};
use async_trait::async_trait;
use book::{ScheduleSettings, next_due_slot};
use chrono::{DateTime, TimeDelta, Utc};
use domain::alerting::Alerting;
use domain::identity;
use domain::ids::RunId;
use domain::metrics::CloudMetric;
use domain::ports::{AlertBooks, AlertChannel, Notifier as _, Ports, RunQuery, RunStore, StoreError};
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

/// Slots that one sweep looks at: after a long silence the oldest come first, and the others in the next sweeps.
const MOST_SLOTS: usize = 20;

/// Ended runs whose delivery one sweep asks for.
const MOST_DELIVERIES: usize = 20;

/// Runs of a page that is looked through for the newest slot.
const PAGE: usize = 100;

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
        let (mut late, mut passed) = (Vec::new(), Vec::new());
        if let Some(settings) = &settings {
            let unserved = self.unserved(&settings.settings.schedule, settings.since).await;
            (late, passed) = errors.keep(unserved.map_err(Into::into)).unwrap_or_default();
        }
        let (Sweep { mended, unplanned, missed, .. }, error) = mend_all(ports, &passed).await;
        if let Some(error) = error {
            errors.keep::<()>(Err(error.into()));
        }
        swept = Swept { sent: mended.sent, settled: mended.settled, folded: mended.folded, missed, ..swept };
        for id in unplanned {
            let called = self.start.call_start(&json!({ "resume": id })).await;
            swept.resumed += usize::from(errors.keep(called.map_err(Into::into)).is_some());
        }
        for start in late {
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
        for stored in waiting.iter().take(MOST_DELIVERIES) {
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

    /// The slots past their grace that nobody has started, none from before there were records: those to be started
    /// late, and those to be recorded as missed, each oldest first.
    async fn unserved(
        &self,
        schedule: &ScheduleSettings,
        since: Option<DateTime<Utc>>,
    ) -> Result<(Vec<StartRun>, Vec<StartRun>), StoreError> {
        let (mut late, mut passed) = (Vec::new(), Vec::new());
        let newest = newest(self.ports.store.as_ref(), schedule).await?;
        let Some(mut seen) = newest.max(since) else { return Ok((late, passed)) };
        let now = self.ports.clock.now();
        for _ in 0..MOST_SLOTS {
            let Some(slot) = next_due_slot(schedule, seen).filter(|slot| *slot + grace(schedule) < now) else { break };
            seen = slot;
            let start = app::scheduled(schedule, slot);
            if due_slot(schedule, slot, now, None, true) == DueSlot::Start {
                late.push(start.clone());
            }
            let in_time = now <= slot + grace(schedule) + LATE_START;
            if due_slot(schedule, slot, now, None, in_time) == DueSlot::Missed {
                passed.push(start);
            }
        }
        Ok((late, passed))
    }
}

/// The newest slot of this schedule that has a record.
async fn newest(store: &dyn RunStore, schedule: &ScheduleSettings) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut query = RunQuery { limit: PAGE, ..RunQuery::default() };
    loop {
        let page = store.runs(&query).await?;
        let mut runs = page.runs.iter().map(|stored| &stored.run);
        let of_slot = runs.find(|run| identity::scheduled(&schedule.name, run.scheduled_for) == run.batch_run_id);
        if of_slot.is_some() || page.next.is_none() {
            return Ok(of_slot.map(|run| run.scheduled_for));
        }
        query.after = page.next;
    }
}
