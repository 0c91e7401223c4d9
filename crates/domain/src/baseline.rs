//! What is usual: durations against their own past, and outcomes that change too often. Pure arithmetic.
//!
//! Median and MAD (the median distance from the median) are used because half of the past may be wrong without moving
//! them: one night of trouble does not make the next slow night look usual.

use serde::Serialize;

/// Earlier durations that are looked at, at most.
pub const LOOK_BACK: usize = 30;
/// Earlier durations without which nothing is called usual.
pub const AT_LEAST: usize = 5;
/// Outcomes that flakiness looks at.
pub const FLAKY_OF: usize = 20;
/// Failures after a success without which nothing is called flaky: a failure that was mended is one.
pub const FLAKY_FALLS: u64 = 2;

/// The rule of [`Band::of`], as pages print it.
pub const PACE_RULE: &str = "Usual is the median of up to 30 earlier runs, give or take 4 robust standard deviations (1.4826 × MAD), 25 % of the median or 0.05 s, whichever is most. Slow is above that; suspiciously fast is below that and below half the median.";
/// The rule of [`is_flaky`], as pages print it.
pub const FLAKY_RULE: &str = "Flaky: it failed right after a success at least twice in its last 20 runs. A success that took a retry is counted apart.";

/// Standard deviations of a normal distribution in one MAD.
const MAD_TO_SIGMA: f64 = 1.4826;
const SIGMAS: f64 = 4.0;
const LEAST_SHARE: f64 = 0.25;
const LEAST_SECONDS: f64 = 0.05;

/// How a duration compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As always, or nothing is known of the past.
    #[default]
    Usual,
    /// Longer than it should be.
    Slow,
    /// So short that it may have done nothing.
    Fast,
}

impl Pace {
    /// The mark behind a duration.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Slow => "▲",
            Self::Fast => "▼",
        }
    }

    /// The words of the mark.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Slow => "slower than usual",
            Self::Fast => "suspiciously fast",
        }
    }
}

/// The usual durations, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Band {
    /// The median.
    pub median: f64,
    /// Below this it is suspiciously fast.
    pub low: f64,
    /// Above this it is slow.
    pub high: f64,
    /// How many durations it stands on.
    pub of: usize,
}

/// The middle of these values; the mean of the two middle ones of an even number. None of none.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let mid = sorted.len() / 2;
    match (sorted.len(), sorted.get(mid), mid.checked_sub(1).and_then(|at| sorted.get(at))) {
        (0, ..) => None,
        (n, Some(above), Some(below)) if n % 2 == 0 => Some(f64::midpoint(*above, *below)),
        (_, middle, _) => middle.copied(),
    }
}

/// The median distance of these values from their median.
#[must_use]
pub fn mad(values: &[f64]) -> Option<f64> {
    let centre = median(values)?;
    median(&values.iter().map(|value| (value - centre).abs()).collect::<Vec<_>>())
}

impl Band {
    /// The band of earlier durations, the newest first; none where there are too few.
    #[must_use]
    pub fn of(earlier: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = earlier.into_iter().filter(|value| value.is_finite()).take(LOOK_BACK).collect();
        if values.len() < AT_LEAST {
            return None;
        }
        let (median, mad) = (median(&values)?, mad(&values)?);
        let room = (SIGMAS * MAD_TO_SIGMA * mad).max(LEAST_SHARE * median).max(LEAST_SECONDS);
        let low = (median - room).min(median / 2.0).max(0.0);
        Some(Self { median, low, high: median + room, of: values.len() })
    }

    /// How a duration compares.
    #[must_use]
    pub fn pace(&self, seconds: f64) -> Pace {
        if seconds > self.high {
            Pace::Slow
        } else if seconds < self.low {
            Pace::Fast
        } else {
            Pace::Usual
        }
    }
}

/// How often it failed right after a success. Outcomes are newest first: whether it succeeded, none where it did not run.
#[must_use]
pub fn falls(outcomes: impl IntoIterator<Item = Option<bool>>) -> u64 {
    let ran: Vec<bool> = outcomes.into_iter().flatten().take(FLAKY_OF).collect();
    ran.windows(2).filter(|pair| matches!(pair, [false, true])).count() as u64
}

/// Whether so many falls are too many.
#[must_use]
pub const fn is_flaky(falls: u64) -> bool {
    falls >= FLAKY_FALLS
}

