//! The actors: one invocation each of a production use case, over ports that fail.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use domain::close_run::{close_run, publish_bucket};
use domain::ids::{ContentHash, JobName, PortfolioId, RunId};
use domain::job_context::JobContext;
use domain::night::{Member, NightBefore, NightKey, NightMembers, PinnedNight};
use domain::ports::{
    Change, Clock, JobRunner, Nights as _, PinnedInputs, PortfolioJobs, Ports, PublishError, Publisher, RunInputs,
    Runs as _, SiteFile, SiteStore, StoreError, StoredRun, Tallies as _, WorkItems as _, WriteIf,
};
use domain::process_portfolio::{Handled, process_portfolio};
use domain::record::{JobError, JobOutput, Quality};
use domain::run::{Publication, Run, RunEvent, RunLevelWork};
use domain::start_run::{StartError, start_run};
use domain::watch::watch;
use domain::words::{ErrorCategory, QualityFlag};
use domain::work_item::{ItemEvent, ItemState};
use rand::RngExt as _;
use serde_json::{Map, json};
use site::{NoAlerts, NoNotes, SiteOptions, SiteParts, SitePublisher, Spread};

use crate::coverage::Row;
use crate::executor::SECOND;
use crate::ports::{Port, now, ports};
use crate::queue::Message;
use crate::scenario::Slot;
use crate::world::{Handle, World};

/// Tries of a trigger whose planner reported an error.
const TRIGGERS: u32 = 3;

/// How long after its slot the watch starts a run that is not there.
const GRACE: TimeDelta = TimeDelta::minutes(10);

impl World {
    /// A new actor with a clock of its own.
    fn invoke(self: &Arc<Self>, what: &str) -> Handle {
        let most = self.scenario.skew;
        let mut state = self.state();
        let skew = if most > 0 { state.rng.random_range(-most..=most) } else { 0 };
        if skew.abs() >= 120 {
            state.coverage.hit(Row::ClockSkew);
        }
        let name = format!("{what} {}", state.actors.len());
        drop(state);
        self.actor(name, TimeDelta::seconds(skew))
    }

    fn spawn(&self, handle: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        self.state().spawns.push((handle.actor, Box::pin(work)));
    }
}

/// The real publisher, or the stand-in for it.
fn publisher(handle: &Handle) -> Box<dyn Publisher> {
    let spread = handle.world.scenario.spread;
    if !handle.world.scenario.site {
        return Box::new(OnePage { handle: handle.clone(), spread });
    }
    let port = Arc::new(Port(handle.clone()));
    let parts = SiteParts {
        store: Arc::clone(&port) as Arc<dyn domain::ports::RunStore>,
        alerts: Arc::new(NoAlerts),
        notes: Arc::new(NoNotes),
        site: Arc::clone(&port) as Arc<dyn SiteStore>,
        clock: port as Arc<dyn Clock>,
        spread: if spread { Spread::From(1) } else { Spread::Never },
    };
    Box::new(SitePublisher::new(parts, SiteOptions { title: "Simulation".into(), ..SiteOptions::default() }))
}

/// A site of one page, for schedules that are about everything else.
struct OnePage {
    handle: Handle,
    spread: bool,
}

#[async_trait]
impl Publisher for OnePage {
    fn spreads(&self, run: &Run) -> bool {
        self.spread && run.plan.as_ref().is_some_and(|plan| plan.portfolios > 0)
    }

    async fn publish(&self, run: RunId) -> Result<u64, PublishError> {
        let site = Port(self.handle.clone());
        let path = "index.html".to_owned();
        let body = format!("<a href=\"index.html\">{run}</a>").into_bytes();
        let page = SiteFile { path: path.clone(), content_type: "text/html", body };
        let written = site.write(&page, &WriteIf::Always).await;
        written.map(|_| 1).map_err(|error| PublishError::Page { path, source: Box::new(error) })
    }

    /// There are no pages of portfolios, so the last step is the whole publication.
    async fn begin(&self, _: RunId) -> Result<u64, PublishError> {
        Ok(0)
    }

    async fn publish_bucket(&self, _: RunId, _: u32) -> Result<u64, PublishError> {
        Ok(0)
    }

    async fn finish(&self, run: RunId) -> Result<u64, PublishError> {
        self.publish(run).await
    }
}

