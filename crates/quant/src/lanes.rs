//! Sums over blocks of eight lanes, always in the same order.
//!
//! The compiler may not reorder floating-point sums, so a plain loop runs at the latency of one addition. Eight
//! independent lanes, folded in one fixed tree at the end, are fast and still give the same bits on every run.

/// Lanes of a block.
pub(crate) const LANES: usize = 8;

/// Eight neighbouring rows of a column; the last block of a column is filled up with zeros.
pub(crate) type Block = [f64; LANES];

/// Copies a slice into blocks, the tail filled up with zeros.
pub(crate) fn blocks(values: &[f64]) -> Vec<Block> {
    let (whole, tail) = values.as_chunks::<LANES>();
    let mut out = Vec::with_capacity(whole.len() + 1);
    out.extend_from_slice(whole);
    if !tail.is_empty() {
        let mut last = [0.0; LANES];
        last[..tail.len()].copy_from_slice(tail);
        out.push(last);
    }
    out
}

/// The lanes as one sum.
#[inline]
fn fold(a: Block) -> f64 {
    ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
}

/// Sum of all lanes.
pub(crate) fn sum(values: &[Block]) -> f64 {
    let mut acc = [0.0; LANES];
    for block in values {
        for lane in 0..LANES {
            acc[lane] += block[lane];
        }
    }
    fold(acc)
}

/// Scalar product; both columns have the same number of blocks.
#[inline]
pub(crate) fn dot(a: &[Block], b: &[Block]) -> f64 {
    let mut acc = [0.0; LANES];
    for (x, y) in a.iter().zip(b) {
        for lane in 0..LANES {
            acc[lane] += x[lane] * y[lane];
        }
    }
    fold(acc)
}

/// Sum of a function of every value, in the order of [`sum`].
#[inline]
pub(crate) fn sum_by(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let mut acc = [0.0; LANES];
    let (whole, tail) = values.as_chunks::<LANES>();
    for block in whole {
        for lane in 0..LANES {
            acc[lane] += of(block[lane]);
        }
    }
    for (lane, value) in tail.iter().enumerate() {
        acc[lane] += of(*value);
    }
    fold(acc)
}

/// Subtracts a number from every lane.
pub(crate) fn shift(values: &mut [Block], by: f64) {
    for block in values {
        for lane in block {
            *lane -= by;
        }
    }
}

/// Multiplies every lane.
pub(crate) fn scale(values: &mut [Block], by: f64) {
    for block in values {
        for lane in block {
            *lane *= by;
        }
    }
}

/// Sum of a plain slice in the order of [`sum`], without a copy.
pub(crate) fn sum_slice(values: &[f64]) -> f64 {
    sum_by(values, |value| value)
}

/// Scalar product of plain slices in the order of [`dot`], without a copy; the longer one is cut.
pub(crate) fn dot_slice(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    let (x, x_tail) = a[..n].as_chunks::<LANES>();
    let (y, y_tail) = b[..n].as_chunks::<LANES>();
    let mut acc = [0.0; LANES];
    for (p, q) in x.iter().zip(y) {
        for lane in 0..LANES {
            acc[lane] += p[lane] * q[lane];
        }
    }
    for (lane, (p, q)) in x_tail.iter().zip(y_tail).enumerate() {
        acc[lane] += p * q;
    }
    fold(acc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_product_has_the_same_bits() {
        let a: Vec<f64> = (0..253).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let b: Vec<f64> = (0..253).map(|i| (f64::from(i) * 1.3).cos()).collect();
        let (x, y) = (blocks(&a), blocks(&b));
        let one = dot(&x, &y);
        assert_eq!(one.to_bits(), dot_slice(&a, &b).to_bits());
        assert_eq!(sum(&x).to_bits(), sum_slice(&a).to_bits());
        let plain: f64 = a.iter().zip(&b).map(|(p, q)| p * q).sum();
        assert!((one - plain).abs() < 1e-12);
    }

    #[test]
    fn empty_columns_sum_to_zero() {
        assert_eq!(dot(&[], &[]), 0.0);
        assert_eq!(sum_slice(&[]), 0.0);
        assert!(blocks(&[]).is_empty());
    }
}
