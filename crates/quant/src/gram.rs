//! Slopes from a correlation (Gram) matrix of few columns, where it is well-conditioned.

/// Largest variance inflation that is solved from the Gram matrix; beyond it a QR fit of the rows keeps the digits.
const GRAM_VIF_LIMIT: f64 = 1e3;

/// A factored correlation matrix of factors.
#[derive(Debug, Clone)]
pub(crate) struct Solver {
    /// Its inverse, `k * k`; the diagonal holds the variance inflation.
    inverse: Vec<f64>,
    k: usize,
}

impl Solver {
    /// Factors a correlation matrix (its lower triangle is read); none when it is too close to singular.
    pub(crate) fn new(gram: &[f64], k: usize) -> Option<Self> {
        // Cholesky: gram = L L'. A pivot is the share of a factor that the ones before it do not explain.
        let mut lower = vec![0.0; k * k];
        for i in 0..k {
            for j in 0..=i {
                let mut value = gram[i * k + j];
                for m in 0..j {
                    value -= lower[i * k + m] * lower[j * k + m];
                }
                if i == j {
                    if value.is_nan() || value * GRAM_VIF_LIMIT <= 1.0 {
                        return None;
                    }
                    lower[i * k + i] = value.sqrt();
                } else {
                    lower[i * k + j] = value / lower[j * k + j];
                }
            }
        }
        // L^-1 column by column, then inverse = L^-1' L^-1.
        let mut half = vec![0.0; k * k];
        for column in 0..k {
            for row in column..k {
                let mut value = if row == column { 1.0 } else { 0.0 };
                for m in column..row {
                    value -= lower[row * k + m] * half[m * k + column];
                }
                half[row * k + column] = value / lower[row * k + row];
            }
        }
        let mut inverse = vec![0.0; k * k];
        for i in 0..k {
            for j in 0..=i {
                let value: f64 = (i..k).map(|m| half[m * k + i] * half[m * k + j]).sum();
                inverse[i * k + j] = value;
                inverse[j * k + i] = value;
            }
        }
        let moderate = (0..k).all(|i| inverse[i * k + i] < GRAM_VIF_LIMIT);
        moderate.then_some(Self { inverse, k })
    }

    /// Slopes in units of the columns' lengths, from the correlations of the response with the columns.
    pub(crate) fn slopes(&self, correlations: &[f64]) -> Vec<f64> {
        let row = |i: usize| &self.inverse[i * self.k..(i + 1) * self.k];
        (0..self.k).map(|i| row(i).iter().zip(correlations).map(|(v, r)| v * r).sum()).collect()
    }

    /// Variance inflation of column `j`.
    pub(crate) fn vif(&self, j: usize) -> f64 {
        self.inverse[j * self.k + j]
    }
}
