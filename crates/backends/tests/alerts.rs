//! Nights of a simulated calendar, with people who are told: what is told, how often, and what becomes of it when a
//! receiver fails or a sender dies.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "alerts/quarter.rs"]
mod quarter;

#[path = "alerts/closing.rs"]
mod closing;
#[path = "alerts/deliveries.rs"]
mod deliveries;
#[path = "alerts/messages.rs"]
mod messages;
#[path = "alerts/nights.rs"]
mod nights;
#[path = "alerts/restatements.rs"]
mod restatements;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backends::memory::MemoryStore;
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, TimeDelta, Utc};
use domain::alert_message::{AlertKind, AlertMessage};
use domain::alert_rules::{AlertRules, DeliveryMode, Mute, QuietHours, Severity};
use domain::alerting::{Alerting, take_over};
use domain::ids::{CauseId, ChannelName, ContentHash, Fingerprint, JobName, Owner, PortfolioId, RunId, ScheduleName};
use domain::night::next_step::CommandTarget;
use domain::night::{
    Acceptance, Control, ControlResult, Failure, HeadFacts, JobResult, Level, Night, NightBasis, NightHead, NightJob,
    NightKey, NightPlan, NightRun, NightRunState, PortfolioRun,
};
use domain::ports::{
    AlertBooks as _, AlertChannel, ChannelError, Clock, Nights as _, Notifier as _, Randomness, Runs as _, Sleeper,
};
use domain::run::{AbandonReason, Abandoned, Publication, Run, RunPhase};
use domain::summary::{FailureCluster, JobSummary, QualitySummary, RunSummary};
use domain::words::{ErrorCategory, JobStatus, JobType, RunStatus};
use domain::zone::Zone;
use futures::executor::block_on;

/// The time, as the test sets it.
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

type Answer = Box<dyn Fn(DateTime<Utc>) -> Result<(), ChannelError> + Send + Sync>;

/// A receiver that keeps what it gets, and answers as the test wants.
struct Receiver {
    name: ChannelName,
    least: Severity,
    clock: Arc<Hands>,
    answer: Answer,
    /// What reached it, when, whatever it answered.
    tries: Mutex<Vec<(DateTime<Utc>, AlertMessage)>>,
    got: Mutex<Vec<AlertMessage>>,
}

#[async_trait]
impl AlertChannel for Receiver {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    fn min_severity(&self) -> Severity {
        self.least
    }

    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        self.tries.lock().unwrap().push((self.clock.now(), message.clone()));
        (self.answer)(self.clock.now())?;
        self.got.lock().unwrap().push(message.clone());
        Ok(())
    }
}

struct World {
    store: MemoryStore,
    clock: Arc<Hands>,
    receivers: Vec<Arc<Receiver>>,
    rules: AlertRules,
    dice: Arc<Dice>,
    runs: u128,
    /// The runs of each night.
    nights: Mutex<BTreeMap<NaiveDate, Vec<NightRun>>>,
    /// What people accepted, by night.
    accepted: Mutex<BTreeMap<NaiveDate, Vec<Acceptance>>>,
    /// The night series of the settings.
    configured: Option<ScheduleName>,
    /// The control results of the next runs.
    controls: Vec<ControlResult>,
    /// The portfolios that the book of the next runs declares closed.
    closures: BTreeMap<PortfolioId, NaiveDate>,
    /// The P&L that each portfolio of the next runs records.
    pnl: Option<f64>,
}

fn schedule() -> ScheduleName {
    ScheduleName::new("nightly").unwrap()
}

/// 23:30 UTC of that day of November 2026.
fn night(day: u32) -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap().and_hms_opt(23, 30, 0).unwrap().and_utc()
}

fn fail(message: &str) -> ChannelError {
    ChannelError { message: message.to_owned(), retry_after: None, is_final: false }
}

fn portfolios(names: std::ops::Range<u32>) -> Vec<PortfolioId> {
    names.map(|n| PortfolioId::new(format!("p{n:02}")).unwrap()).collect()
}

