//! `stress_testing`: scenarios on the factors, direct and correlated.

use book::{Scenario, Settings};
use domain::record::{JobError, JobOutput};
use domain::words::JobType;
use quant::ols::FitStatus;
use quant::stress::{Mode, StressError, pnl};
use serde::Serialize;
use serde_json::json;

use crate::job_list::{FACTOR_ANALYSIS, STRESS_TESTING};
use crate::jobs::factor_analysis::{FactorAnalysis, Factors};
use crate::registry::{About, Input, Job};
use crate::shared::Shared;

/// Above this variance inflation of a shocked factor the direct figure is unstable.
const UNSTABLE_VIF: f64 = 10.0;

/// The job.
#[derive(Debug)]
pub struct StressTesting;

/// Scenarios of a portfolio.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Stress {
    /// One row for each scenario of the settings.
    pub rows: Vec<StressRow>,
}

/// Whether a scenario has figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StressStatus {
    /// It has.
    Computed,
    /// It has not; the reason says why.
    NotComputed,
}

/// Which exposures a scenario uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Those of the fit on all factors.
    Multivariate,
    /// That of the one shocked factor alone.
    Univariate,
}

/// A scenario and what it does to the portfolio.
#[derive(Debug, Clone, Serialize)]
pub struct StressRow {
    /// Its id.
    pub scenario: String,
    /// Its name.
    pub name: String,
    /// Its category.
    pub category: String,
    /// How severe it is.
    pub severity: String,
    /// What it does to factors, as the book says it and as a return.
    pub shocks: Vec<FactorShock>,
    /// Whether there are figures.
    pub status: StressStatus,
    /// Why not.
    pub reason: Option<String>,
    /// Which exposures were used.
    pub basis: Option<Basis>,
    /// Only the shocked factors move.
    pub direct_pnl: Option<f64>,
    /// The others take their conditional expectation: the headline.
    pub correlated_pnl: Option<f64>,
    /// What that adds.
    pub correlation_effect: Option<f64>,
    /// Whether a shocked factor is so entangled with others that the direct figure means little.
    pub unstable: bool,
}

/// A shock of a factor.
#[derive(Debug, Clone, Serialize)]
pub struct FactorShock {
    /// The factor.
    pub factor: String,
    /// As the book says it: a return, or a change of yield for the factor of the rates.
    pub change: f64,
    /// The return of the factor.
    #[serde(rename = "return")]
    pub as_return: f64,
}

