//! Historical simulation with full revaluation of a portfolio, as the results document holds it.

use book::Class;
use chrono::NaiveDate;
use quant::simulation::{Ewma, Instrument, MIN_DAYS_95, MIN_DAYS_99, Position, Simulation, simulate};
use serde::Serialize;

use crate::jobs::position_values_update::PositionRow;
use crate::quality::Findings;
use crate::shared::{Model, Shared, model_input};

/// Below this share of the delta-adjusted exposure with real returns the figures are understated.
const MIN_COVERAGE: f64 = 0.95;

/// The simulation, its components, and EWMA figures of the same returns.
#[derive(Debug, Clone)]
pub struct Revaluation {
    /// `historical_simulation`.
    pub simulation: HistoricalSimulation,
    /// `components`; null where there is no expected shortfall.
    pub components: Option<Vec<Component>>,
    /// `ewma`.
    pub ewma: Ewma,
}

/// Figures of the simulation: fractions of equity, one day, a loss is negative.
#[derive(Debug, Clone, Serialize)]
pub struct HistoricalSimulation {
    /// How positions are revalued.
    pub method: &'static str,
    /// Sessions of the window on which a position has a return.
    pub days: usize,
    /// Sessions of the window.
    pub window: u32,
    /// The first session of the window.
    pub from: Option<NaiveDate>,
    /// The last one.
    pub to: Option<NaiveDate>,
    /// Annual volatility (n - 1, sqrt 252).
    pub volatility: Option<f64>,
    /// 5 % quantile (type 7); null below 60 days.
    pub var_95: Option<f64>,
    /// 1 % quantile; null below 100 days.
    pub var_99: Option<f64>,
    /// Mean of the lowest returns up to the 5 % quantile; null below 60 days.
    pub es_95: Option<f64>,
    /// Mean of the lowest returns up to the 1 % quantile; null below 100 days.
    pub es_99: Option<f64>,
    /// Largest fall from a peak of the simulated value; -1 where it falls to 0 or below.
    pub max_drawdown: Option<f64>,
    /// Whether the simulated value falls to 0 or below.
    pub ruin: bool,
    /// The worst day.
    pub worst: Option<WorstDay>,
    /// Share of the absolute delta-adjusted exposure with a real return, mean over the window.
    pub market_coverage: Option<f64>,
    /// Share of the gross value in private holdings: they are not simulated.
    pub private_share: Option<f64>,
}

/// The worst day of a simulation.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WorstDay {
    /// The session.
    pub as_of: NaiveDate,
    /// The simulated return on equity.
    #[serde(rename = "return")]
    pub on_equity: f64,
}

/// The share of a position in the expected shortfall.
#[derive(Debug, Clone, Serialize)]
pub struct Component {
    /// The position.
    pub symbol: String,
    /// Its class.
    pub class: Class,
    /// Mean of its simulated P&L over the days of the tail, as a fraction of equity.
    pub es_95: f64,
    /// Its share in `es_95` of the portfolio; null where that is 0.
    pub share: Option<f64>,
}

/// The position in the simulation; `None` for what does not move with the market or has no value.
fn position<'a>(shared: &'a Shared, row: &PositionRow) -> Option<Position<'a>> {
    let quote = &shared.quotes[row.instrument];
    let driver = &shared.carried[quote.driver?];
    let units = row.quantity * row.multiplier;
    let (instrument, exposure) = match (row.class, quote.model) {
        (Class::Public, _) => (Instrument::Linear { price: row.price? }, row.market_value?),
        (Class::Option, Some(Model::Ok { greeks, spot, volatility })) => {
            let terms = row.option.as_ref()?;
            let input = model_input(&shared.snapshot, terms, spot, volatility, shared.snapshot.as_of).ok()?;
            let exposure = quant::aggregation::delta_adjusted(row.quantity, row.multiplier, greeks.delta, spot);
            (Instrument::Option(input), exposure)
        }
        _ => return None,
    };
    Some(Position { units, instrument, exposure, driver })
}

