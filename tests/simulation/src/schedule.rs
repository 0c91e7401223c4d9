//! One schedule: a scenario, its faults, what came of it, and whether every promise was kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::alert::AlertAbout;
use domain::ids::RunId;
use domain::night::{NightKey, refold};
use domain::ports::{Chain as _, Documents as _, Nights as _, Runs as _, StoredRun, WorkItems as _};
use domain::run::{RunPhase, SealedPlan};
use domain::words::RunStatus;
use domain::work_item::ItemKey;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::actors;
use crate::coverage::{Coverage, Row};
use crate::executor::{Executor, Micros, SECOND};
use crate::faults::{Fault, Faults, Profile};
use crate::ports::now;
use crate::scenario::Scenario;
use crate::world::{Promise, Violation, World};

/// Polls after which a schedule is taken to go round in circles.
const MOST_STEPS: u64 = 2_000_000;

/// Longer than any stalled call.
const QUIET: Micros = 1_000 * SECOND;

/// What came of a schedule.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed that repeats it.
    pub seed: u64,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// What it came across.
    pub coverage: Coverage,
    /// Calls of ports.
    pub calls: u64,
    /// Hash of the event log and of every page.
    pub digest: u64,
    /// The faults of a small run, where they were given.
    pub faults: BTreeMap<u64, Fault>,
    /// The event log, where it was asked for.
    pub trace: Vec<String>,
}

/// Runs the schedule of a seed.
#[must_use]
pub fn run(seed: u64, traced: bool) -> Outcome {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scenario = Scenario::draw(&mut rng);
    let faults = Faults::Drawn(Profile::draw(&mut rng));
    simulate(seed, scenario, faults, traced)
}

/// A small run without chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Small {
    /// Two portfolios of two jobs, and the real site.
    Whole,
    /// The same, its pages written by messages.
    Spread,
    /// One portfolio, one job, one page.
    Smallest,
    /// The same, and a rerun of it that closes at the same time.
    TwoCloses,
    /// A slot that nobody runs.
    Missed,
}

/// Runs a small run with faults at exactly these calls.
#[must_use]
pub fn run_with(small: Small, faults: &BTreeMap<u64, Fault>, traced: bool) -> Outcome {
    let scenario = match small {
        Small::Whole => Scenario::small(2),
        Small::Spread => Scenario { spread: true, ..Scenario::small(2) },
        Small::Smallest => Scenario::smallest(),
        Small::TwoCloses => Scenario::two_closes(),
        Small::Missed => Scenario::missed(),
    };
    simulate(0, scenario, Faults::At(faults.clone()), traced)
}

pub(crate) fn simulate(seed: u64, scenario: Scenario, faults: Faults, traced: bool) -> Outcome {
    let given = if let Faults::At(given) = &faults { given.clone() } else { BTreeMap::new() };
    let world = World::new(seed, scenario, faults, traced);
    let mut executor = Executor::new(world.timeline.clone());
    actors::trigger(&world);
    let horizon = horizon(&world.scenario);
    let runs: Vec<RunId> = world.scenario.slots.iter().map(|slot| slot.start.id).collect();
    let settled = loop {
        if !until_settled(&world, &runs, &mut executor, horizon) {
            break false;
        }
        // Whoever is still at it comes to an end, and what the dead had sent lands: that may begin a run anew.
        let until = world.timeline.now() + QUIET;
        while world.timeline.now() < until && step(&world, &mut executor) {}
        if runs.iter().all(|run| world.is_settled(*run)) {
            break true;
        }
    };
    if !settled {
        for run in runs.iter().filter(|run| !world.is_settled(**run)) {
            let state = now(world.store.run(*run)).ok().flatten();
            let phase = state.map(|stored| (stored.run.phase, stored.run.publication));
            world.violate(Promise::Stuck, format!("run {} did not come to its end: {phase:?}", run.short()));
        }
    }
    check_end(&world, &runs, &mut executor);
    let digest = world.digest();
    if traced {
        world.tell_records(&runs);
    }
    if runs.len() > 1 && world.scenario.slots[1].start.rerun_of.is_some() {
        world.state().coverage.hit(Row::Rerun);
    }
    let (violations, coverage, calls) = {
        let state = world.state();
        (state.violations.clone(), state.coverage.clone(), state.calls)
    };
    let trace = world.trace();
    drop(executor);
    world.timeline.clear();
    let spawns = std::mem::take(&mut world.state().spawns);
    drop(spawns);
    Outcome { seed, violations, coverage, calls, faults: given, digest, trace }
}

