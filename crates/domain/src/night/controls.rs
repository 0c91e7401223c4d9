//! Control results: what a run recorded about its inputs and figures, folded into the night.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::input::{Acceptance, NightRun};
use super::outcomes::PortfolioOutcome;
use crate::ids::{PortfolioId, RunId};
use crate::names;
use crate::words::UnknownWord;

macro_rules! controls {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        /// A named check of what went into a run or came out of it. The words are serialized.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Control {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl Control {
            /// Every control, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it is stored, shown and given on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

controls! {
    /// The newest close of the book against the trading date.
    NewestClose = "newest_close",
    /// The share of exposure that is priced by a close of the trading date.
    Freshness = "freshness",
    /// The share of value whose close equals the one before.
    Unchanged = "unchanged",
    /// Expected portfolios against those that are present.
    Portfolios = "portfolios",
    /// The rows of a portfolio against those of the night before.
    Positions = "positions",
    /// Rows of positions without a portfolio.
    Orphans = "orphans",
    /// A file whose last line has no line end.
    InputEnd = "input_end",
    /// A return that looks like a split or a wrong close.
    PriceJump = "price_jump",
    /// The equity of a portfolio against its P&L and flows.
    Equity = "equity",
    /// The share of the portfolio that has a P&L.
    PnlCoverage = "pnl_coverage",
    /// The age of the marks of private holdings.
    MarkAge = "mark_age",
    /// The unexplained part of the P&L.
    RollForward = "roll_forward",
    /// A recorded figure against its limit.
    Limits = "limits",
}

impl Control {
    /// Whether what this control observes and its limits are shares of 1, to be written in per cent.
    #[must_use]
    pub const fn is_share(self) -> bool {
        match self {
            Self::Freshness
            | Self::Unchanged
            | Self::Positions
            | Self::PriceJump
            | Self::Equity
            | Self::PnlCoverage
            | Self::RollForward => true,
            Self::NewestClose | Self::Portfolios | Self::Orphans | Self::InputEnd | Self::MarkAge | Self::Limits => {
                false
            }
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Control {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let words = || Self::ALL.iter().map(|control| control.as_str());
        Self::ALL.iter().copied().find(|control| control.as_str() == text).ok_or_else(|| UnknownWord {
            text: text.chars().take(80).collect(),
            allowed: words().collect::<Vec<_>>().join(", "),
            near: names::near(text, words()).first().map_or_else(String::new, |near| format!("; did you mean {near}?")),
        })
    }
}

/// How bad a control result is. Later is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Level {
    /// Passed.
    #[default]
    Ok,
    /// Worth a look: the night is `warning`.
    Warning,
    /// Not to be relied on: the night is `partial`.
    Failure,
}

/// What a control saw, or its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ControlValue {
    /// A share, a count or a figure, in the unit of the control.
    Number(f64),
    /// A date.
    Date(NaiveDate),
    /// Anything else, for example a split ratio.
    Text(String),
}

/// A date is a text too, so that the alternatives of the description are not exclusive.
#[cfg(feature = "openapi")]
mod schemas {
    use utoipa::openapi::schema::AnyOfBuilder;
    use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
    use utoipa::{PartialSchema, ToSchema};

    use super::{Control, ControlValue};

    impl PartialSchema for Control {
        fn schema() -> RefOr<Schema> {
            let words = Self::ALL.iter().map(|control| control.as_str());
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build().into()
        }
    }

    impl ToSchema for Control {
        fn name() -> std::borrow::Cow<'static, str> {
            "Control".into()
        }
    }

    impl PartialSchema for ControlValue {
        fn schema() -> RefOr<Schema> {
            let one = |of: Type| ObjectBuilder::new().schema_type(of).build();
            RefOr::T(Schema::AnyOf(AnyOfBuilder::new().item(one(Type::Number)).item(one(Type::String)).build()))
        }
    }

    impl ToSchema for ControlValue {
        fn name() -> std::borrow::Cow<'static, str> {
            "ControlValue".into()
        }
    }
}

/// One result of one control in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ControlResult {
    /// The control.
    pub control: Control,
    /// How bad it is.
    pub level: Level,
    /// The portfolio that it is about; none for the run as a whole.
    pub portfolio_id: Option<PortfolioId>,
    /// The symbol that it is about, where it is one.
    pub symbol: Option<String>,
    /// The recorded figure that it is about, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figure: Option<String>,
    /// What the control saw; `None` if it could not be judged.
    pub observed: Option<ControlValue>,
    /// The limit that decided the level.
    pub limit: Option<ControlValue>,
    /// For how many sessions in a row a limit is breached, this one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// What it saw, the limit, and what to do.
    pub message: String,
}

/// Who accepted a control result, why and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = AcceptedControl))]
pub struct Accepted {
    /// Who.
    pub author: String,
    /// Why.
    pub note: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A control result as the night counts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NightControl {
    /// The result.
    #[serde(flatten)]
    pub result: ControlResult,
    /// The run that recorded it.
    pub batch_run_id: RunId,
    /// The acceptance, if somebody accepted it: the result then does not count in the verdict.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accepted: Option<Accepted>,
}

/// What one result is about. Two results with the same key are two levels of the same finding.
type Key = (Control, Option<PortfolioId>, Option<String>, Option<String>);

impl ControlResult {
    fn key(&self) -> Key {
        (self.control, self.portfolio_id.clone(), self.symbol.clone(), self.figure.clone())
    }

