//! `limits`: recorded figures against the limits of the book.
//!
//! A plan seals the limits. They are judged from the records, once the jobs have ended: on the run when it is closed, and on
//! the night in each fold. A job that did not succeed is not judged; its failure says enough.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::controls::{Control, ControlResult, ControlValue, Level};
use super::input::PortfolioRun;
use super::members::NightMembers;
use crate::ids::{JobName, PortfolioId};
use crate::words::JobStatus;

/// On which side of its limit a figure is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Up to the limit.
    Max,
    /// From the limit on.
    Min,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Max => "maximum",
            Self::Min => "minimum",
        })
    }
}

/// A limit of a recorded figure, as a plan seals it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealedLimit {
    /// The figure, one of [`crate::ports::KEY_FIGURES`].
    pub figure: String,
    /// The job that records it.
    pub job: JobName,
    /// On which side of the limit the figure is allowed.
    pub bound: Bound,
    /// The limit, in the unit of the figure. The figure may reach it.
    pub limit: f64,
    /// The share of the limit from which on the figure warns; `None`: it never warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<f64>,
    /// The portfolios that it is for; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portfolios: Option<BTreeSet<PortfolioId>>,
}

impl SealedLimit {
    fn is_for(&self, portfolio: &PortfolioId) -> bool {
        self.portfolios.as_ref().is_none_or(|portfolios| portfolios.contains(portfolio))
    }

    /// The level of a value.
    fn level(&self, value: f64) -> Level {
        let beyond = |limit: f64| match self.bound {
            Bound::Max => value > limit,
            Bound::Min => value < limit,
        };
        // A share of a limit means something only where the figure moves from 0 towards the limit.
        let towards = match self.bound {
            Bound::Max => self.limit > 0.0,
            Bound::Min => self.limit < 0.0,
        };
        let warns = self.warn.filter(|_| towards).is_some_and(|share| value / self.limit >= share);
        match (beyond(self.limit), warns) {
            (true, _) => Level::Failure,
            (false, true) => Level::Warning,
            (false, false) => Level::Ok,
        }
    }

    /// The result for a portfolio; `None` if it passes, or the job that records the figure did not succeed. `sessions` is
    /// how long a breach has lasted by now.
    fn judge(&self, id: &PortfolioId, run: &PortfolioRun, sessions: u64) -> Option<ControlResult> {
        let succeeded = |job: &&super::input::JobResult| job.job == self.job && job.status == JobStatus::Success;
        run.jobs.iter().find(succeeded)?;
        let value = run.figures.get(&self.job).and_then(|figures| figures.get(&self.figure)).copied();
        let level = value.map_or(Level::Failure, |value| self.level(value));
        if level == Level::Ok {
            return None;
        }
        let (figure, bound, limit) = (&self.figure, self.bound, number(self.limit));
        let lasting = match sessions {
            1 => String::new(),
            n => format!(", for {n} sessions now"),
        };
        let message = match (value, level) {
            (None, _) => format!(
                "{figure} of portfolio {id} cannot be judged: {} recorded no value of it; its limit is a {bound} of \
                 {limit}{lasting}. Find out from the data quality of the portfolio why it is missing, or accept it.",
                self.job,
            ),
            (Some(value), Level::Failure) => format!(
                "{figure} of portfolio {id} is {} and breaches its limit, a {bound} of {limit}{lasting}. Change the \
                 positions or the limit in [[limits]], or accept the breach.",
                number(value),
            ),
            (Some(value), _) => format!(
                "{figure} of portfolio {id} is {}, {:.1} % of its limit, a {bound} of {limit}. Watch it, or accept it.",
                number(value),
                value / self.limit * 100.0,
            ),
        };
        Some(ControlResult {
            control: Control::Limits,
            level,
            portfolio_id: Some(id.clone()),
            symbol: None,
            figure: Some(self.figure.clone()),
            observed: value.map(ControlValue::Number),
            limit: Some(ControlValue::Number(self.limit)),
            sessions: (level == Level::Failure).then_some(sessions),
            message,
        })
    }
}

/// A number as messages show it, with ten significant digits. Very large and very small ones have an exponent, so that none
/// is long.
#[must_use]
pub fn number(value: f64) -> String {
    let value: f64 = format!("{value:.9e}").parse().unwrap_or(value);
    let plain = value == 0.0 || (1e-6..1e15).contains(&value.abs());
    if plain { value.to_string() } else { format!("{value:e}") }
}

