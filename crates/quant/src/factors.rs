//! Fits of many symbols on the same factors: each factor alone, and all of them together.

use serde::{Deserialize, Serialize};

use crate::column::PreparedColumn;
use crate::gram::Solver;
use crate::lanes;
use crate::least_squares;
use crate::ols::FitStatus;

/// Smallest unexplained share of the variance that is taken as a difference; below it the residuals are worked out.
const RESIDUAL_GUARD: f64 = 1e-3;

/// Smallest share of its sum of squares that must be left of a column after missing rows are subtracted.
const SUBTRACTION_GUARD: f64 = 1e-2;

/// One symbol on one factor: `y = a + beta x`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UnivariateFit {
    /// Rows that have both the symbol's and the factor's return.
    pub n: usize,
    /// Share of the variance explained, 0 to 1; none when the symbol is constant or data are insufficient.
    pub r2: Option<f64>,
    /// Standard error of the slope, with `n - 2` degrees of freedom.
    pub std_error: Option<f64>,
    /// The slope, not clamped.
    pub beta_raw: Option<f64>,
    /// How the fit ended.
    pub status: FitStatus,
}

/// One symbol on all factors; vectors have one entry per factor, `None` where undetermined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultivariateFit {
    /// Rows that have the symbol's and every factor's return.
    pub n: usize,
    /// Share of the variance explained, 0 to 1; also set when rank deficient, none for a constant symbol.
    pub r2: Option<f64>,
    /// How the fit ended.
    pub status: FitStatus,
    /// The slopes, not clamped.
    pub betas: Vec<Option<f64>>,
    /// Standard errors of the slopes, with `n - k - 1` degrees of freedom.
    pub std_errors: Vec<Option<f64>>,
    /// Variance inflation `1 / (1 - R2_j)` of each factor on the others over the same rows.
    pub vifs: Vec<Option<f64>>,
}

/// All fits of one symbol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SymbolFits {
    /// One fit per factor, in the order of the factors.
    pub univariate: Vec<UnivariateFit>,
    /// The fit on all factors.
    pub multivariate: MultivariateFit,
}

/// The factors of a run, prepared once and then fitted to every symbol.
///
/// The correlation (Gram) matrix of the factors over their complete rows is worked out and factored once. A symbol
/// without gaps costs one scalar product per factor; for a symbol with gaps the missing rows are subtracted from the
/// matrix. Wherever that would cost digits (strong collinearity, a nearly exact fit, few rows left) the rows are fitted
/// by QR instead, so that all results agree with [`ols`](crate::ols::ols) to 1e-10 and better.
#[derive(Debug, Clone)]
pub struct FactorModel {
    min_obs: usize,
    /// Rows of the window.
    rows: usize,
    /// Each factor over its own rows.
    factors: Vec<PreparedColumn>,
    /// The rows in which every factor has a value, ascending.
    complete: Vec<usize>,
    /// Each factor over the complete rows only; none when that is all rows.
    narrowed: Option<Vec<PreparedColumn>>,
    /// Scalar products of the factors over the complete rows, `k * k`, ones on the diagonal.
    gram: Vec<f64>,
    /// The factored matrix; none when it is too close to singular.
    solver: Option<Solver>,
}

impl FactorModel {
    /// Prepares the factors of a window.
    ///
    /// `factors` are columns of returns, oldest first, NaN where missing, all of one length (rows past the shortest are
    /// left out). `min_obs` is the smallest number of rows of any fit.
    #[must_use]
    pub fn new(factors: &[&[f64]], min_obs: usize) -> Self {
        let rows = factors.iter().map(|column| column.len()).min().unwrap_or(0);
        let columns: Vec<PreparedColumn> = factors.iter().map(|column| PreparedColumn::new(&column[..rows])).collect();
        let complete: Vec<usize> = (0..rows).filter(|&row| columns.iter().all(|column| column.has(row))).collect();
        let narrowed = (complete.len() < rows).then(|| {
            let pick = |column: &&[f64]| complete.iter().map(|&row| column[row]).collect::<Vec<f64>>();
            factors.iter().map(|column| PreparedColumn::new(&pick(column))).collect::<Vec<_>>()
        });
        let over = narrowed.as_ref().unwrap_or(&columns);
        let k = columns.len();
        let mut gram = vec![1.0; k * k];
        for i in 0..k {
            for j in 0..i {
                let product = lanes::dot(over[i].z(), over[j].z());
                gram[i * k + j] = product;
                gram[j * k + i] = product;
            }
        }
        let solver = if over.iter().any(PreparedColumn::is_flat) { None } else { Solver::new(&gram, k) };
        Self { min_obs, rows, factors: columns, complete, narrowed, gram, solver }
    }

