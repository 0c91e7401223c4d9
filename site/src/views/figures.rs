//! Key figures of a portfolio and their past: from the results in brief, never from the result documents.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::ports::PortfolioRun;
use serde::Serialize;

use crate::chart::{Spark, spark};
use crate::text::{decimal, grouped, percent, with_decimals};

/// How a figure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Money,
    Share,
    Number,
}

/// A figure that pages show: its name in the records, its label, how it is written, what it says.
struct Spec {
    name: &'static str,
    label: &'static str,
    kind: Kind,
    note: &'static str,
}

const fn spec(name: &'static str, label: &'static str, kind: Kind, note: &'static str) -> Spec {
    Spec { name, label, kind, note }
}

const SPECS: [Spec; 23] = [
    spec("total_value", "Equity", Kind::Money, "net asset value, from the book"),
    spec("market_value", "Market value", Kind::Money, "sum over the positions, short ones negative"),
    spec("daily_pnl", "Profit and loss", Kind::Money, "of the day"),
    spec("daily_return", "Return", Kind::Share, "of the day"),
    spec("pnl_coverage", "P&L coverage", Kind::Share, "of the gross value, public positions and options"),
    spec("gross", "Gross exposure", Kind::Money, "long plus short"),
    spec("net", "Net exposure", Kind::Money, "long minus short"),
    spec("cash_balance", "Cash balance", Kind::Money, "sum of the cash positions"),
    spec("delta_adjusted_leverage", "Leverage", Kind::Number, "gross exposure / equity, options by delta"),
    spec("leverage", "Leverage, market values", Kind::Number, "gross market value / equity"),
    spec("market_beta", "Market beta", Kind::Number, "delta-adjusted"),
    spec("historical_volatility", "Volatility", Kind::Share, "annual, full revaluation"),
    spec("historical_var_95", "Value at risk 95 %", Kind::Share, "one day, of equity, full revaluation"),
    spec("historical_var_99", "Value at risk 99 %", Kind::Share, "one day, of equity, full revaluation"),
    spec("historical_es_95", "Expected shortfall 95 %", Kind::Share, "one day, of equity, full revaluation"),
    spec("historical_max_drawdown", "Largest drawdown", Kind::Share, "of the simulated year, full revaluation"),
    spec("market_coverage", "Market coverage", Kind::Share, "of the market exposure with returns of its own"),
    spec("volatility", "Volatility, linear", Kind::Share, "annual, options by delta"),
    spec("var_95", "Value at risk 95 %, linear", Kind::Share, "one day, of equity, options by delta"),
    spec("var_99", "Value at risk 99 %, linear", Kind::Share, "one day, of equity, options by delta"),
    spec("es_95", "Expected shortfall 95 %, linear", Kind::Share, "one day, of equity, options by delta"),
    spec("max_drawdown", "Largest drawdown, linear", Kind::Share, "of the simulated year, options by delta"),
    spec("worst_case_pnl", "Worst stress scenario", Kind::Money, "correlated"),
];

/// The share of exposure with a real return below which risk is understated.
const LEAST_COVERAGE: f64 = 0.95;

/// One key figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) label: &'static str,
    pub(crate) note: String,
    pub(crate) value: String,
    pub(crate) unit: String,
    /// The trading date of the value.
    pub(crate) as_of: String,
    /// Whether that is not the newest date: the job did not succeed since.
    pub(crate) old: bool,
    /// How it moved since the date before, in words.
    pub(crate) moved: String,
    pub(crate) spark: Option<Spark>,
    pub(crate) least: String,
    pub(crate) most: String,
}

/// The figures and their past.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) as_of: String,
    pub(crate) figures: Vec<Figure>,
    /// Heads of the table of all values.
    pub(crate) heads: Vec<String>,
    /// One row a date, newest first.
    pub(crate) rows: Vec<(String, Vec<String>)>,
    /// What a reader must know before acting on the risk figures.
    pub(crate) warning: Option<String>,
}

fn written(kind: Kind, value: f64) -> String {
    match kind {
        Kind::Money => grouped(value),
        Kind::Share => percent(value),
        Kind::Number => decimal(value),
    }
}

/// Decimals up to which a change is written out.
const MOST_DECIMALS: usize = 8;

/// The label of a recorded figure and two different values of it, with as many decimals as it takes to tell them apart.
pub(crate) fn written_change(name: &str, was: f64, now: f64) -> (String, String, String) {
    let spec = SPECS.iter().find(|spec| spec.name == name);
    let kind = spec.map_or(Kind::Number, |spec| spec.kind);
    let label = spec.map_or_else(|| sentence_case(name), |spec| spec.label.to_owned());
    let mut texts = (written(kind, was), written(kind, now));
    let (factor, unit) = if kind == Kind::Share { (100.0, " %") } else { (1.0, "") };
    for decimals in 3..=MOST_DECIMALS {
        if texts.0 != texts.1 {
            break;
        }
        let precise = |value: f64| with_decimals(value * factor, decimals) + unit;
        texts = (precise(was), precise(now));
    }
    (label, texts.0, texts.1)
}

