//! `factor_analysis`: betas of the positions, exposures of the portfolio.

use std::collections::BTreeSet;

use domain::record::{JobError, JobOutput};
use domain::words::JobType;
use quant::factors::SymbolFits;
use quant::ols::FitStatus;
use serde::Serialize;
use serde_json::json;

use crate::job_list::{FACTOR_ANALYSIS, MARKET_DATA_UPDATE, PORTFOLIO_AGGREGATION};
use crate::jobs::greeks_calculation::GreeksCalculation;
use crate::jobs::position_values_update::{PositionRow, PositionValuesUpdate};
use crate::jobs::{Risk, equity, risk_of};
use crate::quality::{Findings, brief};
use crate::registry::{About, Input, Job};
use crate::shared::Shared;

/// The factor of the market, as the settings name it.
pub const MARKET: &str = "Market";

/// The job.
#[derive(Debug)]
pub struct FactorAnalysis;

/// Factors of a portfolio.
#[derive(Debug, Serialize)]
pub struct Factors {
    /// A row for each position and factor.
    pub positions: Vec<PositionFactor>,
    /// A row for each factor.
    pub portfolio: Vec<PortfolioFactor>,
    /// Positions that are not in the rows of the portfolio.
    pub left_out: Vec<LeftOut>,
    /// Factors whose proxy has no prices.
    pub factors_missing: Vec<String>,
    /// How the fits on all factors together ended, for the portfolio as a whole.
    pub status_multivariate: FitStatus,
}

/// A position on a factor: alone, and together with all other factors.
#[derive(Debug, Serialize)]
pub struct PositionFactor {
    /// The position.
    pub symbol: String,
    /// Whose returns were fitted, where they are not the position's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlying: Option<String>,
    /// The factor.
    pub factor: String,
    /// Rows complete in this pair.
    pub n: usize,
    /// The slope, clamped.
    pub beta: Option<f64>,
    /// Whether the clamp changed the slope.
    pub clamped: bool,
    /// The slope.
    pub beta_raw: Option<f64>,
    /// Share of the variance explained.
    pub r2: Option<f64>,
    /// Standard error of the slope.
    pub std_error: Option<f64>,
    /// How the fit ended.
    pub status: FitStatus,
    /// Rows complete in the position and all factors.
    pub n_multivariate: usize,
    /// The slope beside all other factors.
    pub beta_multivariate: Option<f64>,
    /// Share of the variance that all factors explain.
    pub r2_multivariate: Option<f64>,
    /// Standard error of that slope.
    pub std_error_multivariate: Option<f64>,
    /// Variance inflation of the factor.
    pub vif: Option<f64>,
    /// How the fit on all factors ended.
    pub status_multivariate: FitStatus,
}

/// The portfolio on a factor; null where no position has a fit.
#[derive(Debug, Clone, Serialize)]
pub struct PortfolioFactor {
    /// The factor.
    pub factor: String,
    /// Exposure over equity.
    pub beta: Option<f64>,
    /// Whether the beta of a position in it is clamped.
    pub clamped: bool,
    /// Sum of exposure x clamped beta.
    pub exposure_dollar: Option<f64>,
    /// Sum of exposure x beta.
    pub exposure_dollar_raw: Option<f64>,
    /// Multivariate exposure over equity.
    pub beta_multivariate: Option<f64>,
    /// Sum of exposure x multivariate beta.
    pub exposure_dollar_multivariate: Option<f64>,
    /// Positions in the univariate sums.
    pub positions: usize,
}

/// A position that is not in a sum, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The position.
    pub symbol: String,
    /// Left out of everything, of some factors, or of the multivariate exposures.
    pub of: &'static str,
    /// Why.
    pub reason: String,
}

/// A sum that is undefined until something is added.
#[derive(Clone, Copy, Default)]
struct Sum(Option<f64>);

impl Sum {
    fn add(&mut self, value: f64) {
        self.0 = Some(self.0.unwrap_or(0.0) + value);
    }

    /// The sum; zero where there was nothing to add.
    fn or_zero(self, nothing: bool) -> Option<f64> {
        self.0.or(nothing.then_some(0.0)).filter(|value| value.is_finite())
    }
}