/// Where durations, oldest first, change for good: the place of the first of the new kind.
///
/// At least [`AT_LEAST`] stand on either side, and the medians of the two sides differ by more than the band of the older side allows.
#[must_use]
pub fn change_point(values: &[f64]) -> Option<usize> {
    let last = values.len().checked_sub(AT_LEAST)?;
    let gap = |at: usize| {
        let (before, after) = values.split_at(at);
        let band = Band::of(before.iter().rev().copied())?;
        let moved = median(after)?;
        let spread = mad(before)?.max(mad(after)?).max(LEAST_SECONDS / SIGMAS);
        (moved > band.high || moved < band.low).then(|| (at, (moved - band.median).abs() / spread))
    };
    let found = (AT_LEAST..=last).filter_map(gap).max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
    found.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn too_slow_and_too_fast_are_told_apart_from_usual() {
        let band = Band::of([4.0, 4.2, 3.9, 4.1, 4.0, 4.05, 3.95]).unwrap();
        assert_eq!([3.2, 4.9, 5.2, 1.9].map(|s| band.pace(s)), [Pace::Usual, Pace::Usual, Pace::Slow, Pace::Fast]);
        assert!(Band::of([1.0; 4]).is_none());
        // What takes no time is never suspicious.
        assert_eq!(Band::of([0.001; 9]).unwrap().pace(0.0), Pace::Usual);
    }

    #[test]
    fn one_failure_that_was_mended_is_not_flaky() {
        let of = |text: &str| falls(text.bytes().map(|b| (b != b'.').then_some(b == b'+')));
        // Newest first.
        assert_eq!((of("++-+++"), of("+-++-+"), of("-.+.-+"), of("----+"), of("+++")), (1, 2, 2, 1, 0));
        assert!(!is_flaky(1) && is_flaky(2));
    }

    #[test]
    fn a_lasting_change_is_found_where_it_begins() {
        let mut values = vec![2.0, 2.1, 1.9, 2.0, 2.05, 1.95, 2.0];
        assert_eq!(change_point(&values), None);
        values.extend([4.0, 4.1, 3.9, 4.0, 4.05]);
        assert_eq!(change_point(&values), Some(7));
        // One bad night is none.
        assert_eq!(change_point(&[2.0, 2.1, 1.9, 2.0, 2.05, 9.0, 2.0, 2.1, 1.9, 2.0, 2.0]), None);
    }

    proptest! {
        #[test]
        fn a_band_lies_around_its_median_whatever_the_order(mut values in prop::collection::vec(0.0f64..1e5, 5..30)) {
            let band = Band::of(values.clone()).unwrap();
            prop_assert!(0.0 <= band.low && band.low <= band.median / 2.0 + 1e-12 && band.median < band.high);
            let (least, most) = values.iter().fold((f64::MAX, 0.0f64), |(a, b), v| (a.min(*v), b.max(*v)));
            prop_assert!(least <= band.median && band.median <= most);
            prop_assert_eq!(band.pace(band.median), Pace::Usual);
            values.reverse();
            prop_assert_eq!(Band::of(values), Some(band));
        }

        /// Fewer than half of the past cannot move the median out of what the others say.
        #[test]
        fn a_minority_does_not_move_what_is_usual(
            good in prop::collection::vec(1.0f64..2.0, 8..15),
            bad in prop::collection::vec(0.0f64..1e6, 0..7),
        ) {
            let band = Band::of(good.iter().chain(&bad).copied()).unwrap();
            prop_assert!((1.0..=2.0).contains(&band.median));
        }

        #[test]
        fn longer_is_never_less_slow(values in prop::collection::vec(0.0f64..100.0, 5..30), a in 0.0f64..300.0, b in 0.0f64..300.0) {
            let band = Band::of(values).unwrap();
            let rank = |s: f64| match band.pace(s) { Pace::Fast => 0, Pace::Usual => 1, Pace::Slow => 2 };
            prop_assert!(rank(a.min(b)) <= rank(a.max(b)));
        }

        #[test]
        fn there_are_never_more_falls_than_failures(outcomes in prop::collection::vec(prop::option::of(any::<bool>()), 0..40)) {
            let failures = outcomes.iter().filter(|o| **o == Some(false)).count() as u64;
            let falls = falls(outcomes);
            prop_assert!(falls <= failures && falls <= FLAKY_OF as u64 / 2);
        }
    }
}