/// The results other than `ok` of the sealed limits, for the portfolios of a run. Of one figure the worst result counts.
#[must_use]
pub fn judge<'a>(
    members: &NightMembers,
    runs: impl IntoIterator<Item = (&'a PortfolioId, &'a PortfolioRun)>,
) -> Vec<ControlResult> {
    let mut results = Vec::new();
    if members.limits.is_empty() {
        return results;
    }
    for (id, run) in runs {
        let mut worst: BTreeMap<&str, ControlResult> = BTreeMap::new();
        for limit in members.limits.iter().filter(|limit| limit.is_for(id)) {
            let lasted = members.breaches.get(id).and_then(|figures| figures.get(&limit.figure));
            let Some(result) = limit.judge(id, run, lasted.copied().unwrap_or(1)) else { continue };
            if worst.get(limit.figure.as_str()).is_none_or(|known| known.level < result.level) {
                worst.insert(&limit.figure, result);
            }
        }
        results.extend(worst.into_values());
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::night::input::JobResult;

    fn id(text: &str) -> PortfolioId {
        PortfolioId::new(text).unwrap()
    }

    fn job() -> JobName {
        JobName::new("portfolio_snapshot").unwrap()
    }

    fn limit(bound: Bound, limit: f64, warn: Option<f64>) -> SealedLimit {
        SealedLimit { figure: "var_95".into(), job: job(), bound, limit, warn, portfolios: None }
    }

    fn run(status: JobStatus, value: Option<f64>) -> PortfolioRun {
        let result = JobResult { job: job(), status, failure: None, skipped_because: None };
        let figures = value.map(|value| (job(), BTreeMap::from([("var_95".to_owned(), value)])));
        PortfolioRun { ended_on_its_own: true, jobs: vec![result], figures: figures.into_iter().collect() }
    }

    fn judged(limits: Vec<SealedLimit>, breaches: &[(&str, u64)], run: &PortfolioRun) -> Vec<ControlResult> {
        let breaches = breaches.iter().map(|(p, n)| (id(p), BTreeMap::from([("var_95".to_owned(), *n)]))).collect();
        let members = NightMembers { limits, breaches, ..NightMembers::default() };
        judge(&members, [(&id("p"), run)])
    }

    fn level(of: SealedLimit, value: f64) -> Level {
        judged(vec![of], &[], &run(JobStatus::Success, Some(value))).first().map_or(Level::Ok, |result| result.level)
    }

    #[test]
    fn a_limit_is_breached_beyond_it_and_warns_from_its_share_on() {
        let max = || limit(Bound::Max, 2.0, Some(0.9));
        for (value, wanted) in
            [(1.79, Level::Ok), (1.8, Level::Warning), (2.0, Level::Warning), (2.01, Level::Failure), (-9.0, Level::Ok)]
        {
            assert_eq!(level(max(), value), wanted, "{value}");
        }
        // A loss is negative: its limit is a minimum.
        let min = || limit(Bound::Min, -0.02, Some(0.5));
        for (value, wanted) in
            [(-0.009, Level::Ok), (-0.01, Level::Warning), (-0.02, Level::Warning), (-0.021, Level::Failure)]
        {
            assert_eq!(level(min(), value), wanted, "{value}");
        }
        assert_eq!(level(limit(Bound::Max, 2.0, None), 2.0), Level::Ok);
        // A limit that is approached from beyond 0 has no share: a coverage of 1 under a minimum of 0.95 is well.
        for value in [0.95, 1.0] {
            assert_eq!(level(limit(Bound::Min, 0.95, Some(0.9)), value), Level::Ok);
        }
        assert_eq!(level(limit(Bound::Min, 0.95, Some(0.9)), 0.949), Level::Failure);
        assert_eq!(level(limit(Bound::Max, 0.0, Some(0.9)), 0.0), Level::Ok);
        assert_eq!(level(limit(Bound::Max, 0.0, Some(0.9)), 0.1), Level::Failure);
    }

    #[test]
    fn a_figure_that_is_missing_cannot_be_judged() {
        let none = judged(vec![limit(Bound::Min, -0.02, None)], &[], &run(JobStatus::Success, None));
        assert_eq!((none[0].level, &none[0].observed), (Level::Failure, &None));
        assert!(none[0].message.contains("cannot be judged"), "{}", none[0].message);
        for status in [JobStatus::Failed, JobStatus::Skipped, JobStatus::Missing] {
            assert_eq!(judged(vec![limit(Bound::Min, -0.02, None)], &[], &run(status, None)), [], "{status}");
        }
    }

    #[test]
    fn a_number_is_never_long() {
        for (value, text) in [
            (0.018_595_599_999_999_997, "0.0185956"),
            (1_600.0, "1600"),
            (-123_456.789, "-123456.789"),
            (0.0, "0"),
            (1e-300, "1e-300"),
            (-2e15, "-2e15"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_breach_has_an_age_in_sessions() {
        let breach = run(JobStatus::Success, Some(-0.03));
        let of = |breaches: &[(&str, u64)]| judged(vec![limit(Bound::Min, -0.02, None)], breaches, &breach).remove(0);
        assert_eq!(of(&[]).sessions, Some(1));
        assert!(!of(&[]).message.contains("sessions"), "{}", of(&[]).message);
        assert_eq!(of(&[("q", 4)]).sessions, Some(1));
        assert_eq!(of(&[("p", 4)]).sessions, Some(4));
        assert!(
            of(&[("p", 4)]).message.contains("a minimum of -0.02, for 4 sessions now."),
            "{}",
            of(&[("p", 4)]).message
        );
    }

    #[test]
    fn the_worst_result_of_a_figure_counts_and_only_for_its_portfolios() {
        let breach = run(JobStatus::Success, Some(-0.03));
        let all = limit(Bound::Min, -0.031, Some(0.9));
        let own = SealedLimit { portfolios: Some(BTreeSet::from([id("p")])), ..limit(Bound::Min, -0.02, None) };
        let other = SealedLimit { portfolios: Some(BTreeSet::from([id("q")])), ..limit(Bound::Min, -0.01, None) };
        let found = judged(vec![all.clone(), own, other.clone()], &[], &breach);
        assert_eq!(
            found.iter().map(|one| (one.level, &one.limit)).collect::<Vec<_>>(),
            [(Level::Failure, &Some(ControlValue::Number(-0.02)))]
        );
        assert_eq!(judged(vec![all, other], &[], &breach)[0].level, Level::Warning);
    }
}