#[derive(Clone, Copy, Default)]
struct Sums {
    clamped: Sum,
    raw: Sum,
    multivariate: Sum,
    positions: usize,
}

impl Sums {
    fn row(&self, factor: &str, equity: f64, nothing: bool, deficient: bool) -> PortfolioFactor {
        let over_equity = |value: Option<f64>| value.map(|value| value / equity).filter(|beta| beta.is_finite());
        let clamped = self.clamped.or_zero(nothing);
        let multivariate = if deficient { None } else { self.multivariate.or_zero(nothing) };
        PortfolioFactor {
            factor: factor.to_owned(),
            beta: over_equity(clamped),
            clamped: self.clamped.0 != self.raw.0,
            exposure_dollar: clamped,
            exposure_dollar_raw: self.raw.or_zero(nothing),
            beta_multivariate: over_equity(multivariate),
            exposure_dollar_multivariate: multivariate,
            positions: self.positions,
        }
    }
}

/// What is gathered over the positions.
struct Work<'a> {
    shared: &'a Shared,
    cap: f64,
    sums: Vec<Sums>,
    rows: Vec<PositionFactor>,
    left_out: Vec<LeftOut>,
    findings: Findings,
    known: BTreeSet<(&'a str, usize)>,
    could: usize,
    ok: usize,
    deficient: usize,
}

impl<'a> Work<'a> {
    fn leave_out(&mut self, symbol: &str, of: &'static str, reason: impl Into<String>) {
        self.left_out.push(LeftOut { symbol: symbol.to_owned(), of, reason: reason.into() });
    }

    fn position(&mut self, row: &'a PositionRow, exposure: f64, symbol: usize) {
        let shared = self.shared;
        let Some(fits) = shared.fits(symbol) else { return };
        if self.known.insert((&row.symbol, symbol)) {
            self.add_rows(row, fits);
        }
        let mut fitted = 0;
        for (sums, fit) in self.sums.iter_mut().zip(&fits.univariate) {
            if let (FitStatus::Ok, Some(beta)) = (fit.status, fit.beta_raw) {
                fitted += 1;
                sums.positions += 1;
                sums.raw.add(exposure * beta);
                sums.clamped.add(exposure * clamp(beta, self.cap));
            }
        }
        if fitted == 0 {
            let status = fits.univariate.first().map_or(FitStatus::InsufficientData, |fit| fit.status);
            self.findings.left_out(&row.symbol);
            return self.leave_out(&row.symbol, "all", status.as_str());
        }
        self.findings.used(shared.observed[symbol]);
        if fitted < fits.univariate.len() {
            self.findings.limit(format!("{} is left out of some factors", row.symbol));
            self.leave_out(&row.symbol, "some factors", "no fit on them");
        }
        let status = fits.multivariate.status;
        match status {
            FitStatus::Ok => {
                self.ok += 1;
                for (sums, beta) in self.sums.iter_mut().zip(&fits.multivariate.betas) {
                    beta.iter().for_each(|beta| sums.multivariate.add(exposure * beta));
                }
            }
            other => {
                self.deficient += usize::from(other == FitStatus::RankDeficient);
                self.findings.limit(format!("{} is left out of the multivariate exposures", row.symbol));
                self.leave_out(&row.symbol, "multivariate", other.as_str());
            }
        }
    }

    fn add_rows(&mut self, row: &PositionRow, fits: &SymbolFits) {
        let all = &fits.multivariate;
        for (at, (factor, fit)) in self.shared.factors.iter().zip(&fits.univariate).enumerate() {
            self.rows.push(PositionFactor {
                symbol: row.symbol.clone(),
                underlying: row.option.as_ref().map(|terms| terms.underlying.clone()),
                factor: factor.name.clone(),
                n: fit.n,
                beta: fit.beta_raw.map(|beta| clamp(beta, self.cap)),
                clamped: fit.beta_raw.is_some_and(|beta| clamp(beta, self.cap) != beta),
                beta_raw: fit.beta_raw,
                r2: fit.r2,
                std_error: fit.std_error,
                status: fit.status,
                n_multivariate: all.n,
                beta_multivariate: all.betas.get(at).copied().flatten(),
                r2_multivariate: all.r2,
                std_error_multivariate: all.std_errors.get(at).copied().flatten(),
                vif: all.vifs.get(at).copied().flatten(),
                status_multivariate: all.status,
            });
        }
    }

