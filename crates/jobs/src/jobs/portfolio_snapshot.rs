//! `portfolio_snapshot`: the figures of the portfolio on the day, and its risk by history simulation.

use book::Class;
use domain::record::{JobError, JobOutput};
use domain::words::JobType;
use quant::aggregation::{Aggregate, Exposure, aggregate};
use quant::history::simulate_history;
use quant::profit::PnlExplain;
use quant::risk::{RiskStats, risk};
use quant::simulation::ruin;
use serde::Serialize;
use serde_json::json;

use crate::exposure::ExposureFigures;
use crate::job_list::{PORTFOLIO_SNAPSHOT, POSITION_VALUES_UPDATE};
use crate::jobs::greeks_calculation::{GreeksCalculation, GreeksRow};
use crate::jobs::portfolio_aggregation::exposure_of;
use crate::jobs::position_values_update::{PositionRow, PositionValuesUpdate, portfolio_pnl};
use crate::jobs::{Risk, equity, risk_of};
use crate::quality::{Findings, brief};
use crate::registry::{About, Input, Job, Section};
use crate::revaluation::{Revaluation, revalue};
use crate::shared::PriceSource;

/// With data on fewer days there are no risk figures.
const MIN_DAYS: usize = 60;

/// The job.
#[derive(Debug)]
pub struct PortfolioSnapshot;

/// The profit and loss (P&L) of a portfolio on the day, in its currency.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DayPnl {
    /// The sum of the known P&L of positions and exited lots; null where none is known.
    pub daily_pnl: Option<f64>,
    /// `daily_pnl` over the equity less `daily_pnl`; null where that is not above 0.
    pub daily_return: Option<f64>,
    /// Proceeds less cost of the lots exited since the previous session; null without any.
    pub realized_pnl: Option<f64>,
    /// Share of the gross value of public positions and options whose P&L is known; null without such a value.
    pub pnl_coverage: Option<f64>,
    /// Share of the gross value that is priced by a mark; null without a value.
    pub marked_share: Option<f64>,
    /// `daily_pnl` by cause: a part of the results document of its own.
    #[serde(skip)]
    pub explain: Option<PnlExplain>,
}

impl DayPnl {
    fn of(input: &Input<'_>, rows: &[PositionRow], equity: f64) -> Self {
        let pnl = portfolio_pnl(input, rows);
        let base = |pnl: f64| Some(equity - pnl).filter(|base| *base > 0.0);
        let daily_return = pnl.total.and_then(|pnl| Some(pnl / base(pnl)?));
        Self {
            daily_pnl: pnl.total,
            daily_return: daily_return.filter(|value| value.is_finite()),
            realized_pnl: pnl.realized,
            pnl_coverage: pnl_coverage(rows),
            marked_share: marked_share(rows),
            explain: pnl.explain,
        }
    }
}

/// Share of the gross value of public positions and options whose P&L is known.
fn pnl_coverage(rows: &[PositionRow]) -> Option<f64> {
    let (mut known, mut all) = (0.0, 0.0);
    for row in rows.iter().filter(|row| matches!(row.class, Class::Public | Class::Option)) {
        let lots = || row.lots.iter().filter_map(|lot| Some((lot.market_value?.abs(), lot.daily_pnl)));
        let gross: f64 = lots().map(|(size, _)| size).sum();
        let of_known: f64 = lots().filter(|(_, pnl)| pnl.is_some()).map(|(size, _)| size).sum();
        let value = row.market_value.map_or(0.0, f64::abs);
        all += value;
        known += if gross > 0.0 { value * (of_known / gross) } else { 0.0 };
    }
    Some((known / all).min(1.0)).filter(|share| share.is_finite())
}

/// Share of the gross value that is priced by a mark.
fn marked_share(rows: &[PositionRow]) -> Option<f64> {
    let gross = |only: fn(&PositionRow) -> bool| -> f64 {
        rows.iter().filter(|row| only(row)).filter_map(|row| row.market_value).map(f64::abs).sum()
    };
    let share = (gross(|row| row.price_source == PriceSource::Mark) + 0.0) / gross(|_| true);
    Some(share).filter(|share| share.is_finite())
}

