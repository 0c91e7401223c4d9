//! `position_correlations`: how the large public positions move together.

use std::collections::BTreeMap;

use book::Class;
use domain::record::{JobError, JobOutput};
use domain::words::JobType;
use quant::correlation::{
    Correlations, PreparedColumn, average_correlation, clusters, concentration_score, diversification_score,
    effective_positions, overall_correlation,
};
use serde::Serialize;
use serde_json::json;

use crate::job_list::{POSITION_CORRELATIONS, POSITION_VALUES_UPDATE};
use crate::jobs::position_values_update::PositionValuesUpdate;
use crate::quality::{Findings, brief};
use crate::registry::{About, Input, Job};
use crate::shared::Shared;
use crate::snapshot::PinnedPortfolio;

/// The job.
#[derive(Debug)]
pub struct PositionCorrelations;

/// Correlations of a portfolio. The matrix is stored as its upper triangle with diagonal, row by row;
/// [`crate::expand`] gives the whole.
#[derive(Debug, Serialize)]
pub struct Matrix {
    /// The symbols, sorted.
    pub symbols: Vec<String>,
    /// Their share of the gross value, signed.
    pub weights: Vec<f64>,
    /// Correlations; null where undefined.
    pub triangle: Vec<Option<f64>>,
    /// Rows that both symbols of a pair have.
    pub overlap_triangle: Vec<u32>,
    /// Groups that move together, the largest first.
    pub clusters: Vec<Cluster>,
    /// Mean absolute correlation.
    pub average_correlation: Option<f64>,
    /// Share of the included value that stands in clusters.
    pub concentration_score: Option<f64>,
    /// Independent positions with the same diversification.
    pub effective_positions: Option<f64>,
    /// Weighted mean absolute correlation: near 0 diversified, near 1 one bet.
    pub diversification_score: Option<f64>,
    /// Public symbols that are not in it.
    pub excluded: Vec<Excluded>,
    /// Returns of the window.
    pub window: u32,
    /// Common returns that a correlation needs.
    pub min_overlap: u32,
}

/// Symbols that move together.
#[derive(Debug, Serialize)]
pub struct Cluster {
    /// Its members.
    pub symbols: Vec<String>,
    /// Mean correlation within.
    pub average_correlation: Option<f64>,
    /// Their absolute market value.
    pub gross_value: f64,
}

/// A symbol that is not in the matrix, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// The symbol.
    pub symbol: String,
    /// `no_price`, `no_returns`, `small_value` or `small_weight`.
    pub reason: &'static str,
}

/// Which public symbols are large enough.
#[derive(Debug, Default)]
pub(crate) struct Significant {
    /// Index of the symbol, market value, share of the gross value.
    pub(crate) included: Vec<(usize, f64, f64)>,
    pub(crate) excluded: Vec<(String, &'static str)>,
}

impl Significant {
    pub(crate) fn included_symbols(&self) -> Vec<usize> {
        self.included.iter().map(|(symbol, _, _)| *symbol).collect()
    }
}

/// The public symbols of a portfolio that are worth enough, in money and in share of the gross value.
pub(crate) fn significant(shared: &Shared, portfolio: &PinnedPortfolio) -> Significant {
    let snapshot = &shared.snapshot;
    let settings = &snapshot.settings.correlations;
    let mut values: BTreeMap<&str, (Option<usize>, Option<f64>)> = BTreeMap::new();
    let mut gross = 0.0;
    for holding in &portfolio.holdings {
        let instrument = &snapshot.instruments[holding.instrument];
        let quote = &shared.quotes[holding.instrument];
        let quantity: f64 = holding.lots.iter().map(|lot| lot.0).sum();
        let value = quote.price.map(|price| quantity * instrument.multiplier * price).filter(|value| value.is_finite());
        gross += value.unwrap_or(0.0).abs();
        if instrument.class == Class::Public {
            let (driver, sum) = values.entry(&instrument.symbol).or_insert((quote.driver, None));
            *driver = quote.driver;
            *sum = value.map(|value| sum.unwrap_or(0.0) + value).or(*sum);
        }
    }
    let mut found = Significant::default();
    for (symbol, (driver, value)) in values {
        let weight = value.map_or(0.0, |value| if gross > 0.0 { value / gross } else { 0.0 });
        match (driver, value) {
            (_, None) => found.excluded.push((symbol.to_owned(), "no_price")),
            (_, Some(value)) if value.abs() < settings.min_position_value => {
                found.excluded.push((symbol.to_owned(), "small_value"));
            }
            (_, Some(_)) if weight.abs() < settings.min_weight => {
                found.excluded.push((symbol.to_owned(), "small_weight"));
            }
            (Some(driver), Some(value)) if shared.prepared[driver].observed() > 0 => {
                found.included.push((driver, value, weight));
            }
            (_, Some(_)) => found.excluded.push((symbol.to_owned(), "no_returns")),
        }
    }
    found
}

/// The part of the run's matrix that a portfolio needs, or its own where the run has none.
fn correlations(input: &Input<'_>, symbols: &[usize]) -> Result<Correlations, JobError> {
    let shared = input.shared;
    if let Some(matrix) = &shared.correlations {
        // A symbol that is not in the matrix cannot be: it was built from the same selection.
        let place = |symbol: &usize| shared.matrix_place.get(symbol).copied().unwrap_or(usize::MAX);
        return Ok(matrix.select(&symbols.iter().map(place).collect::<Vec<_>>()));
    }
    let min_overlap = shared.snapshot.settings.correlations.min_overlap as usize;
    let columns: Vec<&PreparedColumn> = symbols.iter().map(|symbol| &shared.prepared[*symbol]).collect();
    let n = columns.len();
    let mut own =
        Correlations { n, corr: Vec::with_capacity(n * (n + 1) / 2), overlap: Vec::with_capacity(n * (n + 1) / 2) };
    for (i, a) in columns.iter().enumerate() {
        let (done, total) = (own.corr.len(), n * (n + 1) / 2);
        input.context.progress(done as u64, total as u64, || format!("pairs {done}/{total}"))?;
        for b in &columns[i..] {
            let (value, overlap) = a.correlate(b, min_overlap);
            own.corr.push(value.unwrap_or(f64::NAN));
            own.overlap.push(u32::try_from(overlap).unwrap_or(u32::MAX));
        }
    }
    Ok(own)
}

impl Job for PositionCorrelations {
    const ABOUT: &'static About = &About {
        name: POSITION_CORRELATIONS,
        job_type: JobType::RiskMetrics,
        critical: false,
        needs: &[POSITION_VALUES_UPDATE],
        run_level: false,
        section: Some("correlations"),
    };
    type Output = Matrix;

