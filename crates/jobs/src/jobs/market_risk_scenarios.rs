//! `market_risk_scenarios`: what a move of the market does, by the exposure to it.

use domain::record::{JobError, JobOutput};
use domain::words::JobType;
use serde::Serialize;
use serde_json::json;

use crate::job_list::{FACTOR_ANALYSIS, MARKET_RISK_SCENARIOS};
use crate::jobs::factor_analysis::{FactorAnalysis, MARKET};
use crate::registry::{About, Input, Job};

/// The job.
#[derive(Debug)]
pub struct MarketRiskScenarios;

/// Moves of the market.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Moves {
    /// One row for each move of the settings.
    pub rows: Vec<Move>,
}

/// A move of the market and what it does.
#[derive(Debug, Serialize)]
pub struct Move {
    /// The return of the market.
    #[serde(rename = "move")]
    pub market: f64,
    /// Exposure to the market x move; null where the exposure is not known.
    pub pnl: Option<f64>,
    /// The same with betas that are not clamped: it agrees with a scenario of this move alone.
    pub pnl_raw: Option<f64>,
}

impl Job for MarketRiskScenarios {
    const ABOUT: &'static About = &About {
        name: MARKET_RISK_SCENARIOS,
        job_type: JobType::RiskMetrics,
        critical: false,
        needs: &[FACTOR_ANALYSIS],
        run_level: false,
        section: Some("market_risk"),
    };
    type Output = Moves;

    fn run(input: &Input<'_>) -> Result<(Moves, JobOutput), JobError> {
        let factors = input.needed::<FactorAnalysis>()?;
        let moves = &input.shared.snapshot.settings.market_risk.moves;
        input.context.progress(0, moves.len() as u64, || "moves of the market".to_owned())?;
        let market = factors.portfolio.iter().find(|row| row.factor == MARKET);
        let exposure = market.and_then(|row| row.exposure_dollar);
        let raw = market.and_then(|row| row.exposure_dollar_raw);
        let pnl = |exposure: Option<f64>, market: f64| {
            exposure.map(|exposure| exposure * market).filter(|pnl| pnl.is_finite())
        };
        let row = |market: f64| Move { market, pnl: pnl(exposure, market), pnl_raw: pnl(raw, market) };
        let rows: Vec<Move> = moves.iter().copied().map(row).collect();
        input.context.progress(rows.len() as u64, rows.len() as u64, || "done".to_owned())?;
        let worst = rows.iter().filter_map(|row| row.pnl).min_by(f64::total_cmp);
        let metadata = [
            ("market_beta", json!(market.and_then(|row| row.beta))),
            ("market_exposure", json!(exposure)),
            ("worst_pnl", json!(worst)),
            ("not_computed", json!(rows.iter().filter(|row| row.pnl.is_none()).count())),
        ];
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        // The quality is that of the factor analysis, and said there.
        Ok((Moves { rows }, JobOutput { records_processed: moves.len() as u64, quality: None, metadata }))
    }
}
