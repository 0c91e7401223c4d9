//! `[factors]` and `[[scenarios]]`, with those of a book that names none.

use serde::{Deserialize, Serialize};

/// A factor and the symbol whose returns stand for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// For example "Low Volatility".
    pub name: String,
    /// For example "USMV".
    pub proxy: String,
}

const DEFAULT_FACTORS: [(&str, &str); 8] = [
    ("Market", "SPY"),
    ("Value", "VTV"),
    ("Growth", "VUG"),
    ("Momentum", "MTUM"),
    ("Quality", "QUAL"),
    ("Size", "IWM"),
    ("Low Volatility", "USMV"),
    ("Interest Rate", "TLT"),
];

/// The factors of a book that names none.
#[must_use]
pub fn default_factors() -> Vec<Factor> {
    let factor = |(name, proxy): (&str, &str)| Factor { name: name.to_owned(), proxy: proxy.to_owned() };
    DEFAULT_FACTORS.into_iter().map(factor).collect()
}

/// One stress scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Unique among the scenarios: 1 to 64 of `a-z 0-9 _ -`.
    pub id: String,
    /// As the pages show it.
    pub name: String,
    /// For example `market`, `rates`, `rotation`, `volatility`, `historical`.
    pub category: String,
    /// `mild`, `moderate`, `severe` or `extreme`.
    pub severity: String,
    /// The shocked factors, in the order of the file.
    pub shocks: Vec<Shock>,
}

/// What a scenario does to one factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shock {
    /// The factor's name, as `[factors]` spells it.
    pub factor: String,
    /// A return as a fraction; for the factor that `[rates]` names, a change of yield (0.01 is 100 basis points).
    pub change: f64,
}

type DefaultScenario = (&'static str, &'static str, &'static str, &'static str, &'static [(&'static str, f64)]);

/// The rate scenarios are changes of yield.
#[rustfmt::skip]
const DEFAULT_SCENARIOS: [DefaultScenario; 18] = [
    ("market_up_10", "Market up 10 %", "market", "moderate", &[("Market", 0.10)]),
    ("market_down_10", "Market down 10 %", "market", "moderate", &[("Market", -0.10)]),
    ("market_crash_35", "Market crash of 35 %", "market", "severe", &[("Market", -0.35)]),
    ("market_rally_25", "Market rally of 25 %", "market", "severe", &[("Market", 0.25)]),
    ("rates_up_25bp", "Rates up 25 bp", "rates", "mild", &[("Interest Rate", 0.0025)]),
    ("rates_down_25bp", "Rates down 25 bp", "rates", "mild", &[("Interest Rate", -0.0025)]),
    ("rates_up_100bp", "Rates up 100 bp", "rates", "moderate", &[("Interest Rate", 0.01)]),
    ("rates_down_100bp", "Rates down 100 bp", "rates", "moderate", &[("Interest Rate", -0.01)]),
    ("rate_spike_300bp", "Rate spike of 300 bp", "rates", "severe", &[("Interest Rate", 0.03)]),
    ("value_rotation_20", "Rotation into value", "rotation", "moderate", &[("Value", 0.20), ("Growth", -0.10)]),
    ("growth_rally_15", "Growth rally of 15 %", "rotation", "moderate", &[("Growth", 0.15), ("Momentum", 0.10)]),
    ("small_cap_outperformance_10", "Small caps ahead by 10 %", "rotation", "mild", &[("Size", 0.10)]),
    ("quality_flight_12", "Flight to quality", "rotation", "mild", &[("Quality", 0.12), ("Market", -0.05)]),
    ("vix_spike_150", "Volatility spike of 150 %", "volatility", "severe", &[("Low Volatility", -0.25), ("Market", -0.15)]),
    ("liquidity_crisis", "Liquidity crisis", "volatility", "severe",
        &[("Market", -0.20), ("Low Volatility", -0.30), ("Quality", 0.15), ("Size", -0.10)]),
    ("financial_crisis_2008", "Financial crisis of 2008", "historical", "extreme",
        &[("Market", -0.45), ("Value", -0.30), ("Size", -0.25), ("Quality", 0.20), ("Low Volatility", -0.35)]),
    ("covid_crash_2020", "Covid crash of 2020", "historical", "extreme",
        &[("Market", -0.35), ("Growth", 0.15), ("Value", -0.40), ("Size", -0.30), ("Quality", 0.10)]),
    ("dotcom_crash_2000", "Dot-com crash of 2000", "historical", "extreme",
        &[("Market", -0.45), ("Growth", -0.60), ("Value", 0.20), ("Momentum", -0.50), ("Quality", 0.15)]),
];

/// The scenarios of a book that has none of its own.
#[must_use]
pub fn default_scenarios() -> Vec<Scenario> {
    let scenario = |(id, name, category, severity, shocks): DefaultScenario| Scenario {
        id: id.to_owned(),
        name: name.to_owned(),
        category: category.to_owned(),
        severity: severity.to_owned(),
        shocks: shocks.iter().map(|&(factor, change)| Shock { factor: factor.to_owned(), change }).collect(),
    };
    DEFAULT_SCENARIOS.into_iter().map(scenario).collect()
}
