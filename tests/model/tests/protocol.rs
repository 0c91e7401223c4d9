//! Every reachable state of the model, and each guard of the protocol left out.
#![allow(clippy::print_stdout, reason = "how many states there are is what these tests have to say")]

use domain::guards::{self, Guard};
use model::protocol::{Budget, Protocol};
use stateright::{Checker as _, Model as _};

fn check(name: &str, protocol: Protocol) {
    let checker = protocol.checker().spawn_bfs().join();
    println!("{name}: {} states", checker.unique_state_count());
    checker.assert_properties();
}

const fn budget(deaths: u8, expiries: u8, deliveries: u8) -> Budget {
    Budget { deaths, expiries, deliveries }
}

#[test]
fn planners() {
    check("two planners", Protocol { planners: 2, workers: 1, closers: 1, budget: budget(1, 1, 2) });
}

#[test]
fn workers() {
    check("two workers", Protocol { planners: 1, workers: 2, closers: 1, budget: budget(1, 1, 2) });
}

#[test]
fn closers() {
    check("two closers", Protocol { planners: 1, workers: 1, closers: 2, budget: budget(1, 1, 2) });
}

/// Two of everything.
#[test]
fn two_of_everything() {
    check("two of everything", Protocol { planners: 2, workers: 2, closers: 2, budget: budget(0, 0, 2) });
}

/// The tests are tested: without a guard the checker finds a state that must not be.
#[test]
fn each_guard_is_missed() {
    let planners = Protocol { planners: 2, workers: 1, closers: 1, budget: budget(1, 1, 3) };
    let workers = Protocol { planners: 1, workers: 2, closers: 1, budget: budget(1, 1, 4) };
    let closers = Protocol { planners: 1, workers: 1, closers: 2, budget: budget(0, 1, 3) };
    for (guard, protocol) in [
        (Guard::FoldMembership, workers),
        (Guard::Fence, workers),
        (Guard::Epoch, planners),
        (Guard::Terminal, workers),
        (Guard::FoldAfterTerminal, workers),
        (Guard::FoldFromRecord, workers),
        (Guard::AlertClaim, closers),
    ] {
        // One thread: guards are switched off on a thread.
        let found = guards::without(Some(guard), || first_broken(&protocol));
        println!("without {guard:?}: {}", found.unwrap_or("NOTHING FOUND"));
        assert!(found.is_some(), "{guard:?} was not missed");
    }
}

/// The first promise that a search on this thread finds broken.
fn first_broken(protocol: &Protocol) -> Option<&'static str> {
    let always: Vec<_> = protocol
        .properties()
        .into_iter()
        .filter(|property| matches!(property.expectation, stateright::Expectation::Always))
        .collect();
    let mut seen = std::collections::HashSet::new();
    let mut open: std::collections::VecDeque<_> = protocol.init_states().into();
    while let Some(world) = open.pop_front() {
        if let Some(broken) = always.iter().find(|property| !(property.condition)(protocol, &world)) {
            return Some(broken.name);
        }
        let mut actions = Vec::new();
        protocol.actions(&world, &mut actions);
        for action in actions {
            if let Some(next) = protocol.next_state(&world, action)
                && seen.insert(next.clone())
            {
                open.push_back(next);
            }
        }
    }
    None
}
