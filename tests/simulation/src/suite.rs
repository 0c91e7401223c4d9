//! Many schedules: by chance, every single fault, every pair of faults, and each guard switched off in turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::guards::{self, Guard};

use crate::coverage::Coverage;
use crate::faults::Fault;
use crate::schedule::{self, Outcome, Small};
use crate::world::Promise;

/// Failing schedules that are kept to be shown.
const SHOWN: usize = 5;

/// What came of many schedules.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Schedules.
    pub schedules: u64,
    /// Broken promises by kind.
    pub broken: BTreeMap<Promise, u64>,
    /// What the schedules came across.
    pub coverage: Coverage,
    /// Calls of ports.
    pub calls: u64,
    /// The first few that failed.
    pub failures: Vec<Outcome>,
}

impl Report {
    fn add(&mut self, outcome: Outcome) {
        self.schedules += 1;
        self.calls += outcome.calls;
        self.coverage.add(&outcome.coverage);
        for violation in &outcome.violations {
            *self.broken.entry(violation.promise).or_default() += 1;
        }
        if !outcome.violations.is_empty() && self.failures.len() < SHOWN {
            self.failures.push(outcome);
        }
    }

    fn merge(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.calls += other.calls;
        self.coverage.add(&other.coverage);
        self.break_as(&other);
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|outcome| outcome.seed);
        self.failures.truncate(SHOWN);
    }

    /// Counts the broken promises of another report as well, without its schedules.
    pub fn break_as(&mut self, other: &Self) {
        for (promise, count) in &other.broken {
            *self.broken.entry(*promise).or_default() += count;
        }
    }

    /// Broken promises of a kind.
    #[must_use]
    pub fn of(&self, promise: Promise) -> u64 {
        self.broken.get(&promise).copied().unwrap_or_default()
    }

    /// All broken promises.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.broken.values().sum()
    }
}

/// Does this for every number below `count`, on every core, with a guard switched off or none; as far as the first
/// broken promise where that is all that is asked.
fn each(count: u64, off: Option<Guard>, only_first: bool, act: impl Fn(u64) -> Outcome + Sync) -> Report {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicU64::new(0);
    let report = Mutex::new(Report::default());
    let work = || {
        let mut own = Report::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            own.add(act(number));
            if only_first && own.violations() > 0 {
                next.store(count, Ordering::Relaxed);
            }
        }
        report.lock().unwrap_or_else(PoisonError::into_inner).merge(own);
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| guards::without(off, work));
        }
    });
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Schedules by chance: those of the seeds from `seed` on.
#[must_use]
pub fn by_chance(schedules: u64, seed: u64) -> Report {
    each(schedules, None, false, |number| schedule::run(seed.wrapping_add(number), false))
}

/// Schedules by chance with a guard switched off: all of them, or as far as the first broken promise.
#[must_use]
pub fn without(guard: Guard, schedules: u64, seed: u64, only_first: bool) -> Report {
    each(schedules, Some(guard), only_first, |number| schedule::run(seed.wrapping_add(number), false))
}

/// Every single fault at every call of a small run.
#[must_use]
pub fn singles(small: Small) -> Report {
    let calls = schedule::run_with(small, &BTreeMap::new(), false).calls;
    let kinds = Fault::ALL.len() as u64;
    each(calls * kinds, None, false, |number| {
        let fault = Fault::ALL[(number % kinds) as usize];
        schedule::run_with(small, &BTreeMap::from([(1 + number / kinds, fault)]), false)
    })
}

/// Every pair of faults at every pair of calls of the smallest run: the second call is one of those that there are
/// once the first fault has happened.
#[must_use]
pub fn pairs() -> Report {
    let small = Small::Smallest;
    let kinds = Fault::ALL.len() as u64;
    let calls = schedule::run_with(small, &BTreeMap::new(), false).calls;
    let mut pairs: Vec<((u64, Fault), u64)> = Vec::new();
    for first in (1..=calls).flat_map(|call| Fault::ALL.map(|fault| (call, fault))) {
        let calls = schedule::run_with(small, &BTreeMap::from([first]), false).calls;
        pairs.extend((first.0 + 1..=calls).map(|second| (first, second)));
    }
    each(pairs.len() as u64 * kinds, None, false, |number| {
        let (first, second) = pairs[(number / kinds) as usize];
        let fault = Fault::ALL[(number % kinds) as usize];
        schedule::run_with(small, &BTreeMap::from([first, (second, fault)]), false)
    })
}
