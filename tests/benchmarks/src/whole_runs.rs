//! `nightbook run`, from a book in files to records, results and site in files.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::book;
use crate::figure::{Figure, median};

/// Between two looks at the memory of the program.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn measure(nightbook: &Path, quick: bool, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for (portfolios, times, budget) in [(1_000, 3, 3.0), (10_000, 1, 30.0)] {
        if quick && portfolios > 1_000 {
            break;
        }
        let input = folder.path().join(format!("book-{portfolios}"));
        book::write(&input, portfolios)?;
        let (mut seconds, mut memory) = (Vec::new(), 0.0);
        for time in 0..times {
            let data = folder.path().join(format!("data-{portfolios}-{time}"));
            let (took, peak) = run(nightbook, &input, &data, portfolios)?;
            seconds.push(took);
            memory = f64::max(memory, peak);
            std::fs::remove_dir_all(&data)?;
        }
        figures.push(Figure::new(format!("run.{portfolios}_portfolios"), median(seconds), "s", budget));
        if memory > 0.0 {
            let name = format!("run.{portfolios}_portfolios.memory");
            figures.push(match portfolios {
                10_000 => Figure::new(name, memory, "MiB", 2_048.0),
                _ => Figure::told(name, memory, "MiB"),
            });
        }
    }
    Ok(())
}

/// Runs once into an empty data folder. Gives the time in seconds, and the most memory at once in MiB (0 where the
/// system does not say).
fn run(nightbook: &Path, book: &Path, data: &Path, portfolios: usize) -> anyhow::Result<(f64, f64)> {
    let began = Instant::now();
    let mut child = Command::new(nightbook)
        .args(["run", "--json", "--as-of", &book::AS_OF.to_string(), "--book"])
        .arg(book)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(data.with_extension("json"))?)
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start nightbook")?;
    let mut peak = 0.0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = f64::max(peak, high_water(child.id()));
        #[expect(clippy::disallowed_methods, reason = "only the memory is looked at in between; nothing waits for it")]
        std::thread::sleep(LOOK);
    };
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "nightbook run ended with {status}");
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(data.with_extension("json"))?)?;
    ensure!(
        summary["successful_jobs"] == serde_json::json!(portfolios * 9),
        "of {} jobs {} succeeded",
        portfolios * 9,
        summary["successful_jobs"]
    );
    Ok((seconds, peak))
}

fn high_water(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
}
