//! The simulated world: one store, one site, one queue, the people who are alerted, and every actor.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backends::memory::{MemorySite, MemoryStore};
use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use domain::ids::Owner;
use domain::ports::StoreError;
use domain::summary::RunSummary;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::coverage::{Coverage, Row};
use crate::executor::{Micros, Timeline, Work};
use crate::faults::{Fault, Faults, stall};
use crate::invariants::Shadow;
use crate::nights::{self, NightWrites};
use crate::queue::Queue;
use crate::scenario::Scenario;
use crate::site_check::SiteCheck;

/// What kind of promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// A portfolio or a record is gone.
    Lost,
    /// Something was counted twice.
    DoubleCounted,
    /// Something did not come to its end.
    Stuck,
    /// Any other invariant.
    Other,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which kind.
    pub promise: Promise,
    /// What happened, to what.
    pub text: String,
}

/// An actor: one invocation of one use case.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) name: String,
    /// How much its clock differs from the simulated time.
    pub(crate) skew: TimeDelta,
    pub(crate) dead: bool,
    /// Whether a fault met it.
    pub(crate) faulted: bool,
}

/// A delivery of an alert.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) actor: usize,
    /// The run as it was reported, without its publication.
    pub(crate) summary: RunSummary,
}

/// Everything that changes.
pub(crate) struct State {
    pub(crate) rng: ChaCha8Rng,
    pub(crate) faults: Faults,
    pub(crate) faulty_until: Micros,
    pub(crate) calls: u64,
    pub(crate) actors: Vec<Actor>,
    pub(crate) owners: BTreeMap<Owner, usize>,
    pub(crate) queue: Queue,
    pub(crate) coverage: Coverage,
    pub(crate) violations: Vec<Violation>,
    pub(crate) shadow: Shadow,
    pub(crate) nights: NightWrites,
    pub(crate) site: SiteCheck,
    pub(crate) deliveries: BTreeMap<String, Vec<Delivery>>,
    pub(crate) spawns: Vec<(usize, Work)>,
    pub(crate) written: BTreeSet<String>,
    /// Slots whose start was refused for good, with nothing recorded.
    pub(crate) refused: BTreeSet<usize>,
    log: DefaultHasher,
    trace: Option<Vec<String>>,
}

/// The world. Shared by every port of every actor.
pub(crate) struct World {
    pub(crate) timeline: Timeline,
    pub(crate) store: MemoryStore,
    pub(crate) site: MemorySite,
    pub(crate) scenario: Scenario,
    state: Mutex<State>,
}

/// The instant at which every simulation begins.
pub(crate) fn epoch() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 24, 22, 0, 0).single().unwrap_or_default()
}

impl World {
    pub(crate) fn new(seed: u64, scenario: Scenario, faults: Faults, traced: bool) -> Arc<Self> {
        let (profile, faulty_until) = (faults.profile(), scenario.faulty_until);
        Arc::new(Self {
            timeline: Timeline::default(),
            store: MemoryStore::default(),
            site: MemorySite::default(),
            scenario,
            state: Mutex::new(State {
                rng: ChaCha8Rng::seed_from_u64(seed),
                faults,
                faulty_until,
                calls: 0,
                actors: Vec::new(),
                owners: BTreeMap::new(),
                queue: Queue::new(profile),
                coverage: Coverage::default(),
                violations: Vec::new(),
                shadow: Shadow::default(),
                nights: NightWrites::default(),
                site: SiteCheck::default(),
                deliveries: BTreeMap::new(),
                spawns: Vec::new(),
                written: BTreeSet::new(),
                refused: BTreeSet::new(),
                log: DefaultHasher::new(),
                trace: traced.then(Vec::new),
            }),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The simulated instant, without anybody's skew.
    pub(crate) fn instant(&self) -> DateTime<Utc> {
        epoch() + TimeDelta::microseconds(self.timeline.now())
    }

    pub(crate) fn faulty(&self, state: &State) -> bool {
        self.timeline.now() < state.faulty_until
    }

    /// A new actor, alive.
    pub(crate) fn actor(self: &Arc<Self>, name: String, skew: TimeDelta) -> Handle {
        let mut state = self.state();
        state.actors.push(Actor { name, skew, dead: false, faulted: false });
        let actor = state.actors.len() - 1;
        drop(state);
        Handle { world: Arc::clone(self), actor }
    }

    pub(crate) fn violate(&self, promise: Promise, text: impl Into<String>) {
        let text = text.into();
        self.note(|| format!("VIOLATION {text}"));
        self.state().violations.push(Violation { promise, text });
    }

    /// Writes a line of the event log: into its hash always, as text where a trace is wanted.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        let now = self.timeline.now();
        let line = line();
        let mut state = self.state();
        (now, &line).hash(&mut state.log);
        if let Some(trace) = &mut state.trace {
            trace.push(format!("{:>12.6} s  {line}", now as f64 / 1e6));
        }
    }

    /// The hash of the event log so far, and of the site.
    pub(crate) fn digest(&self) -> u64 {
        let mut log = self.state().log.clone();
        self.site.files().hash(&mut log);
        log.finish()
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }
}

/// What one actor holds of the world.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) world: Arc<World>,
    pub(crate) actor: usize,
}

impl Handle {
    /// Ends this actor at once: it is never polled again.
    pub(crate) async fn die<T>(&self) -> T {
        self.world.state().actors[self.actor].dead = true;
        std::future::pending().await
    }