/// A planner is triggered for a slot.
pub(crate) fn plan(world: &Arc<World>, slot: usize, tries: u32) {
    let handle = world.invoke("planner");
    let work = {
        let (world, handle) = (Arc::clone(world), handle.clone());
        async move {
            let inputs = Inputs { handle: handle.clone(), slot };
            let planned = &world.scenario.slots[slot];
            if let Err(error) = ask_and_start(&ports(&handle), planned, &inputs).await {
                world.note(|| format!("{}: {error}", world.name(handle.actor)));
                let on_record = now(world.store.run(planned.start.id)).ok().flatten().is_some();
                if planned.is_hopeless() && !planned.recorded_first && !planned.start.is_scheduled() && !on_record {
                    world.state().coverage.hit(Row::StartRefused);
                    world.state().refused.insert(slot);
                } else if tries > 1 {
                    let again = Arc::clone(&world);
                    world.timeline.after(60 * SECOND, move || plan(&again, slot, tries - 1));
                }
            }
        }
    };
    world.spawn(&handle, work);
}

/// Somebody asks for the run where it is recorded first, and plans it.
async fn ask_and_start(ports: &Ports, slot: &Slot, inputs: &Inputs) -> Result<(), StartError> {
    if slot.recorded_first {
        ports.store.create_run(&slot.start.asked_for(ports.randomness.owner(), ports.clock.now())).await?;
    }
    start_run(ports, &slot.start, inputs).await.map(|_| ())
}

/// All triggers of the scenario.
pub(crate) fn trigger(world: &Arc<World>) {
    for (number, slot) in world.scenario.slots.iter().enumerate() {
        for _ in 0..slot.planners {
            let later = world.state().rng.random_range(0..5 * SECOND);
            let later = if world.state().rng.random_bool(0.2) { later + 400 * SECOND } else { later };
            let again = Arc::clone(world);
            world.timeline.after(slot.at + later, move || plan(&again, number, TRIGGERS));
        }
    }
    if let Some(at) = world.scenario.late_planner {
        let again = Arc::clone(world);
        world.timeline.after(at, move || plan(&again, 0, 1));
    }
    if let Some(at) = world.scenario.cancel_at {
        let again = Arc::clone(world);
        world.timeline.after(at, move || cancel(&again));
    }
    for at in world.scenario.restarts.clone() {
        let again = Arc::clone(world);
        world.timeline.after(at, move || restart(&again));
    }
    sweep_after(world, world.scenario.sweep_every);
}

/// A message was delivered.
pub(crate) fn handle(world: &Arc<World>, id: u64, message: Message) {
    match message {
        Message::Work(_) if world.scenario.workers_gone => world.state().coverage.hit(Row::WorkersGone),
        Message::Work(message) => {
            let handle = world.invoke("worker");
            let work = {
                let (world, handle) = (Arc::clone(world), handle.clone());
                async move {
                    let runner = Jobs(handle.clone());
                    match process_portfolio(&ports(&handle), &runner, &message).await {
                        Ok(Handled::Acknowledge) => world.acknowledge(id),
                        Ok(Handled::GiveBack) | Err(_) => world.give_back(id),
                    }
                }
            };
            world.spawn(&handle, work);
        }
        Message::Close(run) => {
            let handle = world.invoke("closer");
            let work = {
                let (world, handle) = (Arc::clone(world), handle.clone());
                async move {
                    match close_run(&ports(&handle), publisher(&handle).as_ref(), &Port(handle.clone()), run).await {
                        Ok(closed) => {
                            if closed == domain::close_run::Closed::NotYet {
                                world.state().coverage.hit(Row::CloseTooEarly);
                            }
                            world.acknowledge(id);
                        }
                        Err(error) => {
                            world.refused_to_close(run, &error);
                            world.give_back(id);
                        }
                    }
                }
            };
            world.spawn(&handle, work);
        }
        Message::Pages(run, bucket) => {
            let handle = world.invoke("publisher of a bucket");
            let work = {
                let (world, handle) = (Arc::clone(world), handle.clone());
                async move {
                    match publish_bucket(&ports(&handle), publisher(&handle).as_ref(), run, bucket).await {
                        Ok(_) => world.acknowledge(id),
                        Err(_) => world.give_back(id),
                    }
                }
            };
            world.spawn(&handle, work);
        }
    }
}