/// The figures of a portfolio on a day.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The equity.
    pub total_value: f64,
    /// Sum of absolute market values.
    pub gross: f64,
    /// Sum of market values.
    pub net: f64,
    /// Sum of positive market values.
    pub long: f64,
    /// Sum of negative market values.
    pub short: f64,
    /// Equity less net.
    pub cash: Option<f64>,
    /// Gross over equity.
    pub leverage: Option<f64>,
    /// Cash and delta-adjusted exposures.
    #[serde(flatten)]
    pub exposure: ExposureFigures,
    /// The P&L of the day.
    #[serde(flatten)]
    pub day: DayPnl,
    /// Standard deviation of simulated daily returns.
    pub volatility_daily: Option<f64>,
    /// The same for a year.
    pub volatility: Option<f64>,
    /// 5 % quantile of simulated daily returns; a loss is negative.
    pub var_95: Option<f64>,
    /// 1 % quantile.
    pub var_99: Option<f64>,
    /// Mean of the returns up to the 5 % quantile.
    pub es_95: Option<f64>,
    /// Mean of the returns up to the 1 % quantile.
    pub es_99: Option<f64>,
    /// Largest fall from a peak of the simulated value.
    pub max_drawdown: Option<f64>,
    /// Whether the simulated value falls to 0 or below.
    pub ruin: bool,
    /// Days on which a position has a return.
    pub data_days: usize,
    /// Days of the window.
    pub required_days: u32,
    /// Share of the gross value with a real return, private holdings included; a missing return counts as 0.
    pub coverage: Option<f64>,
    /// Delta of the options, in units of their underlyings.
    pub delta: Option<f64>,
    /// Gamma of the options.
    pub gamma: Option<f64>,
    /// Theta of the options, per calendar day.
    pub theta: Option<f64>,
    /// Vega of the options, per volatility point.
    pub vega: Option<f64>,
    /// Rho of the options, per 1 %.
    pub rho: Option<f64>,
    /// Positions.
    pub positions: usize,
    /// With a positive value.
    pub long_positions: usize,
    /// With a negative value.
    pub short_positions: usize,
    /// Without a value: in no figure.
    pub unvalued_positions: usize,
    /// With a value, but without a price at the previous session: not in `daily_pnl`.
    pub positions_without_daily_pnl: usize,
    /// Historical simulation with full revaluation: parts of the results document of their own.
    #[serde(skip)]
    pub revaluation: Revaluation,
}

/// What the history simulation came to.
struct Simulated {
    stats: Option<RiskStats>,
    ruin: bool,
    days: usize,
    coverage: Option<f64>,
}

fn simulate(input: &Input<'_>, rows: &[PositionRow], greeks: bool, equity: f64, findings: &mut Findings) -> Simulated {
    let history = &input.shared.history;
    let (mut exposures, mut columns): (Vec<f64>, Vec<&[f64]>) = (Vec::new(), Vec::new());
    for row in rows {
        match risk_of(input, row, greeks) {
            Risk::Exposed { exposure, symbol } => {
                exposures.push(exposure);
                columns.push(&history[symbol]);
                findings.used_as_it_is();
            }
            Risk::LeftOut(reason) => {
                // Its value counts towards the coverage, its returns are not known.
                exposures.push(row.market_value.unwrap_or(0.0));
                columns.push(&[]);
                findings.left_out(&row.symbol);
                findings.note(format!("{} is not in the risk figures: {reason}", row.symbol));
            }
            Risk::None if row.class == Class::Private => {
                exposures.push(row.market_value.unwrap_or(0.0));
                columns.push(&[]);
            }
            Risk::None => {}
        }
    }
    let simulated = simulate_history(&exposures, &columns, equity);
    let enough = simulated.days_with_data >= MIN_DAYS;
    let exposed = exposures.iter().any(|exposure| *exposure != 0.0);
    if exposed && simulated.days_with_data == 0 {
        findings.nothing("no position has returns in the window: there are no risk figures");
    } else if exposed && !enough {
        findings.limit(format!("{} days with data, {MIN_DAYS} are needed for risk figures", simulated.days_with_data));
    }
    let stats = enough.then(|| risk(&simulated.returns));
    let ruin = ruin(&simulated.returns);
    Simulated { stats, ruin, days: simulated.days_with_data, coverage: simulated.coverage }
}

/// Sum of the known; none where the Greeks were not calculated.
fn sum_of(greeks: Option<&[GreeksRow]>, value: impl Fn(&GreeksRow) -> Option<f64>) -> Option<f64> {
    // The sum of nothing is -0.0 in floating point; a reader expects 0.
    greeks.map(|rows| rows.iter().filter_map(value).sum::<f64>() + 0.0).filter(|sum| sum.is_finite())
}

/// What is worked out before the figures are put together.
struct Parts {
    total: Aggregate,
    exposure: ExposureFigures,
    day: DayPnl,
    simulated: Simulated,
    revaluation: Revaluation,
}

