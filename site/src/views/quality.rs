//! `quality/index.html`: how good the data under the newest results was.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::PortfolioId;
use domain::record::{JobRecord, Quality};
use domain::summary::QualitySummary;
use domain::words::QualityFlag;
use serde::Serialize;

use super::cells::Resolved;
use super::controls::Controls;
use super::{Named, Stamp};
use crate::chart::{Spark, spark};
use crate::gather::{NightData, RunData, RunHead};
use crate::text::grouped;

/// Lines of each list, at most.
const MOST: usize = 500;

/// A symbol without data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SymbolLine {
    pub(crate) symbol: String,
    pub(crate) count: u64,
    pub(crate) portfolios: Vec<Named>,
}

/// A portfolio whose data is not full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QualityLine {
    #[serde(flatten)]
    pub(crate) portfolio: Named,
    pub(crate) flag: QualityFlag,
    pub(crate) days: String,
    pub(crate) positions: String,
    pub(crate) notes: Vec<String>,
}

/// The quality of one run, for the trend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QualityRun {
    pub(crate) as_of: String,
    pub(crate) link: Option<String>,
    pub(crate) full: u64,
    pub(crate) limited: u64,
    pub(crate) failed: u64,
    pub(crate) average_days: String,
}

/// Something that should be so, and how it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Expectation {
    pub(crate) text: &'static str,
    pub(crate) expected: String,
    pub(crate) observed: String,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    pub(crate) word: &'static str,
}

/// The page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QualityView {
    pub(crate) as_of: Option<String>,
    /// The newest night, whose control results these are.
    pub(crate) night: Option<String>,
    /// The date through which its data reaches.
    pub(crate) data_through: Option<String>,
    pub(crate) controls: Controls,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) full: u64,
    pub(crate) limited: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
    pub(crate) symbols: Vec<SymbolLine>,
    pub(crate) lines: Vec<QualityLine>,
    pub(crate) more: u64,
    pub(crate) expectations: Vec<Expectation>,
    /// When the prices were read, and for which trading date.
    pub(crate) prices_read: Option<Stamp>,
    pub(crate) full_trend: Option<Spark>,
    pub(crate) days_trend: Option<Spark>,
    pub(crate) runs: Vec<QualityRun>,
}

/// What the records tell of their inputs, added up over the portfolios.
#[derive(Default)]
struct Sums {
    symbols: f64,
    symbols_without: f64,
    without_price: f64,
    stale: f64,
    left_out: f64,
    days: u64,
    days_of: u64,
    required: u32,
}

impl Sums {
    fn add(&mut self, record: &JobRecord) {
        let number = |name: &str| record.job_metadata.get(name).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        // These are of the run, and the same in every portfolio's record.
        self.symbols = self.symbols.max(number("run_symbols"));
        self.symbols_without = self.symbols_without.max(number("run_symbols_without_prices"));
        self.without_price += number("without_price");
        self.stale += number("stale_prices");
        self.left_out += number("positions_left_out");
    }
}

fn expectation(text: &'static str, expected: String, observed: String, state: u8) -> Expectation {
    let (class, glyph, word) = match state {
        0 => ("ok", "✓", "as expected"),
        1 => ("part", "▲", "warning"),
        _ => ("bad", "✕", "not met"),
    };
    Expectation { text, expected, observed, class, glyph, word }
}

fn expectations(sums: &Sums, counts: [u64; 4]) -> Vec<Expectation> {
    let [full, limited, failed, unknown] = counts;
    let all = full + limited + failed + unknown;
    let state = if failed + unknown > 0 { 2 } else { u8::from(limited > 0) };
    let mut found = vec![expectation("Portfolios on full data", format!("{all}"), format!("{full}"), state)];
    if sums.days_of > 0 {
        let mean = sums.days as f64 / sums.days_of as f64;
        let short = u8::from(mean + 0.05 < f64::from(sums.required));
        let observed = format!("{mean:.1} on average");
        found.push(expectation("Days of data under the results", format!("{}", sums.required), observed, short));
    }
    if sums.symbols > 0.0 {
        let with = sums.symbols - sums.symbols_without;
        let state = u8::from(sums.symbols_without > 0.0);
        found.push(expectation("Symbols of the book with prices", grouped(sums.symbols), grouped(with), state));
    }
    let zero =
        |text, value: f64, bad: u8| expectation(text, "0".into(), grouped(value), if value > 0.0 { bad } else { 0 });
    found.push(zero("Positions without any price", sums.without_price, 2));
    found.push(zero("Positions at a price of an earlier session", sums.stale, 1));
    found.push(zero("Positions left out of the factors", sums.left_out, 1));
    found
}

/// What the records say of the data, added up over the portfolios.
#[derive(Default)]
struct Tally {
    full: u64,
    limited: u64,
    failed: u64,
    unknown: u64,
    sums: Sums,
    symbols: BTreeMap<String, BTreeSet<Named>>,
    lines: Vec<QualityLine>,
}