/// One step of the world. False when nothing is due any more.
fn step(world: &World, executor: &mut Executor) -> bool {
    for (actor, work) in std::mem::take(&mut world.state().spawns) {
        executor.spawn(actor, work);
    }
    executor.step(|actor| world.state().actors[actor].dead)
}

/// Goes on until every run has ended in every respect. False where that does not happen in time.
fn until_settled(world: &World, runs: &[RunId], executor: &mut Executor, horizon: Micros) -> bool {
    let mut steps = 0u64;
    while step(world, executor) {
        steps += 1;
        if steps.is_multiple_of(32) && runs.iter().all(|run| world.is_settled(*run)) {
            return true;
        }
        if world.timeline.now() > horizon || steps > MOST_STEPS {
            return false;
        }
    }
    false
}

/// The time by which everything must have ended, whatever went wrong: the deadline or the end of the faults, then two
/// sweeps and the leases of whoever died last.
fn horizon(scenario: &Scenario) -> Micros {
    let last = scenario.slots.iter().map(|slot| slot.at).max().unwrap_or(0);
    let planning = scenario.slots.iter().map(|slot| slot.start.deadline_minutes).max().unwrap_or(0);
    let deadline = last + (i64::from(planning) + i64::from(scenario.deadline_minutes)) * 60 * SECOND;
    let leases = 3 * 300 * SECOND + 2 * scenario.skew * SECOND;
    scenario.faulty_until.max(deadline) + leases + 6 * scenario.sweep_every + 1_200 * SECOND
}

fn check_end(world: &Arc<World>, runs: &[RunId], executor: &mut Executor) {
    let handle = world.actor("the end".into(), chrono::TimeDelta::zero());
    // Where nothing goes wrong but that nobody works, the deadline and two sweeps are enough (A5).
    let calm = {
        let state = world.state();
        let profile = state.faults.profile();
        profile.rate == 0.0 && profile.spent == 0.0 && state.queue.slowness() <= SECOND && world.scenario.skew == 0
    };
    let mut newest = None;
    let mut closed = BTreeSet::new();
    for &id in runs {
        if world.was_refused(id) {
            continue;
        }
        let Ok(Some(stored)) = now(world.store.run(id)) else {
            world.violate(Promise::Lost, format!("run {} is not on record", id.short()));
            continue;
        };
        check_night(world, &stored);
        if stored.run.is_closed() {
            closed.insert(id);
        }
        let told = |about: AlertAbout| {
            let id = format!("{id}/{}", about.as_str());
            world.state().deliveries.get(&id).map_or(0, Vec::len)
        };
        if stored.run.phase == RunPhase::Missed && told(AlertAbout::Missed) == 0 {
            world.violate(Promise::Lost, format!("that run {} was missed was never told", id.short()));
        }
        if stored.run.abandoned.is_some() {
            check_abandoned(world, &stored, told(AlertAbout::Run));
        }
        let (Some(plan), Some(summary)) = (&stored.run.plan, &stored.summary) else { continue };
        let (counts, processed) = handle.recount(id, plan);
        if (counts, processed) != (summary.counts(), summary.portfolios_processed) {
            world.violate(Promise::DoubleCounted, format!("the summary of run {} is not its records", id.short()));
        }
        if counts.total() != plan.total_jobs() {
            world.violate(Promise::Lost, format!("run {} has lost jobs", id.short()));
        }
        results_are_there(world, id, plan);
        if calm {
            let late = chrono::TimeDelta::microseconds(2 * world.scenario.sweep_every + 60 * SECOND);
            if stored.run.closed_at.is_none_or(|closed| closed > plan.deadline + late) {
                world.violate(
                    Promise::Stuck,
                    format!("run {} was closed later than two sweeps after its deadline", id.short()),
                );
            }
        }
        let told = told(AlertAbout::Run);
        match summary.status {
            RunStatus::Success if told > 0 => {
                world.violate(Promise::Other, format!("run {} went well, and an alert was sent", id.short()));
            }
            RunStatus::Partial | RunStatus::Failed if told == 0 => {
                world.violate(Promise::Lost, format!("the alert of run {} was never delivered", id.short()));
            }
            _ => {}
        }
        if stored.run.plan.is_some()
            && newest.is_none_or(|(age, _)| age < (stored.run.scheduled_for, stored.run.started_at))
        {
            newest = Some(((stored.run.scheduled_for, stored.run.started_at), id));
        }
    }
    check_chain(world, &closed);
    if let Some((_, newest)) = newest.filter(|_| world.scenario.site) {
        check_index(world, newest, executor);
    }
}

