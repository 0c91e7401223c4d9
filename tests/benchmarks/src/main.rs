//! Measures what the budgets speak of, and prints each figure with its budget and its peer.
//!
//! `tests/bench` builds and calls it. The exit code says whether the figures could be taken, not whether they are good:
//! a budget that is exceeded is a finding, and says so in its line.

mod book;
mod calculations;
mod counted;
mod figure;
mod publishing;
mod serving;
mod whole_runs;

use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;
use figure::Figure;

/// Figures, budgets and peers.
#[derive(Debug, Parser)]
struct Args {
    /// Leaves out what takes minutes: 10,000 portfolios, and 10,000 stored runs (1,000 instead).
    #[arg(long)]
    quick: bool,
    /// Prints one JSON list and nothing else.
    #[arg(long)]
    json: bool,
    /// Takes only figures whose name begins so.
    #[arg(long, default_value = "")]
    only: String,
    /// The program to measure.
    #[arg(long)]
    nightbook: PathBuf,
    /// A Python with numpy and scipy, for the peer.
    #[arg(long)]
    python: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let wanted = |group: &str| group.starts_with(&args.only) || args.only.starts_with(group);
    let mut figures = Vec::new();
    let mut told = 0;
    let mut tell = |figures: &[Figure]| {
        if !args.json {
            let mut out = std::io::stdout().lock();
            for figure in &figures[told..] {
                writeln!(out, "{}", figure.line())?;
            }
            told = figures.len();
        }
        Ok::<_, std::io::Error>(())
    };
    if wanted("calculations") {
        calculations::measure(&args.python, &mut figures)?;
        tell(&figures)?;
    }
    if wanted("run") {
        whole_runs::measure(&args.nightbook, args.quick, &mut figures)?;
        tell(&figures)?;
    }
    if wanted("site") {
        publishing::measure(args.quick, &mut figures)?;
        tell(&figures)?;
    }
    if wanted("serving") {
        serving::measure(&args.nightbook, args.quick, &mut figures)?;
        tell(&figures)?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &figures)?;
        writeln!(out)?;
    } else {
        let over = figures.iter().filter(|figure| figure.within_budget == Some(false)).count();
        writeln!(out, "figures={} over_budget={over}", figures.len())?;
    }
    Ok(())
}
