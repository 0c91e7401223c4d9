//! What the end-to-end tests share: the program itself, folders of their own, a small book.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The program, as `cargo build` left it beside the tests.
///
/// # Errors
/// It was not built; `tests/run` does it first.
pub fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).context("the tests lie in no target folder")?;
    let program = folder.join("nightbook");
    ensure!(program.is_file(), "{} is missing: run `cargo build -p nightbook` first", program.display());
    Ok(program)
}

/// Says something on the output of a test: a figure, or why something was not tried.
#[allow(clippy::print_stdout, reason = "it is what a test has to say")]
pub fn say(line: &str) {
    println!("{line}");
}

/// Runs a command of the program to its end.
///
/// # Errors
/// It could not be started.
pub fn nightbook(arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(Command::new(program()?).args(arguments).stdin(Stdio::null()).output()?)
}

/// The JSON document that a command printed, and its exit code.
///
/// # Errors
/// It printed no JSON; the message holds what it said instead.
pub fn json(arguments: &[&str]) -> anyhow::Result<(Value, i32)> {
    let output = nightbook(arguments)?;
    let value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "{arguments:?} printed no JSON: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    Ok((value, output.status.code().unwrap_or(-1)))
}

/// A path as an argument.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Writes a book of so many portfolios that each hold the same five stocks and an option, with a year of prices that
/// end on 2026-11-24. Deterministic.
///
/// # Errors
/// The folder cannot be written.
pub fn write_book(folder: &Path, portfolios: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut list = String::from("portfolio_id,name,equity\n");
    let mut positions = String::from("portfolio_id,symbol,quantity,entry_price,entry_date\n");
    for p in 0..portfolios {
        list.push_str(&format!("p{p:03},Portfolio {p},1000000\n"));
        for s in 0..5 {
            positions.push_str(&format!("p{p:03},S{s},{},50,2025-01-02\n", 1_000 + p * 10 + s));
        }
        positions.push_str(&format!("p{p:03},S0270115C00060000,5,3,2026-06-01\n"));
    }
    let mut prices = String::from("date,symbol,close\n");
    let end = chrono::NaiveDate::from_ymd_opt(2026, 11, 24).context("a date")?;
    let sessions = book::Calendar::Nyse.sessions(end - chrono::Duration::days(400), end);
    for (at, date) in sessions.iter().enumerate() {
        for (s, symbol) in ["S0", "S1", "S2", "S3", "S4", "SPY", "VTV", "TLT"].iter().enumerate() {
            let wave = (at as f64 * (0.7 + s as f64 * 0.31)).sin() + (at as f64 * 0.05 * (s + 1) as f64).cos();
            prices.push_str(&format!("{date},{symbol},{:.4}\n", 60.0 + s as f64 * 5.0 + wave));
        }
    }
    std::fs::write(folder.join("portfolios.csv"), list)?;
    std::fs::write(folder.join("positions.csv"), positions)?;
    std::fs::write(folder.join("prices.csv"), prices)?;
    let settings =
        "[factors]\nMarket = \"SPY\"\nValue = \"VTV\"\n\"Interest Rate\" = \"TLT\"\n\n[run]\nbackoff_seconds = 0.01\n";
    std::fs::write(folder.join("nightbook.toml"), settings)?;
    Ok(())
}
