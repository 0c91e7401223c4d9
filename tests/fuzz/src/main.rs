//! `tests/fuzz-inputs`: more iterations than a test run has time for, or one input again.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fuzz::{TARGETS, find, fuzz, keep_panics};

#[derive(Parser)]
#[command(about = "Hostile bytes for everything that reads bytes")]
struct Arguments {
    /// Iterations for each target.
    #[arg(long, default_value_t = 20_000)]
    iterations: u64,
    /// Where the random numbers begin; the same seed gives the same inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Run the target on the content of this file, and on nothing else.
    #[arg(long, requires = "target")]
    replay: Option<PathBuf>,
}

#[allow(clippy::print_stdout, reason = "a program for the terminal of a developer")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let one = arguments.target.as_deref().map(find).transpose()?;
    if let (Some(target), Some(file)) = (one, &arguments.replay) {
        // Here the panic is to be seen, with its backtrace.
        (target.run)(&std::fs::read(file)?);
        println!("{} stands {}", target.name, file.display());
        return Ok(ExitCode::SUCCESS);
    }
    keep_panics();
    let (mut inputs, mut failures) = (0, 0);
    for target in TARGETS.iter().filter(|target| one.is_none_or(|one| one.name == target.name)) {
        let (ran, failure) = fuzz(target, arguments.iterations, arguments.seed)?;
        inputs += ran;
        println!("{:<12} inputs={ran}{}", target.name, if failure.is_some() { "  FAILED" } else { "" });
        if let Some(failure) = failure {
            failures += 1;
            println!("{failure}");
        }
    }
    println!("seed={} inputs={inputs} failures={failures}", arguments.seed);
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
