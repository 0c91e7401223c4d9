//! Runs in every state, and the doors that ask for something.

use std::sync::{Arc, Mutex};

use app::{
    Accepted, ActiveRuns, BookOf, CancelRequest, ControlError, ControlParts, Decided, NoWorker, RerunRequest,
    RunControl, RunWorker, StartElsewhere, StartRequest, Starts,
};
use async_trait::async_trait;
use backends::memory::MemoryStore;
use backends::system::{SystemRandomness, TokioSleeper};
use book::{Book, MemorySource};
use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::{ContentHash, JobName, Owner, PortfolioId, RunId};
use domain::job::JobSpec;
use domain::night::SealedNight;
use domain::ports::{Clock, Documents as _, Ports, Runs as _, StoreError, WorkMessage, WorkQueue};
use domain::retry::RetryPolicy;
use domain::run::{PlannedPortfolio, Run, RunEvent, RunLevelWork, RunPhase, SealedPlan};
use domain::words::JobType;
use uuid::Uuid;

/// The evening of Tuesday, 2026-11-24: its session has ended.
pub(crate) const NOW: &str = "2026-11-24T23:30:00Z";

pub(crate) struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        NOW.parse().unwrap()
    }
}

/// A queue that takes everything and gives nothing.
struct Sink;