/// `data_days` as `Data days`.
fn sentence_case(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The values of each date, oldest first: the newest run of a date speaks for it, as far as it has values.
fn by_date(runs: &[PortfolioRun]) -> BTreeMap<NaiveDate, BTreeMap<&str, f64>> {
    let mut sorted: Vec<&PortfolioRun> = runs.iter().collect();
    sorted.sort_by_key(|run| (run.as_of, run.scheduled_for, run.started_at));
    let mut dates: BTreeMap<NaiveDate, BTreeMap<&str, f64>> = BTreeMap::new();
    for run in sorted {
        let values = dates.entry(run.as_of).or_default();
        // A rerun may leave a job undone that an older run of the date has done: the newer says what is known.
        let told = || run.cells.iter().flat_map(|cell| &cell.figures);
        if told().next().is_some() {
            values.clear();
        }
        for (name, value) in told() {
            values.entry(name).or_insert(*value);
        }
    }
    dates
}

/// The figures in these runs of a portfolio, newest first. `scenario` is the name of the worst one, if it is known.
pub(crate) fn build(runs: &[PortfolioRun], currency: &str, scenario: Option<&str>) -> Option<Figures> {
    let dates = by_date(runs);
    let newest = *dates.keys().next_back()?;
    let column = |name: &str| -> Vec<Option<f64>> { dates.values().map(|values| values.get(name).copied()).collect() };
    let day: Vec<NaiveDate> = dates.keys().copied().collect();
    let mut figures = Vec::new();
    let mut columns = Vec::new();
    for spec in &SPECS {
        let values = column(spec.name);
        let Some(at) = values.iter().rposition(Option::is_some) else { continue };
        let (Some(value), Some(as_of)) = (values.get(at).copied().flatten(), day.get(at)) else { continue };
        let before = values.iter().take(at).rev().flatten().next();
        let (least, most) =
            values.iter().flatten().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        let note = match scenario.filter(|_| spec.name == "worst_case_pnl" && *as_of == newest) {
            Some(scenario) => format!("{scenario}, {}", spec.note),
            None => spec.note.to_owned(),
        };
        figures.push(Figure {
            label: spec.label,
            note,
            value: written(spec.kind, value),
            unit: if spec.kind == Kind::Money { currency.to_owned() } else { String::new() },
            as_of: as_of.to_string(),
            old: *as_of != newest,
            moved: before.map_or_else(String::new, |before| moved(spec.kind, *before, value)),
            spark: spark(&values),
            least: written(spec.kind, least),
            most: written(spec.kind, most),
        });
        columns.push((spec, values));
    }
    if figures.is_empty() {
        return None;
    }
    let rows = day.iter().enumerate().rev().map(|(at, date)| {
        let cell = |(spec, values): &(&Spec, Vec<Option<f64>>)| {
            values.get(at).copied().flatten().map_or_else(|| "–".to_owned(), |value| written(spec.kind, value))
        };
        (date.to_string(), columns.iter().map(cell).collect())
    });
    // Nights of before the full revaluation have the coverage of the linear figures alone.
    let newest_values = dates.values().next_back();
    let coverage = newest_values.and_then(|values| values.get("market_coverage").or_else(|| values.get("coverage")));
    Some(Figures {
        as_of: newest.to_string(),
        rows: rows.collect(),
        heads: columns
            .iter()
            .map(|(spec, _)| match spec.kind {
                Kind::Money => format!("{}, {currency}", spec.label),
                _ => spec.label.to_owned(),
            })
            .collect(),
        warning: coverage.filter(|share| **share < LEAST_COVERAGE).map(|share| {
            format!("Volatility, value at risk, expected shortfall and drawdown are understated: only {} of the exposure has a return of its own.", percent(*share))
        }),
        figures,
    })
}

fn moved(kind: Kind, before: f64, value: f64) -> String {
    let by = value - before;
    let shown = match kind {
        Kind::Money => grouped(by.abs()),
        Kind::Share => decimal(by.abs() * 100.0) + " points",
        Kind::Number => decimal(by.abs()),
    };
    if !shown.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        "unchanged".to_owned()
    } else if by > 0.0 {
        format!("▲ up {shown}")
    } else {
        format!("▼ down {shown}")
    }
}

/// The days of data of each date, oldest first: those of the job that asks for most.
pub(crate) fn data_days(runs: &[PortfolioRun]) -> Vec<(NaiveDate, DateTime<Utc>, f64, f64)> {
    let mut found: Vec<(NaiveDate, DateTime<Utc>, f64, f64)> = runs
        .iter()
        .filter_map(|run| {
            let cell = |cell: &domain::ports::Cell| {
                Some((*cell.figures.get("data_days")?, *cell.figures.get("required_days")?))
            };
            let most =
                run.cells.iter().filter_map(cell).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.total_cmp(&a.0)))?;
            Some((run.as_of, run.started_at, most.0, most.1))
        })
        .collect();
    found.sort_by_key(|day| (day.0, day.1));
    // The newest run of a date speaks for it.
    let mut last: Vec<(NaiveDate, DateTime<Utc>, f64, f64)> = Vec::new();
    for day in found {
        if last.last().is_some_and(|before| before.0 == day.0) {
            last.pop();
        }
        last.push(day);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_visible_however_small_it_is() {
        let written = |name, was, now| {
            let (label, was, now) = written_change(name, was, now);
            format!("{label}: {was} to {now}")
        };
        assert_eq!(written("daily_pnl", -6_869.2, -97_887.0), "Profit and loss: −6,869 to −97,887");
        assert_eq!(written("market_beta", 0.5231, 0.5204), "Market beta: 0.523 to 0.520");
        assert_eq!(written("gross", 1_000.25, 1_000.5), "Gross exposure: 1000.250 to 1000.500");
        assert_eq!(written("var_95", -0.120_001, -0.120_002), "Value at risk 95 %, linear: −12.0001 % to −12.0002 %");
        assert_eq!(written("data_days", 90.0, 252.0), "Data days: 90.00 to 252.00");
    }
}
