//! A column of returns, prepared once and then compared with many others.

use crate::lanes::{self, Block, LANES};

/// Below this share of a column's own sum of squares, sums over an overlap are taken again from the values instead of by
/// subtracting the missing rows: subtraction would lose more than two digits.
const SUBTRACTION_GUARD: f64 = 1e-2;

/// A column whose centred length is less than this share of the whole is taken as its mean alone in a fit.
const FLAT: f64 = 1e-12;

/// Correlations this close to one are rounding errors of one.
const SNAP: f64 = 1e-14;

/// Values whose size lies outside this range are scaled by a power of two before they are squared.
const SAFE_RANGE: std::ops::RangeInclusive<f64> = 1e-90..=1e90;

/// A column of returns with everything that does not depend on the other column of a pair: centred values of unit length,
/// the rows that are missing, the mean.
///
/// Prepare each symbol once per run ([`PreparedColumn::new`]) and share it between portfolios; what
/// [`PreparedColumn::correlate`] gives has the same bits as [`pair`](crate::correlation::pair) on the raw columns.
#[derive(Debug, Clone)]
pub struct PreparedColumn {
    /// The values times 2^-exponent, NaN where missing.
    values: Vec<f64>,
    /// `(value - mean) / norm`, zero where missing and in the padding; all zero when the column is constant.
    z: Vec<Block>,
    /// Bit per row, set where observed.
    mask: Vec<u64>,
    /// Rows without a value, ascending.
    missing: Vec<usize>,
    /// Whether all observed values are equal (also: there is none).
    constant: bool,
    exponent: i32,
    mean: f64,
    norm: f64,
    /// What is left of the sum of `z`: a rounding error.
    z_sum: f64,
}

/// Centred sums of two columns over the rows that both have, each column in units of its own norm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) sxx: f64,
    pub(crate) syy: f64,
    pub(crate) sxy: f64,
    pub(crate) x_constant: bool,
    pub(crate) y_constant: bool,
}

impl PreparedColumn {
    /// Prepares a column of returns, oldest first; NaN and infinite values are missing.
    #[must_use]
    pub fn new(returns: &[f64]) -> Self {
        let size = lanes::sum_by(returns, f64::abs);
        // A sum within the range says that every value is finite and small enough to be squared as it is.
        if SAFE_RANGE.contains(&size) {
            return Self::of_values(returns.to_vec(), Vec::new(), 0);
        }
        let mut missing = Vec::new();
        let mut largest = 0.0_f64;
        let mut values = Vec::with_capacity(returns.len());
        for (row, &value) in returns.iter().enumerate() {
            if value.is_finite() {
                largest = largest.max(value.abs());
                values.push(value);
            } else {
                missing.push(row);
                values.push(f64::NAN);
            }
        }
        let mut exponent = 0;
        if largest > 0.0 && !SAFE_RANGE.contains(&largest) {
            exponent = libm::ilogb(largest);
            for value in &mut values {
                *value = libm::scalbn(*value, -exponent);
            }
        }
        Self::of_values(values, missing, exponent)
    }

    /// Centres values of a magnitude that can be squared; NaN in the rows `missing` and nowhere else.
    fn of_values(values: Vec<f64>, missing: Vec<usize>, exponent: i32) -> Self {
        let rows = values.len();
        let observed = rows - missing.len();
        let mut mask = vec![u64::MAX; rows.div_ceil(64)];
        if let Some(last) = mask.last_mut().filter(|_| !rows.is_multiple_of(64)) {
            *last = (1 << (rows % 64)) - 1;
        }
        for row in &missing {
            mask[row / 64] &= !(1 << (row % 64));
        }
        let mut present = values.iter().filter(|value| !value.is_nan());
        let first = present.next().copied().unwrap_or(f64::NAN);
        let constant = present.all(|value| *value == first);

        let mut column =
            Self { z: Vec::new(), mask, missing, constant, exponent, mean: first, norm: 0.0, z_sum: 0.0, values };
        if constant {
            column.z = vec![[0.0; LANES]; rows.div_ceil(LANES)];
            return column;
        }
        column.z = lanes::blocks(&column.values);
        column.clear_unobserved();
        let count = observed as f64;
        // The mean in two steps: what the first centring leaves over is the rounding error of the first mean.
        let rough = lanes::sum(&column.z) / count;
        lanes::shift(&mut column.z, rough);
        column.clear_unobserved();
        let rest = lanes::sum(&column.z) / count;
        lanes::shift(&mut column.z, rest);
        column.clear_unobserved();
        column.mean = rough + rest;
        column.norm = lanes::dot(&column.z, &column.z).sqrt();
        lanes::scale(&mut column.z, 1.0 / column.norm);
        column.z_sum = lanes::sum(&column.z);
        column
    }

