//! What the earlier closes of a symbol say about the newest one.

use book::PricePoint;
use chrono::NaiveDate;

/// Returns that the deviations look back over.
const WINDOW: usize = 60;

/// The last two closes of a symbol that has a close of the session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Move {
    /// The close before.
    pub(super) before: PricePoint,
    /// The close of the session.
    pub(super) close: f64,
}

impl Move {
    /// The move into the session; `None` without a close of the session or one before. `closes` are sorted by date.
    pub(super) fn into(closes: &[PricePoint], session: NaiveDate) -> Option<Self> {
        match closes {
            [.., before, last] if last.date == session => Some(Self { before: *before, close: last.close }),
            _ => None,
        }
    }

    /// The simple return.
    pub(super) fn change(&self) -> f64 {
        self.close / self.before.close - 1.0
    }
}

/// The returns between consecutive closes before the newest close, at most 60, oldest first.
pub(super) fn returns_before(closes: &[PricePoint]) -> Vec<f64> {
    let earlier = &closes[..closes.len().saturating_sub(1)];
    let earlier = &earlier[earlier.len().saturating_sub(WINDOW + 1)..];
    earlier.windows(2).map(|pair| pair[1].close / pair[0].close - 1.0).collect()
}

/// The standard deviation (n - 1); 0 for fewer than two values.
pub(super) fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The standard deviation that the median absolute deviation implies for normal values; 0 for no value.
pub(super) fn robust_deviation(values: &[f64]) -> f64 {
    let Some(center) = median(values.to_vec()) else { return 0.0 };
    median(values.iter().map(|value| (value - center).abs()).collect()).unwrap_or(0.0) * 1.4826
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
}
