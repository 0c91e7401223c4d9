//! Backtest of recorded values at risk: exceptions, the traffic light, and tests of their number and independence.
//!
//! Sources: Basel Committee, MAR99 and *Supervisory framework for the use of backtesting* (1996); Kupiec (1995);
//! Christoffersen (1998).

use serde::{Deserialize, Serialize};

/// Pairs below which there is no zone.
pub const MIN_PAIRS: usize = 100;

/// The zone of the traffic light.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// So many exceptions or fewer have a probability below 95 %.
    Green,
    /// Below 99.99 %.
    Yellow,
    /// From there.
    Red,
}

/// What the exceptions of a value at risk say about it. Probabilities are those of a result as extreme if the value at
/// risk is right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Nights with a value at risk and the P&L of the next session.
    pub pairs: usize,
    /// Pairs whose P&L is strictly below the value at risk.
    pub exceptions: usize,
    /// `pairs * probability`.
    pub expected: f64,
    /// The zone, of a value at risk at 99 %; `None` below [`MIN_PAIRS`] pairs and at other levels.
    pub zone: Option<Zone>,
    /// Kupiec's likelihood ratio of the number of exceptions; `None` without pairs.
    pub kupiec_lr: Option<f64>,
    /// Its probability, 1 degree of freedom.
    pub kupiec_p: Option<f64>,
    /// Christoffersen's likelihood ratio of independence; `None` without transitions out of an exception, or out of none.
    pub independence_lr: Option<f64>,
    /// Its probability, 1 degree of freedom.
    pub independence_p: Option<f64>,
    /// The sum of both ratios.
    pub christoffersen_lr: Option<f64>,
    /// Its probability, 2 degrees of freedom.
    pub christoffersen_p: Option<f64>,
}

/// Judges exceptions, oldest first, of a value at risk with this probability of an exception (0.05 or 0.01).
///
/// A probability that is not between 0 and 1 gives no figures but the counts.
#[must_use]
pub fn backtest(exceptions: &[bool], probability: f64) -> Backtest {
    let pairs = exceptions.len();
    let count = exceptions.iter().filter(|exception| **exception).count();
    let usable = pairs > 0 && probability > 0.0 && probability < 1.0;
    let kupiec_lr = usable.then(|| kupiec(pairs, count, probability));
    let independence_lr = if usable { independence(exceptions) } else { None };
    let christoffersen_lr = kupiec_lr.zip(independence_lr).map(|(a, b)| a + b);
    Backtest {
        pairs,
        exceptions: count,
        expected: pairs as f64 * probability,
        zone: (usable && probability == 0.01 && pairs >= MIN_PAIRS).then(|| zone(pairs, count, probability)),
        kupiec_lr,
        kupiec_p: kupiec_lr.map(chi_square_1),
        independence_lr,
        independence_p: independence_lr.map(chi_square_1),
        christoffersen_lr,
        christoffersen_p: christoffersen_lr.map(chi_square_2),
    }
}

/// `count * ln(share)`, with 0 ln 0 = 0.
fn weighted_log(count: f64, share: f64) -> f64 {
    if count == 0.0 { 0.0 } else { count * libm::log(share) }
}

/// `-2 ln[(1-p)^(T-x) p^x / ((1-x/T)^(T-x) (x/T)^x)]`.
fn kupiec(pairs: usize, count: usize, probability: f64) -> f64 {
    let (n, x) = (pairs as f64, count as f64);
    let null = weighted_log(n - x, 1.0 - probability) + weighted_log(x, probability);
    let fitted = weighted_log(n - x, (n - x) / n) + weighted_log(x, x / n);
    (-2.0 * (null - fitted)).max(0.0)
}

/// The ratio from the counts of adjacent transitions.
fn independence(exceptions: &[bool]) -> Option<f64> {
    let mut counts = [[0.0_f64; 2]; 2];
    for pair in exceptions.windows(2) {
        counts[usize::from(pair[0])][usize::from(pair[1])] += 1.0;
    }
    let out_of = [counts[0][0] + counts[0][1], counts[1][0] + counts[1][1]];
    if out_of.contains(&0.0) {
        return None;
    }
    let (none, some) = (counts[0][0] + counts[1][0], counts[0][1] + counts[1][1]);
    let all = none + some;
    let one_chance = weighted_log(none, none / all) + weighted_log(some, some / all);
    let chance = |from: usize| {
        weighted_log(counts[from][0], counts[from][0] / out_of[from])
            + weighted_log(counts[from][1], counts[from][1] / out_of[from])
    };
    Some((-2.0 * (one_chance - chance(0) - chance(1))).max(0.0))
}

/// The zone by `P(X <= count)` under the binomial distribution.
fn zone(pairs: usize, count: usize, probability: f64) -> Zone {
    let n = pairs as f64;
    let log_choose = |k: f64| libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    let chance = |k: usize| {
        let k = k as f64;
        libm::exp(log_choose(k) + weighted_log(k, probability) + weighted_log(n - k, 1.0 - probability))
    };
    let below: f64 = (0..=count).map(chance).sum();
    if below < 0.95 {
        Zone::Green
    } else if below < 0.9999 {
        Zone::Yellow
    } else {
        Zone::Red
    }
}

/// `P(X >= x)` of the chi-square distribution with 1 degree of freedom.
fn chi_square_1(x: f64) -> f64 {
    libm::erfc((0.5 * x).sqrt())
}

/// `P(X >= x)` of the chi-square distribution with 2 degrees of freedom.
fn chi_square_2(x: f64) -> f64 {
    libm::exp(-0.5 * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceptions(pairs: usize, count: usize) -> Vec<bool> {
        (0..pairs).map(|at| at % (pairs / count.max(1)) == 1 && at / (pairs / count.max(1)) < count).collect()
    }

    #[test]
    fn the_zones_of_250_pairs_begin_at_5_and_10() {
        for (count, zone) in [(0, Zone::Green), (4, Zone::Green), (5, Zone::Yellow), (9, Zone::Yellow), (10, Zone::Red)]
        {
            let result = backtest(&exceptions(250, count), 0.01);
            assert_eq!((result.exceptions, result.zone), (count, Some(zone)));
        }
        assert_eq!(backtest(&exceptions(99, 3), 0.01).zone, None);
        assert_eq!(backtest(&exceptions(250, 3), 0.05).zone, None);
    }

    #[test]
    fn thirty_exceptions_of_253_at_95_percent_are_too_many() {
        // The S&P 500 of 2008, window 252: 12.65 expected.
        let p = backtest(&exceptions(253, 30), 0.05).kupiec_p.unwrap();
        assert!((p / 1.8e-5 - 1.0).abs() < 0.05, "{p}");
    }

    #[test]
    fn nothing_to_judge_has_no_figures() {
        let none = backtest(&[], 0.01);
        assert_eq!((none.pairs, none.kupiec_lr, none.independence_lr, none.christoffersen_p), (0, None, None, None));
        assert_eq!(backtest(&[false; 250], 0.01).independence_lr, None, "no transition out of an exception");
        assert_eq!(backtest(&[true], 0.0).kupiec_lr, None);
    }
}