impl Tally {
    /// Adds the newest records of a portfolio.
    fn add(&mut self, portfolio: Named, records: &[&JobRecord]) {
        let all: Vec<&Quality> = records.iter().filter_map(|record| record.quality.as_ref()).collect();
        records.iter().for_each(|record| self.sums.add(record));
        let most = all.iter().max_by_key(|quality| (quality.positions_processed, quality.required_days));
        if let Some(most) = most.filter(|most| most.required_days > 0) {
            self.sums.days += u64::from(most.data_days);
            self.sums.days_of += 1;
            self.sums.required = self.sums.required.max(most.required_days);
        }
        for symbol in all.iter().flat_map(|quality| &quality.symbols_missing) {
            self.symbols.entry(symbol.clone()).or_default().insert(portfolio.clone());
        }
        let Some(flag) = all.iter().map(|quality| quality.flag).max() else {
            self.unknown += 1;
            return;
        };
        match flag {
            QualityFlag::Full => self.full += 1,
            QualityFlag::Limited => self.limited += 1,
            QualityFlag::Failed => self.failed += 1,
        }
        if flag == QualityFlag::Full {
            return;
        }
        let notes: BTreeSet<&String> = all.iter().flat_map(|quality| &quality.notes).collect();
        self.lines.push(QualityLine {
            portfolio,
            flag,
            days: most.map_or_else(String::new, |q| format!("{} of {}", q.data_days, q.required_days)),
            positions: most.map_or_else(String::new, |q| format!("{} of {}", q.positions_processed, q.positions_total)),
            notes: notes.into_iter().take(20).cloned().collect(),
        });
    }
}

/// How many portfolios are on full, on limited and without usable data, and the days of data on average.
pub(crate) fn roll_up(resolved: &BTreeMap<PortfolioId, Resolved>) -> QualitySummary {
    let Tally { full, limited, failed, sums, .. } = tally(resolved, &BTreeSet::new());
    let average_data_days = (sums.days_of > 0).then(|| sums.days as f64 / sums.days_of as f64);
    QualitySummary { full, limited, failed, average_data_days, ..QualitySummary::default() }
}

fn tally(resolved: &BTreeMap<PortfolioId, Resolved>, with_page: &BTreeSet<PortfolioId>) -> Tally {
    let mut tally = Tally::default();
    for (id, (_, cells)) in resolved {
        let portfolio = Named { id: id.to_string(), link: with_page.contains(id) };
        let records: Vec<&JobRecord> = cells.values().map(|(record, _)| record).collect();
        tally.add(portfolio, &records);
    }
    tally
}

/// The symbols without data, those of the most portfolios first.
fn symbol_lines(symbols: BTreeMap<String, BTreeSet<Named>>) -> Vec<SymbolLine> {
    let line = |(symbol, portfolios): (String, BTreeSet<Named>)| SymbolLine {
        symbol,
        count: portfolios.len() as u64,
        portfolios: portfolios.into_iter().take(12).collect(),
    };
    let mut lines: Vec<SymbolLine> = symbols.into_iter().map(line).collect();
    lines.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.symbol.cmp(&b.symbol)));
    lines.truncate(MOST);
    lines
}

fn run_line(head: &RunHead) -> QualityRun {
    let quality = head.summary.data_quality;
    QualityRun {
        as_of: head.run.as_of.to_string(),
        link: head.linkable.then(|| format!("runs/{}/index.html", head.run.batch_run_id)),
        full: quality.full,
        limited: quality.limited,
        failed: quality.failed,
        average_days: quality.average_data_days.map_or_else(|| "–".to_owned(), |days| format!("{days:.1}")),
    }
}

/// What the page is made of.
pub(crate) struct QualityInput<'a> {
    /// The newest night that has portfolios.
    pub(crate) night: Option<&'a NightData>,
    /// The newest night, for its control results.
    pub(crate) newest: Option<&'a NightData>,
    /// The runs of that date, newest first.
    pub(crate) latest: &'a [RunData],
    /// The newest runs, newest first.
    pub(crate) runs: &'a [RunHead],
    pub(crate) with_page: &'a BTreeSet<PortfolioId>,
}

/// The page of the newest night, over the records that decide each portfolio.
pub(crate) fn build(input: &QualityInput<'_>) -> QualityView {
    let QualityInput { latest, runs, with_page, .. } = *input;
    let resolved = input.night.map(|data| super::cells::resolve(&data.night, latest)).unwrap_or_default();
    let Tally { full, limited, failed, unknown, sums, symbols, mut lines } = tally(&resolved, with_page);
    lines.sort_by(|a, b| b.flag.cmp(&a.flag).then_with(|| a.portfolio.cmp(&b.portfolio)));
    let more = lines.len().saturating_sub(MOST) as u64;
    lines.truncate(MOST);
    let closed: Vec<&RunHead> =
        runs.iter().filter(|head| head.summary.closed_at.is_some() && head.run.plan.is_some()).take(30).collect();
    let trend = |of: fn(&QualitySummary) -> Option<f64>| {
        spark(&closed.iter().rev().map(|head| of(&head.summary.data_quality)).collect::<Vec<_>>())
    };
    let newest_plan = latest.first().and_then(|data| data.head.run.plan.as_ref());
    let counts = [full, limited, failed, unknown];
    QualityView {
        as_of: input.night.map(|data| data.night.as_of.to_string()),
        data_through: input.newest.and_then(|data| data.night.newest_close).map(|date| date.to_string()),
        night: input.newest.map(|data| data.night.as_of.to_string()),
        controls: input
            .newest
            .map_or_else(Controls::default, |data| Controls::of(&data.night.controls, with_page, MOST)),
        stamp: latest.iter().filter_map(|data| data.head.summary.closed_at).max().map(Stamp::of),
        full,
        limited,
        failed,
        unknown,
        symbols: symbol_lines(symbols),
        lines,
        more,
        expectations: if latest.is_empty() { Vec::new() } else { expectations(&sums, counts) },
        prices_read: newest_plan.map(|plan| Stamp::of(plan.market_data.completed_at)),
        full_trend: trend(|quality| {
            let all = quality.full + quality.limited + quality.failed;
            (all > 0).then(|| quality.full as f64 / all as f64)
        }),
        days_trend: trend(|quality| quality.average_data_days),
        runs: closed.into_iter().map(run_line).collect(),
    }
}