#[async_trait]
impl WorkQueue for Sink {
    async fn send_work(&self, _messages: Vec<WorkMessage>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn send_close(&self, _run: RunId) -> Result<(), StoreError> {
        Ok(())
    }
    async fn send_pages(&self, _run: RunId, _buckets: Vec<u32>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A worker that notes its calls.
#[derive(Default)]
pub(crate) struct Calls(pub(crate) Mutex<Vec<String>>);

#[async_trait]
impl RunWorker for Calls {
    async fn begin(&self, _run: RunId) {
        self.0.lock().unwrap().push("begin".to_owned());
    }
    async fn end(&self, _run: RunId) {
        self.0.lock().unwrap().push("end".to_owned());
    }
    async fn publish(&self, _run: RunId) {
        self.0.lock().unwrap().push("publish".to_owned());
    }
    async fn refresh_index(&self) {
        self.0.lock().unwrap().push("refresh".to_owned());
    }
}

pub(crate) fn ports(store: &MemoryStore) -> Ports {
    Ports {
        comparer: Arc::new(domain::ports::NoComparison),
        store: Arc::new(store.clone()),
        documents: Arc::new(store.clone()),
        queue: Arc::new(Sink),
        clock: Arc::new(Still),
        sleeper: Arc::new(TokioSleeper),
        randomness: Arc::new(SystemRandomness),
    }
}

/// A book of the portfolios `a` and `b`.
pub(crate) fn book() -> Arc<Book> {
    let mut source = MemorySource::default();
    source.insert("portfolios.csv", "portfolio_id,name,equity\na,A,1000\nb,B,1000\n");
    source.insert("positions.csv", "portfolio_id,symbol,quantity,entry_price,entry_date\na,AAA,1,10,2026-01-02\n");
    source.insert("prices.csv", "date,symbol,close\n2026-11-24,AAA,10\n");
    Arc::new(book::read(&source).unwrap().book.unwrap())
}

fn parts(store: &MemoryStore, starts: Starts, active_runs: ActiveRuns, worker: Arc<dyn RunWorker>) -> ControlParts {
    ControlParts {
        store: Arc::new(store.clone()),
        notes: Arc::new(store.clone()),
        alerts: Arc::new(store.clone()),
        clock: Arc::new(Still),
        randomness: Arc::new(SystemRandomness),
        starts,
        active_runs,
        worker,
    }
}

/// A control that records and hands over, one run at a time.
pub(crate) fn recording(store: &MemoryStore, book: BookOf, worker: Arc<dyn RunWorker>) -> RunControl {
    let starts = Starts::Here { book, documents: Arc::new(store.clone()) };
    RunControl::new(parts(store, starts, ActiveRuns::Refuse, worker))
}

/// Another process that decides for one without the book.
struct Remote(RunControl);

#[async_trait]
impl StartElsewhere for Remote {
    async fn start(&self, request: &StartRequest) -> Result<Accepted, ControlError> {
        self.0.start(request).await
    }
    async fn rerun(&self, request: &RerunRequest) -> Result<Accepted, ControlError> {
        self.0.rerun(request).await
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// The command line on a folder or a table, and a direct call of `start-run`: the caller works on the run.
    Caller,
    /// The history API of `serve`: the run is recorded and handed over.
    Serve,
    /// The history API of the cloud: another process records the run.
    Cloud,
}

pub(crate) const DOORS: [Through; 3] = [Through::Caller, Through::Serve, Through::Cloud];

/// A request.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Start(StartRequest),
    Rerun(RerunRequest),
    Cancel(CancelRequest),
}

impl Through {
    /// The outcome of a command, as one word.
    pub(crate) async fn ask(self, store: &MemoryStore, book: BookOf, command: &Command) -> String {
        word(match self {
            Self::Caller => {
                let (notes, alerts) = (Arc::new(store.clone()), Arc::new(store.clone()));
                let control = RunControl::of_caller(&ports(store), notes, alerts, book);
                match command {
                    Command::Start(request) => control.decide_start(request).await.map(|work| work.accepted),
                    Command::Rerun(request) => control.decide_rerun(request).await.map(|decided| match decided {
                        Decided::Run(work) => work.accepted,
                        Decided::NothingToRepeat(run) => Accepted::NothingToRepeat(run),
                    }),
                    Command::Cancel(request) => control.cancel(request).await,
                }
            }
            Self::Serve => handed_over(&recording(store, book, Arc::new(NoWorker)), command).await,
            Self::Cloud => {
                let remote = Remote(recording(store, book, Arc::new(NoWorker)));
                let starts = Starts::Elsewhere(Arc::new(remote));
                let control = RunControl::new(parts(store, starts, ActiveRuns::Refuse, Arc::new(NoWorker)));
                handed_over(&control, command).await
            }
        })
    }
}

async fn handed_over(control: &RunControl, command: &Command) -> Result<Accepted, ControlError> {
    match command {
        Command::Start(request) => control.start(request).await,
        Command::Rerun(request) => control.rerun(request).await,
        Command::Cancel(request) => control.cancel(request).await,
    }
}

/// An outcome as it is serialized: the word for it.
pub(crate) fn word(outcome: Result<Accepted, ControlError>) -> String {
    let (value, key) = match outcome {
        Ok(accepted) => (serde_json::to_value(accepted).unwrap(), "outcome"),
        Err(ControlError::Refused(refusal)) => (serde_json::to_value(refusal).unwrap(), "refused"),
        Err(ControlError::Store(error)) => return format!("store: {error}"),
    };
    value[key].as_str().unwrap().to_owned()
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    Missed,
    Planning,
    Running,
    Closing,
    /// Closed, with its inputs, and jobs that are missing.
    Closed,
    /// Closed, its inputs are no longer stored.
    Retired,
    /// Closed before anything was pinned.
    NeverPinned,
}

impl State {
    pub(crate) const ALL: [Self; 8] = [
        Self::Absent,
        Self::Missed,
        Self::Planning,
        Self::Running,
        Self::Closing,
        Self::Closed,
        Self::Retired,
        Self::NeverPinned,
    ];

    /// A store with a run in this state, and the id of the run.
    pub(crate) async fn store(self) -> (MemoryStore, RunId) {
        let store = MemoryStore::default();
        let slot = "2026-11-23T23:30:00Z".parse().unwrap();
        let start = app::SlotRules::default().scheduled(slot);
        let run = start.planning(Owner(Uuid::from_u128(1)), slot, slot + TimeDelta::minutes(5));
        let id = run.batch_run_id;
        match self {
            Self::Absent => {}
            Self::Missed => store.put(Run { phase: RunPhase::Missed, closed_at: Some(slot), ..run }, vec![], None),
            Self::NeverPinned => store.put(Run { phase: RunPhase::Closed, closed_at: Some(slot), ..run }, vec![], None),
            Self::Planning => store.put(run, vec![], None),
            Self::Running | Self::Closing | Self::Closed | Self::Retired => {
                store.put(run, vec![], None);
                seal(&store, id, slot).await;
                if self != Self::Running {
                    claim_close(&store, id, slot).await;
                }
                if matches!(self, Self::Closed | Self::Retired) {
                    store.apply_run(id, &RunEvent::Close { epoch: 1 }).await.unwrap();
                }
                if self != Self::Retired {
                    store.put_snapshot(b"snapshot".to_vec()).await.unwrap();
                }
            }
        }
        (store, id)
    }
}

/// Seals the plan of a run that was recorded.
pub(crate) async fn sealed(store: &MemoryStore, id: RunId) {
    sealed_with(store, id, None).await;
}

/// Seals the plan of a run that was recorded, with this document of its night.
pub(crate) async fn sealed_with(store: &MemoryStore, id: RunId, members: Option<ContentHash>) {
    let inputs = ContentHash::of(b"inputs");
    let night = members.map(|members| SealedNight {
        members,
        inputs,
        newest_close: None,
        nightbook_version: "0.1.0".to_owned(),
        restatement_tolerance: 1e-9,
    });
    seal_with(store, id, NOW.parse().unwrap(), night).await;
}

/// Closes a run that was sealed.
pub(crate) async fn end(store: &MemoryStore, id: RunId) {
    claim_close(store, id, NOW.parse().unwrap()).await;
    store.apply_run(id, &RunEvent::Close { epoch: 1 }).await.unwrap();
    assert!(store.run(id).await.unwrap().unwrap().run.is_closed());
}

async fn seal(store: &MemoryStore, id: RunId, at: DateTime<Utc>) {
    seal_with(store, id, at, None).await;
}

async fn seal_with(store: &MemoryStore, id: RunId, at: DateTime<Utc>, night: Option<SealedNight>) {
    let job = JobSpec {
        name: JobName::new("market_data_update").unwrap(),
        job_type: JobType::MarketData,
        critical: true,
        needs: vec![],
        run_level: false,
        time_limit_seconds: 300,
    };
    let plan = SealedPlan {
        night,
        epoch: 1,
        portfolios: 1,
        jobs: vec![job],
        retry: RetryPolicy::default(),
        book: book().content_hash.clone(),
        snapshot: ContentHash::of(b"snapshot"),
        market_data: RunLevelWork {
            attempts: 1,
            started_at: at,
            completed_at: at,
            error: None,
            metadata: serde_json::Map::new(),
            quality: None,
        },
        sealed_at: at,
        deadline: at + TimeDelta::hours(2),
    };
    let portfolio = PlannedPortfolio { id: PortfolioId::new("a").unwrap(), name: "A".to_owned() };
    store.put_manifest(id, 1, 0, &[portfolio]).await.unwrap();
    store.apply_run(id, &RunEvent::Seal { plan: Box::new(plan) }).await.unwrap();
}

/// Has a closer claim the run.
pub(crate) async fn claim_close(store: &MemoryStore, id: RunId, now: DateTime<Utc>) {
    let owner = Owner(Uuid::from_u128(2));
    let event = RunEvent::ClaimClose { owner, now, lease_until: now + TimeDelta::minutes(5) };
    store.apply_run(id, &event).await.unwrap();
}

/// Plans and closes a run that was recorded.
pub(crate) async fn close(store: &MemoryStore, id: RunId) {
    let at = NOW.parse().unwrap();
    seal(store, id, at).await;
    end(store, id).await;
}

/// Closes a run that was abandoned before it had a plan.
pub(crate) async fn close_without_plan(store: &MemoryStore, id: RunId) {
    claim_close(store, id, NOW.parse().unwrap()).await;
    store.apply_run(id, &RunEvent::Close { epoch: 1 }).await.unwrap();
    let run = store.run(id).await.unwrap().unwrap().run;
    assert!(run.is_closed() && run.plan.is_none(), "{run:?}");
}