/// Failures: the digit that makes the fingerprint, the job, and the portfolios.
fn cause(digit: char, job: &str, portfolios: Vec<PortfolioId>) -> FailureCluster {
    FailureCluster {
        fingerprint: Fingerprint::new(digit.to_string().repeat(16)).unwrap(),
        category: ErrorCategory::Permanent,
        job: JobName::new(job).unwrap(),
        message: format!("{job} has no data"),
        count: portfolios.len() as u64,
        skipped: portfolios.len() as u64 * 2,
        portfolios,
        first_seen_run: RunId(uuid::Uuid::nil()),
        new: true,
    }
}

fn target() -> CommandTarget {
    CommandTarget::Folder { book: Some("/srv/book".to_owned()), data: "/srv/data".to_owned() }
}

/// The jobs of the nights.
const JOBS: [&str; 3] = ["market_data_update", "factor_analysis", "stress_testing"];

fn failure(cluster: &FailureCluster) -> Failure {
    let message = cluster.message.clone();
    Failure { category: cluster.category, masked: message.clone(), message }
}

/// A portfolio in which the jobs of these failures failed.
fn portfolio_run(id: &PortfolioId, failures: &[FailureCluster]) -> PortfolioRun {
    let job = |name: &str| {
        let failed = failures.iter().find(|cluster| cluster.job.as_str() == name && cluster.portfolios.contains(id));
        JobResult {
            job: JobName::new(name).unwrap(),
            status: if failed.is_some() { JobStatus::Failed } else { JobStatus::Success },
            failure: failed.map(failure),
            skipped_because: None,
        }
    };
    PortfolioRun { ended_on_its_own: true, jobs: JOBS.map(job).to_vec(), ..PortfolioRun::default() }
}

/// A run as the night sees it: of these portfolios, or of all twenty.
fn night_run(summary: &RunSummary, filter: &[PortfolioId]) -> NightRun {
    let all = portfolios(0..20);
    let state = match (&summary.abandoned, summary.status) {
        (Some(abandoned), _) => {
            NightRunState::Abandoned { at: abandoned.at, failure: failure(summary.failures.first().unwrap()) }
        }
        (None, RunStatus::Missed) => NightRunState::Missed,
        (None, _) => NightRunState::Ended { at: summary.closed_at.unwrap(), canceled: false },
    };
    let ran = matches!(state, NightRunState::Ended { .. });
    let plan = NightPlan {
        open: all.iter().cloned().collect(),
        closures: BTreeMap::new(),
        expected_before: BTreeSet::new(),
        jobs: JOBS
            .iter()
            .map(|name| NightJob { name: JobName::new(*name).unwrap(), job_type: JobType::RiskMetrics })
            .collect(),
        inputs: ContentHash::of(b"inputs"),
        newest_close: Some(summary.as_of),
        nightbook_version: "0.1.0".to_owned(),
        restatement_tolerance: domain::night::editions::DEFAULT_TOLERANCE,
    };
    let of = if filter.is_empty() { all } else { filter.to_vec() };
    let portfolios = of.into_iter().filter(|_| ran).map(|id| (id.clone(), portfolio_run(&id, &summary.failures)));
    NightRun {
        id: summary.batch_run_id,
        started_at: summary.started_at,
        trigger: summary.trigger.clone(),
        rerun_of: summary.rerun_of,
        filter: filter.to_vec(),
        state,
        portfolios: portfolios.collect(),
        plan: ran.then_some(plan),
        controls: Vec::new(),
    }
}

impl World {
    fn new(rules: AlertRules) -> Self {
        Self {
            store: MemoryStore::default(),
            clock: Arc::new(Hands(Mutex::new(night(1)))),
            receivers: Vec::new(),
            rules,
            dice: Arc::new(Dice(Mutex::new(1_000))),
            runs: 0,
            nights: Mutex::default(),
            accepted: Mutex::default(),
            configured: Some(schedule()),
            controls: Vec::new(),
            closures: BTreeMap::new(),
            pnl: None,
        }
    }

