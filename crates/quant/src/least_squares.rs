//! The accurate least squares fit beneath [`ols`](crate::ols) and, where they are ill-conditioned, the
//! [`factors`](crate::factors): centred columns of unit length, Householder QR with column pivoting.

// Indices are those of the matrices in the formulas.
#![allow(clippy::needless_range_loop)]

use crate::column::PreparedColumn;
use crate::lanes;

/// A direction with less than this share of its column left is no direction of its own. numpy's `matrix_rank` decides
/// at about 2e-13 for daily returns; real data lies far from either.
const RANK_TOLERANCE: f64 = 1e-12;

/// A fit of complete rows.
#[derive(Debug, Clone)]
pub(crate) struct LeastSquares {
    /// Rank of the factors with the intercept.
    pub(crate) rank: usize,
    /// Whether all values of y are equal.
    pub(crate) y_constant: bool,
    /// Share of the variance that the fit explains, also when it is rank deficient; none for a constant y.
    pub(crate) r2: Option<f64>,
    /// The coefficients; none when rank deficient.
    pub(crate) coefficients: Option<Coefficients>,
}

/// What a fit of full rank estimates.
#[derive(Debug, Clone)]
pub(crate) struct Coefficients {
    pub(crate) intercept: f64,
    pub(crate) betas: Vec<f64>,
    pub(crate) se_intercept: f64,
    pub(crate) se_betas: Vec<f64>,
    pub(crate) resid_std: f64,
    pub(crate) vif: Vec<f64>,
}

/// The rows of `y` and `x` in which every value is finite, up to the length of the shortest column.
pub(crate) fn complete_rows(y: &[f64], x: &[&[f64]]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let rows = x.iter().map(|column| column.len()).fold(y.len(), usize::min);
    let kept: Vec<usize> =
        (0..rows).filter(|&row| y[row].is_finite() && x.iter().all(|column| column[row].is_finite())).collect();
    let pick = |column: &[f64]| kept.iter().map(|&row| column[row]).collect();
    (pick(y), x.iter().map(|column| pick(column)).collect())
}

/// Fits `y` on an intercept and the columns `x`; all finite, of one length `n >= x.len() + 2`.
pub(crate) fn fit(y: &[f64], x: &[Vec<f64>]) -> LeastSquares {
    let (n, k) = (y.len(), x.len());
    let response = PreparedColumn::new(y);
    let columns: Vec<PreparedColumn> = x.iter().map(|column| PreparedColumn::new(column)).collect();
    let qr = PivotedQr::new(&columns, &response, n);

    let y_constant = response.is_constant();
    let r2 = (!y_constant).then(|| (1.0 - qr.residual).clamp(0.0, 1.0));
    let rank = qr.order.len() + 1;
    let mut out = LeastSquares { rank, y_constant, r2, coefficients: None };
    if rank < k + 1 {
        return out;
    }

    let inverse = qr.inverse();
    // Back into the order of the columns: row `step` of the triangle belongs to column `order[step]`.
    let mut betas = vec![0.0; k];
    let mut vif = vec![0.0; k];
    for (step, &j) in qr.order.iter().enumerate() {
        let row = &inverse[step];
        vif[j] = row.iter().map(|v| v * v).sum();
        betas[j] = row.iter().zip(&qr.response).map(|(v, q)| v * q).sum();
    }
    if y_constant {
        let intercept = response.mean();
        let se_betas = vec![0.0; k];
        let betas = vec![0.0; k];
        out.coefficients = Some(Coefficients { intercept, betas, se_intercept: 0.0, se_betas, resid_std: 0.0, vif });
        return out;
    }
    let freedom = (n - k - 1) as f64;
    let share = (qr.residual / freedom).sqrt();
    let mut se_betas = Vec::with_capacity(k);
    for (j, column) in columns.iter().enumerate() {
        let ratio = response.ratio_of_norms(column);
        betas[j] *= ratio;
        se_betas.push(share * vif[j].sqrt() * ratio);
    }
    let intercept =
        response.mean() - columns.iter().zip(&betas).map(|(column, beta)| beta * column.mean()).sum::<f64>();
    // Variance of the intercept over that of the residuals: 1/n + m' (Z'Z)^-1 m, m the means in units of the columns.
    let mut leverage = 1.0 / n as f64;
    for step in 0..k {
        let w: f64 = (0..=step).map(|row| inverse[row][step] * columns[qr.order[row]].mean_in_norms()).sum();
        leverage += w * w;
    }
    let resid_std = share * response.norm();
    let found = Coefficients { intercept, betas, se_intercept: resid_std * leverage.sqrt(), se_betas, resid_std, vif };
    // Values beyond the range of f64 are no coefficients; that is as good as an undetermined fit.
    if found.is_finite() {
        out.coefficients = Some(found);
    }
    out
}

