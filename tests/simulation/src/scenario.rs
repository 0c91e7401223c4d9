//! What a schedule is about: which runs, which portfolios, how their jobs behave, which clocks.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::identity;
use domain::ids::{ContentHash, JobName, PortfolioId, ScheduleName};
use domain::job::JobSpec;
use domain::record::JobError;
use domain::retry::RetryPolicy;
use domain::run::{BUCKET_SIZE, PlannedPortfolio};
use domain::start_run::StartRun;
use domain::words::{ErrorCategory, JobType};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::executor::{Micros, SECOND};
use crate::faults::pick;
use crate::world::epoch;

/// A run that is to take place.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) start: StartRun,
    /// When it is triggered, and by how many planners at about the same time.
    pub(crate) at: Micros,
    pub(crate) planners: u32,
    /// Whether the run is recorded as asked for before anybody plans it.
    pub(crate) recorded_first: bool,
    /// Its inputs cannot be read until then.
    pub(crate) unreadable_until: Micros,
    /// Whether trying again cannot help, as far as a reader of the inputs can tell.
    pub(crate) permanent: bool,
}

impl Slot {
    fn of(start: StartRun, at: Micros, planners: u32) -> Self {
        Self { start, at, planners, recorded_first: false, unreadable_until: 0, permanent: false }
    }

    /// Whether its inputs can never be read, and its readers know it.
    pub(crate) const fn is_hopeless(&self) -> bool {
        self.permanent && self.unreadable_until == Micros::MAX
    }
}

/// How jobs behave, by chance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Behaviour {
    /// Chance that an attempt fails.
    pub(crate) fails: f64,
    /// Chance that an attempt takes several heartbeats.
    pub(crate) long: f64,
    /// Chance that an attempt never ends.
    pub(crate) hangs: f64,
    /// Places whose worker dies whenever it opens them.
    pub(crate) poison: Option<PortfolioId>,
}

/// What a schedule is about.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) slots: Vec<Slot>,
    /// The book as different planners read it, each under its hash.
    pub(crate) lists: Vec<(ContentHash, Vec<PlannedPortfolio>)>,
    pub(crate) jobs: Vec<JobSpec>,
    pub(crate) retry: RetryPolicy,
    pub(crate) deadline_minutes: u32,
    pub(crate) market_data: Option<JobError>,
    pub(crate) behaviour: Behaviour,
    /// Clocks differ by at most so many seconds, either way.
    pub(crate) skew: i64,
    /// Faults occur until then.
    pub(crate) faulty_until: Micros,
    /// How long a delivered message stays hidden.
    pub(crate) visibility: Micros,
    pub(crate) sweep_every: Micros,
    /// A slot that passed is run late; recorded as missed, otherwise.
    pub(crate) catch_up: bool,
    /// Somebody plans the first slot at this time, whatever became of it.
    pub(crate) late_planner: Option<Micros>,
    /// Nobody ever works.
    pub(crate) workers_gone: bool,
    /// Whether the real site is published; a stand-in of one page, otherwise.
    pub(crate) site: bool,
    /// Whether its pages are written by messages, bucket by bucket.
    pub(crate) spread: bool,
    pub(crate) cancel_at: Option<Micros>,
    pub(crate) restarts: Vec<Micros>,
}

fn job(name: &str, critical: bool, needs: &[&str], run_level: bool) -> JobSpec {
    let name_of = |text: &str| JobName::new(text).unwrap_or_else(|_| unreachable!("a valid name"));
    JobSpec {
        name: name_of(name),
        job_type: JobType::Valuation,
        critical,
        needs: needs.iter().map(|need| name_of(need)).collect(),
        run_level,
        time_limit_seconds: 150,
    }
}

/// A list of so many portfolios; its `version` stands in every name, so that lists that were mixed show.
fn list(count: u32, version: u32) -> (ContentHash, Vec<PlannedPortfolio>) {
    let portfolios = (0..count).filter_map(|n| {
        Some(PlannedPortfolio {
            id: PortfolioId::new(format!("p{n:03}")).ok()?,
            name: format!("Portfolio {n}, book {version}"),
        })
    });
    (ContentHash::of(format!("book {version}").as_bytes()), portfolios.collect())
}

fn start(as_of: NaiveDate, slot: DateTime<Utc>) -> StartRun {
    let schedule = ScheduleName::new("nightly").unwrap_or_else(|_| unreachable!("a valid name"));
    StartRun {
        id: identity::scheduled(&schedule, slot),
        night_series: schedule.clone(),
        schedule,
        trigger: "schedule".into(),
        as_of,
        scheduled_for: slot,
        rerun_of: None,
        repeat: 0,
        filter: Vec::new(),
        deadline_minutes: domain::run::DEFAULT_DEADLINE_MINUTES,
    }
}

fn first_start() -> StartRun {
    let slot = epoch() + TimeDelta::minutes(1);
    start(slot.date_naive(), slot)
}

/// A rerun of all portfolios of a run.
fn rerun_of(first: StartRun) -> StartRun {
    StartRun {
        id: identity::rerun(first.id, false, 1),
        trigger: "rerun".into(),
        rerun_of: Some(first.id),
        repeat: 1,
        ..first
    }
}

