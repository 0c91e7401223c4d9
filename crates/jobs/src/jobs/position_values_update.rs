//! `position_values_update`: price, value and profit of each position and its lots.

use book::{Class, OptionTerms};
use chrono::NaiveDate;
use domain::record::{JobError, JobOutput};
use domain::words::JobType;
use quant::aggregation::market_value;
use quant::profit::PnlExplain;
use serde::Serialize;
use serde_json::json;

use crate::job_list::{MARKET_DATA_UPDATE, POSITION_VALUES_UPDATE};
use crate::profit::{self, PositionPnl};
use crate::quality::{Findings, brief};
use crate::registry::{About, Input, Job};
use crate::shared::{Model, PriceSource, Quote, Shared};
use crate::snapshot::{Holding, PinnedLot, PinnedPortfolio};

/// The job.
#[derive(Debug)]
pub struct PositionValuesUpdate;

/// The positions of a portfolio with their values.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Positions {
    /// One row for each position, by symbol.
    pub rows: Vec<PositionRow>,
}

/// A position: all lots of one symbol, class, multiplier and terms.
#[derive(Debug, Clone, Serialize)]
pub struct PositionRow {
    /// Index of its instrument in the pinned inputs.
    #[serde(skip)]
    pub instrument: usize,
    /// The symbol.
    pub symbol: String,
    /// The class.
    pub class: Class,
    /// Sum of the lots, negative for a short position.
    pub quantity: f64,
    /// Units in one of the quantity.
    pub multiplier: f64,
    /// The price.
    pub price: Option<f64>,
    /// Where it comes from.
    pub price_source: PriceSource,
    /// The day of the close.
    pub price_date: Option<NaiveDate>,
    /// Quantity x multiplier x price.
    pub market_value: Option<f64>,
    /// Quantity x multiplier x entry price, summed over the lots.
    pub cost_basis: f64,
    /// Market value less cost.
    pub unrealized_pnl: Option<f64>,
    /// Value today less value at the previous session; lots bought since count from their entry price, lots exited since
    /// up to their proceeds. The sum over the lots whose P&L is known; null where none is.
    pub daily_pnl: Option<f64>,
    /// Proceeds less cost of the lots exited since the previous session.
    pub realized_pnl: Option<f64>,
    /// The P&L by cause.
    #[serde(skip)]
    pub explain: Option<PnlExplain>,
    /// The sector.
    pub sector: Option<String>,
    /// Terms of an option.
    #[serde(flatten)]
    pub option: Option<OptionTerms>,
    /// The lots.
    pub lots: Vec<LotRow>,
}

/// A lot of a position.
#[derive(Debug, Clone, Serialize)]
pub struct LotRow {
    /// Negative for a short position.
    pub quantity: f64,
    /// What was paid for one unit.
    pub entry_price: f64,
    /// When.
    pub entry_date: NaiveDate,
    /// Quantity x multiplier x price.
    pub market_value: Option<f64>,
    /// Quantity x multiplier x entry price.
    pub cost_basis: f64,
    /// Market value less cost.
    pub unrealized_pnl: Option<f64>,
    /// Change since the previous session, or since the entry.
    pub daily_pnl: Option<f64>,
}

/// A sum of what is known; none where nothing is, or where it is out of range.
fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().reduce(|sum, value| sum + value).map(|sum| sum + 0.0).filter(|sum| sum.is_finite())
}

fn lot_row(lot: &PinnedLot, multiplier: f64, quote: &Quote, daily_pnl: Option<f64>) -> LotRow {
    let PinnedLot(quantity, entry_price, entry_date) = *lot;
    let cost_basis = market_value(quantity, multiplier, entry_price);
    let value = quote.price.map(|price| market_value(quantity, multiplier, price)).filter(|value| value.is_finite());
    LotRow {
        quantity,
        entry_price,
        entry_date,
        market_value: value,
        cost_basis,
        unrealized_pnl: value.map(|value| value - cost_basis).filter(|value| value.is_finite()),
        daily_pnl,
    }
}

/// The row of a position: the one valuation that every job uses.
pub(crate) fn position_row(shared: &Shared, portfolio: &PinnedPortfolio, holding: &Holding) -> PositionRow {
    let snapshot = &shared.snapshot;
    let instrument = &snapshot.instruments[holding.instrument];
    let quote = &shared.quotes[holding.instrument];
    let pnl = profit::of_holding(shared, portfolio, holding);
    let row = |(lot, pnl): (&PinnedLot, &Option<f64>)| lot_row(lot, instrument.multiplier, quote, *pnl);
    let lots: Vec<LotRow> = holding.lots.iter().zip(&pnl.lots).map(row).collect();
    let quantity = lots.iter().map(|lot| lot.quantity).sum();
    let value = quote.price.map(|price| market_value(quantity, instrument.multiplier, price));
    let value = value.filter(|value| value.is_finite());
    let cost_basis: f64 = lots.iter().map(|lot| lot.cost_basis).sum();
    PositionRow {
        instrument: holding.instrument,
        symbol: instrument.symbol.clone(),
        class: instrument.class,
        quantity,
        multiplier: instrument.multiplier,
        price: quote.price,
        price_source: quote.source,
        price_date: quote.date,
        market_value: value,
        cost_basis,
        unrealized_pnl: value.map(|value| value - cost_basis).filter(|value| value.is_finite()),
        daily_pnl: pnl.total.filter(|total| total.is_finite()),
        realized_pnl: pnl.realized.filter(|realized| realized.is_finite()),
        explain: pnl.explain,
        sector: instrument.sector.clone(),
        option: instrument.option.clone(),
        lots,
    }
}

