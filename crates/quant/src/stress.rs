//! Factor shocks of a stress scenario, and what they cost.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::column::PreparedColumn;
use crate::gram::Solver;
use crate::lanes;
use crate::least_squares;

/// What happens to the factors that a scenario does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They stay where they are.
    Direct,
    /// They take their conditional expectation given the shocks.
    Correlated,
}

/// Why a scenario cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StressError {
    /// A shock names a factor that is not there.
    UnknownFactor {
        /// The index named.
        factor: usize,
        /// How many factors there are.
        factors: usize,
    },
    /// A factor is shocked twice.
    DuplicateShock {
        /// The factor.
        factor: usize,
    },
    /// A shock is NaN or infinite.
    NotFinite {
        /// The factor.
        factor: usize,
    },
    /// Too few rows in which every factor has a return.
    InsufficientRows {
        /// Such rows.
        rows: usize,
        /// Rows needed: shocked factors + 2.
        needed: usize,
    },
    /// The shocked factors are linearly dependent (or one of them is constant), so no slope is determined.
    RankDeficient,
}

impl fmt::Display for StressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFactor { factor, factors } => write!(f, "factor {factor} of {factors} does not exist"),
            Self::DuplicateShock { factor } => write!(f, "factor {factor} is shocked twice"),
            Self::NotFinite { factor } => write!(f, "the shock of factor {factor} is not a finite number"),
            Self::InsufficientRows { rows, needed } => {
                write!(f, "{rows} rows are complete in every factor, {needed} are needed")
            }
            Self::RankDeficient => f.write_str("the shocked factors are linearly dependent"),
        }
    }
}

impl std::error::Error for StressError {}

/// The history from which conditional shocks are taken: the rows in which every factor has a return.
///
/// Built once per run, used for every scenario.
#[derive(Debug, Clone)]
pub struct ConditionalShocks {
    /// The factors over the complete rows.
    columns: Vec<Vec<f64>>,
    prepared: Vec<PreparedColumn>,
    /// Their correlations, `k * k`.
    gram: Vec<f64>,
    rows: usize,
}

impl ConditionalShocks {
    /// Keeps the rows of a window in which every factor has a return.
    ///
    /// `factors` are columns of returns, NaN where missing, of one length.
    #[must_use]
    pub fn new(factors: &[&[f64]]) -> Self {
        let Some((first, rest)) = factors.split_first() else {
            return Self { columns: Vec::new(), prepared: Vec::new(), gram: Vec::new(), rows: 0 };
        };
        let (first, rest) = least_squares::complete_rows(first, rest);
        let rows = first.len();
        let mut columns = vec![first];
        columns.extend(rest);
        let prepared: Vec<PreparedColumn> = columns.iter().map(|column| PreparedColumn::new(column)).collect();
        let gram = prepared.iter().flat_map(|a| prepared.iter().map(|b| lanes::dot(a.z(), b.z()))).collect();
        Self { columns, prepared, gram, rows }
    }

    /// Rows in which every factor has a return.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The shock of every factor, in the order of the factors; see [`applied_shocks`].
    ///
    /// # Errors
    ///
    /// [`StressError`], as [`applied_shocks`].
    pub fn apply(&self, shocks: &[(usize, f64)], mode: Mode) -> Result<Vec<f64>, StressError> {
        let factors = self.columns.len();
        let mut given: Vec<Option<f64>> = vec![None; factors];
        for &(factor, shock) in shocks {
            let slot = given.get_mut(factor).ok_or(StressError::UnknownFactor { factor, factors })?;
            if slot.is_some() {
                return Err(StressError::DuplicateShock { factor });
            }
            if !shock.is_finite() {
                return Err(StressError::NotFinite { factor });
            }
            *slot = Some(shock);
        }
        // In the order of the factors, so that the order in which a scenario names them changes no bit.
        let shocked: Vec<(usize, f64)> =
            given.iter().enumerate().filter_map(|(factor, shock)| shock.map(|shock| (factor, shock))).collect();
        if mode == Mode::Direct || shocked.is_empty() || shocked.len() == factors {
            return Ok(given.into_iter().map(|shock| shock.unwrap_or(0.0)).collect());
        }
        let needed = shocked.len() + 2;
        if self.rows < needed {
            return Err(StressError::InsufficientRows { rows: self.rows, needed });
        }
        let solver = self.solver(&shocked);
        let respond = |factor: usize| {
            let slopes = match &solver {
                Some(solver) => self.slopes_by_gram(factor, &shocked, solver),
                None => self.slopes_by_rows(factor, &shocked)?,
            };
            Ok(slopes.iter().zip(&shocked).map(|(slope, (_, shock))| slope * shock).sum())
        };
        given.into_iter().enumerate().map(|(factor, shock)| shock.map_or_else(|| respond(factor), Ok)).collect()
    }

    /// The factored correlations of the shocked factors; none where they are too close to dependent.
    fn solver(&self, shocked: &[(usize, f64)]) -> Option<Solver> {
        if shocked.iter().any(|(factor, _)| self.prepared[*factor].is_flat()) {
            return None;
        }
        let k = self.columns.len();
        let gram: Vec<f64> =
            shocked.iter().flat_map(|(i, _)| shocked.iter().map(move |(j, _)| self.gram[i * k + j])).collect();
        Solver::new(&gram, shocked.len())
    }

