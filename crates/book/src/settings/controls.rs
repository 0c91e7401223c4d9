//! `[controls]` and `[freshness]`: the limits of the controls, and what to do about late prices.

use std::collections::BTreeMap;

use chrono::NaiveTime;
use domain::night::{Control, Level};
use serde::{Deserialize, Serialize};

/// `[controls]`: what the file says about each control. A control that it does not name keeps its defaults.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ControlSettings(BTreeMap<Control, ControlRule>);

/// What the file says about one control.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ControlRule {
    /// Whether the control is not evaluated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
    /// The limit of a warning; `None`: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<f64>,
    /// The limit of a failure; `None`: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<f64>,
}

/// On which side of its limits a control finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A value above the limit.
    Above,
    /// A value below the limit.
    Below,
}

/// The limits of a control that is evaluated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// On which side of them the control finds something.
    pub side: Side,
    /// The limit of a warning; `None`: it never warns.
    pub warn: Option<f64>,
    /// The limit of a failure; `None`: it never fails.
    pub fail: Option<f64>,
}

impl Limits {
    /// The level of this value, with the limit that decided it.
    #[must_use]
    pub fn level(&self, value: f64) -> (Level, Option<f64>) {
        let beyond = |limit: &f64| match self.side {
            Side::Above => value > *limit,
            Side::Below => value < *limit,
        };
        match (self.fail.filter(beyond), self.warn.filter(beyond)) {
            (Some(limit), _) => (Level::Failure, Some(limit)),
            (None, Some(limit)) => (Level::Warning, Some(limit)),
            (None, None) => (Level::Ok, None),
        }
    }

    /// The same limits without a failure: what would fail warns.
    #[must_use]
    pub const fn warnings_only(self) -> Self {
        Self { fail: None, ..self }
    }
}

/// What can be set of a control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ControlKind {
    /// The default limits.
    pub(crate) limits: Limits,
    /// The greatest limit that makes sense; the least is 0.
    pub(crate) most: f64,
    /// What is measured, for messages.
    pub(crate) unit: &'static str,
    /// Whether `warn` and `fail` measure the same thing, so that one must lie within the other.
    pub(crate) comparable: bool,
    /// Whether this release evaluates it.
    pub(crate) evaluated: bool,
}

/// What can be set of a control, with its defaults.
pub(crate) const fn kind_of(control: Control) -> ControlKind {
    use Side::{Above, Below};
    const fn kind(side: Side, warn: Option<f64>, fail: Option<f64>, most: f64, unit: &'static str) -> ControlKind {
        ControlKind { limits: Limits { side, warn, fail }, most, unit, comparable: true, evaluated: true }
    }
    const LATER: ControlKind = ControlKind { evaluated: false, ..kind(Above, None, None, 0.0, "") };
    match control {
        Control::NewestClose => kind(Above, None, Some(0.0), 250.0, "sessions behind the trading date"),
        Control::Freshness => kind(Below, Some(0.98), Some(0.90), 1.0, "a share of exposure"),
        Control::Unchanged => kind(Above, Some(0.05), Some(0.5), 1.0, "a share of value"),
        Control::Portfolios => kind(Above, None, Some(0.0), 1e6, "absent portfolios"),
        Control::Positions => kind(Below, Some(0.8), Some(0.5), 1.0, "a share of rows"),
        Control::Orphans => kind(Above, None, Some(0.0), 1e9, "rows"),
        Control::InputEnd => kind(Above, Some(0.0), None, 1e6, "files"),
        Control::PriceJump => ControlKind {
            comparable: false,
            ..kind(Above, Some(0.20), Some(0.10), 100.0, "`warn` a return, `fail` a share of equity")
        },
        Control::Equity => kind(Above, Some(0.05), Some(0.5), 100.0, "a share of the equity before"),
        Control::PnlCoverage => {
            ControlKind { limits: Limits { side: Below, warn: Some(0.98), fail: Some(0.5) }, most: 1.0, ..LATER }
        }
        Control::MarkAge => {
            ControlKind { limits: Limits { side: Above, warn: Some(95.0), fail: None }, most: 36_500.0, ..LATER }
        }
        Control::RollForward => {
            ControlKind { limits: Limits { side: Above, warn: Some(0.01), fail: Some(0.25) }, most: 100.0, ..LATER }
        }
        Control::Limits => kind(Above, Some(0.9), Some(1.0), 1.0, "a share of the limit"),
    }
}

impl ControlSettings {
    /// The limits of a control; `None` if it is off.
    #[must_use]
    pub fn limits(&self, control: Control) -> Option<Limits> {
        let limits = kind_of(control).limits;
        match self.0.get(&control) {
            Some(rule) if rule.off => None,
            Some(rule) => Some(Limits { warn: rule.warn.or(limits.warn), fail: rule.fail.or(limits.fail), ..limits }),
            None => Some(limits),
        }
    }

    /// Sets what the file says about a control.
    pub fn set(&mut self, control: Control, rule: ControlRule) {
        self.0.insert(control, rule);
    }

    /// Whether the file says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a slot does whose prices are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStale {
    /// It runs, and the controls judge the prices.
    #[default]
    Judge,
    /// It waits for the prices until a time of day.
    Wait,
}

/// `[freshness]`: which closes may be late, and what to do about those that are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreshnessSettings {
    /// `judge` or `wait`. Default `judge`.
    pub on_stale: OnStale,
    /// Until when a slot waits, in the time zone of the schedule. Default 21:00.
    pub wait_until: NaiveTime,
    /// `[freshness.lag]`: sessions that the close of a symbol may lag. Default: none.
    #[serde(default)]
    pub lag: BTreeMap<String, u32>,
}

impl Default for FreshnessSettings {
    fn default() -> Self {
        let wait_until = NaiveTime::from_hms_opt(21, 0, 0).unwrap_or_default();
        Self { on_stale: OnStale::Judge, wait_until, lag: BTreeMap::new() }
    }
}

impl FreshnessSettings {
    /// Whether the file says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_its_limit_passes() {
        let settings = ControlSettings::default();
        let level = |control, value| settings.limits(control).unwrap().level(value);
        assert_eq!(level(Control::Freshness, 0.98), (Level::Ok, None));
        assert_eq!(level(Control::Freshness, 0.9799), (Level::Warning, Some(0.98)));
        assert_eq!(level(Control::Freshness, 0.90), (Level::Warning, Some(0.98)));
        assert_eq!(level(Control::Freshness, 0.8999), (Level::Failure, Some(0.90)));
        assert_eq!(level(Control::Unchanged, 0.05), (Level::Ok, None));
        assert_eq!(level(Control::Unchanged, 0.5), (Level::Warning, Some(0.05)));
        assert_eq!(level(Control::Unchanged, 0.5001), (Level::Failure, Some(0.5)));
        assert_eq!(level(Control::NewestClose, 0.0), (Level::Ok, None));
        assert_eq!(level(Control::NewestClose, 1.0), (Level::Failure, Some(0.0)));
    }

    #[test]
    fn a_rule_replaces_only_what_it_names() {
        let mut settings = ControlSettings::default();
        settings.set(Control::Positions, ControlRule { warn: Some(0.9), ..ControlRule::default() });
        settings.set(Control::Orphans, ControlRule { off: true, ..ControlRule::default() });
        let positions = settings.limits(Control::Positions).unwrap();
        assert_eq!((positions.warn, positions.fail), (Some(0.9), Some(0.5)));
        assert_eq!(settings.limits(Control::Orphans), None);
        assert_eq!(ControlSettings::default().limits(Control::Orphans).unwrap().fail, Some(0.0));
    }
}
