//! Pairwise-complete Pearson correlations, and what is read from them: clusters, concentration, diversification.

use serde::{Deserialize, Serialize};

use crate::column::as_correlation;
use crate::lanes;

pub use crate::column::PreparedColumn;
pub use crate::concentration::{
    average_correlation, clusters, concentration_score, diversification_score, effective_positions, overall_correlation,
};

/// Columns whose correlations are worked out together, so that they stay in the fastest cache.
const TILE: usize = 8;

/// A symmetric matrix of correlations, upper triangle with diagonal, row by row.
///
/// Entry `(i, j)` with `i <= j` stands at `i * (2n - i - 1) / 2 + j`; [`get`](Self::get) and [`overlap`](Self::overlap)
/// take the indices in either order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correlations {
    /// Number of columns.
    pub n: usize,
    /// Correlations in [-1, 1], `n * (n + 1) / 2` of them; NaN where undefined.
    pub corr: Vec<f64>,
    /// Rows that both columns of a pair have; on the diagonal the observations of the column.
    pub overlap: Vec<u32>,
}

impl Correlations {
    /// Correlations of all pairs of prepared columns; bit for bit those of [`PreparedColumn::correlate`].
    #[must_use]
    pub fn from_prepared(columns: &[PreparedColumn], min_overlap: usize) -> Self {
        let n = columns.len();
        let mut corr = vec![f64::NAN; n * (n + 1) / 2];
        let mut overlap = vec![0_u32; n * (n + 1) / 2];
        for start in (0..n).step_by(TILE) {
            for j in (start..n).step_by(2) {
                let second = columns.get(j + 1);
                for i in start..n.min(start + TILE) {
                    let a = &columns[i];
                    if let Some(c) = second.filter(|_| i <= j)
                        && all_plain(&[a, &columns[j], c], min_overlap)
                    {
                        let (first, next) = lanes::dot2(a.z(), columns[j].z(), c.z());
                        let at = index(n, i, j);
                        corr[at] = as_correlation(first);
                        corr[at + 1] = as_correlation(next);
                        overlap[at] = a.len() as u32;
                        overlap[at + 1] = a.len() as u32;
                        continue;
                    }
                    for (k, b) in columns.iter().enumerate().take(j + 2).skip(j.max(i)) {
                        let at = index(n, i, k);
                        let (value, rows) = a.correlate_coded(b, min_overlap);
                        corr[at] = value;
                        overlap[at] = rows as u32;
                    }
                }
            }
        }
        Self { n, corr, overlap }
    }

    /// The correlation of columns `i` and `j`; `None` where undefined or out of range.
    #[must_use]
    pub fn get(&self, i: usize, j: usize) -> Option<f64> {
        let (low, high) = (i.min(j), i.max(j));
        if high >= self.n {
            return None;
        }
        self.corr.get(index(self.n, low, high)).copied().filter(|value| !value.is_nan())
    }

    /// Rows that columns `i` and `j` both have; 0 out of range.
    #[must_use]
    pub fn overlap(&self, i: usize, j: usize) -> usize {
        let (low, high) = (i.min(j), i.max(j));
        if high >= self.n {
            return 0;
        }
        self.overlap.get(index(self.n, low, high)).map_or(0, |rows| *rows as usize)
    }

    /// The matrix of some of the columns, in the given order: how a portfolio reads its part of the matrix of a run.
    ///
    /// An index out of range gives a row of undefined correlations.
    #[must_use]
    pub fn select(&self, columns: &[usize]) -> Self {
        let n = columns.len();
        let mut corr = Vec::with_capacity(n * (n + 1) / 2);
        let mut overlap = Vec::with_capacity(n * (n + 1) / 2);
        for (at, &i) in columns.iter().enumerate() {
            for &j in &columns[at..] {
                let (low, high) = (i.min(j), i.max(j));
                let from = if high < self.n { index(self.n, low, high) } else { usize::MAX };
                corr.push(self.corr.get(from).copied().unwrap_or(f64::NAN));
                overlap.push(self.overlap.get(from).copied().unwrap_or(0));
            }
        }
        Self { n, corr, overlap }
    }

    /// The defined correlations above the diagonal, as `(i, j, value)`, row by row.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        (0..self.n).flat_map(move |i| {
            let start = index(self.n, i, i);
            let row = self.corr.get(start..start + self.n - i).unwrap_or(&[]);
            row.iter()
                .enumerate()
                .skip(1)
                .filter(|(_, value)| !value.is_nan())
                .map(move |(k, value)| (i, i + k, *value))
        })
    }
}

/// Pearson correlations of all pairs of columns, each over the rows that both have.
///
/// `columns` are returns of one window, NaN where missing. A correlation is undefined when fewer than `min_overlap` rows
/// are common or when either column is constant on them; the diagonal follows the same rule, so a constant column has no
/// correlation with itself either.
#[must_use]
pub fn pairwise(columns: &[&[f64]], min_overlap: usize) -> Correlations {
    let prepared: Vec<PreparedColumn> = columns.iter().map(|column| PreparedColumn::new(column)).collect();
    Correlations::from_prepared(&prepared, min_overlap)
}

/// The correlation of one pair of columns and its overlap; the same bits as the entry of [`pairwise`].
#[must_use]
pub fn pair(a: &[f64], b: &[f64], min_overlap: usize) -> (Option<f64>, usize) {
    PreparedColumn::new(a).correlate(&PreparedColumn::new(b), min_overlap)
}

/// Position of entry `(i, j)`, `i <= j`, in the upper triangle of an `n` by `n` matrix.
#[inline]
fn index(n: usize, i: usize, j: usize) -> usize {
    i * (2 * n - i - 1) / 2 + j
}

/// Whether the columns are all complete, of one length, long enough and not constant: their products are correlations.
#[inline]
fn all_plain(columns: &[&PreparedColumn; 3], min_overlap: usize) -> bool {
    let rows = columns[0].len();
    rows >= min_overlap
        && columns.iter().all(|column| column.is_complete() && column.len() == rows && !column.is_constant())
}