fn sweep_after(world: &Arc<World>, time: i64) {
    let again = Arc::clone(world);
    world.timeline.after(time, move || {
        let handle = again.invoke("watch");
        let work = {
            let (world, handle) = (Arc::clone(&again), handle.clone());
            async move {
                if let Err(error) = sweep(&world, &handle).await {
                    world.note(|| format!("{}: {error}", world.name(handle.actor)));
                }
            }
        };
        again.spawn(&handle, work);
        sweep_after(&again, again.scenario.sweep_every);
    });
}

/// One round of the watch: what `nightbook serve` does each minute.
async fn sweep(world: &Arc<World>, handle: &Handle) -> Result<(), StoreError> {
    let ports = ports(handle);
    let mut passed = Vec::new();
    for (number, slot) in world.scenario.slots.iter().enumerate() {
        let past = ports.clock.now() > slot.start.scheduled_for + GRACE;
        if !past || world.state().refused.contains(&number) || ports.store.run(slot.start.id).await?.is_some() {
            continue;
        }
        // A rerun is asked for by somebody, who asks again.
        if world.scenario.catch_up || slot.start.rerun_of.is_some() {
            world.state().coverage.hit(Row::RunMissing);
            plan(world, number, 1);
        } else {
            passed.push(slot.start.clone());
        }
    }
    let publisher = publisher(handle);
    let swept = watch(&ports, publisher.as_ref(), &Port(handle.clone()), &passed).await?;
    for (number, slot) in world.scenario.slots.iter().enumerate() {
        if swept.unplanned.contains(&slot.start.id) {
            plan(world, number, 1);
        }
    }
    Ok(())
}

/// Somebody cancels every run that is under way.
fn cancel(world: &Arc<World>) {
    let handle = world.invoke("operator");
    let work = {
        let (world, handle) = (Arc::clone(world), handle.clone());
        async move {
            let ports = ports(&handle);
            for slot in &world.scenario.slots {
                let event = RunEvent::Cancel { now: ports.clock.now() };
                // A run that is not there yet cannot be cancelled, and one that fails to be is simply not.
                let _outcome = ports.store.apply_run(slot.start.id, &event).await;
            }
        }
    };
    world.spawn(&handle, work);
}

/// The whole process dies and comes back: nothing of it acts any more, and its leases are void.
fn restart(world: &Arc<World>) {
    let mut state = world.state();
    if !world.faulty(&state) {
        return;
    }
    for actor in &mut state.actors {
        actor.dead = true;
        actor.faulted = true;
    }
    state.coverage.hit(Row::ProcessRestart);
    drop(state);
    world.note(|| "the process dies, and another voids its leases".into());
    let handle = world.invoke("restart");
    let at = handle.now();
    for run in now(world.store.open_runs()).unwrap_or_default() {
        let id = run.batch_run_id;
        let event = RunEvent::VoidLease { now: at };
        if let Ok(reply @ Change::Applied(_)) = now(world.store.apply_run(id, &event)) {
            handle.saw_run(Some(&run), &event, &reply);
        }
        for bucket in 0..run.plan.as_ref().map_or(0, domain::run::SealedPlan::buckets) {
            for item in now(world.store.items(id, bucket)).unwrap_or_default() {
                if matches!(item.state, ItemState::Working { .. }) {
                    let event = ItemEvent::VoidLease;
                    let reply = now(world.store.apply_item(&item.key, &item.portfolio_name, item.place, &event));
                    if let Ok(reply) = reply {
                        handle.saw_item(Some(&item), &event, &reply);
                    }
                }
            }
        }
    }
}

/// Reads the book, as it is when this planner looks.
struct Inputs {
    handle: Handle,
    slot: usize,
}