fn figures(equity: f64, rows: &[PositionRow], greeks: Option<&[GreeksRow]>, parts: Parts, window: u32) -> Figures {
    let Parts { total, exposure, day, simulated, revaluation } = parts;
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let stat =
        |pick: fn(&RiskStats) -> Option<f64>| simulated.stats.as_ref().and_then(pick).filter(|value| value.is_finite());
    let valued = rows.iter().filter(|row| row.market_value.is_some());
    Figures {
        total_value: equity,
        gross: total.gross,
        net: total.net,
        long: total.long,
        short: total.short,
        cash: finite(equity - total.net),
        leverage: finite(total.gross / equity),
        exposure,
        day,
        volatility_daily: stat(|stats| stats.vol_daily),
        volatility: stat(|stats| stats.vol_annual),
        var_95: stat(|stats| stats.var_95),
        var_99: stat(|stats| stats.var_99),
        es_95: stat(|stats| stats.es_95),
        es_99: stat(|stats| stats.es_99),
        max_drawdown: stat(|stats| stats.max_drawdown),
        ruin: simulated.ruin,
        data_days: simulated.days,
        required_days: window,
        coverage: simulated.coverage,
        delta: sum_of(greeks, |row| row.position_delta),
        gamma: sum_of(greeks, |row| row.position_gamma),
        theta: sum_of(greeks, |row| row.position_theta),
        vega: sum_of(greeks, |row| row.position_vega),
        rho: sum_of(greeks, |row| row.position_rho),
        positions: rows.len(),
        long_positions: total.long_count,
        short_positions: total.short_count,
        unvalued_positions: total.unvalued,
        positions_without_daily_pnl: valued.filter(|row| row.daily_pnl.is_none()).count(),
        revaluation,
    }
}

impl Job for PortfolioSnapshot {
    const ABOUT: &'static About = &About {
        name: PORTFOLIO_SNAPSHOT,
        job_type: JobType::Snapshots,
        critical: false,
        needs: &[POSITION_VALUES_UPDATE],
        run_level: false,
        section: Some("snapshot"),
    };
    type Output = Figures;

    fn further(figures: &Figures) -> Vec<Section<'_>> {
        let Revaluation { simulation, components, ewma } = &figures.revaluation;
        vec![
            ("concentration", &figures.exposure.concentration),
            ("pnl_explain", &figures.day.explain),
            ("historical_simulation", simulation),
            ("components", components),
            ("ewma", ewma),
        ]
    }

    fn run(input: &Input<'_>) -> Result<(Figures, JobOutput), JobError> {
        let equity = equity(input)?;
        let rows = &input.needed::<PositionValuesUpdate>()?.rows;
        let greeks = input.optional::<GreeksCalculation>().map(|greeks| &greeks.rows[..]);
        let total = rows.len() as u64;
        input.context.progress(0, total, || "values and profit of the day".to_owned())?;
        let exposures: Vec<Exposure> = rows.iter().map(|row| exposure_of(input.shared, row)).collect();
        let totals = aggregate(&exposures);
        let window = input.shared.snapshot.settings.snapshot.risk_window;
        let mut findings = Findings::new(window);
        input.context.progress(total / 2, total, || "history simulation".to_owned())?;
        let simulated = simulate(input, rows, greeks.is_some(), equity, &mut findings);
        let revaluation = revalue(input.shared, rows, equity);
        findings.judged_by_coverage();
        if revaluation.simulation.days > 0 {
            findings.days(u32::try_from(revaluation.simulation.days).unwrap_or(u32::MAX));
        }
        revaluation.judge(&mut findings);
        let exposure = ExposureFigures::of(rows, &exposures, &totals, equity);
        let day = DayPnl::of(input, rows, equity);
        let parts = Parts { total: totals, exposure, day, simulated, revaluation };
        let figures = figures(equity, rows, greeks, parts, window);
        if figures.positions_without_daily_pnl > 0 {
            let count = figures.positions_without_daily_pnl;
            findings.note(format!(
                "{count} positions have no price at the previous session and are not in the P&L of the day"
            ));
        }
        input.context.progress(total, total, || "done".to_owned())?;
        let full = &figures.revaluation.simulation;
        let metadata = [
            ("historical_volatility", json!(full.volatility)),
            ("historical_var_95", json!(full.var_95)),
            ("historical_var_99", json!(full.var_99)),
            ("historical_es_95", json!(full.es_95)),
            ("historical_max_drawdown", json!(full.max_drawdown)),
            ("market_coverage", json!(full.market_coverage)),
            ("total_value", json!(figures.total_value)),
            ("gross", json!(figures.gross)),
            ("net", json!(figures.net)),
            ("daily_pnl", json!(figures.day.daily_pnl)),
            ("daily_return", json!(figures.day.daily_return)),
            ("cash_balance", json!(figures.exposure.cash_balance)),
            ("delta_adjusted_leverage", json!(figures.exposure.delta_adjusted_leverage)),
            ("realized_pnl", json!(figures.day.realized_pnl)),
            ("pnl_coverage", json!(figures.day.pnl_coverage)),
            ("marked_share", json!(figures.day.marked_share)),
            ("volatility", json!(figures.volatility)),
            ("var_95", json!(figures.var_95)),
            ("var_99", json!(figures.var_99)),
            ("es_95", json!(figures.es_95)),
            ("max_drawdown", json!(figures.max_drawdown)),
            ("coverage", json!(figures.coverage)),
        ];
        Ok((figures, brief(rows.len(), findings.finish(), metadata)))
    }
}