    fn with(mut self, name: &str, least: Severity, answer: Answer) -> Self {
        let (name, clock) = (ChannelName::new(name).unwrap(), Arc::clone(&self.clock));
        let (tries, got) = (Mutex::default(), Mutex::default());
        self.receivers.push(Arc::new(Receiver { name, least, clock, answer, tries, got }));
        self
    }

    /// With one receiver that takes everything.
    fn with_desk(self) -> Self {
        self.with("desk", Severity::Info, Box::new(|_| Ok(())))
    }

    fn alerting(&self) -> Alerting {
        Alerting {
            books: Arc::new(self.store.clone()),
            store: Arc::new(self.store.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            sleeper: Arc::new(Never),
            randomness: Arc::clone(&self.dice) as Arc<dyn Randomness>,
            rules: self.rules.clone(),
            channels: self.receivers.iter().map(|receiver| Arc::clone(receiver) as Arc<dyn AlertChannel>).collect(),
            base: "https://night.example/".to_owned(),
            target: target(),
            series: self.configured.clone(),
        }
    }

    fn at(&self, now: DateTime<Utc>) -> &Self {
        *self.clock.0.lock().unwrap() = now;
        self
    }

    fn summary(&mut self, slot: DateTime<Utc>, failures: Vec<FailureCluster>) -> RunSummary {
        self.runs += 1;
        let id = RunId(uuid::Uuid::from_u128(self.runs));
        let (count, skipped) = failures.iter().fold((0, 0), |sum, f| (sum.0 + f.count, sum.1 + f.skipped));
        let line = |job: &str, seconds: f64| JobSummary {
            job: JobName::new(job).unwrap(),
            portfolios: 20,
            success: 20,
            failed: 0,
            skipped: 0,
            missing: 0,
            p50_seconds: Some(seconds),
            p95_seconds: Some(seconds),
            max_seconds: Some(seconds),
            retried: 0,
        };
        RunSummary {
            batch_run_id: id,
            schedule: schedule(),
            trigger: "schedule".into(),
            rerun_of: None,
            as_of: slot.date_naive(),
            scheduled_for: slot,
            started_at: slot,
            closed_at: Some(slot + TimeDelta::minutes(10)),
            status: if failures.is_empty() { RunStatus::Success } else { RunStatus::Partial },
            portfolios_expected: 20,
            portfolios_processed: 20,
            total_jobs: 180,
            successful_jobs: 180 - count - skipped,
            failed_jobs: count,
            skipped_jobs: skipped,
            missing_jobs: 0,
            total_duration: 60.0,
            wall_seconds: Some(600.0),
            job_summary: vec![line("factor_analysis", 30.0), line("stress_testing", 4.0)],
            data_quality: QualitySummary { full: 20, ..QualitySummary::default() },
            failures,
            market_snapshot: None,
            book: None,
            abandoned: None,
            cancelled_at: None,
            controls: Vec::new(),
            control_failures: 0,
            control_warnings: 0,
            publication: Publication::Pending,
        }
    }

    fn record(&self, summary: &RunSummary, filter: &[PortfolioId]) {
        let start = domain::start_run::StartRun {
            id: summary.batch_run_id,
            night_series: summary.schedule.clone(),
            schedule: summary.schedule.clone(),
            trigger: summary.trigger.clone(),
            as_of: summary.as_of,
            scheduled_for: summary.scheduled_for,
            rerun_of: summary.rerun_of,
            repeat: 0,
            filter: filter.to_vec(),
            deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
        };
        let run = Run {
            plan_epoch: 0,
            closed_at: summary.closed_at,
            ..Run::new(
                &start,
                if summary.status == RunStatus::Missed { RunPhase::Missed } else { RunPhase::Closed },
                summary.started_at,
            )
        };
        self.store.put(run, Vec::new(), Some(summary.clone()));
        let mut run = night_run(summary, filter);
        run.controls.clone_from(&self.controls);
        run.plan.iter_mut().for_each(|plan| plan.closures.clone_from(&self.closures));
        run.portfolios.retain(|id, _| self.closures.get(id).is_none_or(|from| *from > summary.as_of));
        if let Some(pnl) = self.pnl {
            let figures = BTreeMap::from([("daily_pnl".to_owned(), pnl)]);
            let figures = BTreeMap::from([(JobName::new("stress_testing").unwrap(), figures)]);
            run.portfolios.values_mut().for_each(|portfolio| portfolio.figures.clone_from(&figures));
        }
        self.record_in(summary.as_of, run);
    }

    /// Somebody accepts all results of a control, and the next look at the alerts follows.
    fn accept(&self, as_of: NaiveDate, control: Control, portfolio: Option<PortfolioId>) {
        let (author, note, at) = ("ann".to_owned(), "the vendor confirmed it".to_owned(), self.clock.now());
        let acceptance = Acceptance { control, portfolio, author, note, at };
        self.accepted.lock().unwrap().entry(as_of).or_default().push(acceptance);
        self.night(as_of);
        block_on(self.alerting().catch_up()).unwrap();
    }

    /// Adds a run to its night.
    fn record_in(&self, as_of: NaiveDate, run: NightRun) {
        let mut nights = self.nights.lock().unwrap();
        let runs = nights.entry(as_of).or_default();
        runs.retain(|other| other.id != run.id);
        runs.push(run);
    }

    /// Folds a night and stores it.
    fn night(&self, as_of: NaiveDate) -> Night {
        let acceptances = self.accepted.lock().unwrap().get(&as_of).cloned().unwrap_or_default();
        let night = Night::of(&schedule(), as_of, &self.nights.lock().unwrap()[&as_of], &acceptances).unwrap();
        let key = NightKey { series: schedule(), as_of };
        let version = block_on(self.store.night(&key)).unwrap().map_or(0, |head| head.version);
        let document = block_on(
            self.store.put_night_document(serde_json::to_vec(&night).unwrap(), domain::ports::Keep::UntilReplaced),
        )
        .unwrap();
        let facts = HeadFacts {
            version,
            schedule: schedule(),
            full_run: None,
            acceptances,
            basis: NightBasis::Plans,
            document,
            folded_at: self.clock.now(),
        };
        assert!(block_on(self.store.put_night(&NightHead::of(&night, facts))).unwrap());
        night
    }

    /// A run of all portfolios at this slot ends ten minutes later.
    fn run(&mut self, slot: DateTime<Utc>, failures: Vec<FailureCluster>) -> RunSummary {
        let summary = self.summary(slot, failures);
        self.record(&summary, &[]);
        self.tell(&summary);
        summary
    }

    fn tell(&self, summary: &RunSummary) {
        self.at(summary.closed_at.unwrap());
        let night = self.night(summary.as_of);
        block_on(self.alerting().tell(summary, &night)).unwrap();
    }

    /// The watch looks, once a minute, until then.
    fn watch_until(&self, end: DateTime<Utc>) {
        let mut now = self.clock.now();
        while now < end {
            now += TimeDelta::minutes(1);
            block_on(self.at(now).alerting().catch_up()).unwrap();
        }
    }

    fn got(&self, receiver: usize) -> Vec<AlertMessage> {
        self.receivers[receiver].got.lock().unwrap().clone()
    }

    fn kinds(&self, receiver: usize) -> Vec<AlertKind> {
        self.got(receiver).iter().map(|message| message.kind).collect()
    }
}

fn factors() -> FailureCluster {
    cause('a', "factor_analysis", portfolios(0..7))
}

fn stress() -> FailureCluster {
    cause('b', "stress_testing", portfolios(6..8))
}

/// What every message must be: as the schema says, and nothing that the schema does not know.
fn assert_schema(message: &AlertMessage) {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/alert-event.schema.json")).unwrap();
    let json = serde_json::to_value(message).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}\n{json:#}");
    let known = |value: &serde_json::Value, properties: &serde_json::Value| {
        for key in value.as_object().unwrap().keys() {
            assert!(properties.get(key).is_some(), "{key} is not in the schema");
        }
    };
    known(&json, &schema["properties"]);
    for list in ["top_causes", "recovered"] {
        for item in json[list].as_array().unwrap() {
            known(item, &schema["properties"][list]["items"]["properties"]);
        }
    }
}
