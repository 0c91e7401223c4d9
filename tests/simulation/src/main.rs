//! `simulate`: so many schedules of the run protocol, a table of what they came across, and one line of counts.
#![allow(clippy::print_stdout, reason = "this is a command line")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulation::suite::{self, Report};
use simulation::{Promise, schedule};

/// Runs the protocol through seeded schedules with faults at every call.
#[derive(Parser)]
struct Arguments {
    /// Schedules by chance.
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// Seed of the first; each further one has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints every event of the schedules: for one that failed.
    #[arg(long)]
    trace: bool,
    /// Every single fault, and every pair of faults, at every call of a small run.
    #[arg(long)]
    exhaustive: bool,
    /// Each guard of the protocol switched off in turn: every one must be missed.
    #[arg(long)]
    guards: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace {
        return trace(&arguments);
    }
    let began = Instant::now();
    let mut report = suite::by_chance(arguments.schedules, arguments.seed, None);
    let uncovered = report.coverage.uncovered();
    print!("{}", report.coverage.table());
    println!("{} calls in {:.1} s", report.calls, began.elapsed().as_secs_f64());
    for row in &uncovered {
        println!("UNCOVERED: {}", row.text());
    }
    show(&report);
    let mut missed = 0;
    if arguments.exhaustive {
        for (what, found) in [("single faults", suite::singles(2)), ("pairs of faults", suite::pairs(1))] {
            println!("{what}: {} schedules, {} violations", found.schedules, found.violations());
            for failure in &found.failures {
                for violation in &failure.violations {
                    println!("  {}", violation.text);
                }
            }
            for (promise, count) in found.broken {
                *report.broken.entry(promise).or_default() += count;
            }
        }
    }
    if arguments.guards {
        println!("{:<24} {:>10} {:>10} {:>14} {:>8} {:>8}", "guard switched off", "violations", "lost", "double counted", "stuck", "other");
        for (off, found) in suite::without_each_guard(arguments.schedules.min(10_000), arguments.seed) {
            let name = off.map_or_else(|| "none".into(), |guard| format!("{guard:?}"));
            let of = |promise| found.of(promise);
            println!(
                "{name:<24} {:>10} {:>10} {:>14} {:>8} {:>8}",
                found.violations(), of(Promise::Lost), of(Promise::DoubleCounted), of(Promise::Stuck), of(Promise::Other)
            );
            missed += u64::from(off.is_some() == (found.violations() == 0));
        }
        println!("guards whose absence went unnoticed: {missed}");
    }
    println!(
        "schedules={} lost={} double_counted={} stuck={} violations={} uncovered={}",
        report.schedules,
        report.of(Promise::Lost),
        report.of(Promise::DoubleCounted),
        report.of(Promise::Stuck),
        report.violations(),
        uncovered.len()
    );
    if report.violations() == 0 && uncovered.is_empty() && missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(report: &Report) {
    for failure in &report.failures {
        println!("seed {} broke its promises; replay: tests/simulate --schedules 1 --seed {} --trace", failure.seed, failure.seed);
        for violation in &failure.violations {
            println!("  {}", violation.text);
        }
    }
}

fn trace(arguments: &Arguments) -> ExitCode {
    let mut broken: BTreeMap<Promise, u64> = BTreeMap::new();
    for number in 0..arguments.schedules.min(10) {
        let outcome = schedule::run(arguments.seed.wrapping_add(number), true);
        println!("seed {}", outcome.seed);
        for line in &outcome.trace {
            println!("{line}");
        }
        for violation in &outcome.violations {
            *broken.entry(violation.promise).or_default() += 1;
        }
        println!("digest {:016x}, {} violations", outcome.digest, outcome.violations.len());
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
