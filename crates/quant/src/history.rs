//! History simulation: what the positions of today would have returned on past days.

/// The simulated past of a portfolio.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedHistory {
    /// Daily returns on equity, oldest first, one per day of the window; NaN on a day on which no position has a
    /// return. Ready for [`risk`](crate::risk::risk), which leaves those out.
    pub returns: Vec<f64>,
    /// Days on which at least one position has a return.
    pub days_with_data: usize,
    /// Share of the gross value that has a real return, 0 to 1, mean over the days with data. Below 1 the risk figures
    /// are understated, since a missing return counts as 0. `None` without any such day.
    pub coverage: Option<f64>,
}

/// Applies past returns to the exposures of today: `return_t = sum_i(exposure_i * r_it) / equity`.
///
/// `exposures` are signed values in the portfolio's currency (options by delta), `returns` one column per exposure, in
/// the same order, oldest first, NaN where missing; a missing return counts 0, a column may be empty (a position
/// without any price: it lowers the coverage). The window is as long as the longest column; shorter ones are missing at
/// their end. A position with exposure 0 (or NaN) is no data. When `equity` is not above zero every return is NaN.
#[must_use]
pub fn simulate_history(exposures: &[f64], returns: &[&[f64]], equity: f64) -> SimulatedHistory {
    let days = returns.iter().map(|column| column.len()).max().unwrap_or(0);
    let mut sums = vec![0.0; days];
    let mut covered = vec![0.0; days];
    let mut gross = 0.0;
    for (at, &exposure) in exposures.iter().enumerate() {
        if !exposure.is_finite() || exposure == 0.0 {
            continue;
        }
        let size = exposure.abs();
        gross += size;
        let column = returns.get(at).copied().unwrap_or(&[]);
        for ((sum, share), &r) in sums.iter_mut().zip(&mut covered).zip(column) {
            // Selections instead of branches: the loop runs in vector registers.
            let real = r.is_finite();
            *sum += if real { exposure * r } else { 0.0 };
            *share += if real { size } else { 0.0 };
        }
    }
    let mut days_with_data = 0;
    let mut shares = 0.0;
    for (sum, share) in sums.iter_mut().zip(&covered) {
        if *share > 0.0 {
            days_with_data += 1;
            shares += share / gross;
            *sum = if equity > 0.0 { *sum / equity } else { f64::NAN };
        } else {
            *sum = f64::NAN;
        }
    }
    let coverage = (days_with_data > 0).then(|| (shares / days_with_data as f64).min(1.0));
    SimulatedHistory { returns: sums, days_with_data, coverage }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: f64 = f64::NAN;

    #[test]
    fn a_missing_return_counts_zero_and_a_day_without_data_is_missing() {
        let history = simulate_history(&[300.0, -100.0], &[&[0.1, GAP, GAP], &[0.1, 0.2, GAP]], 1000.0);
        assert!((history.returns[0] - 0.02).abs() < 1e-16);
        assert!((history.returns[1] + 0.02).abs() < 1e-16);
        assert!(history.returns[2].is_nan());
        assert_eq!(history.days_with_data, 2);
        assert_eq!(history.coverage, Some((1.0 + 0.25) / 2.0));
    }

    #[test]
    fn a_position_without_prices_lowers_the_coverage() {
        let history = simulate_history(&[50.0, 50.0], &[&[0.1, 0.0], &[]], 100.0);
        assert_eq!(history.coverage, Some(0.5));
        assert_eq!(history.returns, [0.05, 0.0]);
    }

    #[test]
    fn no_exposure_is_no_data() {
        let history = simulate_history(&[0.0], &[&[0.1]], 100.0);
        assert_eq!((history.days_with_data, history.coverage), (0, None));
        assert!(history.returns[0].is_nan());
        assert_eq!(simulate_history(&[], &[], 1.0).returns, Vec::<f64>::new());
    }

    #[test]
    fn without_equity_there_is_no_return() {
        assert!(simulate_history(&[1.0], &[&[0.1]], 0.0).returns[0].is_nan());
        assert!(simulate_history(&[1.0], &[&[0.1]], GAP).returns[0].is_nan());
    }
}