fn components(simulation: &Simulation, rows: &[&PositionRow]) -> Option<Vec<Component>> {
    let values = simulation.components()?;
    let total = simulation.risk().es_95?;
    let mut components: Vec<Component> = rows
        .iter()
        .zip(values)
        .map(|(row, es_95)| Component {
            symbol: row.symbol.clone(),
            class: row.class,
            es_95,
            share: Some(es_95 / total).filter(|share| share.is_finite()).map(|share| share + 0.0),
        })
        .collect();
    components.sort_by(|a, b| b.es_95.abs().total_cmp(&a.es_95.abs()));
    Some(components)
}

/// Share of the gross value in private holdings.
fn private_share(rows: &[PositionRow]) -> Option<f64> {
    let gross = |only: fn(&PositionRow) -> bool| -> f64 {
        rows.iter().filter(|row| only(row)).filter_map(|row| row.market_value).map(f64::abs).sum()
    };
    let share = (gross(|row| row.class == Class::Private) + 0.0) / gross(|_| true);
    Some(share).filter(|share| share.is_finite())
}

/// Simulates the positions of a portfolio.
pub(crate) fn revalue(shared: &Shared, rows: &[PositionRow], equity: f64) -> Revaluation {
    let snapshot = &shared.snapshot;
    let window = snapshot.settings.snapshot.risk_window;
    let days = (window as usize).min(snapshot.sessions.len());
    let simulated: Vec<(&PositionRow, Position<'_>)> =
        rows.iter().filter_map(|row| Some((row, position(shared, row)?))).collect();
    let (rows_in, positions): (Vec<&PositionRow>, Vec<Position<'_>>) = simulated.into_iter().unzip();
    let simulation = simulate(&positions, days, equity);
    let risk = simulation.risk();
    let sessions = &snapshot.sessions[snapshot.sessions.len() - days..];
    let figures = HistoricalSimulation {
        method: "full_revaluation",
        days: risk.days,
        window,
        from: sessions.first().copied(),
        to: sessions.last().copied(),
        volatility: risk.volatility,
        var_95: risk.var_95,
        var_99: risk.var_99,
        es_95: risk.es_95,
        es_99: risk.es_99,
        max_drawdown: risk.max_drawdown,
        ruin: risk.ruin,
        worst: risk.worst.and_then(|(day, on_equity)| Some(WorstDay { as_of: *sessions.get(day)?, on_equity })),
        market_coverage: simulation.coverage,
        private_share: private_share(rows),
    };
    Revaluation { simulation: figures, components: components(&simulation, &rows_in), ewma: simulation.ewma() }
}

impl Revaluation {
    /// Notes what a reader must know before acting on the figures.
    pub(crate) fn judge(&self, findings: &mut Findings) {
        let simulation = &self.simulation;
        let exposed = simulation.market_coverage.is_some();
        if exposed && simulation.days > 0 && simulation.days < MIN_DAYS_99 {
            let what = if simulation.days < MIN_DAYS_95 { "risk figures" } else { "99 % figures" };
            let needed = if simulation.days < MIN_DAYS_95 { MIN_DAYS_95 } else { MIN_DAYS_99 };
            findings.note(format!("{} days with data; {what} by simulation need {needed}", simulation.days));
        }
        if let Some(coverage) = simulation.market_coverage.filter(|coverage| *coverage < MIN_COVERAGE) {
            let share = (coverage * 1000.0).floor() / 10.0;
            findings.limit(format!(
                "only {share} % of the market exposure has returns of its own: the simulated risk figures are understated"
            ));
        }
        if let Some(share) = simulation.private_share.filter(|share| *share > 0.0) {
            let share = (share * 1000.0).round() / 10.0;
            findings.note(format!("{share} % of the gross value is private and in no risk figure"));
        }
        if simulation.ruin {
            findings.note("the simulated value falls to 0: a loss of the whole equity lies within the window");
        }
    }
}