    /// Sets missing rows and the padding of the last block to zero.
    fn clear_unobserved(&mut self) {
        for &row in &self.missing {
            self.z[row / LANES][row % LANES] = 0.0;
        }
        let used = self.values.len() % LANES;
        if let Some(last) = self.z.last_mut().filter(|_| used != 0) {
            last[used..].fill(0.0);
        }
    }

    /// Rows of the column, missing ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the column has no rows at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Rows with a value.
    #[must_use]
    pub fn observed(&self) -> usize {
        self.values.len() - self.missing.len()
    }

    /// Whether every row has a value.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether all observed values are equal; also true of a column without any.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.constant
    }

    /// Pearson's correlation over the rows that both columns have, and the number of those rows.
    ///
    /// `None` when there are fewer than `min_overlap` such rows or when either column is constant on them. Symmetric to
    /// the bit; a column with itself (or with a copy, or a multiple) gives exactly 1 or -1.
    #[must_use]
    pub fn correlate(&self, other: &Self, min_overlap: usize) -> (Option<f64>, usize) {
        let (value, overlap) = self.correlate_coded(other, min_overlap);
        ((!value.is_nan()).then_some(value), overlap)
    }

    /// [`correlate`](Self::correlate) with NaN for "undefined".
    pub(crate) fn correlate_coded(&self, other: &Self, min_overlap: usize) -> (f64, usize) {
        let overlap = self.overlap(other);
        if overlap < min_overlap || self.constant || other.constant {
            return (f64::NAN, overlap);
        }
        let m = self.moments(other);
        let degenerate = m.x_constant || m.y_constant;
        (if degenerate { f64::NAN } else { as_correlation(m.sxy / (m.sxx * m.syy).sqrt()) }, overlap)
    }

    /// Rows that both columns have.
    pub(crate) fn overlap(&self, other: &Self) -> usize {
        if self.is_complete_with(other) {
            return self.len();
        }
        self.mask.iter().zip(&other.mask).map(|(a, b)| (a & b).count_ones() as usize).sum()
    }

    /// Whether both columns have every row, and equally many.
    pub(crate) fn is_complete_with(&self, other: &Self) -> bool {
        self.missing.is_empty() && other.missing.is_empty() && self.len() == other.len()
    }

    /// The centred values of unit length, zero where missing.
    pub(crate) fn z(&self) -> &[Block] {
        &self.z
    }

    /// One centred value of unit length.
    pub(crate) fn z_at(&self, row: usize) -> f64 {
        self.z[row / LANES][row % LANES]
    }

    /// The rounding error left in the sum of the centred values.
    pub(crate) fn z_sum(&self) -> f64 {
        self.z_sum
    }

    /// Rows without a value, ascending.
    pub(crate) fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// Whether row `row` has a value; false past the end.
    pub(crate) fn has(&self, row: usize) -> bool {
        self.mask.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// The values as they were given, NaN where missing.
    pub(crate) fn originals(&self) -> Vec<f64> {
        self.values.iter().map(|value| libm::scalbn(*value, self.exponent)).collect()
    }

    /// Whether the column is nothing but its mean and rounding errors: collinear with an intercept.
    pub(crate) fn is_flat(&self) -> bool {
        self.constant || self.norm <= FLAT * self.mean.abs() * (self.observed() as f64).sqrt()
    }

    /// Mean over the length of the centred column; zero for a constant column.
    pub(crate) fn mean_in_norms(&self) -> f64 {
        if self.constant { 0.0 } else { self.mean / self.norm }
    }

    /// Length of the centred column over that of another one: what turns a correlation into a slope.
    pub(crate) fn ratio_of_norms(&self, other: &Self) -> f64 {
        libm::scalbn(self.norm / other.norm, self.exponent - other.exponent)
    }

    /// Length of the centred column in its own units.
    pub(crate) fn norm(&self) -> f64 {
        libm::scalbn(self.norm, self.exponent)
    }

    /// Centred sums over the common rows; neither column may be constant.
    fn moments(&self, other: &Self) -> Moments {
        self.moments_with(other, lanes::dot(&self.z, &other.z))
    }

    /// The same where the scalar product of the centred columns is known already.
    pub(crate) fn moments_with(&self, other: &Self, product: f64) -> Moments {
        if self.is_complete_with(other) {
            return Moments { sxx: 1.0, syy: 1.0, sxy: product, x_constant: false, y_constant: false };
        }
        if self.len() != other.len() {
            return self.moments_of_values(other);
        }
        let n = self.overlap(other);
        if n < 2 {
            return Moments { sxx: 0.0, syy: 0.0, sxy: 0.0, x_constant: true, y_constant: true };
        }
        let (x_sum, x_squares) = self.without(&other.missing);
        let (y_sum, y_squares) = other.without(&self.missing);
        let count = n as f64;
        let sxx = x_squares - x_sum * x_sum / count;
        let syy = y_squares - y_sum * y_sum / count;
        let safe = sxx > SUBTRACTION_GUARD && syy > SUBTRACTION_GUARD;
        if !safe {
            return self.moments_of_values(other);
        }
        let sxy = product - x_sum * y_sum / count;
        Moments { sxx, syy, sxy, x_constant: false, y_constant: false }
    }

    /// Sum and sum of squares of the centred values without the given rows.
    fn without(&self, rows: &[usize]) -> (f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for &row in rows {
            let z = self.z_at(row);
            sum += z;
            squares += z * z;
        }
        (self.z_sum - sum, 1.0 - squares)
    }

    /// The slow, safe way: means and centred sums of the common rows alone.
    fn moments_of_values(&self, other: &Self) -> Moments {
        let common =
            || self.values.iter().zip(&other.values).filter(|(x, y)| !x.is_nan() && !y.is_nan()).map(|(x, y)| (*x, *y));
        let mut n = 0_usize;
        let (mut x_sum, mut y_sum) = (0.0, 0.0);
        let (mut x_constant, mut y_constant) = (true, true);
        let mut first = None;
        for (x, y) in common() {
            let (x0, y0) = *first.get_or_insert((x, y));
            x_constant &= x == x0;
            y_constant &= y == y0;
            x_sum += x;
            y_sum += y;
            n += 1;
        }
        let count = n as f64;
        let (x_mean, y_mean) = (x_sum / count, y_sum / count);
        let (mut sx, mut sy, mut sxx, mut syy, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, y) in common() {
            let (dx, dy) = ((x - x_mean) / self.norm, (y - y_mean) / other.norm);
            sx += dx;
            sy += dy;
            sxx += dx * dx;
            syy += dy * dy;
            sxy += dx * dy;
        }
        Moments {
            sxx: sxx - sx * sx / count,
            syy: syy - sy * sy / count,
            sxy: sxy - sx * sy / count,
            x_constant,
            y_constant,
        }
    }

    /// Mean of the observed values; NaN when there is none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        libm::scalbn(self.mean, self.exponent)
    }
}