    fn slopes_by_gram(&self, factor: usize, shocked: &[(usize, f64)], solver: &Solver) -> Vec<f64> {
        let row = &self.gram[factor * self.columns.len()..];
        let correlations: Vec<f64> = shocked.iter().map(|(j, _)| row[*j]).collect();
        let mut slopes = solver.slopes(&correlations);
        for (slope, (j, _)) in slopes.iter_mut().zip(shocked) {
            *slope *= self.prepared[factor].ratio_of_norms(&self.prepared[*j]);
        }
        slopes
    }

    fn slopes_by_rows(&self, factor: usize, shocked: &[(usize, f64)]) -> Result<Vec<f64>, StressError> {
        let x: Vec<Vec<f64>> = shocked.iter().map(|(j, _)| self.columns[*j].clone()).collect();
        let fit = least_squares::fit(&self.columns[factor], &x);
        fit.coefficients.map(|found| found.betas).ok_or(StressError::RankDeficient)
    }
}

/// The shock of every factor in a scenario, in the order of the factors, as factor returns (decimals).
///
/// `factors` are columns of returns of one window, NaN where missing; `shocks` name factors by index. In
/// [`Mode::Direct`] the other factors are not moved. In [`Mode::Correlated`] each takes its conditional expectation: the
/// slopes of its ordinary least squares fit on all shocked factors, over the rows complete in every factor, times the
/// shocks; shocked factors keep their own. No clamp, no cap. With no shock, or with every factor shocked, no history is
/// needed.
///
/// # Errors
///
/// [`StressError`]: a shock that is not finite, names no factor or names one twice; fewer complete rows than shocked
/// factors + 2; linearly dependent shocked factors.
pub fn applied_shocks(factors: &[&[f64]], shocks: &[(usize, f64)], mode: Mode) -> Result<Vec<f64>, StressError> {
    ConditionalShocks::new(factors).apply(shocks, mode)
}

/// Profit and loss of exposures under shocks: `sum(exposure_f * shock_f)`, in the currency of the exposures.
///
/// One entry per factor in both; entries past the shorter one are left out.
#[must_use]
pub fn pnl(exposures: &[f64], shocks: &[f64]) -> f64 {
    exposures.iter().zip(shocks).map(|(exposure, shock)| exposure * shock).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 6] = [0.01, -0.02, 0.03, 0.0, 0.015, -0.01];
    const B: [f64; 6] = [0.02, -0.04, 0.06, 0.0, 0.03, -0.02];
    const C: [f64; 6] = [0.0, 0.01, -0.01, 0.02, 0.005, 0.0];

    #[test]
    fn correlated_shock_of_a_multiple_is_the_multiple() {
        let shocks = applied_shocks(&[&A, &B], &[(0, -0.1)], Mode::Correlated).unwrap();
        assert_eq!(shocks[0], -0.1);
        assert!((shocks[1] + 0.2).abs() < 1e-15);
        assert_eq!(applied_shocks(&[&A, &B], &[(0, -0.1)], Mode::Direct).unwrap(), [-0.1, 0.0]);
    }

    #[test]
    fn order_of_the_shocks_changes_no_bit() {
        let one = applied_shocks(&[&A, &C, &B], &[(0, 0.1), (1, -0.3)], Mode::Correlated).unwrap();
        let two = applied_shocks(&[&A, &C, &B], &[(1, -0.3), (0, 0.1)], Mode::Correlated).unwrap();
        assert_eq!(one, two);
    }

    #[test]
    fn refusals_are_typed() {
        let apply = |shocks: &[(usize, f64)]| applied_shocks(&[&A, &B, &C], shocks, Mode::Correlated);
        assert_eq!(apply(&[(3, 0.1)]), Err(StressError::UnknownFactor { factor: 3, factors: 3 }));
        assert_eq!(apply(&[(1, 0.1), (1, 0.1)]), Err(StressError::DuplicateShock { factor: 1 }));
        assert_eq!(apply(&[(1, f64::NAN)]), Err(StressError::NotFinite { factor: 1 }));
        assert_eq!(apply(&[(0, 0.1), (1, 0.1)]), Err(StressError::RankDeficient));
        let short = applied_shocks(&[&A[..2], &C[..2]], &[(0, 0.1)], Mode::Correlated);
        assert_eq!(short, Err(StressError::InsufficientRows { rows: 2, needed: 3 }));
        let constant = applied_shocks(&[&[0.0; 6], &A], &[(0, 0.1)], Mode::Correlated);
        assert_eq!(constant, Err(StressError::RankDeficient));
    }

    #[test]
    fn history_is_not_needed_when_nothing_is_conditional() {
        let gone = [f64::NAN; 3];
        assert_eq!(applied_shocks(&[&gone, &gone], &[(1, 0.2), (0, 0.1)], Mode::Correlated).unwrap(), [0.1, 0.2]);
        assert_eq!(applied_shocks(&[&gone, &gone], &[], Mode::Correlated).unwrap(), [0.0, 0.0]);
        assert_eq!(applied_shocks(&[], &[], Mode::Correlated).unwrap(), Vec::<f64>::new());
    }
}