    /// Number of factors.
    #[must_use]
    pub fn factors(&self) -> usize {
        self.factors.len()
    }

    /// Rows in which every factor has a value.
    #[must_use]
    pub fn complete_rows(&self) -> usize {
        self.complete.len()
    }

    /// Fits one symbol's returns, in the rows of the factors (a shorter column is missing at its end).
    ///
    /// Univariate: rows complete in that pair. Multivariate: rows complete in the symbol and in all factors, at least
    /// `min_obs` and `k + 2` of them. A constant factor is rank deficient; a constant symbol has slopes and errors zero
    /// and no r2. Without factors the multivariate status is [`FitStatus::InsufficientData`].
    #[must_use]
    pub fn fit(&self, y: &[f64]) -> SymbolFits {
        if y.len() >= self.rows {
            return self.fit_aligned(&PreparedColumn::new(&y[..self.rows]));
        }
        let mut padded = y.to_vec();
        padded.resize(self.rows, f64::NAN);
        self.fit_aligned(&PreparedColumn::new(&padded))
    }

    /// [`fit`](Self::fit) of a column that is prepared already, for example for correlations over the same window.
    #[must_use]
    pub fn fit_prepared(&self, y: &PreparedColumn) -> SymbolFits {
        if y.len() == self.rows { self.fit_aligned(y) } else { self.fit(&y.originals()) }
    }

    fn fit_aligned(&self, y: &PreparedColumn) -> SymbolFits {
        let products: Vec<f64> = self.factors.iter().map(|x| lanes::dot(y.z(), x.z())).collect();
        let univariate =
            self.factors.iter().zip(&products).map(|(x, product)| self.univariate(y, x, *product)).collect();
        SymbolFits { univariate, multivariate: self.multivariate(y, products) }
    }

    fn univariate(&self, y: &PreparedColumn, x: &PreparedColumn, product: f64) -> UnivariateFit {
        let n = y.overlap(x);
        if n < self.min_obs || n < 3 {
            return UnivariateFit { n, r2: None, std_error: None, beta_raw: None, status: FitStatus::InsufficientData };
        }
        if y.is_constant() || x.is_flat() {
            return univariate_by_rows(y, x);
        }
        let m = y.moments_with(x, product);
        let explained = m.sxy * m.sxy / (m.sxx * m.syy);
        let unexplained = 1.0 - explained;
        // `moments` calls the first column x: here that is the symbol.
        let (response, factor) = (m.sxx, m.syy);
        let safe = unexplained > RESIDUAL_GUARD && response > SUBTRACTION_GUARD && factor > SUBTRACTION_GUARD;
        if !safe {
            return univariate_by_rows(y, x);
        }
        let ratio = y.ratio_of_norms(x);
        let beta = m.sxy / factor * ratio;
        let error = (unexplained * response / ((n - 2) as f64 * factor)).sqrt() * ratio;
        if !(beta.is_finite() && error.is_finite()) {
            return univariate_by_rows(y, x);
        }
        UnivariateFit { n, r2: Some(explained), std_error: Some(error), beta_raw: Some(beta), status: FitStatus::Ok }
    }

    /// `products` are those of the symbol with each factor over its own rows.
    fn multivariate(&self, y: &PreparedColumn, mut products: Vec<f64>) -> MultivariateFit {
        let k = self.factors.len();
        let over = self.narrowed.as_ref().unwrap_or(&self.factors);
        let narrowed_y;
        let y = if self.narrowed.is_some() {
            let values = y.originals();
            let kept: Vec<f64> = self.complete.iter().map(|&row| values[row]).collect();
            narrowed_y = PreparedColumn::new(&kept);
            products = over.iter().map(|x| lanes::dot(narrowed_y.z(), x.z())).collect();
            &narrowed_y
        } else {
            y
        };
        let n = y.observed();
        if k == 0 || n < self.min_obs || n < k + 2 {
            return MultivariateFit::undetermined(k, n, FitStatus::InsufficientData, None);
        }
        self.multivariate_by_gram(y, over, products).unwrap_or_else(|| multivariate_by_rows(y, over))
    }

