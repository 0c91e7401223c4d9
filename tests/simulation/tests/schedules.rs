//! The simulation itself: that it repeats, that it finds what is broken, and what the protocol costs.

use std::collections::BTreeMap;

use domain::guards::Guard;
use simulation::faults::Fault;
use simulation::schedule::{self, Small};
use simulation::suite;

/// A14: the same seed gives the same events and the same pages.
#[test]
fn the_same_seed_is_the_same_schedule() {
    let mut digests = std::collections::BTreeSet::new();
    for seed in 100..140 {
        let (one, two) = (schedule::run(seed, false), schedule::run(seed, true));
        assert_eq!((one.digest, one.calls), (two.digest, two.calls), "seed {seed}");
        digests.insert(one.digest);
    }
    assert_eq!(digests.len(), 40, "and another seed another schedule");
}

#[test]
fn schedules_by_chance_keep_every_promise() {
    let report = suite::by_chance(200, 77);
    assert_eq!(
        report.violations(),
        0,
        "{:?}",
        report.failures.first().map(|failure| (failure.seed, &failure.violations))
    );
}

/// A3, for the smallest run; `tests/simulate` does the small one and all pairs.
#[test]
fn a_fault_at_any_call_is_survived() {
    let report = suite::singles(Small::Smallest);
    assert!(report.schedules > 300, "{}", report.schedules);
    assert_eq!(report.violations(), 0, "{:?}", report.failures.first().map(|f| (&f.faults, &f.violations)));
}

/// A16, for the guards whose absence shows at once; `tests/simulate` does all of them.
#[test]
fn a_guard_that_is_off_is_missed() {
    for guard in [Guard::FoldMembership, Guard::FoldAfterTerminal, Guard::AlertClaim, Guard::Sweeper, Guard::Terminal] {
        let report = suite::without(guard, 400, 1, true);
        assert!(report.violations() > 0, "{guard:?} was not missed");
    }
}

/// A15: a calm run needs no more calls than a portfolio's own (claim, jobs, results, finish, fold), its pages, and the
/// night, which is read and written at the seal and at the close, and the link of the chain, the first of which begins it.
#[test]
fn a_calm_run_costs_what_it_must() {
    let calls = schedule::run_with(Small::Smallest, &BTreeMap::new(), false).calls;
    assert!(calls <= 72, "{calls} calls for one portfolio of one job");
}

/// The simulated sender that is dead, and whose request lands later, is no stand-in for being killed: both occur.
#[test]
fn a_request_of_the_dead_lands() {
    let calls = schedule::run_with(Small::Smallest, &BTreeMap::new(), false).calls;
    let mut different = 0;
    for call in 1..=calls {
        let killed = schedule::run_with(Small::Smallest, &BTreeMap::from([(call, Fault::KilledBefore)]), false);
        let late = schedule::run_with(Small::Smallest, &BTreeMap::from([(call, Fault::LandsLate)]), false);
        different += u32::from(killed.digest != late.digest);
    }
    assert!(different > 10, "{different}");
}
