//! Every run ends: what becomes of a run whose inputs cannot be read, that nobody plans, or that somebody cancels.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backends::memory::MemoryStore;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::alert_message::AlertMessage;
use domain::alert_rules::{AlertRules, Severity};
use domain::alerting::Alerting;
use domain::close_run::{Closed, close_run};
use domain::identity;
use domain::ids::{ChannelName, ContentHash, Owner, PortfolioId, RunId, ScheduleName};
use domain::night::NightBefore;
use domain::night::next_step::CommandTarget;
use domain::ports::{
    AlertChannel, Change, ChannelError, Clock, Creation, PinnedInputs, Ports, PublishError, Publisher, Randomness,
    RunInputs, Runs as _, Sleeper, StoreError, WorkMessage, WorkQueue,
};
use domain::record::JobError;
use domain::run::{AbandonReason, PlannedPortfolio, Publication, Run, RunEvent, RunLevelWork, RunPhase};
use domain::start_run::{StartError, StartRun, Started, start_run};
use domain::summary::RunSummary;
use domain::watch::mend_all;
use domain::words::{ErrorCategory, RunStatus};
use futures::executor::block_on;

/// The time, as the test sets it.
#[derive(Default)]
struct Hands(Mutex<DateTime<Utc>>);

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// Nobody waits for long enough.
struct Never;

#[async_trait]
impl Sleeper for Never {
    async fn sleep(&self, _: Duration) {
        futures::future::pending().await
    }
}

#[derive(Default)]
struct Dice(Mutex<u128>);

impl Randomness for Dice {
    fn owner(&self) -> Owner {
        let mut next = self.0.lock().unwrap();
        *next += 1;
        Owner(uuid::Uuid::from_u128(*next))
    }

    fn jitter(&self) -> f64 {
        0.5
    }
}

/// The runs whose close was asked for.
#[derive(Default)]
struct Closes(Mutex<Vec<RunId>>);

#[async_trait]
impl WorkQueue for Closes {
    async fn send_work(&self, _: Vec<WorkMessage>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn send_close(&self, run: RunId) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(run);
        Ok(())
    }

    async fn send_pages(&self, _: RunId, _: Vec<u32>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Counts the publications.
#[derive(Default)]
struct Pages(Mutex<Vec<RunId>>);

#[async_trait]
impl Publisher for Pages {
    async fn publish(&self, run: RunId) -> Result<u64, PublishError> {
        self.0.lock().unwrap().push(run);
        Ok(1)
    }

    fn spreads(&self, _: &Run) -> bool {
        false
    }

    async fn begin(&self, _: RunId) -> Result<u64, PublishError> {
        panic!("no run here is published in steps")
    }

    async fn publish_bucket(&self, _: RunId, _: u32) -> Result<u64, PublishError> {
        panic!("no run here is published in steps")
    }

    async fn finish(&self, _: RunId) -> Result<u64, PublishError> {
        panic!("no run here is published in steps")
    }
}

/// A receiver of alerts.
struct Receiver(ChannelName, Mutex<Vec<AlertMessage>>);

#[async_trait]
impl AlertChannel for Receiver {
    fn name(&self) -> &ChannelName {
        &self.0
    }

    fn min_severity(&self) -> Severity {
        Severity::Info
    }

    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        self.1.lock().unwrap().push(message.clone());
        Ok(())
    }
}

/// Inputs with this outcome; what is in `before` happens first, while they are read.
struct Inputs<'a> {
    error: Option<JobError>,
    before: Option<(&'a World, RunEvent)>,
}

#[async_trait]
impl RunInputs for Inputs<'_> {
    async fn pin(&self, _: NaiveDate, _: &[PortfolioId], _: &NightBefore) -> Result<PinnedInputs, JobError> {
        if let Some((world, event)) = &self.before {
            world.store.apply_run(world.open().await[0].batch_run_id, event).await.unwrap();
        }
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        Ok(PinnedInputs {
            night: None,
            book: ContentHash::of(b"book"),
            portfolios: vec![PlannedPortfolio { id: PortfolioId::new("growth").unwrap(), name: "Growth".into() }],
            jobs: Vec::new(),
            retry: domain::retry::RetryPolicy::default(),
            deadline_minutes: 60,
            snapshot: b"snapshot".to_vec(),
            market_data: RunLevelWork {
                attempts: 1,
                started_at: slot(),
                completed_at: slot(),
                error: None,
                metadata: serde_json::Map::new(),
                quality: None,
            },
        })
    }
}

fn readable() -> Inputs<'static> {
    Inputs { error: None, before: None }
}

fn broken(category: ErrorCategory) -> Inputs<'static> {
    let mut error = JobError::new(category, "the inputs of the run cannot be pinned");
    error.chain.push("there is no file of the pinned inputs 3fa9c1d2".into());
    Inputs { error: Some(error), before: None }
}

struct World {
    store: MemoryStore,
    ports: Ports,
    clock: Arc<Hands>,
    closes: Arc<Closes>,
    pages: Pages,
    receiver: Arc<Receiver>,
}

