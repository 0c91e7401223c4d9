//! A bounded run of every target on every test run.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

use std::sync::{Mutex, PoisonError};

use fuzz::{TARGETS, Target, corpus, find, fuzz, keep_panics, stands};

const SEED: u64 = 20_261_124;

/// The memory of an input is that of the process: one target at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn bounded(name: &str) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = find(name).unwrap();
    keep_panics();
    let (inputs, failure) = fuzz(target, target.iterations, SEED).unwrap();
    eprintln!("{name}: inputs={inputs}");
    if let Some(failure) = failure {
        // The hook keeps panics; this one is to be seen.
        eprintln!("{failure}");
        panic!("{name} did not stand an input");
    }
}

/// One test a target: `cargo nextest` gives each a process of its own.
macro_rules! bounded {
    ($($name:ident)*) => {
        $(#[test] fn $name() { bounded(stringify!($name)); })*

        #[test]
        fn every_target_is_run() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

bounded! { book portfolios positions prices settings message stored snapshot results status redact }

#[test]
fn a_failure_is_found_kept_and_found_again() {
    static WEAK: Target = Target {
        name: "settings",
        run: |data| assert!(data.len() < 3_000 || !data.contains(&b'['), "too long a text"),
        iterations: 400,
    };
    static GREEDY: Target = Target { name: "settings", run: |_| drop(vec![1_u8; 100 << 20]), iterations: 1 };
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    keep_panics();
    let (inputs, failure) = fuzz(&WEAK, WEAK.iterations, SEED).unwrap();
    let failure = failure.unwrap();
    assert!(failure.message.contains("too long a text"), "{failure}");
    assert!(failure.to_string().contains("tests/fuzz-inputs --target settings --replay "), "{failure}");
    let kept = std::fs::read(&failure.file).unwrap();
    assert!(stands(&WEAK, &kept).is_err());
    assert_eq!(fuzz(&WEAK, WEAK.iterations, SEED).unwrap().0, inputs, "the same seed fails at the same input");
    assert!(stands(&GREEDY, b"").unwrap_err().contains("bytes of memory"));
}

#[test]
fn pinned_inputs_that_expand_without_end_are_refused_both_ways() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, whole) = corpus(find("snapshot").unwrap()).unwrap().pop().unwrap();
    let mut snapshot = jobs::Snapshot::decode(&whole).unwrap();
    snapshot.settings.site.title = " ".repeat(65 << 20);
    assert!(matches!(snapshot.encode(), Err(jobs::SnapshotError::TooLarge(_))));
    let plain = rmp_serde::to_vec_named(&snapshot).unwrap();
    let head = &whole[..20];
    let bomb = [head, &zstd::bulk::compress(&plain, 1).unwrap()].concat();
    assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
    assert!(matches!(jobs::Snapshot::decode(&bomb), Err(jobs::SnapshotError::Decode(_))));
}