#[async_trait]
impl RunInputs for Inputs {
    async fn pin(
        &self,
        _as_of: NaiveDate,
        _filter: &[PortfolioId],
        before: &NightBefore,
    ) -> Result<PinnedInputs, JobError> {
        let (slot, expected_before) = (self.slot, before.expected.clone());
        let pinned = self.handle.call("read the book", move |h| {
            let scenario = &h.world.scenario;
            let Slot { unreadable_until, permanent, .. } = scenario.slots[slot];
            if h.world.timeline.now() < unreadable_until {
                let what = "file of the pinned inputs".to_owned();
                return Err(if permanent {
                    StoreError::NotFound { what }
                } else {
                    StoreError::Unavailable { doing: format!("read the {what}"), source: "the disk is slow".into() }
                });
            }
            let which = h.world.state().rng.random_range(0..scenario.lists.len());
            let (book, portfolios) = scenario.lists[which].clone();
            let at = h.now();
            Ok(PinnedInputs {
                night: Some(PinnedNight {
                    members: NightMembers {
                        open: portfolios.iter().map(|one| (one.id.clone(), Member::default())).collect(),
                        expected_before: expected_before.clone(),
                        ..NightMembers::default()
                    },
                    inputs: book.clone(),
                    newest_close: None,
                    restatement_tolerance: 1e-9,
                }),
                book: book.clone(),
                portfolios,
                jobs: scenario.jobs.clone(),
                retry: scenario.retry,
                deadline_minutes: scenario.deadline_minutes,
                snapshot: book.as_str().as_bytes().to_vec(),
                market_data: RunLevelWork {
                    attempts: 1,
                    started_at: at,
                    completed_at: at,
                    error: scenario.market_data.as_ref().map(|error| error.recorded(&scenario.jobs[0].name, &[])),
                    metadata: Map::new(),
                    quality: None,
                },
            })
        });
        pinned.await.map_err(|error| {
            let category = match error {
                StoreError::NotFound { .. } => ErrorCategory::Permanent,
                _ => ErrorCategory::Transient,
            };
            JobError::from_error(category, &error)
        })
    }
}

/// Jobs whose outcome is chance: two workers of one item come to different results, so that mixing them shows.
struct Jobs(Handle);

#[async_trait]
impl JobRunner for Jobs {
    async fn open(&self, _run: &Run, portfolio: &PortfolioId) -> Result<Arc<dyn PortfolioJobs>, JobError> {
        let poison = {
            let mut state = self.0.world.state();
            let poison = self.0.world.scenario.behaviour.poison.as_ref() == Some(portfolio);
            if poison {
                state.coverage.hit(Row::PoisonTried);
                state.actors[self.0.actor].faulted = true;
            }
            poison
        };
        if poison {
            return self.0.die().await;
        }
        let opened = self.0.call("open the portfolio", |_| Ok(())).await;
        opened.map_err(|error| JobError::from_error(ErrorCategory::Transient, &error))?;
        Ok(Arc::new(Opened(self.0.clone())))
    }
}

struct Opened(Handle);

#[async_trait]
impl PortfolioJobs for Opened {
    async fn run(&self, job: &JobName, context: JobContext) -> Result<JobOutput, JobError> {
        let world = &self.0.world;
        let behaviour = &world.scenario.behaviour;
        let (fails, long, hangs, processed, kind) = {
            let mut state = world.state();
            let rng = &mut state.rng;
            let fails = rng.random_bool(behaviour.fails);
            let (long, hangs) = (rng.random_bool(behaviour.long), rng.random_bool(behaviour.hangs));
            (fails, long, hangs, rng.random_range(1..1_000), rng.random_range(0..3))
        };
        if hangs {
            world.state().coverage.hit(Row::JobHung);
            return std::future::pending().await;
        }
        if long {
            for done in 0..4 {
                context.progress(done, 4, || format!("position {done}"))?;
                world.timeline.wait(33 * SECOND).await;
            }
        }
        self.0
            .call("a job", |_| Ok(()))
            .await
            .map_err(|error| JobError::from_error(ErrorCategory::Transient, &error))?;
        if fails {
            let category = [ErrorCategory::Transient, ErrorCategory::Permanent, ErrorCategory::Internal][kind];
            return Err(JobError::new(category, format!("{job} came across row {processed}")));
        }
        Ok(JobOutput {
            records_processed: processed,
            quality: Some(Quality {
                flag: if processed % 2 == 0 { QualityFlag::Full } else { QualityFlag::Limited },
                data_days: 90,
                required_days: 90,
                positions_processed: 1,
                positions_total: 1,
                symbols_missing: Vec::new(),
                notes: Vec::new(),
            }),
            metadata: Map::new(),
        })
    }

    fn results(&self) -> Result<Option<Vec<u8>>, JobError> {
        Ok(Some(json!({ "by": self.0.actor }).to_string().into_bytes()))
    }

    fn known_ids(&self) -> Vec<String> {
        Vec::new()
    }
}

