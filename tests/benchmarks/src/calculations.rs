//! The calculations alone, on one core, beside the same in numpy.

#[path = "../../../crates/quant/benches/workload/mod.rs"]
mod workload;

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use workload::{Market, OPTIONS, Outcome, POSITIONS, SYMBOLS, drivers, full_revaluation, holdings, one_portfolio, run};

use crate::figure::{Figure, seconds_of};

/// How often numpy has to take as long, at least.
const LEAST: f64 = 3.0;
/// Agreement that makes it the same calculation.
const TOLERANCE: f64 = 1e-7;

/// What the peer answers.
#[derive(Debug, Deserialize)]
struct Peer {
    seconds: f64,
    results: Vec<f64>,
    var_95: f64,
    es_95: f64,
    volatility: f64,
    deltas: f64,
}

pub(crate) fn measure(python: &Path, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let small = Market::new(POSITIONS);
    let one = seconds_of(200, || one_portfolio(black_box(&small)));
    let peer = numpy(python, &small)?;
    compare(&peer, &one_portfolio(&small))?;
    let figure = Figure::new("calculations.one_portfolio", one * 1e3, "ms", 0.25);
    figures.push(figure.against("numpy", peer.seconds * 1e3, LEAST));
    let drivers = drivers(&small);
    let revaluation = seconds_of(200, || full_revaluation(black_box(&small), &drivers));
    figures.push(Figure::new("calculations.full_revaluation", revaluation * 1e3, "ms", 0.5));

    let market = Market::new(SYMBOLS);
    for (portfolios, times, budget) in [(1_000, 9, 150.0), (10_000, 3, 1_000.0)] {
        let held = holdings(portfolios);
        let seconds = seconds_of(times, || run(black_box(&market), &held));
        figures.push(Figure::new(format!("calculations.{portfolios}_portfolios"), seconds * 1e3, "ms", budget));
    }
    Ok(())
}

/// The same calculations in numpy, on the same closes.
fn numpy(python: &Path, market: &Market) -> anyhow::Result<Peer> {
    let folder = tempfile::tempdir()?;
    let rows = market.factors.iter().chain(&market.symbols);
    let bytes: Vec<u8> = rows.flatten().flat_map(|close| close.to_le_bytes()).collect();
    let closes = folder.path().join("closes");
    std::fs::write(&closes, bytes)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer.py");
    let output = Command::new(python)
        .arg(&script)
        .arg(&closes)
        .args([market.factors.len(), market.symbols.len(), OPTIONS].map(|n| n.to_string()))
        // One core, as here.
        .envs(["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"].map(|name| (name, "1")))
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    ensure!(output.status.success(), "the peer failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The peer has to give the same numbers, or its time means nothing.
fn compare(peer: &Peer, own: &Outcome) -> anyhow::Result<()> {
    let deltas: f64 = own.greeks.iter().map(|greeks| greeks.delta).sum();
    let risk = &own.risk;
    let own_figures = own.results.iter().copied().chain([
        risk.var_95.unwrap_or(f64::NAN),
        risk.es_95.unwrap_or(f64::NAN),
        risk.vol_annual.unwrap_or(f64::NAN),
        deltas,
    ]);
    // What it says of the correlations as a whole, the peer leaves out: it has an easier task.
    let n = peer.results.len();
    let own_figures: Vec<f64> =
        own_figures.enumerate().filter(|(at, _)| *at < n || *at >= own.results.len()).map(|(_, x)| x).collect();
    let others = peer.results.iter().copied().chain([peer.var_95, peer.es_95, peer.volatility, peer.deltas]);
    for (at, (own, other)) in own_figures.iter().zip(others).enumerate() {
        let apart = (own - other).abs() / own.abs().max(1e-3);
        ensure!(apart <= TOLERANCE, "figure {at} is {own} here and {other} in numpy");
    }
    Ok(())
}