fn slot() -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(2026, 11, 24).unwrap().and_hms_opt(23, 30, 0).unwrap().and_utc()
}

fn scheduled() -> StartRun {
    let schedule = ScheduleName::new("nightly").unwrap();
    StartRun {
        id: identity::scheduled(&schedule, slot()),
        night_series: schedule.clone(),
        schedule,
        trigger: "schedule".into(),
        as_of: slot().date_naive(),
        scheduled_for: slot(),
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: 30,
    }
}

fn by_hand() -> StartRun {
    let id = identity::by_hand("manual", slot().date_naive(), &ContentHash::of(b"book"), &[], 0);
    StartRun { id, trigger: "manual".into(), ..scheduled() }
}

impl World {
    fn new() -> Self {
        let store = MemoryStore::default();
        let (clock, closes) = (Arc::new(Hands(Mutex::new(slot()))), Arc::new(Closes::default()));
        let ports = Ports {
            comparer: Arc::new(domain::ports::NoComparison),
            store: Arc::new(store.clone()),
            documents: Arc::new(store.clone()),
            queue: Arc::clone(&closes) as Arc<dyn WorkQueue>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            sleeper: Arc::new(Never),
            randomness: Arc::new(Dice::default()),
        };
        let receiver = Arc::new(Receiver(ChannelName::new("desk").unwrap(), Mutex::default()));
        Self { store, ports, clock, closes, pages: Pages::default(), receiver }
    }

    fn later(&self, minutes: i64) -> DateTime<Utc> {
        let mut now = self.clock.0.lock().unwrap();
        *now += TimeDelta::minutes(minutes);
        *now
    }

    fn start(&self, start: &StartRun, inputs: &Inputs<'_>) -> Result<Started, StartError> {
        block_on(start_run(&self.ports, start, inputs))
    }

    fn run(&self, start: &StartRun) -> Option<Run> {
        block_on(self.store.run(start.id)).unwrap().map(|stored| stored.run)
    }

    async fn open(&self) -> Vec<Run> {
        self.store.open_runs().await.unwrap()
    }

    /// Closes the run as the queue would have it done, and gives its summary.
    fn close(&self, start: &StartRun) -> RunSummary {
        assert!(self.closes.0.lock().unwrap().contains(&start.id), "nobody asked for the close");
        let alerting = Alerting {
            books: Arc::new(self.store.clone()),
            store: Arc::new(self.store.clone()),
            clock: Arc::clone(&self.ports.clock),
            sleeper: Arc::new(Never),
            randomness: Arc::clone(&self.ports.randomness),
            rules: AlertRules::default(),
            channels: vec![Arc::clone(&self.receiver) as Arc<dyn AlertChannel>],
            base: "https://night.example/".to_owned(),
            target: CommandTarget::Folder { book: Some("/srv/book".to_owned()), data: "/srv/data".to_owned() },
            series: None,
        };
        let closed = block_on(close_run(&self.ports, &self.pages, &alerting, start.id)).unwrap();
        let Closed::Closed(summary) = closed else { panic!("the run is still open") };
        assert!(matches!(summary.publication, Publication::Published { .. }));
        assert!(block_on(self.open()).is_empty(), "nothing stays open, so nothing blocks later starts");
        *summary
    }
}

#[test]
fn a_run_by_hand_whose_inputs_cannot_be_read_is_not_recorded() {
    for category in [ErrorCategory::Permanent, ErrorCategory::Transient] {
        let world = World::new();
        assert!(matches!(world.start(&by_hand(), &broken(category)), Err(StartError::Inputs(_))));
        assert_eq!(world.run(&by_hand()), None);
        assert!(matches!(world.start(&by_hand(), &readable()), Ok(Started::Sealed(_))), "and can be tried again");
    }
}

#[test]
fn a_recorded_run_that_somebody_asked_for_fails_at_once_where_its_inputs_are_gone() {
    let world = World::new();
    let asked = by_hand().asked_for(Owner(uuid::Uuid::nil()), slot());
    assert_eq!(block_on(world.store.create_run(&asked)).unwrap(), Creation::Created);
    let started = world.start(&by_hand(), &broken(ErrorCategory::Permanent)).unwrap();
    assert!(matches!(started, Started::Abandoned(_)), "{started:?}");
    let summary = world.close(&by_hand());
    assert_eq!((summary.status, summary.portfolios_expected), (RunStatus::Failed, 0));
    let cause = "the inputs of the run cannot be pinned: there is no file of the pinned inputs 3fa9c1d2";
    assert_eq!(summary.verdict(), format!("Failed: the run has not started; its inputs could not be read: {cause}"));
    assert_eq!(*world.pages.0.lock().unwrap(), [by_hand().id], "its page says so");
    let alerts = world.receiver.1.lock().unwrap();
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert!(alert.top_causes.iter().any(|line| line.message == cause), "{alert:?}");
    assert_eq!(alert.rerun.as_deref(), Some("nightbook run --book /srv/book --data /srv/data --as-of 2026-11-24"));
}

