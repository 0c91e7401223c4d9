//! Editions: recorded figures of a night that a later run changed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::count;
use super::input::NightRun;
use crate::ids::{JobName, PortfolioId, RunId};

/// The default of `[restatement] tolerance`: the relative difference up to which two figures are the same.
pub const DEFAULT_TOLERANCE: f64 = 1e-9;

/// The recorded figures that are money: their tolerance is also relative to the gross exposure of the portfolio.
pub const MONEY_FIGURES: [&str; 6] = ["daily_pnl", "gross", "market_value", "net", "total_value", "worst_case_pnl"];

/// The recorded figure that bounds the tolerance of money.
const GROSS: &str = "gross";

/// Entries of each list that an edition names; the counts say how many there are.
pub const MOST_CHANGES: usize = 20;

/// The recorded figures of a portfolio in one run, by job and name.
pub type RecordedFigures = BTreeMap<JobName, BTreeMap<String, f64>>;

/// A run that changed recorded figures of its night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Edition {
    /// The number in the night. The first figures are edition 1, which is not listed, so that numbers begin with 2.
    pub number: u64,
    /// The run that changed the figures.
    pub batch_run_id: RunId,
    /// When that run was closed.
    pub at: DateTime<Utc>,
    /// The first changed figures, by portfolio, job and name.
    pub changed: Vec<RestatedFigure>,
    /// The number of changed figures.
    pub changed_count: u64,
    /// The restated portfolios, sorted.
    pub portfolios: Vec<PortfolioId>,
    /// What changed in the inputs.
    pub why: Why,
    /// The runs whose figures were replaced, for the comparison of the inputs.
    #[serde(default)]
    pub replaces: Vec<RunId>,
}

/// A recorded figure of a portfolio before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RestatedFigure {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// The job that records the figure.
    pub job: JobName,
    /// Its name, one of [`crate::ports::KEY_FIGURES`].
    pub figure: String,
    /// The figure of the edition before.
    pub was: f64,
    /// The figure of this edition.
    pub now: f64,
}

/// Why figures changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Why {
    /// What differs between the pinned inputs of the two runs.
    Changes(Box<InputChanges>),
    /// The inputs are gone, or were not compared.
    Unknown(Unknown),
}

/// The word for what is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Unknown {
    /// The one word.
    #[default]
    Unknown,
}

/// What differs between the pinned inputs of two runs: at most [`MOST_CHANGES`] entries of each kind, and their number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InputChanges {
    /// Closes, in the order of symbol and date.
    pub closes: Vec<ChangedClose>,
    /// The number of changed closes.
    pub closes_count: u64,
    /// Lots, by portfolio and symbol.
    pub lots: Vec<ChangedLots>,
    /// The number of positions with changed lots.
    pub lots_count: u64,
    /// Equities, by portfolio.
    pub equity: Vec<ChangedEquity>,
    /// The number of changed equities.
    pub equity_count: u64,
    /// The sections of the settings that differ, sorted.
    pub settings: Vec<String>,
    /// The versions of Nightbook, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nightbook_version: Option<ChangedVersion>,
}

/// A close of a symbol. `None` if there is no close.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangedClose {
    /// The symbol.
    pub symbol: String,
    /// The date.
    pub date: NaiveDate,
    /// The close of the edition before.
    pub was: Option<f64>,
    /// The close of this edition.
    pub now: Option<f64>,
}

/// The quantity of a position. `None` if it is not held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangedLots {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// The symbol.
    pub symbol: String,
    /// The sum of the quantities of the edition before.
    pub was: Option<f64>,
    /// The sum of the quantities of this edition.
    pub now: Option<f64>,
}

/// The equity of a portfolio. `None` if it is blank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangedEquity {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// The equity of the edition before.
    pub was: Option<f64>,
    /// The equity of this edition.
    pub now: Option<f64>,
}

/// The versions that made the two plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangedVersion {
    /// The version of the edition before.
    pub was: String,
    /// The version of this edition.
    pub now: String,
}

impl Why {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self::Unknown(Unknown::Unknown);

    /// Whether it is not known.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// What changed in the inputs, one line each; empty where it is not known. `number` writes a number.
    #[must_use]
    pub fn lines(&self, number: &dyn Fn(f64) -> String) -> Vec<String> {
        let Self::Changes(changes) = self else { return Vec::new() };
        let value = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), number);
        let arrow = |was: Option<f64>, now: Option<f64>| format!("{} → {}", value(was), value(now));
        let close = |c: &ChangedClose| format!("close of {} on {}: {}", c.symbol, c.date, arrow(c.was, c.now));
        let lots = |l: &ChangedLots| format!("quantity of {} in {}: {}", l.symbol, l.portfolio_id, arrow(l.was, l.now));
        let equity = |e: &ChangedEquity| format!("equity of {}: {}", e.portfolio_id, arrow(e.was, e.now));
        let more = |listed: usize, all: u64, what: &str| {
            let more = all.saturating_sub(listed as u64);
            (more > 0).then(|| count(more, what))
        };
        let mut all: Vec<String> = changes.closes.iter().map(close).collect();
        all.extend(more(changes.closes.len(), changes.closes_count, "more changed close"));
        all.extend(changes.lots.iter().map(lots));
        all.extend(more(changes.lots.len(), changes.lots_count, "more changed position"));
        all.extend(changes.equity.iter().map(equity));
        all.extend(more(changes.equity.len(), changes.equity_count, "more changed equity figure"));
        all.extend(changes.settings.iter().map(|section| format!("settings: [{section}]")));
        all.extend(
            changes.nightbook_version.as_ref().map(|version| format!("Nightbook {} → {}", version.was, version.now)),
        );
        all
    }
}