/// The index leads to the newest run, and publishing it again changes nothing.
fn check_index(world: &Arc<World>, newest: RunId, executor: &mut Executor) {
    let page = world.site.files().get("index.html").cloned().unwrap_or_default();
    if !String::from_utf8_lossy(&page).contains(&format!("runs/{newest}/")) {
        world.violate(Promise::Other, format!("the index does not lead to the newest run {}", newest.short()));
    }
    let changed = world.publish_again(newest, executor);
    if !changed.is_empty() {
        world.violate(Promise::Other, format!("published again, with nothing new, and rewritten: {changed:?}"));
    }
}

/// Every closed run has one link, and every link fits the one before.
fn check_chain(world: &Arc<World>, closed: &BTreeSet<RunId>) {
    let links = now(world.store.links(0, usize::MAX)).unwrap_or_default();
    let mut linked = BTreeSet::new();
    let mut before = None;
    for link in &links {
        if let Some(broken) = link.break_after(before) {
            world.violate(Promise::Lost, broken);
        }
        if let Some(run) = link.batch_run_id
            && !linked.insert(run)
        {
            world.violate(Promise::DoubleCounted, format!("run {} has two links in the chain", run.short()));
        }
        before = Some(link);
    }
    for run in closed.symmetric_difference(&linked) {
        world.violate(Promise::Lost, format!("run {} is closed or has a link, and not both", run.short()));
    }
}

/// The head of the night of a run is what all runs of the date say.
fn check_night(world: &Arc<World>, stored: &StoredRun) {
    let id = stored.run.batch_run_id;
    let key = NightKey { series: stored.run.night_series().clone(), as_of: stored.run.as_of };
    let Ok(Some(head)) = now(world.store.night(&key)) else {
        world.violate(Promise::Lost, format!("the night of run {} has no head", id.short()));
        return;
    };
    let folded = now(refold(&world.store, &key, head.acceptances.clone()));
    match folded {
        Ok(Some(night)) if head.is_of(&night) => {}
        Ok(_) => world.violate(Promise::Other, format!("the night of run {} is not what its runs come to", id.short())),
        Err(error) => world.violate(Promise::Lost, format!("the night of run {}: {error}", id.short())),
    }
}

/// A run that was abandoned is closed as failed, with nothing in it, and people know of it.
fn check_abandoned(world: &Arc<World>, stored: &StoredRun, alerts: usize) {
    let id = stored.run.batch_run_id;
    let failed = stored.summary.as_ref().is_some_and(|summary| {
        summary.status == RunStatus::Failed && summary.total_jobs == 0 && summary.abandoned.is_some()
    });
    if !failed {
        world.violate(Promise::Lost, format!("run {} was abandoned, and its summary does not say so", id.short()));
    }
    if alerts == 0 {
        world.violate(Promise::Lost, format!("no alert says that run {} was abandoned", id.short()));
    }
    let horizon = stored.run.planning_due_at() + chrono::TimeDelta::microseconds(horizon(&world.scenario));
    if stored.run.abandoned.as_ref().is_some_and(|abandoned| abandoned.at > horizon) {
        world.violate(Promise::Stuck, format!("run {} was abandoned long after its planning deadline", id.short()));
    }
}

/// What a finished item says it has as results is there.
fn results_are_there(world: &Arc<World>, id: RunId, plan: &SealedPlan) {
    for planned in world.book_of(id).and_then(|book| world.scenario.list_of(&book)).unwrap_or_default() {
        let key = ItemKey { run: id, portfolio: planned.id.clone() };
        let Ok(Some(item)) = now(world.store.item(&key)) else {
            world.violate(Promise::Lost, format!("{} of run {} is gone", planned.id, id.short()));
            continue;
        };
        if let Some(hash) = &item.results
            && !matches!(now(world.store.results(&key, hash)), Ok(Some(_)))
        {
            world.violate(Promise::Lost, format!("the results of {} are gone", planned.id));
        }
        if item.records.len() > plan.jobs.len() {
            world.violate(Promise::DoubleCounted, format!("{} has more records than jobs", planned.id));
        }
    }
}