#[test]
fn a_recorded_run_whose_inputs_cannot_be_reached_is_tried_again_until_its_planning_deadline() {
    let world = World::new();
    let asked = by_hand().asked_for(Owner(uuid::Uuid::nil()), slot());
    block_on(world.store.create_run(&asked)).unwrap();
    for minutes in [0, 10, 20] {
        world.later(minutes);
        let outcome = world.start(&by_hand(), &broken(ErrorCategory::Transient));
        assert!(matches!(outcome, Err(StartError::Inputs(_))), "{outcome:?}");
    }
    world.later(1);
    assert!(matches!(world.start(&by_hand(), &broken(ErrorCategory::Transient)), Ok(Started::Abandoned(_))));
    assert_eq!(world.close(&by_hand()).failures[0].category, ErrorCategory::Transient);
}

#[test]
fn a_scheduled_run_waits_for_readable_inputs_and_is_sealed_once_they_are() {
    let world = World::new();
    let broken = broken(ErrorCategory::Permanent);
    assert!(matches!(world.start(&scheduled(), &broken), Err(StartError::Inputs(_))));
    let run = world.run(&scheduled()).unwrap();
    assert!(matches!(run.phase, RunPhase::Planning { .. }));
    assert!(run.planning_error.unwrap().message.contains("3fa9c1d2"));
    // At the same instant: the lease was given back.
    assert!(matches!(world.start(&scheduled(), &broken), Err(StartError::Inputs(_))));
    assert!(matches!(world.start(&scheduled(), &readable()), Ok(Started::Sealed(_))));
}

#[test]
fn the_watch_abandons_a_run_that_nobody_planned_in_time_with_the_last_error_of_its_planner() {
    for tried in [false, true] {
        let world = World::new();
        if tried {
            world.start(&scheduled(), &broken(ErrorCategory::Permanent)).unwrap_err();
        } else {
            let dead = scheduled().planning(Owner(uuid::Uuid::nil()), slot(), slot() + TimeDelta::minutes(5));
            block_on(world.store.create_run(&dead)).unwrap();
        }
        world.later(30);
        let (swept, error) = block_on(mend_all(&world.ports, &[]));
        assert!(error.is_none() && swept.abandoned.is_empty(), "{swept:?}");
        assert_eq!(swept.unplanned, [scheduled().id], "until its planning deadline somebody may plan it");
        world.later(1);
        let (swept, error) = block_on(mend_all(&world.ports, &[]));
        assert!(error.is_none());
        assert_eq!((&swept.abandoned[..], swept.unplanned.len()), (&[scheduled().id][..], 0));
        let summary = world.close(&scheduled());
        assert_eq!(summary.status, RunStatus::Failed);
        assert_eq!(summary.failures[0].message.contains("3fa9c1d2"), tried, "{}", summary.failures[0].message);
    }
}

#[test]
fn a_run_that_is_canceled_while_its_inputs_are_read_is_closed_and_not_sealed() {
    let world = World::new();
    let cancel = RunEvent::Cancel { now: slot() };
    let inputs = Inputs { before: Some((&world, cancel)), ..readable() };
    let started = world.start(&scheduled(), &inputs).unwrap();
    assert!(matches!(&started, Started::Existing(run) if run.plan.is_none()), "{started:?}");
    let (_, error) = block_on(mend_all(&world.ports, &[]));
    assert!(error.is_none());
    let summary = world.close(&scheduled());
    assert_eq!(summary.verdict(), "Failed: the run was canceled before it started");
    assert_eq!(summary.cancelled_at, Some(slot()));
}

#[test]
fn a_run_that_an_earlier_release_left_canceled_in_planning_is_closed() {
    let world = World::new();
    let open = scheduled().planning(Owner(uuid::Uuid::nil()), slot(), slot() + TimeDelta::minutes(5));
    let open = Run { cancelled_at: Some(slot()), planning_deadline: None, ..open };
    block_on(world.store.create_run(&open)).unwrap();
    let (swept, _) = block_on(mend_all(&world.ports, &[]));
    assert_eq!(swept.abandoned, [scheduled().id]);
    assert_eq!(world.run(&scheduled()).unwrap().abandoned.unwrap().reason, AbandonReason::Canceled);
    world.close(&scheduled());
}

#[test]
fn the_close_of_an_abandoned_run_is_asked_for_until_it_is_closed() {
    let world = World::new();
    let open = scheduled().planning(Owner(uuid::Uuid::nil()), slot(), slot());
    block_on(world.store.create_run(&open)).unwrap();
    let abandon = RunEvent::AbandonPlan { now: slot(), reason: AbandonReason::Overdue };
    assert!(matches!(block_on(world.store.apply_run(open.batch_run_id, &abandon)), Ok(Change::Applied(_))));
    for sweeps in 1..3 {
        let (swept, _) = block_on(mend_all(&world.ports, &[]));
        assert!(swept.mended.close_asked);
        assert_eq!(world.closes.0.lock().unwrap().len(), sweeps);
    }
    world.close(&scheduled());
    let (swept, _) = block_on(mend_all(&world.ports, &[]));
    assert!(!swept.mended.close_asked, "a closed run is left alone");
}
