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
    assert!(matches!(snapshot.encode(), Err(jobs::SnapshotError::TooLarge { .. })));
    let plain = rmp_serde::to_vec_named(&snapshot).unwrap();
    let head = &whole[..20];
    let bomb = [head, &zstd::bulk::compress(&plain, 1).unwrap()].concat();
    assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
    assert!(matches!(jobs::Snapshot::decode(&bomb), Err(jobs::SnapshotError::Decode(_))));
}

/// What makes pinned inputs contradict themselves.
type Change = fn(&mut jobs::Snapshot);

#[test]
fn pinned_inputs_that_contradict_themselves_are_refused_or_worked_on() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    keep_panics();
    let target = find("snapshot").unwrap();
    let (_, whole) = corpus(target).unwrap().pop().unwrap();
    let good = jobs::Snapshot::decode(&whole).unwrap();
    assert!(!good.portfolios.is_empty() && good.fits.iter().any(|fit| !fit.univariate.is_empty()));
    let changes: [(&str, Change); 13] = [
        ("no fits of factors", |s| s.fits.iter_mut().for_each(|fit| fit.univariate.clear())),
        ("no fit of all factors", |s| s.fits.iter_mut().for_each(|fit| fit.multivariate.betas.clear())),
        ("symbols backwards", |s| s.symbols.reverse()),
        ("sessions backwards", |s| s.sessions.reverse()),
        ("no sessions", |s| (s.sessions, s.closes) = (Vec::new(), Vec::new())),
        ("no symbols", |s| (s.symbols, s.closes, s.fits) = (Vec::new(), Vec::new(), Vec::new())),
        ("windows of nothing", |s| (s.settings.factor_analysis.window, s.settings.correlations.window) = (0, 0)),
        ("windows without end", |s| {
            (s.settings.factor_analysis.window, s.settings.snapshot.risk_window) = (u32::MAX, u32::MAX);
            s.settings.correlations.window = u32::MAX;
        }),
        ("closes that are no prices", |s| {
            let odd = [0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN_POSITIVE];
            s.closes.iter_mut().zip(odd.iter().cycle()).for_each(|(close, odd)| *close = *odd);
        }),
        ("instruments of nothing", |s| {
            s.instruments.iter_mut().for_each(|i| (i.symbol.clear(), i.mark = Some(f64::NAN)).0)
        }),
        ("options without terms", |s| {
            s.instruments.iter_mut().for_each(|i| (i.class, i.option) = (book::Class::Option, None))
        }),
        ("lots of nothing", |s| s.portfolios.iter_mut().flat_map(|p| &mut p.holdings).for_each(|h| h.lots.clear())),
        ("another date", |s| s.as_of = chrono::NaiveDate::MAX),
    ];
    for (what, change) in changes {
        let mut snapshot = good.clone();
        change(&mut snapshot);
        let plain = rmp_serde::to_vec_named(&snapshot).unwrap();
        if let Err(message) = stands(target, &plain) {
            eprintln!("{what}: {message}");
            panic!("{what} was not stood");
        }
    }
}