    /// The actor's own clock.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        let skew = self.world.state().actors[self.actor].skew;
        self.world.instant() + skew
    }

    /// An owner that was never used before.
    pub(crate) fn owner(&self) -> Owner {
        let mut state = self.world.state();
        let owner = Owner(Uuid::from_u128(state.owners.len() as u128 + 1));
        state.owners.insert(owner, self.actor);
        owner
    }

    pub(crate) fn jitter(&self) -> f64 {
        self.world.state().rng.random_range(0.0..1.0)
    }

    /// A call of a port: it takes its time, and may go wrong in every way of [`Fault`].
    ///
    /// `act` carries the request out; it may be carried out twice, or after its sender has died.
    pub(crate) async fn call<T, F>(&self, what: &'static str, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Self) -> Result<T, StoreError> + Send + Sync + 'static,
    {
        let world = &self.world;
        let (number, fault, slowness, stalled) = {
            let mut guard = world.state();
            let state = &mut *guard;
            state.calls += 1;
            let number = state.calls;
            let fault = if world.faulty(state) { state.faults.of_call(number, &mut state.rng) } else { None };
            if let Some(fault) = fault {
                state.coverage.hit(Row::of_fault(fault));
                if let Some(row) = nights::stopped(&state.actors[self.actor].name, what, fault) {
                    state.coverage.hit(row);
                }
                state.actors[self.actor].faulted = true;
            }
            let most = if world.faulty(state) { state.queue.slowness() } else { 10_000 };
            let slowness = state.rng.random_range(500..=most);
            let stalled = if fault.is_some() { stall(&mut state.rng) } else { 0 };
            (number, fault, slowness, stalled)
        };
        world.note(|| {
            let name = world.name(self.actor);
            match fault {
                None => format!("{name}: {what} (call {number})"),
                Some(fault) => format!("{name}: {what} (call {number}) FAULT {}", fault.name()),
            }
        });
        let told = |why: &'static str| StoreError::Unavailable { doing: what.into(), source: why.into() };
        world.timeline.wait(slowness).await;
        match fault {
            None => act(self),
            Some(Fault::KilledBefore) => self.die().await,
            Some(Fault::KilledAfter) => {
                let _reply = act(self);
                self.die().await
            }
            Some(Fault::SentAgain) => {
                let _reply = act(self);
                world.timeline.wait(slowness).await;
                act(self)
            }
            Some(Fault::ReplyLost) => {
                let _reply = act(self);
                Err(told("the reply did not come"))
            }
            Some(Fault::Refused) => Err(StoreError::NotFound { what: format!("way to {what}") }),
            Some(Fault::Throttled) => Err(told("too many requests")),
            Some(Fault::StalledBefore) => {
                world.timeline.wait(stalled).await;
                act(self)
            }
            Some(Fault::StalledAfter) => {
                let reply = act(self);
                world.timeline.wait(stalled).await;
                reply
            }
            Some(Fault::LandsLate) => {
                let late = self.clone();
                world.timeline.after(stalled, move || {
                    late.world.note(|| format!("{}: {what} lands after its death", late.world.name(late.actor)));
                    let _reply = act(&late);
                });
                self.die().await
            }
            Some(Fault::NeverReturns) => std::future::pending().await,
        }
    }
}

impl World {
    /// The name of an actor.
    pub(crate) fn name(&self, actor: usize) -> String {
        self.state().actors[actor].name.clone()
    }
}