/// The P&L of the day of a portfolio, with the positions that were exited whole.
pub(crate) fn portfolio_pnl(input: &Input<'_>, rows: &[PositionRow]) -> PositionPnl {
    let exited = profit::of_exited_positions(input.shared, input.portfolio);
    let held = || rows.iter();
    let explains = held().map(|row| row.explain).chain([exited.explain]);
    let explain = explains.flatten().reduce(|mut all, one| {
        all.add(&one);
        all
    });
    PositionPnl {
        lots: Vec::new(),
        total: sum(held().map(|row| row.daily_pnl).chain([exited.total])),
        realized: sum(held().map(|row| row.realized_pnl).chain([exited.realized])),
        explain: explain.filter(PnlExplain::is_finite),
    }
}

/// A note where the P&L compares a mark with a price of another source.
fn mark_changes_source(symbol: &str, quote: &Quote) -> Option<String> {
    let before = quote.before?.source;
    let differs = before != quote.source && before != PriceSource::None && quote.source != PriceSource::None;
    (differs && [before, quote.source].contains(&PriceSource::Mark)).then(|| {
        format!(
            "{symbol}: the P&L compares a price of source {} with one of source {} at the previous session",
            quote.source.as_str(),
            before.as_str()
        )
    })
}

impl Job for PositionValuesUpdate {
    const ABOUT: &'static About = &About {
        name: POSITION_VALUES_UPDATE,
        job_type: JobType::Valuation,
        critical: false,
        needs: &[MARKET_DATA_UPDATE],
        run_level: false,
        section: Some("positions"),
    };
    type Output = Positions;

    fn run(input: &Input<'_>) -> Result<(Positions, JobOutput), JobError> {
        let shared = input.shared;
        let holdings = &input.portfolio.holdings;
        let mut findings = Findings::new(shared.snapshot.settings.factor_analysis.window);
        for note in &input.portfolio.notes {
            findings.note(note.as_str());
        }
        let mut rows = Vec::with_capacity(holdings.len());
        for (done, holding) in holdings.iter().enumerate() {
            let row = position_row(shared, input.portfolio, holding);
            if done % 64 == 0 {
                let (done, total) = (done + 1, holdings.len());
                input
                    .context
                    .progress(done as u64, total as u64, || format!("position {done}/{total} {}", row.symbol))?;
            }
            let quote = &shared.quotes[row.instrument];
            match (row.market_value, quote.driver) {
                (None, _) => {
                    findings.left_out(&row.symbol);
                    findings.note(format!("{} has no price and no value", row.symbol));
                }
                (Some(_), Some(driver)) if quote.model != Some(Model::Expired) => {
                    findings.used(shared.observed[driver])
                }
                (Some(_), _) => findings.used_as_it_is(),
            }
            match (quote.model, row.price_source) {
                (Some(Model::Expired), _) => {
                    findings.limit(format!("{} is past its expiry and counts as 0", row.symbol))
                }
                (_, PriceSource::Stale) => findings.limit(format!(
                    "{} has no close on the date; the one of {} counts",
                    row.symbol,
                    row.price_date.map(|date| date.to_string()).unwrap_or_default()
                )),
                (_, PriceSource::Model) => {
                    findings.note(format!("{} has no market price; the model's counts", row.symbol))
                }
                _ => {}
            }
            if let Some(note) = mark_changes_source(&row.symbol, quote) {
                findings.note(note);
            }
            rows.push(row);
        }
        input.context.progress(rows.len() as u64, rows.len() as u64, || "done".to_owned())?;
        let count = |source: PriceSource| rows.iter().filter(|row| row.price_source == source).count();
        let metadata = [
            ("positions", json!(rows.len())),
            ("lots", json!(rows.iter().map(|row| row.lots.len()).sum::<usize>())),
            ("stale_prices", json!(count(PriceSource::Stale))),
            ("without_price", json!(count(PriceSource::None))),
            ("market_value", json!(sum(rows.iter().map(|row| row.market_value)).unwrap_or(0.0))),
            ("daily_pnl", json!(portfolio_pnl(input, &rows).total)),
        ];
        Ok((Positions { rows }, brief(holdings.len(), findings.finish(), metadata)))
    }
}
