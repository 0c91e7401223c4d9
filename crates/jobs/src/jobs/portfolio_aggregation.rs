//! `portfolio_aggregation`: totals of the portfolio, and by sector, class and underlying.

use std::collections::BTreeMap;

use book::Class;
use domain::record::{JobError, JobOutput};
use domain::words::JobType;
use quant::aggregation::{Aggregate, Exposure, aggregate, delta_adjusted};
use serde::Serialize;
use serde_json::json;

use crate::job_list::{PORTFOLIO_AGGREGATION, POSITION_VALUES_UPDATE};
use crate::jobs::position_values_update::{PositionRow, PositionValuesUpdate};
use crate::quality::{Findings, brief};
use crate::registry::{About, Input, Job};
use crate::shared::{Model, Shared};

/// The job.
#[derive(Debug)]
pub struct PortfolioAggregation;

/// Totals of a portfolio.
#[derive(Debug, Serialize)]
pub struct Aggregation {
    /// Of everything.
    #[serde(flatten)]
    pub total: Aggregate,
    /// Positions.
    pub positions: usize,
    /// Gross over equity; none without a usable equity.
    pub leverage: Option<f64>,
    /// By sector; blank sectors under "".
    pub by_sector: Vec<Part>,
    /// By class.
    pub by_class: Vec<Part>,
    /// Options and their underlyings together, by underlying.
    pub by_underlying: Vec<Part>,
}

/// Totals of the positions that have something in common.
#[derive(Debug, Serialize)]
pub struct Part {
    /// What they have in common.
    pub key: String,
    /// Positions.
    pub positions: usize,
    /// Their totals.
    #[serde(flatten)]
    pub total: Aggregate,
}

/// What a position adds; an option whose delta is not known, or not asked for, adds no delta.
pub(crate) fn exposure_of(shared: &Shared, row: &PositionRow) -> Exposure {
    let value = row.market_value.unwrap_or(f64::NAN);
    let is_option = row.class == Class::Option;
    let delta = match shared.quotes[row.instrument].model {
        _ if !is_option => value,
        Some(Model::Ok { greeks, spot, .. }) if shared.greeks_on => {
            delta_adjusted(row.quantity, row.multiplier, greeks.delta, spot)
        }
        Some(Model::Expired) => 0.0,
        _ => f64::NAN,
    };
    Exposure { market_value: value, is_option, delta_adjusted: delta }
}

fn parts<'a>(
    rows: &'a [PositionRow],
    exposures: &[Exposure],
    key: impl Fn(&'a PositionRow) -> Option<&'a str>,
) -> Vec<Part> {
    let mut groups: BTreeMap<&str, Vec<Exposure>> = BTreeMap::new();
    for (row, exposure) in rows.iter().zip(exposures) {
        if let Some(key) = key(row) {
            groups.entry(key).or_default().push(*exposure);
        }
    }
    let part = |(key, group): (&str, Vec<Exposure>)| Part {
        key: key.to_owned(),
        positions: group.len(),
        total: aggregate(&group),
    };
    groups.into_iter().map(part).collect()
}

impl Job for PortfolioAggregation {
    const ABOUT: &'static About = &About {
        name: PORTFOLIO_AGGREGATION,
        job_type: JobType::Valuation,
        critical: true,
        needs: &[POSITION_VALUES_UPDATE],
        run_level: false,
        section: Some("aggregation"),
    };
    type Output = Aggregation;

    fn run(input: &Input<'_>) -> Result<(Aggregation, JobOutput), JobError> {
        let rows = &input.needed::<PositionValuesUpdate>()?.rows;
        input.context.progress(0, rows.len() as u64, || format!("{} positions", rows.len()))?;
        let exposures: Vec<Exposure> = rows.iter().map(|row| exposure_of(input.shared, row)).collect();
        let total = aggregate(&exposures);
        let equity = input.portfolio.equity.filter(|equity| *equity > 0.0);
        let underlyings: std::collections::BTreeSet<&str> =
            rows.iter().filter_map(|row| row.option.as_ref()).map(|terms| terms.underlying.as_str()).collect();
        let underlying = |row: &'_ PositionRow| match &row.option {
            Some(terms) => underlyings.get(terms.underlying.as_str()).copied(),
            None if row.class == Class::Public => underlyings.get(row.symbol.as_str()).copied(),
            None => None,
        };
        let output = Aggregation {
            leverage: equity.map(|equity| total.gross / equity).filter(|value| value.is_finite()),
            positions: rows.len(),
            by_sector: parts(rows, &exposures, |row| Some(row.sector.as_deref().unwrap_or(""))),
            by_class: parts(rows, &exposures, |row| Some(row.class.as_str())),
            by_underlying: parts(rows, &exposures, underlying),
            total,
        };
        let mut findings = Findings::new(0);
        for (row, exposure) in rows.iter().zip(&exposures) {
            if exposure.market_value.is_nan() { findings.left_out(&row.symbol) } else { findings.used_as_it_is() }
        }
        if input.shared.greeks_on && total.delta_missing > 0 {
            findings.limit(format!("{} options have no delta and are in no delta-adjusted total", total.delta_missing));
        }
        input.context.progress(rows.len() as u64, rows.len() as u64, || "done".to_owned())?;
        let metadata = [
            ("gross", json!(total.gross)),
            ("net", json!(total.net)),
            ("long", json!(total.long)),
            ("short", json!(total.short)),
            ("delta_adjusted_net", json!(total.delta_adjusted_net)),
            ("leverage", json!(output.leverage)),
        ];
        Ok((output, brief(rows.len(), findings.finish(), metadata)))
    }
}
