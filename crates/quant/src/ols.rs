//! One ordinary least squares fit with intercept.

use serde::{Deserialize, Serialize};

use crate::least_squares;

/// How a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitStatus {
    /// All coefficients are estimated.
    Ok,
    /// Fewer complete rows than asked for, or fewer than number of factors + 2; nothing is estimated.
    InsufficientData,
    /// The factors (with the intercept) are linearly dependent; coefficients are undetermined, r2 is not.
    RankDeficient,
    /// The response is constant (a stale price): coefficients and errors are zero, r2 is undefined.
    ConstantY,
}

impl FitStatus {
    /// The word that is stored: `ok`, `insufficient_data`, `rank_deficient`, `constant_y`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::InsufficientData => "insufficient_data",
            Self::RankDeficient => "rank_deficient",
            Self::ConstantY => "constant_y",
        }
    }
}

/// A fit of `y = intercept + sum(beta_j x_j) + residual`.
///
/// Standard errors use `sigma^2 = SSR / (n - k - 1)` with `k` factors. Vectors have one entry per factor, in the order
/// given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ols {
    /// Complete rows.
    pub n: usize,
    /// How the fit ended; says which of the fields below are set.
    pub status: FitStatus,
    /// Rank of the factors with the intercept, `k + 1` at most; none when data are insufficient.
    pub rank: Option<usize>,
    /// The intercept, in units of y.
    pub intercept: Option<f64>,
    /// The slopes, units of y per unit of the factor.
    pub betas: Option<Vec<f64>>,
    /// Share of the variance of y that the fit explains, 0 to 1; also set when rank deficient.
    pub r2: Option<f64>,
    /// `1 - (1 - r2) (n - 1) / (n - k - 1)`.
    pub r2_adj: Option<f64>,
    /// Standard error of the intercept.
    pub se_intercept: Option<f64>,
    /// Standard errors of the slopes.
    pub se_betas: Option<Vec<f64>>,
    /// `sqrt(SSR / (n - k - 1))`, in units of y.
    pub resid_std: Option<f64>,
    /// Variance inflation factors `1 / (1 - R2_j)` of each factor on the others.
    pub vif: Option<Vec<f64>>,
}

/// Fits `y` on an intercept and the columns `x` by ordinary least squares.
///
/// Rows with a missing (not finite) value in `y` or in any column are left out (listwise deletion). With fewer than
/// `min_obs` or fewer than `x.len() + 2` rows left the status is [`FitStatus::InsufficientData`]. Householder QR with
/// column pivoting of the centred, scaled columns: nearly collinear factors cost no more digits than they must. A column
/// is linearly dependent when less than 1e-12 of its length is its own. Coefficients beyond the range of f64 count as
/// rank deficient.
#[must_use]
pub fn ols(y: &[f64], x: &[&[f64]], min_obs: usize) -> Ols {
    let (y, x) = least_squares::complete_rows(y, x);
    let (n, k) = (y.len(), x.len());
    let mut out = Ols {
        n,
        status: FitStatus::InsufficientData,
        rank: None,
        intercept: None,
        betas: None,
        r2: None,
        r2_adj: None,
        se_intercept: None,
        se_betas: None,
        resid_std: None,
        vif: None,
    };
    if n < min_obs || n < k + 2 {
        return out;
    }
    let fit = least_squares::fit(&y, &x);
    out.rank = Some(fit.rank);
    out.r2 = fit.r2;
    let Some(found) = fit.coefficients else {
        out.status = FitStatus::RankDeficient;
        return out;
    };
    out.status = if fit.y_constant { FitStatus::ConstantY } else { FitStatus::Ok };
    out.r2_adj = fit.r2.map(|r2| 1.0 - (1.0 - r2) * (n - 1) as f64 / (n - k - 1) as f64);
    out.intercept = Some(found.intercept);
    out.betas = Some(found.betas);
    out.se_intercept = Some(found.se_intercept);
    out.se_betas = Some(found.se_betas);
    out.resid_std = Some(found.resid_std);
    out.vif = Some(found.vif);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: usize, step: f64) -> Vec<f64> {
        (0..n).map(|i| 0.01 * (i as f64 * step).sin()).collect()
    }

    #[test]
    fn status_words() {
        let all = [FitStatus::Ok, FitStatus::InsufficientData, FitStatus::RankDeficient, FitStatus::ConstantY];
        assert_eq!(all.map(FitStatus::as_str), ["ok", "insufficient_data", "rank_deficient", "constant_y"]);
        for status in all {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }

    #[test]
    fn a_twin_is_told_from_a_copy() {
        let (y, x, noise) = (wave(60, 0.9), wave(60, 0.37), wave(60, 2.1));
        let mixed = |part: f64| -> Vec<f64> { x.iter().zip(&noise).map(|(a, e)| 3.0 * a + part * e).collect() };
        assert_eq!(ols(&y, &[&x, &mixed(1e-8)], 0).status, FitStatus::Ok);
        let copy = ols(&y, &[&x, &mixed(0.0)], 0);
        assert_eq!((copy.status, copy.rank, copy.betas), (FitStatus::RankDeficient, Some(2), None));
        assert!((copy.r2.unwrap() - ols(&y, &[&x], 0).r2.unwrap()).abs() < 1e-14);
    }

    #[test]
    fn a_factor_of_rounding_errors_is_its_mean() {
        let y = wave(40, 0.9);
        let flat: Vec<f64> = (0..40).map(|i| 0.001 + f64::from(i % 3) * f64::EPSILON * 1e-3).collect();
        assert!(flat.iter().any(|v| *v != flat[0]));
        let fit = ols(&y, &[&flat], 0);
        assert_eq!((fit.status, fit.rank, fit.r2), (FitStatus::RankDeficient, Some(1), Some(0.0)));
    }

    #[test]
    fn an_exact_line_is_found() {
        let x = wave(12, 0.7);
        let y: Vec<f64> = x.iter().map(|v| 0.5 - 2.0 * v).collect();
        let fit = ols(&y, &[&x], 0);
        assert!((fit.betas.unwrap()[0] + 2.0).abs() < 1e-13 && (fit.intercept.unwrap() - 0.5).abs() < 1e-15);
        assert_eq!(fit.vif, Some(vec![1.0]));
    }
}
