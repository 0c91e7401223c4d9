//! Simple returns of closes.

/// Simple returns of split-adjusted closes, oldest first.
///
/// `closes` has one entry per trading day, NaN where there is no close. The result has the same length:
/// `r[t] = c[t] / c[t-1] - 1`, and NaN for the first day and wherever either close is missing, so that one missing close
/// makes two returns missing. A quotient that is not finite (a previous close of zero) is missing too. Nothing is
/// filled forward.
///
/// ```
/// let r = quant::returns::simple_returns(&[100.0, 101.0, f64::NAN, 103.0, 103.0]);
/// assert!((r[1] - 0.01).abs() < 1e-15);
/// assert!(r[0].is_nan() && r[2].is_nan() && r[3].is_nan());
/// assert_eq!(r[4], 0.0);
/// ```
#[must_use]
pub fn simple_returns(closes: &[f64]) -> Vec<f64> {
    let Some((_, later)) = closes.split_first() else {
        return Vec::new();
    };
    let mut returns = Vec::with_capacity(closes.len());
    returns.push(f64::NAN);
    returns.extend(later.iter().zip(closes).map(|(close, previous)| {
        let value = close / previous - 1.0;
        if value.is_finite() { value } else { f64::NAN }
    }));
    returns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_single_close_have_no_return() {
        assert!(simple_returns(&[]).is_empty());
        assert!(simple_returns(&[5.0])[0].is_nan());
    }

    #[test]
    fn one_missing_close_makes_two_returns_missing() {
        let r = simple_returns(&[1.0, 2.0, f64::NAN, 4.0, 5.0]);
        let missing: Vec<bool> = r.iter().map(|v| v.is_nan()).collect();
        assert_eq!(missing, [true, false, true, true, false]);
    }

    #[test]
    fn a_zero_close_is_a_total_loss_and_then_nothing() {
        let r = simple_returns(&[2.0, 0.0, 3.0]);
        assert_eq!(r[1], -1.0);
        assert!(r[2].is_nan());
    }
}