impl World {
    /// Tells what is on record of these runs, without what differs by the build: hashes and fingerprints.
    pub(crate) fn tell_records(&self, runs: &[RunId]) {
        for id in runs {
            let Ok(Some(stored)) = now(self.store.run(*id)) else { continue };
            for bucket in 0..stored.run.plan.as_ref().map_or(0, domain::run::SealedPlan::buckets) {
                for item in now(self.store.items(*id, bucket)).unwrap_or_default() {
                    self.note(|| {
                        format!(
                            "on record: item {} {}, attempt {}",
                            item.key.portfolio,
                            item.state.as_str(),
                            item.attempt
                        )
                    });
                    for record in &item.records {
                        self.note(|| {
                            let error = record.error.as_ref().map(|error| format!("{}: {}", error.category, error.message));
                            format!(
                                "on record: {} {} {}, attempt {}, {:?} to {:?}, {:?} s, {} processed, progress {:?}, {error:?}, {:?}",
                                record.portfolio_id, record.job_name, record.status, record.attempt, record.started_at,
                                record.completed_at, record.duration_seconds, record.records_processed,
                                record.progress.as_ref().map(|progress| progress.done), record.skipped_because,
                            )
                        });
                    }
                }
            }
            for fold in now(self.store.folds(*id)).unwrap_or_default() {
                self.note(|| format!("on record: {fold:?}"));
            }
            if let Some(mut summary) = stored.summary {
                for cause in &mut summary.failures {
                    cause.message.clear();
                }
                self.note(|| {
                    format!(
                        "on record: {}, closed at {:?}, {:?}, processed {} of {}, {} causes, {:?}, {:?}",
                        summary.status,
                        summary.closed_at,
                        summary.counts(),
                        summary.portfolios_processed,
                        summary.portfolios_expected,
                        summary.failures.len(),
                        summary.data_quality,
                        summary.publication,
                    )
                });
            }
        }
    }

    /// A closer found that records and folds disagree: what it must never find.
    fn refused_to_close(&self, run: RunId, error: &StoreError) {
        if let StoreError::Damaged { detail, .. } = error {
            self.violate(
                crate::world::Promise::DoubleCounted,
                format!("run {} cannot be closed: {detail}", run.short()),
            );
        }
    }

    /// Publishes once more, by somebody without faults, and gives the files that this changed.
    pub(crate) fn publish_again(self: &Arc<Self>, run: RunId, executor: &mut crate::executor::Executor) -> Vec<String> {
        self.state().written.clear();
        let handle = self.invoke("reader");
        let work = {
            let handle = handle.clone();
            async move {
                let _files = publisher(&handle).publish(run).await;
            }
        };
        executor.spawn(handle.actor, Box::pin(work));
        let until = self.timeline.now() + 600 * SECOND;
        while self.timeline.now() < until && executor.step(|actor| self.state().actors[actor].dead) {}
        self.state().written.iter().cloned().collect()
    }

    /// Whether a run has ended in every respect: closed, published, its alert out of the way.
    pub(crate) fn is_settled(&self, id: RunId) -> bool {
        if self.was_refused(id) {
            return true;
        }
        let Ok(Some(stored)) = now(self.store.run(id)) else { return false };
        let nobody = domain::ids::Owner(uuid::Uuid::nil());
        let told = now(self.store.apply_alert(id, &domain::alert::AlertEvent::GiveBack { owner: nobody }));
        stored.run.has_ended()
            && matches!(stored.run.publication, Publication::Published { .. })
            && matches!(told, Ok(Change::Refused(domain::alert::AlertState::Sent { .. }, _)))
            && self.night_knows(&stored)
    }

    /// Whether the head of the night was written after the run ended. A sweep writes it where its writer died.
    fn night_knows(&self, stored: &StoredRun) -> bool {
        let key = NightKey { series: stored.run.night_series().clone(), as_of: stored.run.as_of };
        matches!(now(self.store.night(&key)), Ok(Some(head)) if head.knows(stored))
    }

    /// Whether the start of this run was refused for good, with nothing recorded.
    pub(crate) fn was_refused(&self, id: RunId) -> bool {
        let refused = self.state().refused.clone();
        refused.iter().any(|slot| self.scenario.slots[*slot].start.id == id)
            && matches!(now(self.store.run(id)), Ok(None))
    }

    /// The book that a run was planned from.
    pub(crate) fn book_of(&self, id: RunId) -> Option<ContentHash> {
        now(self.store.run(id)).ok().flatten()?.run.plan.map(|plan| plan.book)
    }
}
