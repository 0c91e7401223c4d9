//! The protocol as a whole, in the simulator: what no test of a single state machine can show.
//!
//! Here so that `cargo test -p domain` alone notices a use case that was changed; `tests/simulate` does far more.

use simulation::schedule::Small;
use simulation::suite;

#[test]
fn schedules_by_chance_keep_every_promise() {
    let report = suite::by_chance(150, 5_000);
    assert_eq!(
        report.violations(),
        0,
        "{:?}",
        report.failures.first().map(|failure| (failure.seed, &failure.violations))
    );
}

#[test]
fn a_fault_at_any_call_of_the_smallest_run_is_survived() {
    let report = suite::singles(Small::Smallest);
    assert_eq!(report.violations(), 0, "{:?}", report.failures.first().map(|f| (&f.faults, &f.violations)));
}
