//! What the plan of a run seals about the portfolios of the whole book.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::controls::ControlResult;
use super::limits::SealedLimit;
use crate::ids::{ContentHash, PortfolioId};

/// The portfolios of the whole book as a plan seals them, with the control results of its inputs.
///
/// It is a document of its own, since a book may have 100,000 portfolios; [`SealedNight`] names it by its hash.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NightMembers {
    /// The open portfolios of the whole book, also where the run is filtered.
    pub open: BTreeMap<PortfolioId, Member>,
    /// Declared closures: the first trading date on which the portfolio is closed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub closures: BTreeMap<PortfolioId, NaiveDate>,
    /// The expected portfolios of the newest earlier night, as it was when the run was planned.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub expected_before: BTreeSet<PortfolioId>,
    /// What later nights compare absent portfolios with, once they are back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<PortfolioId, EarlierValues>,
    /// The limits of recorded figures, judged once the jobs have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<SealedLimit>,
    /// For a limit that was breached the night before, by portfolio and figure: for how many sessions in a row it is
    /// breached if it is breached now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub breaches: BTreeMap<PortfolioId, BTreeMap<String, u64>>,
    /// Results other than `ok` of the controls that planning evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<ControlResult>,
}

/// What an earlier night knew of a portfolio that is absent now.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EarlierValues {
    /// Rows of positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Earlier<u64>>,
    /// The usable equity, in the currency of the portfolio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equity: Option<Earlier<f64>>,
}

/// What the book says about one open portfolio on the trading date.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Member {
    /// Hash of everything that the results of the portfolio depend on; `None` for a portfolio that is not in the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<ContentHash>,
    /// Rows of positions that are active on the trading date.
    pub rows: u64,
    /// Whether rows of it are unusable: then its rows are not judged, and a later night compares with an earlier one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_unusable_rows: bool,
    /// The usable equity of the trading date, in the currency of the portfolio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equity: Option<f64>,
    /// The date that the equity is of, where its row in `equity.csv` is of an earlier date than the trading date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equity_on: Option<NaiveDate>,
    /// The rows that the control `positions` compared with; `None` on the first night of a portfolio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_before: Option<Earlier<u64>>,
    /// The equity that the control `equity` compared with; `None` on the first night of a portfolio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equity_before: Option<Earlier<f64>>,
}

/// A value of an earlier night.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Earlier<T> {
    /// The date of the value: the trading date of that night, or of an equity the date of its row in `equity.csv`.
    pub as_of: NaiveDate,
    /// The value.
    pub value: T,
}

/// What a sealed plan holds for the night: the part that is small enough for the run itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealedNight {
    /// The document with the [`NightMembers`].
    pub members: ContentHash,
    /// Hash of everything that the run can see.
    pub inputs: ContentHash,
    /// The newest date with a close that is not after the trading date; `None` if there is no close.
    #[serde(default)]
    pub newest_close: Option<NaiveDate>,
    /// The version of Nightbook that made the plan.
    pub nightbook_version: String,
    /// The relative difference up to which two figures are the same ([`super::editions`]).
    #[serde(default = "default_tolerance")]
    pub restatement_tolerance: f64,
}

const fn default_tolerance() -> f64 {
    super::editions::DEFAULT_TOLERANCE
}

/// What the planner of a run learns about the night from its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct PinnedNight {
    /// The portfolios of the whole book.
    pub members: NightMembers,
    /// Hash of everything that the run can see.
    pub inputs: ContentHash,
    /// The newest date with a close that is not after the trading date.
    pub newest_close: Option<NaiveDate>,
    /// The relative difference up to which two figures are the same ([`super::editions`]).
    pub restatement_tolerance: f64,
}

/// What a planner has to know about the newest earlier night of the series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NightBefore {
    /// The trading date of that night; `None` if there is none.
    pub as_of: Option<NaiveDate>,
    /// The expected portfolios of that night.
    pub expected: BTreeSet<PortfolioId>,
    /// For each portfolio the rows of the newest night on which `positions` did not fail, or was accepted.
    pub rows: BTreeMap<PortfolioId, Earlier<u64>>,
    /// For each portfolio the equity of the newest night on which `equity` did not fail, or was accepted.
    pub equity: BTreeMap<PortfolioId, Earlier<f64>>,
    /// For each portfolio the figures whose limit was breached, and for how many sessions in a row by then.
    pub breaches: BTreeMap<PortfolioId, BTreeMap<String, Earlier<u64>>>,
    /// The usable equity that the newest full run of the planned night itself pinned, where a later night is on record.
    pub kept_equity: BTreeMap<PortfolioId, f64>,
}