impl Coefficients {
    fn is_finite(&self) -> bool {
        let single = [self.intercept, self.se_intercept, self.resid_std];
        single.iter().chain(&self.betas).chain(&self.se_betas).chain(&self.vif).all(|v| v.is_finite())
    }
}

/// QR of centred columns of unit length, the longest remaining column first, with `Q'y` worked out beside it.
struct PivotedQr {
    /// The columns in the order in which they were taken; as many as the rank.
    order: Vec<usize>,
    /// Row `i` of the triangle: entries `i..rank`, in the order of `order`.
    triangle: Vec<Vec<f64>>,
    /// The first entries of `Q'y`.
    response: Vec<f64>,
    /// Squared length of what the columns leave of y.
    residual: f64,
}

impl PivotedQr {
    fn new(columns: &[PreparedColumn], response: &PreparedColumn, n: usize) -> Self {
        let flat = |column: &PreparedColumn| -> Vec<f64> { column.z().as_flattened()[..n].to_vec() };
        let mut y = flat(response);
        let mut left: Vec<(usize, Vec<f64>)> =
            columns.iter().enumerate().filter(|(_, column)| !column.is_flat()).map(|(j, c)| (j, flat(c))).collect();
        let mut taken: Vec<(usize, Vec<f64>)> = Vec::with_capacity(left.len());

        while !left.is_empty() {
            let step = taken.len();
            let mut pivot = 0;
            let mut longest = -1.0;
            for (at, (_, column)) in left.iter().enumerate() {
                let squares = lanes::dot_slice(&column[step..], &column[step..]);
                if squares > longest {
                    (pivot, longest) = (at, squares);
                }
            }
            let length = longest.sqrt();
            if length <= RANK_TOLERANCE || step + 1 >= n {
                break;
            }
            let (j, mut column) = left.remove(pivot);
            let mut mirror = column[step..].to_vec();
            let diagonal = if mirror[0] > 0.0 { -length } else { length };
            mirror[0] -= diagonal;
            let scale = 2.0 / lanes::dot_slice(&mirror, &mirror);
            for (_, other) in &mut left {
                reflect(&mut other[step..], &mirror, scale);
            }
            reflect(&mut y[step..], &mirror, scale);
            column[step] = diagonal;
            taken.push((j, column));
        }

        let rank = taken.len();
        let triangle = (0..rank).map(|i| taken[i..].iter().map(|(_, column)| column[i]).collect()).collect();
        let residual = lanes::dot_slice(&y[rank..], &y[rank..]);
        y.truncate(rank);
        Self { order: taken.into_iter().map(|(j, _)| j).collect(), triangle, response: y, residual }
    }

    /// The inverse of the triangle, whole rows with zeros below the diagonal.
    fn inverse(&self) -> Vec<Vec<f64>> {
        let rank = self.order.len();
        let mut inverse = vec![vec![0.0; rank]; rank];
        for column in 0..rank {
            for row in (0..=column).rev() {
                let mut value = if row == column { 1.0 } else { 0.0 };
                for between in row + 1..=column {
                    value -= self.triangle[row][between - row] * inverse[between][column];
                }
                inverse[row][column] = value / self.triangle[row][0];
            }
        }
        inverse
    }
}

fn reflect(column: &mut [f64], mirror: &[f64], scale: f64) {
    let along = scale * lanes::dot_slice(column, mirror);
    for (value, m) in column.iter_mut().zip(mirror) {
        *value -= along * m;
    }
}
