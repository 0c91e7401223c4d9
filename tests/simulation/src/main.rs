//! `simulate`: so many schedules of the run protocol, a table of what they came across, and one line of counts.
#![allow(clippy::print_stdout, reason = "this is a command line")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use domain::guards::Guard;
use simulation::Promise;
use simulation::schedule::{self, Small};
use simulation::suite::{self, Report};

/// Runs the protocol through seeded schedules with faults at every call.
///
/// Ends with a line of counts; the exit code is 0 only if all of them are 0.
#[derive(Parser)]
#[command(name = "tests/simulate")]
struct Arguments {
    /// Schedules by chance.
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// Seed of the first; each further one has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints every event of the schedule of the seed, and nothing else.
    #[arg(long)]
    trace: bool,
    /// Runs all schedules without each guard and counts what breaks, instead of stopping at the first.
    #[arg(long)]
    count_guards: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace {
        return trace(arguments.seed);
    }
    let began = Instant::now();
    let mut report = suite::by_chance(arguments.schedules, arguments.seed);
    let uncovered = report.coverage.uncovered();
    print!("{}", report.coverage.table());
    println!("{} calls of ports, {:.1} s", report.calls, began.elapsed().as_secs_f64());
    for row in &uncovered {
        println!("UNCOVERED: {}", row.text());
    }
    show(&report);
    for (what, found) in [
        ("every single fault of a small run", suite::singles(Small::Whole)),
        ("every single fault of a small run whose pages are spread", suite::singles(Small::Spread)),
        ("every single fault of two runs of one date that close at once", suite::singles(Small::TwoCloses)),
        ("every single fault of a slot that is missed", suite::singles(Small::Missed)),
        ("every pair of faults of the smallest run", suite::pairs()),
    ] {
        println!("{what}: {} schedules, {} violations", found.schedules, found.violations());
        show(&found);
        report.break_as(&found);
    }
    let unnoticed = guards(&arguments);
    println!(
        "schedules={} lost={} double_counted={} stuck={} violations={} uncovered={}",
        report.schedules,
        report.of(Promise::Lost),
        report.of(Promise::DoubleCounted),
        report.of(Promise::Stuck),
        report.violations(),
        uncovered.len()
    );
    let well = report.violations() == 0 && uncovered.is_empty() && unnoticed == 0;
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The table of the guards, each switched off in turn; gives how many were not missed.
fn guards(arguments: &Arguments) -> usize {
    println!(
        "\n{:<20} {:>10} {:>10} {:>8} {:>15} {:>8} {:>8}",
        "guard switched off", "schedules", "violations", "lost", "double counted", "stuck", "other"
    );
    let mut unnoticed = 0;
    for guard in Guard::ALL {
        // However few schedules are asked for, each guard gets as many as it takes to miss it.
        let most = arguments.schedules.max(10_000);
        let found = suite::without(guard, most, arguments.seed, !arguments.count_guards);
        println!(
            "{:<20} {:>10} {:>10} {:>8} {:>15} {:>8} {:>8}",
            format!("{guard:?}"),
            found.schedules,
            found.violations(),
            found.of(Promise::Lost),
            found.of(Promise::DoubleCounted),
            found.of(Promise::Stuck),
            found.of(Promise::Other)
        );
        unnoticed += usize::from(found.violations() == 0);
    }
    println!("guards whose absence went unnoticed: {unnoticed}\n");
    unnoticed
}

fn show(report: &Report) {
    for failure in &report.failures {
        println!("seed {}: replay with tests/simulate --seed {} --trace", failure.seed, failure.seed);
        for (call, fault) in &failure.faults {
            println!("  {} at call {call} of the small run", fault.name());
        }
        for violation in &failure.violations {
            println!("  {}", violation.text);
        }
    }
}

fn trace(seed: u64) -> ExitCode {
    let outcome = schedule::run(seed, true);
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("seed {seed}, digest {:016x}, {} violations", outcome.digest, outcome.violations.len());
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