    /// Whether both say the same about the same thing. The wording may differ.
    fn same_finding(&self, other: &Self) -> bool {
        (self.level, &self.observed, &self.limit) == (other.level, &other.observed, &other.limit)
            && self.key() == other.key()
    }
}

/// The control results of a night, the worst first.
///
/// Results about the run come from the deciding run; a later filtered run that counts can make one worse or add one,
/// and never removes any. Results about a portfolio come from the run that decides its jobs, or from the deciding run
/// where no run does. `runs` are in the order of [`NightRun::order`].
#[must_use]
pub fn controls(
    runs: &[&NightRun],
    deciding: Option<&NightRun>,
    outcomes: &BTreeMap<PortfolioId, PortfolioOutcome>,
    acceptances: &[Acceptance],
) -> Vec<NightControl> {
    let Some(deciding) = deciding else { return Vec::new() };
    let mut folded: BTreeMap<Key, NightControl> = BTreeMap::new();
    for run in runs {
        let is_deciding = run.id == deciding.id;
        let adds_to_run = is_deciding || (run.counts() && !run.is_full() && run.order() > deciding.order());
        for result in run.controls.iter().filter(|result| result.level > Level::Ok) {
            let applies = match &result.portfolio_id {
                None => adds_to_run,
                Some(id) => match outcomes.get(id).and_then(|outcome| outcome.decided_by) {
                    Some(decided_by) => decided_by == run.id,
                    None => is_deciding,
                },
            };
            let known = folded.get(&result.key()).map_or(Level::Ok, |known| known.result.level);
            if applies && result.level > known {
                let accepted = accepted(result, run, runs, acceptances);
                let control = NightControl { result: result.clone(), batch_run_id: run.id, accepted };
                folded.insert(result.key(), control);
            }
        }
    }
    let mut controls: Vec<NightControl> = folded.into_values().collect();
    // Stable: results of one level stay in the order of control, portfolio, symbol and figure.
    controls.sort_by_key(|control| std::cmp::Reverse(control.result.level));
    controls
}

/// The worst level that nobody accepted.
#[must_use]
pub fn worst(controls: &[NightControl]) -> Level {
    controls.iter().filter(|control| control.accepted.is_none()).map(|c| c.result.level).max().unwrap_or_default()
}

/// The newest acceptance of a result.
///
/// A person accepts what there is to see. A result of a run that ended later is accepted only where it repeats a
/// finding of a run that had ended by then, so that an acceptance never hides a new finding.
fn accepted(
    result: &ControlResult,
    run: &NightRun,
    runs: &[&NightRun],
    acceptances: &[Acceptance],
) -> Option<Accepted> {
    let seen = |acceptance: &&Acceptance| {
        let ended = |run: &NightRun| run.ended_at().is_some_and(|at| at <= acceptance.at);
        ended(run) || runs.iter().any(|run| ended(run) && run.controls.iter().any(|other| other.same_finding(result)))
    };
    let names = |acceptance: &&Acceptance| {
        acceptance.control == result.control
            && (acceptance.portfolio.is_none() || acceptance.portfolio == result.portfolio_id)
    };
    let newest = acceptances
        .iter()
        .filter(names)
        .filter(seen)
        .max_by_key(|acceptance| (acceptance.at, &acceptance.author, &acceptance.note))?;
    Some(Accepted { author: newest.author.clone(), note: newest.note.clone(), at: newest.at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_spelled_as_agreed() {
        let words: Vec<&str> = Control::ALL.iter().map(|control| control.as_str()).collect();
        assert_eq!(
            words,
            [
                "newest_close",
                "freshness",
                "unchanged",
                "portfolios",
                "positions",
                "orphans",
                "input_end",
                "price_jump",
                "equity",
                "pnl_coverage",
                "mark_age",
                "roll_forward",
                "limits"
            ]
        );
        for control in Control::ALL {
            assert_eq!(serde_json::to_value(control).unwrap(), control.as_str());
            assert_eq!(control.as_str().parse(), Ok(*control));
        }
        assert!("price_jumps".parse::<Control>().unwrap_err().to_string().ends_with("; did you mean price_jump?"));
    }

    #[test]
    fn a_result_has_the_keys_of_the_contract() {
        let result = ControlResult {
            control: Control::NewestClose,
            level: Level::Failure,
            portfolio_id: None,
            symbol: None,
            figure: None,
            sessions: None,
            observed: Some(ControlValue::Date("2026-11-19".parse().unwrap())),
            limit: Some(ControlValue::Number(0.9)),
            message: "old".into(),
        };
        let json = serde_json::json!({
            "control": "newest_close", "level": "failure", "portfolio_id": null, "symbol": null,
            "observed": "2026-11-19", "limit": 0.9, "message": "old",
        });
        assert_eq!(serde_json::to_value(&result).unwrap(), json);
        assert_eq!(serde_json::from_value::<ControlResult>(json).unwrap(), result);
    }
}
