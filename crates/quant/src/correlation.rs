//! Pairwise-complete Pearson correlations, and what is read from them: clusters, concentration, diversification.

use std::borrow::Borrow;

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
/// take the indices in either order. NaN does not survive JSON: store what `get` answers, not the fields.
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
    /// Correlations of all pairs of prepared columns (or references to them); bit for bit those of
    /// [`PreparedColumn::correlate`].
    #[must_use]
    pub fn from_prepared<C: Borrow<PreparedColumn>>(columns: &[C], min_overlap: usize) -> Self {
        Self::of_wanted(columns, min_overlap, |_, _| true)
    }

    /// The correlations that some groups of columns need: of all pairs within one of them.
    ///
    /// How a run shares correlations between portfolios: `groups` are the columns of each portfolio, every pair is
    /// worked out once, and [`select`](Self::select) with a group reads its part. Pairs in no group are undefined, with
    /// overlap 0. Indices out of range are left out.
    #[must_use]
    pub fn for_groups<C: Borrow<PreparedColumn>>(columns: &[C], groups: &[&[usize]], min_overlap: usize) -> Self {
        let n = columns.len();
        let words = n.div_ceil(64);
        let mut wanted = vec![0_u64; n * words];
        let mut members = vec![0_u64; words];
        for group in groups {
            members.fill(0);
            for &i in group.iter().filter(|i| **i < n) {
                members[i / 64] |= 1 << (i % 64);
            }
            for &i in group.iter().filter(|i| **i < n) {
                for (row, member) in wanted[i * words..(i + 1) * words].iter_mut().zip(&members) {
                    *row |= member;
                }
            }
        }
        Self::of_wanted(columns, min_overlap, |i, j| wanted[i * words + j / 64] >> (j % 64) & 1 == 1)
    }

    fn of_wanted<C: Borrow<PreparedColumn>>(
        columns: &[C],
        min_overlap: usize,
        wanted: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let n = columns.len();
        let mut corr = vec![f64::NAN; n * (n + 1) / 2];
        let mut overlap = vec![0_u32; n * (n + 1) / 2];
        let plain: Vec<bool> = columns.iter().map(|c| c.borrow().is_complete() && !c.borrow().is_constant()).collect();
        for start in (0..n).step_by(TILE) {
            for (j, b) in columns.iter().enumerate().skip(start) {
                let b: &PreparedColumn = b.borrow();
                for i in start..(j + 1).min(start + TILE) {
                    if !wanted(i, j) {
                        continue;
                    }
                    let a: &PreparedColumn = columns[i].borrow();
                    let at = index(n, i, j);
                    if plain[i] && plain[j] && a.len() == b.len() && b.len() >= min_overlap {
                        corr[at] = as_correlation(lanes::dot(a.z(), b.z()));
                        overlap[at] = b.len() as u32;
                    } else {
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
        let mut corr = vec![f64::NAN; n * (n + 1) / 2];
        let mut overlap = vec![0; n * (n + 1) / 2];
        // Ascending, so that the large matrix is read row by row.
        let mut order: Vec<(usize, usize)> = columns
            .iter()
            .copied()
            .enumerate()
            .map(|(to, from)| (from, to))
            .filter(|(from, _)| *from < self.n)
            .collect();
        order.sort_unstable();
        for (at, &(i, to_i)) in order.iter().enumerate() {
            let start = index(self.n, i, i);
            let row = &self.corr[start..start + self.n - i];
            let rows = &self.overlap[start..start + self.n - i];
            for &(j, to_j) in &order[at..] {
                let to = index(n, to_i.min(to_j), to_i.max(to_j));
                corr[to] = row[j - i];
                overlap[to] = rows[j - i];
            }
        }
        Self { n, corr, overlap }
    }

    /// Row `i` of the matrix to the right of the diagonal; NaN where undefined.
    pub(crate) fn above_diagonal(&self, i: usize) -> &[f64] {
        let start = index(self.n, i, i);
        self.corr.get(start + 1..start + self.n - i).unwrap_or(&[])
    }

    /// The defined correlations above the diagonal, as `(i, j, value)`, row by row.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        (0..self.n).flat_map(move |i| {
            let row = self.above_diagonal(i).iter().enumerate();
            row.filter(|(_, value)| !value.is_nan()).map(move |(k, value)| (i, i + 1 + k, *value))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_works_out_what_its_groups_need() {
        let columns: Vec<PreparedColumn> = (0..20)
            .map(|c| PreparedColumn::new(&(0..40).map(|t| f64::from((t * (c + 3) + c) % 23)).collect::<Vec<_>>()))
            .collect();
        let all = Correlations::from_prepared(&columns, 10);
        let groups: [&[usize]; 3] = [&[4, 0, 19], &[4, 7], &[99]];
        let some = Correlations::for_groups(&columns, &groups, 10);
        for group in &groups[..2] {
            assert_eq!(some.select(group), all.select(group));
        }
        assert_eq!((some.get(0, 7), some.overlap(0, 7)), (None, 0));
        assert_eq!(some.select(&[99]).get(0, 0), None);
        let borrowed: Vec<&PreparedColumn> = columns.iter().collect();
        assert_eq!(Correlations::from_prepared(&borrowed, 10), all);
        assert_eq!(all.get(20, 0), None);
    }
}