    fn run(input: &Input<'_>) -> Result<(Matrix, JobOutput), JobError> {
        input.needed::<PositionValuesUpdate>()?;
        let shared = input.shared;
        let settings = &shared.snapshot.settings.correlations;
        let chosen = significant(shared, input.portfolio);
        let symbols = chosen.included_symbols();
        let pairs = symbols.len() * symbols.len().saturating_sub(1) / 2;
        input.context.progress(0, pairs as u64, || format!("pairs 0/{pairs}"))?;
        let matrix = correlations(input, &symbols)?;

        let name = |at: usize| shared.snapshot.symbols[symbols[at]].clone();
        let values: Vec<f64> = chosen.included.iter().map(|(_, value, _)| *value).collect();
        let groups = clusters(&matrix, settings.cluster_threshold);
        let group = |members: &Vec<usize>| Cluster {
            symbols: members.iter().map(|at| name(*at)).collect(),
            average_correlation: average_correlation(&matrix, members),
            gross_value: members.iter().map(|at| values[*at].abs()).sum(),
        };
        let mut findings = Findings::new(settings.window);
        for symbol in &symbols {
            findings.used(u32::try_from(shared.prepared[*symbol].observed()).unwrap_or(u32::MAX));
        }
        for (symbol, reason) in &chosen.excluded {
            if matches!(*reason, "no_price" | "no_returns") {
                findings.left_out(symbol);
            }
        }
        let undefined = matrix.corr.iter().filter(|value| value.is_nan()).count();
        if undefined > 0 {
            findings.limit(format!("{undefined} of {} correlations are undefined", matrix.corr.len()));
        }
        let output = Matrix {
            weights: chosen.included.iter().map(|(_, _, weight)| *weight).collect(),
            clusters: groups.iter().map(group).collect(),
            average_correlation: overall_correlation(&matrix),
            concentration_score: concentration_score(&groups, &values),
            effective_positions: Some(effective_positions(&matrix)).filter(|effective| *effective <= matrix.n as f64),
            diversification_score: diversification_score(&matrix, &values),
            excluded: chosen.excluded.into_iter().map(|(symbol, reason)| Excluded { symbol, reason }).collect(),
            window: settings.window,
            min_overlap: settings.min_overlap,
            symbols: (0..symbols.len()).map(name).collect(),
            triangle: matrix.corr.iter().map(|value| Some(*value).filter(|value| value.is_finite())).collect(),
            overlap_triangle: matrix.overlap,
        };
        input.context.progress(pairs as u64, pairs as u64, || format!("pairs {pairs}/{pairs}"))?;
        let metadata = [
            ("symbols", json!(output.symbols.len())),
            ("excluded", json!(output.excluded.len())),
            ("pairs", json!(pairs)),
            ("clusters", json!(output.clusters.len())),
            ("average_correlation", json!(output.average_correlation)),
            ("effective_positions", json!(output.effective_positions)),
            ("diversification_score", json!(output.diversification_score)),
        ];
        Ok((output, brief(pairs, findings.finish(), metadata)))
    }
}