impl Scenario {
    /// A small calm scenario: so many portfolios, two jobs, one run.
    pub(crate) fn small(portfolios: u32) -> Self {
        Self {
            slots: vec![Slot::of(first_start(), 60 * SECOND, 1)],
            lists: vec![list(portfolios, 1)],
            jobs: vec![job("first", true, &[], true), job("second", false, &["first"], false)],
            retry: RetryPolicy { attempts: 2, backoff_seconds: 1.0 },
            deadline_minutes: 20,
            market_data: None,
            behaviour: Behaviour::default(),
            skew: 0,
            faulty_until: 3_600 * SECOND,
            visibility: 300 * SECOND,
            sweep_every: 300 * SECOND,
            catch_up: true,
            late_planner: None,
            workers_gone: false,
            site: true,
            spread: false,
            cancel_at: None,
            restarts: Vec::new(),
        }
    }

    /// The smallest scenario that has every step: one portfolio, one job, one page.
    pub(crate) fn smallest() -> Self {
        let mut scenario = Self::small(1);
        scenario.jobs.truncate(1);
        scenario.site = false;
        scenario
    }

    /// The smallest scenario with two runs of one trading date that are at work at once.
    pub(crate) fn two_closes() -> Self {
        let mut scenario = Self::smallest();
        let (first, at) = (scenario.slots[0].start.clone(), scenario.slots[0].at);
        scenario.slots.push(Slot::of(rerun_of(first), at + SECOND / 100, 1));
        scenario
    }

    /// The smallest scenario of a slot that passes without a run.
    pub(crate) fn missed() -> Self {
        let mut scenario = Self::smallest();
        scenario.catch_up = false;
        scenario.slots[0].planners = 0;
        scenario
    }

    /// A scenario by chance.
    pub(crate) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let count = match rng.random_range(0..200) {
            0 => BUCKET_SIZE + rng.random_range(1..4),
            1..10 => 0,
            _ => rng.random_range(1..4),
        };
        let mut scenario = Self::small(count);
        scenario.deadline_minutes = *pick(rng, &[4, 10, 20, 45]);
        scenario.sweep_every = *pick(rng, &[120, 300]) * SECOND;
        scenario.visibility = *pick(rng, &[90, 300, 720]) * SECOND;
        scenario.skew = *pick(rng, &[0, 0, 30, 600]);
        scenario.faulty_until = rng.random_range(5..60) * 60 * SECOND;
        if rng.random_bool(0.3) {
            scenario.jobs.push(job("third", false, &["second"], false));
        }
        if count <= 3 && rng.random_bool(0.3) {
            // The book changes between one planner and the next.
            scenario.lists.push(list(rng.random_range(0..4), 2));
        }
        scenario.slots[0].planners = *pick(rng, &[0, 1, 1, 2, 3]);
        if rng.random_bool(0.05) {
            scenario.market_data = Some(JobError::new(ErrorCategory::Transient, "the price source is down"));
        }
        scenario.behaviour = Behaviour {
            fails: *pick(rng, &[0.0, 0.1, 0.6]),
            long: *pick(rng, &[0.0, 0.0, 0.2]),
            hangs: *pick(rng, &[0.0, 0.0, 0.0, 0.1]),
            poison: None,
        };
        if rng.random_bool(0.1) && count > 0 {
            scenario.behaviour.poison = PortfolioId::new("p000").ok();
            scenario.deadline_minutes = 90;
        }
        scenario.catch_up = rng.random_bool(0.5);
        scenario.workers_gone = rng.random_bool(0.03);
        if rng.random_bool(0.08) {
            scenario.cancel_at = Some(rng.random_range(60..600) * SECOND);
        }
        if rng.random_bool(0.1) {
            let most = rng.random_range(1..7);
            scenario.restarts = (0..most).map(|_| rng.random_range(61..900) * SECOND).collect();
            scenario.restarts.sort_unstable();
        }
        if rng.random_bool(0.4) {
            scenario.add_second(rng);
        }
        if rng.random_bool(0.1) {
            scenario.slots[0].permanent = rng.random_bool(0.5);
            scenario.slots[0].unreadable_until = *pick(rng, &[120 * SECOND, 600 * SECOND, Micros::MAX]);
        }
        let planning_minutes = *pick(rng, &[10, 20, 45]);
        for slot in &mut scenario.slots {
            slot.start.deadline_minutes = planning_minutes;
        }
        scenario.spread = rng.random_bool(0.3);
        scenario
    }

    /// A second run beside the first: the next night, early, or a rerun.
    fn add_second(&mut self, rng: &mut ChaCha8Rng) {
        let (first, first_at) = (self.slots[0].start.clone(), self.slots[0].at);
        let mut at = rng.random_range(61..1_200) * SECOND;
        let start = if rng.random_bool(0.25) {
            if rng.random_bool(0.3) {
                // Both runs of the date are at work at once, and may close at once.
                at = first_at + rng.random_range(0..2 * SECOND);
            }
            rerun_of(first)
        } else {
            let slot = epoch() + TimeDelta::microseconds(at);
            start(first.as_of.succ_opt().unwrap_or(first.as_of), slot)
        };
        let rerun = start.rerun_of.is_some();
        let mut slot = Slot::of(start, at, 1);
        if rerun {
            slot.recorded_first = rng.random_bool(0.5);
            if rng.random_bool(0.4) {
                // The inputs of its original have been retired.
                (slot.unreadable_until, slot.permanent) = (Micros::MAX, true);
            }
        }
        self.slots.push(slot);
    }

    /// The portfolios of the book with this hash.
    pub(crate) fn list_of(&self, book: &ContentHash) -> Option<&[PlannedPortfolio]> {
        self.lists.iter().find(|(hash, _)| hash == book).map(|(_, list)| list.as_slice())
    }
}