impl Edition {
    /// The edition with its first [`MOST_CHANGES`] restated portfolios, for lists.
    #[must_use]
    pub fn shortened(&self) -> Self {
        let portfolios = self.portfolios.iter().take(MOST_CHANGES).cloned().collect();
        Self { portfolios, replaces: Vec::new(), ..self.clone() }
    }
}

/// A recorded figure as the newest run so far recorded it.
#[derive(Clone, Copy)]
struct Standing {
    run: RunId,
    value: f64,
}

/// The standing figures of a portfolio, by job and name.
type Known<'a> = BTreeMap<(&'a JobName, &'a str), Standing>;

/// The editions of a night, oldest first, without what changed in their inputs.
///
/// A figure is what the newest ended run recorded in which the item of the portfolio ended on its own. A run that changes
/// one by more than the tolerance of its plan makes an edition. A figure that was not there before is filled, and one
/// that a run does not record stays as it was: neither is restated. A figure that several jobs record alike counts once.
/// `runs` are in the order of [`NightRun::order`].
#[must_use]
pub fn editions(runs: &[&NightRun]) -> Vec<Edition> {
    let mut standing: BTreeMap<&PortfolioId, Known<'_>> = BTreeMap::new();
    let mut editions: Vec<Edition> = Vec::new();
    for run in runs {
        let Some(at) = run.ended_at() else { continue };
        let tolerance = run.plan.as_ref().map_or(DEFAULT_TOLERANCE, |plan| plan.restatement_tolerance);
        let mut changed = Vec::new();
        let mut replaces = BTreeSet::new();
        for (id, portfolio) in run.portfolios.iter().filter(|(_, portfolio)| portfolio.ended_on_its_own) {
            let known = standing.entry(id).or_default();
            changed.extend(restated(id, known, &portfolio.figures, tolerance, &mut replaces));
            for (job, figures) in &portfolio.figures {
                let recorded = figures.iter().map(|(name, value)| ((job, name.as_str()), *value));
                known.extend(recorded.map(|(key, value)| (key, Standing { run: run.id, value })));
            }
        }
        if !changed.is_empty() {
            let portfolios: BTreeSet<&PortfolioId> = changed.iter().map(|figure| &figure.portfolio_id).collect();
            editions.push(Edition {
                number: editions.len() as u64 + 2,
                batch_run_id: run.id,
                at,
                changed_count: changed.len() as u64,
                portfolios: portfolios.into_iter().cloned().collect(),
                changed: changed.into_iter().take(MOST_CHANGES).collect(),
                why: Why::UNKNOWN,
                replaces: replaces.into_iter().collect(),
            });
        }
    }
    editions
}

/// The figures of a portfolio that differ from the standing ones; adds the runs of these to `replaces`.
fn restated(
    id: &PortfolioId,
    known: &Known<'_>,
    now: &RecordedFigures,
    tolerance: f64,
    replaces: &mut BTreeSet<RunId>,
) -> Vec<RestatedFigure> {
    let was_gross = known.iter().filter(|((_, name), _)| *name == GROSS).map(|(_, standing)| standing.value);
    let now_gross = now.values().filter_map(|figures| figures.get(GROSS).copied());
    let gross = was_gross.chain(now_gross).fold(0.0f64, |most, gross| most.max(gross.abs()));
    let mut changed: Vec<RestatedFigure> = Vec::new();
    for (job, figures) in now {
        for (name, now) in figures {
            let Some(before) = known.get(&(job, name.as_str())) else { continue };
            let scale = if MONEY_FIGURES.contains(&name.as_str()) { gross } else { 0.0 };
            if !differs(before.value, *now, tolerance, scale) {
                continue;
            }
            replaces.insert(before.run);
            let same = |other: &RestatedFigure| {
                other.figure == *name
                    && other.was.to_bits() == before.value.to_bits()
                    && other.now.to_bits() == now.to_bits()
            };
            if !changed.iter().any(same) {
                let (job, figure) = (job.clone(), name.clone());
                changed.push(RestatedFigure { portfolio_id: id.clone(), job, figure, was: before.value, now: *now });
            }
        }
    }
    changed
}

/// Whether |now - was| is above `tolerance` x max(|was|, |now|, `scale`).
fn differs(was: f64, now: f64, tolerance: f64, scale: f64) -> bool {
    (now - was).abs() > tolerance * was.abs().max(now.abs()).max(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::KEY_FIGURES;

    #[test]
    fn money_is_among_the_recorded_figures() {
        assert!(MONEY_FIGURES.iter().all(|figure| KEY_FIGURES.contains(figure)));
        assert!(KEY_FIGURES.contains(&GROSS));
    }

    #[test]
    fn a_figure_differs_only_above_its_tolerance() {
        assert!(!differs(100.0, 100.0 + 1e-8, 1e-9, 0.0));
        assert!(differs(100.0, 100.0 + 2e-7, 1e-9, 0.0));
        // A small P&L of a large portfolio: the rounding of its gross exposure is no restatement.
        assert!(!differs(0.001, 0.002, 1e-9, 1e7));
        assert!(differs(0.001, 0.002, 1e-9, 0.0));
        assert!(differs(0.0, 1e-300, 1e-9, 0.0));
        assert!(!differs(0.0, 0.0, 1e-9, 0.0));
    }

    #[test]
    fn what_is_not_known_is_one_word() {
        assert_eq!(serde_json::to_value(Why::UNKNOWN).unwrap(), serde_json::json!("unknown"));
        assert_eq!(serde_json::from_value::<Why>(serde_json::json!("unknown")).unwrap(), Why::UNKNOWN);
        let changes = Why::Changes(Box::default());
        assert_eq!(serde_json::from_value::<Why>(serde_json::to_value(&changes).unwrap()).unwrap(), changes);
    }
}