/// Why a scenario has no figures.
#[derive(Debug, thiserror::Error)]
enum NotComputed {
    #[error("the book has no factor {0} with prices")]
    NoFactor(String),
    #[error("no position has a fit on {0}")]
    NoExposure(String),
    #[error("the factors are linearly dependent, so that only scenarios of one factor can be computed")]
    RankDeficient,
    #[error("no position has a fit on all factors together, so that only scenarios of one factor can be computed")]
    NoMultivariate,
    #[error("the other factors' response is undetermined: {0}")]
    Response(#[from] StressError),
    #[error("the figures are out of range")]
    OutOfRange,
}

struct Figures {
    basis: Basis,
    direct: f64,
    correlated: f64,
}

/// The shocks of a scenario; those of the factor of the rates are changes of yield.
fn shocks_of(scenario: &Scenario, settings: &Settings) -> Vec<FactorShock> {
    let rates = &settings.rates;
    let as_return = |factor: &str, change: f64| if factor == rates.factor { -rates.duration * change } else { change };
    let shocks = scenario.shocks.iter();
    shocks
        .map(|shock| FactorShock {
            factor: shock.factor.clone(),
            change: shock.change,
            as_return: as_return(&shock.factor, shock.change),
        })
        .collect()
}

fn figures(shocks: &[FactorShock], factors: &Factors, shared: &Shared) -> Result<Figures, NotComputed> {
    let place = |shock: &FactorShock| {
        let place = shared.factor(&shock.factor).ok_or_else(|| NotComputed::NoFactor(shock.factor.clone()))?;
        Ok((place, shock.as_return))
    };
    let given = shocks.iter().map(place).collect::<Result<Vec<_>, NotComputed>>()?;
    let exposures: Option<Vec<f64>> = factors.portfolio.iter().map(|row| row.exposure_dollar_multivariate).collect();
    let figures = match (exposures, &given[..]) {
        (Some(exposures), _) => {
            let direct = pnl(&exposures, &shared.conditional.apply(&given, Mode::Direct)?);
            let correlated = pnl(&exposures, &shared.conditional.apply(&given, Mode::Correlated)?);
            Figures { basis: Basis::Multivariate, direct, correlated }
        }
        (None, [(factor, shock)]) => {
            let exposure = factors.portfolio[*factor].exposure_dollar_raw;
            let exposure = exposure.ok_or_else(|| NotComputed::NoExposure(shocks[0].factor.clone()))?;
            Figures { basis: Basis::Univariate, direct: exposure * shock, correlated: exposure * shock }
        }
        (None, _) if factors.status_multivariate == FitStatus::RankDeficient => return Err(NotComputed::RankDeficient),
        (None, _) => return Err(NotComputed::NoMultivariate),
    };
    if figures.direct.is_finite() && figures.correlated.is_finite() {
        Ok(figures)
    } else {
        Err(NotComputed::OutOfRange)
    }
}

fn row(scenario: &Scenario, factors: &Factors, shared: &Shared) -> StressRow {
    let shocks = shocks_of(scenario, &shared.snapshot.settings);
    let figures = figures(&shocks, factors, shared);
    let entangled = |shock: &FactorShock| {
        let vif = shared.factor(&shock.factor).and_then(|factor| shared.factors[factor].vif);
        vif.is_some_and(|vif| vif > UNSTABLE_VIF)
    };
    let unstable =
        figures.as_ref().is_ok_and(|figures| figures.basis == Basis::Multivariate) && shocks.iter().any(entangled);
    let reason = figures.as_ref().err().map(ToString::to_string);
    let figures = figures.ok();
    StressRow {
        scenario: scenario.id.clone(),
        name: scenario.name.clone(),
        category: scenario.category.clone(),
        severity: scenario.severity.clone(),
        shocks,
        status: if figures.is_some() { StressStatus::Computed } else { StressStatus::NotComputed },
        reason,
        basis: figures.as_ref().map(|figures| figures.basis),
        direct_pnl: figures.as_ref().map(|figures| figures.direct),
        correlated_pnl: figures.as_ref().map(|figures| figures.correlated),
        correlation_effect: figures.as_ref().map(|figures| figures.correlated - figures.direct),
        unstable,
    }
}

impl Job for StressTesting {
    const ABOUT: &'static About = &About {
        name: STRESS_TESTING,
        job_type: JobType::RiskMetrics,
        critical: false,
        needs: &[FACTOR_ANALYSIS],
        run_level: false,
        section: Some("stress"),
    };
    type Output = Stress;

    fn run(input: &Input<'_>) -> Result<(Stress, JobOutput), JobError> {
        let factors = input.needed::<FactorAnalysis>()?;
        let scenarios = &input.shared.snapshot.settings.scenarios;
        let mut rows = Vec::with_capacity(scenarios.len());
        for (done, scenario) in scenarios.iter().enumerate() {
            let (done, total) = (done + 1, scenarios.len());
            input.context.progress(done as u64, total as u64, || format!("scenario {done}/{total} {}", scenario.id))?;
            rows.push(row(scenario, factors, input.shared));
        }
        let known = || rows.iter().filter_map(|row| row.correlated_pnl.map(|pnl| (pnl, &row.scenario)));
        let mut sorted: Vec<f64> = known().map(|(pnl, _)| pnl).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mean = (!sorted.is_empty()).then(|| sorted.iter().sum::<f64>() / sorted.len() as f64);
        let worst = known().min_by(|a, b| a.0.total_cmp(&b.0));
        let best = known().max_by(|a, b| a.0.total_cmp(&b.0));
        let metadata = [
            ("worst_case_pnl", json!(worst.map(|(pnl, _)| pnl))),
            ("worst_case_scenario", json!(worst.map(|(_, id)| id))),
            ("best_case_pnl", json!(best.map(|(pnl, _)| pnl))),
            ("best_case_scenario", json!(best.map(|(_, id)| id))),
            ("mean_pnl", json!(mean)),
            ("median_pnl", json!(quant::risk::quantile_type7(&sorted, 0.5))),
            ("scenarios", json!(sorted.len())),
            ("scenarios_negative", json!(sorted.iter().filter(|pnl| **pnl < 0.0).count())),
            ("scenarios_positive", json!(sorted.iter().filter(|pnl| **pnl > 0.0).count())),
            ("not_computed", json!(rows.len() - sorted.len())),
        ];
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        // The quality is that of the factor analysis, and said there.
        let brief = JobOutput { records_processed: rows.len() as u64, quality: None, metadata };
        Ok((Stress { rows }, brief))
    }
}