    /// The fit from the Gram matrix; none where that would cost digits.
    fn multivariate_by_gram(
        &self,
        y: &PreparedColumn,
        over: &[PreparedColumn],
        mut products: Vec<f64>,
    ) -> Option<MultivariateFit> {
        if y.is_constant() {
            return None;
        }
        let k = over.len();
        let n = y.observed();
        if y.is_complete() {
            return fit_of_correlations(self.solver.as_ref()?, &products, y, over, None);
        }

        // What the missing rows take away, factor by factor and pair by pair.
        let count = n as f64;
        let mut sums: Vec<f64> = over.iter().map(PreparedColumn::z_sum).collect();
        let mut gram = self.gram.clone();
        let mut row_values = vec![0.0; k];
        for &row in y.missing() {
            for (value, x) in row_values.iter_mut().zip(over) {
                *value = x.z_at(row);
            }
            for i in 0..k {
                sums[i] -= row_values[i];
                for j in 0..=i {
                    gram[i * k + j] -= row_values[i] * row_values[j];
                }
            }
        }
        for i in 0..k {
            for j in 0..=i {
                gram[i * k + j] -= sums[i] * sums[j] / count;
            }
        }
        let mut lengths = vec![0.0; k];
        for i in 0..k {
            let squares = gram[i * k + i];
            if squares.is_nan() || squares <= SUBTRACTION_GUARD || over[i].is_flat() {
                return None;
            }
            lengths[i] = squares.sqrt();
        }
        for i in 0..k {
            products[i] /= lengths[i];
            for j in 0..i {
                gram[i * k + j] /= lengths[i] * lengths[j];
            }
            gram[i * k + i] = 1.0;
        }
        fit_of_correlations(&Solver::new(&gram, k)?, &products, y, over, Some(&lengths))
    }
}

impl MultivariateFit {
    fn undetermined(k: usize, n: usize, status: FitStatus, r2: Option<f64>) -> Self {
        Self { n, r2, status, betas: vec![None; k], std_errors: vec![None; k], vifs: vec![None; k] }
    }
}

/// The fit of a symbol from its correlations with the factors; none where that would cost digits.
///
/// `lengths` are the lengths of the factors over the symbol's rows, in units of their norms.
fn fit_of_correlations(
    solver: &Solver,
    correlations: &[f64],
    y: &PreparedColumn,
    over: &[PreparedColumn],
    lengths: Option<&[f64]>,
) -> Option<MultivariateFit> {
    let k = over.len();
    let n = y.observed();
    let slopes = solver.slopes(correlations);
    let explained: f64 = slopes.iter().zip(correlations).map(|(b, r)| b * r).sum();
    let unexplained = 1.0 - explained;
    if unexplained.is_nan() || unexplained <= RESIDUAL_GUARD {
        return None;
    }
    let variance = unexplained / (n - k - 1) as f64;
    let mut out = MultivariateFit::undetermined(k, n, FitStatus::Ok, Some(explained.max(0.0)));
    for j in 0..k {
        let ratio = y.ratio_of_norms(&over[j]) / lengths.map_or(1.0, |lengths| lengths[j]);
        let vif = solver.vif(j);
        let beta = slopes[j] * ratio;
        let error = (variance * vif).sqrt() * ratio;
        if !(beta.is_finite() && error.is_finite()) {
            return None;
        }
        out.betas[j] = Some(beta);
        out.std_errors[j] = Some(error);
        out.vifs[j] = Some(vif);
    }
    Some(out)
}

