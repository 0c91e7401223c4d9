//! Many schedules: by chance, every single fault, every pair of faults, and each guard switched off in turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use domain::guards::{self, Guard};

use crate::coverage::Coverage;
use crate::faults::Fault;
use crate::schedule::{self, Outcome};
use crate::world::Promise;

/// Failing schedules that are kept to be shown.
const SHOWN: usize = 2000;

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
        for (promise, count) in other.broken {
            *self.broken.entry(promise).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|outcome| outcome.seed);
        self.failures.truncate(SHOWN);
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

/// Does this for every number below `count`, on every core, with a guard switched off or none.
fn each(count: u64, off: Option<Guard>, act: impl Fn(u64) -> Outcome + Sync) -> Report {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicU64::new(0);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                guards::without(off, || {
                    let mut own = Report::default();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        own.add(act(number));
                    }
                    report.lock().unwrap_or_else(PoisonError::into_inner).merge(own);
                });
            });
        }
    });
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Schedules by chance: those of the seeds from `seed` on.
#[must_use]
pub fn by_chance(schedules: u64, seed: u64, off: Option<Guard>) -> Report {
    each(schedules, off, |number| schedule::run(seed.wrapping_add(number), false))
}

/// Every single fault at every call of a run of so many portfolios.
#[must_use]
pub fn singles(portfolios: u32) -> Report {
    let calls = schedule::run_with(portfolios, &BTreeMap::new(), false).calls;
    let kinds = Fault::ALL.len() as u64;
    each(calls * kinds, None, |number| {
        let fault = Fault::ALL[(number % kinds) as usize];
        schedule::run_with(portfolios, &BTreeMap::from([(1 + number / kinds, fault)]), false)
    })
}

/// Every pair of faults at every pair of calls of a run of so many portfolios: the second call is one of those that
/// there are once the first fault has happened.
#[must_use]
pub fn pairs(portfolios: u32) -> Report {
    let calls = schedule::run_with(portfolios, &BTreeMap::new(), false).calls;
    let kinds = Fault::ALL.len() as u64;
    let mut report = Report::default();
    let firsts: Vec<(u64, Fault)> =
        (1..=calls).flat_map(|call| Fault::ALL.into_iter().map(move |fault| (call, fault))).collect();
    let lengths: Vec<u64> = firsts
        .iter()
        .map(|(call, fault)| schedule::run_with(portfolios, &BTreeMap::from([(*call, *fault)]), false).calls)
        .collect();
    let all: Vec<(usize, u64)> = (0..firsts.len())
        .flat_map(|first| (firsts[first].0 + 1..=lengths[first]).map(move |second| (first, second)))
        .collect();
    report.merge(each(all.len() as u64 * kinds, None, |number| {
        let (first, second) = all[(number / kinds) as usize];
        let fault = Fault::ALL[(number % kinds) as usize];
        schedule::run_with(portfolios, &BTreeMap::from([firsts[first], (second, fault)]), false)
    }));
    report
}

/// For each guard: how many promises are broken in so many schedules without it.
#[must_use]
pub fn without_each_guard(schedules: u64, seed: u64) -> Vec<(Option<Guard>, Report)> {
    std::iter::once(None)
        .chain(Guard::ALL.into_iter().map(Some))
        .map(|off| (off, by_chance(schedules, seed, off)))
        .collect()
}