    /// One position with dependent factors makes the multivariate sums incomplete in a way that no other can mend.
    fn status_multivariate(&self) -> FitStatus {
        if self.deficient > 0 {
            FitStatus::RankDeficient
        } else if self.ok > 0 || self.could == 0 {
            FitStatus::Ok
        } else {
            FitStatus::InsufficientData
        }
    }
}

fn clamp(beta: f64, cap: f64) -> f64 {
    beta.min(cap).max(-cap)
}

impl Job for FactorAnalysis {
    const ABOUT: &'static About = &About {
        name: FACTOR_ANALYSIS,
        job_type: JobType::RiskMetrics,
        critical: false,
        needs: &[MARKET_DATA_UPDATE, PORTFOLIO_AGGREGATION],
        run_level: false,
        section: Some("factors"),
    };
    type Output = Factors;

    fn run(input: &Input<'_>) -> Result<(Factors, JobOutput), JobError> {
        let equity = equity(input)?;
        let rows = &input.needed::<PositionValuesUpdate>()?.rows;
        let greeks = input.optional::<GreeksCalculation>().is_some();
        let shared = input.shared;
        let settings = &shared.snapshot.settings.factor_analysis;
        let mut work = Work {
            shared,
            cap: settings.beta_cap,
            sums: vec![Sums::default(); shared.factors.len()],
            rows: Vec::with_capacity(rows.len() * shared.factors.len()),
            left_out: Vec::new(),
            findings: Findings::new(settings.window),
            known: BTreeSet::new(),
            could: 0,
            ok: 0,
            deficient: 0,
        };
        for (done, row) in rows.iter().enumerate() {
            if done % 16 == 0 {
                let (done, total) = (done + 1, rows.len());
                input
                    .context
                    .progress(done as u64, total as u64, || format!("position {done}/{total} {}", row.symbol))?;
            }
            let risk = risk_of(input, row, greeks);
            work.could += usize::from(risk != Risk::None);
            match risk {
                Risk::Exposed { exposure, symbol } => work.position(row, exposure, symbol),
                Risk::LeftOut(reason) => {
                    work.findings.left_out(&row.symbol);
                    work.leave_out(&row.symbol, "all", reason);
                }
                Risk::None => {}
            }
        }
        for factor in &shared.factors_missing {
            work.findings.limit(format!("the factor {factor} is left out: its proxy has no prices"));
        }
        if work.could == 0 && rows.iter().any(|row| row.class == book::Class::Private) {
            work.findings.nothing("no position has market returns: nothing is exposed to a factor as far as is known");
        }
        let status_multivariate = work.status_multivariate();
        let deficient = status_multivariate == FitStatus::RankDeficient;
        let nothing = work.could == 0;
        let portfolio = shared.factors.iter().zip(&work.sums);
        let portfolio: Vec<PortfolioFactor> =
            portfolio.map(|(factor, sums)| sums.row(&factor.name, equity, nothing, deficient)).collect();
        input.context.progress(rows.len() as u64, rows.len() as u64, || "done".to_owned())?;

        let market = portfolio.iter().find(|row| row.factor == MARKET);
        let metadata = [
            ("market_beta", json!(market.and_then(|row| row.beta))),
            ("market_exposure", json!(market.and_then(|row| row.exposure_dollar))),
            ("factors", json!(portfolio.len())),
            ("positions_left_out", json!(work.findings.missing().len())),
            ("status_multivariate", json!(status_multivariate.as_str())),
        ];
        let quality = work.findings.finish();
        let records = work.rows.len();
        let output = Factors {
            positions: work.rows,
            portfolio,
            left_out: work.left_out,
            factors_missing: shared.factors_missing.clone(),
            status_multivariate,
        };
        Ok((output, brief(records, quality, metadata)))
    }
}