/// A quotient as a correlation: within [-1, 1], exactly one where it is one but for rounding, NaN where undefined.
#[inline]
pub(crate) fn as_correlation(r: f64) -> f64 {
    if r.abs() >= 1.0 - SNAP { r.signum() } else { r }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_mean_costs_no_digits() {
        // Steps that are exact beside the mean: the shifted columns have the very correlation of the plain ones.
        let step = 1.0 / f64::from(1 << 20);
        let a: Vec<f64> = (0..97).map(|i| f64::from(i * 37 % 101) * step).collect();
        let b: Vec<f64> = (0..97).map(|i| f64::from(i * 53 % 89) * step).collect();
        let up = |column: &[f64]| PreparedColumn::new(&column.iter().map(|v| v + 3e5).collect::<Vec<_>>());
        let plain = PreparedColumn::new(&a).correlate(&PreparedColumn::new(&b), 2).0.unwrap();
        let shifted = up(&a).correlate(&up(&b), 2).0.unwrap();
        assert!((plain - shifted).abs() < 1e-15, "{plain} {shifted}");
        assert!(up(&a).z_sum().abs() < 1e-14);
    }

    #[test]
    fn size_of_the_values_does_not_matter() {
        let a = [1.0, 2.0, 4.0, 3.0];
        let b = [2.0, 1.0, 5.0, 6.0];
        let plain = PreparedColumn::new(&a).correlate(&PreparedColumn::new(&b), 2).0;
        for scale in [f64::MIN_POSITIVE, 1e-200, 1e200, 2.0_f64.powi(1020)] {
            let scaled = PreparedColumn::new(&a.map(|v| v * scale)).correlate(&PreparedColumn::new(&b), 2).0;
            assert!((plain.unwrap() - scaled.unwrap()).abs() < 1e-15, "{scale:e}");
        }
    }

    #[test]
    fn columns_of_different_length_share_their_first_rows() {
        let a = PreparedColumn::new(&[1.0, 2.0, 4.0, 3.0]);
        let b = PreparedColumn::new(&[1.0, 2.0, 4.0]);
        assert_eq!(a.correlate(&b, 3), (Some(1.0), 3));
        assert_eq!(a.correlate(&b, 4), (None, 3));
    }

    #[test]
    fn nothing_observed_is_constant() {
        let none = PreparedColumn::new(&[f64::NAN; 3]);
        assert!(none.is_constant() && none.observed() == 0 && none.mean().is_nan());
        assert_eq!(none.correlate(&none, 0), (None, 0));
        assert!(PreparedColumn::new(&[]).is_empty());
    }
}