/// The careful way for one factor.
fn univariate_by_rows(y: &PreparedColumn, x: &PreparedColumn) -> UnivariateFit {
    let (y, x) = least_squares::complete_rows(&y.originals(), &[&x.originals()]);
    let fit = least_squares::fit(&y, &x);
    let status = status(&fit);
    let coefficients = fit.coefficients.as_ref();
    UnivariateFit {
        n: y.len(),
        r2: fit.r2,
        std_error: coefficients.and_then(|c| c.se_betas.first().copied()),
        beta_raw: coefficients.and_then(|c| c.betas.first().copied()),
        status,
    }
}

/// The careful way for all factors.
fn multivariate_by_rows(y: &PreparedColumn, over: &[PreparedColumn]) -> MultivariateFit {
    let columns: Vec<Vec<f64>> = over.iter().map(PreparedColumn::originals).collect();
    let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let (y, x) = least_squares::complete_rows(&y.originals(), &slices);
    let fit = least_squares::fit(&y, &x);
    let mut out = MultivariateFit::undetermined(x.len(), y.len(), status(&fit), fit.r2);
    if let Some(found) = fit.coefficients {
        out.betas = found.betas.into_iter().map(Some).collect();
        out.std_errors = found.se_betas.into_iter().map(Some).collect();
        out.vifs = found.vif.into_iter().map(Some).collect();
    }
    out
}

fn status(fit: &least_squares::LeastSquares) -> FitStatus {
    match (&fit.coefficients, fit.y_constant) {
        (None, _) => FitStatus::RankDeficient,
        (Some(_), true) => FitStatus::ConstantY,
        (Some(_), false) => FitStatus::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 6] = [0.01, -0.02, 0.03, 0.0, 0.015, -0.01];
    const B: [f64; 6] = [0.0, 0.01, -0.01, 0.02, 0.005, 0.0];
    const Y: [f64; 6] = [0.02, -0.01, 0.01, 0.03, 0.0, 0.005];

    #[test]
    fn two_rows_more_than_factors_are_needed() {
        let fit = |rows: usize| FactorModel::new(&[&A[..rows], &B[..rows]], 0).fit(&Y[..rows]);
        assert_eq!(fit(3).multivariate.status, FitStatus::InsufficientData);
        assert_eq!(fit(3).univariate[0].status, FitStatus::Ok);
        assert_eq!(fit(4).multivariate.status, FitStatus::Ok);
        assert_eq!(fit(2).univariate[0].status, FitStatus::InsufficientData);
    }

    #[test]
    fn minimum_counts_the_rows_of_each_fit() {
        let mut gap = B;
        gap[0] = f64::NAN;
        let fits = FactorModel::new(&[&A, &gap], 6).fit(&Y);
        assert_eq!((fits.univariate[0].n, fits.univariate[0].status), (6, FitStatus::Ok));
        assert_eq!((fits.univariate[1].n, fits.univariate[1].status), (5, FitStatus::InsufficientData));
        assert_eq!((fits.multivariate.n, fits.multivariate.status), (5, FitStatus::InsufficientData));
        assert_eq!(fits.multivariate.betas, [None, None]);
    }

    #[test]
    fn constant_symbol_and_constant_factor() {
        let stale = FactorModel::new(&[&A, &B], 0).fit(&[0.001; 6]);
        let one = &stale.univariate[0];
        assert_eq!(
            (one.status, one.beta_raw, one.std_error, one.r2),
            (FitStatus::ConstantY, Some(0.0), Some(0.0), None)
        );
        assert_eq!((stale.multivariate.status, stale.multivariate.r2), (FitStatus::ConstantY, None));
        assert_eq!(stale.multivariate.betas, [Some(0.0); 2]);

        let flat = FactorModel::new(&[&[0.001; 6], &B], 0).fit(&Y);
        assert_eq!((flat.univariate[0].status, flat.univariate[0].beta_raw), (FitStatus::RankDeficient, None));
        assert_eq!(flat.multivariate.status, FitStatus::RankDeficient);
        assert!((flat.multivariate.r2.unwrap() - flat.univariate[1].r2.unwrap()).abs() < 1e-15);
    }

    #[test]
    fn a_short_symbol_is_missing_at_its_end() {
        let fits = FactorModel::new(&[&A, &B], 0).fit(&Y[..5]);
        assert_eq!((fits.univariate[0].n, fits.multivariate.n), (5, 5));
    }
}
