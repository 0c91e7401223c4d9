//! The calculations of one portfolio and of a run, on data made here: what `cargo bench` and `tests/bench` measure.

#![allow(unreachable_pub, dead_code, reason = "two programs include this file, and neither uses all of it")]

use quant::aggregation::{Aggregate, Exposure, aggregate, daily_pnl};
use quant::black_scholes::{Greeks, OptionInput, OptionKind, price_and_greeks};
use quant::correlation::{
    Correlations, PreparedColumn, clusters, diversification_score, effective_positions, overall_correlation,
};
use quant::factors::{FactorModel, SymbolFits};
use quant::history::simulate_history;
use quant::returns::simple_returns;
use quant::risk::{RiskStats, risk};
use quant::simulation::{CarriedReturns, Instrument, Position, simulate};
use quant::stress::{ConditionalShocks, Mode, pnl};

pub const DAYS: usize = 252;
pub const FACTORS: usize = 7;
pub const POSITIONS: usize = 75;
pub const SYMBOLS: usize = 2_000;
pub const OPTIONS: usize = 8;
pub const MIN_OBS: usize = 60;
pub const MIN_OVERLAP: usize = 30;
pub const EQUITY: f64 = 5e6;

/// A small generator (splitmix64), so that the data are the same on every machine.
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between -1 and 1.
    fn next(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.bits() % n as u64).unwrap_or(0)
    }
}

/// Closes of factors and symbols with a common part; one symbol in ten has gaps.
pub struct Market {
    pub factors: Vec<Vec<f64>>,
    pub symbols: Vec<Vec<f64>>,
}

impl Market {
    pub fn new(symbols: usize) -> Self {
        let mut noise = Noise(7);
        let common: Vec<f64> = (0..=DAYS).map(|_| 0.01 * noise.next()).collect();
        let closes = |load: f64, gaps: bool, noise: &mut Noise| -> Vec<f64> {
            let mut close = 100.0;
            common
                .iter()
                .map(|shared| {
                    close *= 1.0 + load * shared + 0.008 * noise.next();
                    if gaps && noise.below(60) == 0 { f64::NAN } else { close }
                })
                .collect()
        };
        let factors = (0..FACTORS).map(|f| closes(0.5 + 0.1 * f as f64, false, &mut noise)).collect();
        let symbols = (0..symbols).map(|s| closes(0.3 + (s % 13) as f64 * 0.1, s % 10 == 9, &mut noise)).collect();
        Self { factors, symbols }
    }
}

/// The window: every return but the first, which has no previous close.
fn window(returns: &[Vec<f64>]) -> Vec<&[f64]> {
    returns.iter().map(|column| &column[1..]).collect()
}

/// The positions whose correlations are asked for: not the options, which have no returns of their own.
pub fn correlated(held: &[usize]) -> &[usize] {
    &held[OPTIONS..]
}

/// The eighteen scenarios of the default set, by factor.
fn scenarios() -> Vec<Vec<(usize, f64)>> {
    (0..18).map(|s| (0..=s % 5).map(|f| (f, -0.1 - 0.02 * s as f64)).collect()).collect()
}

/// What a run knows of its symbols before it looks at portfolios.
pub struct Shared {
    pub returns: Vec<Vec<f64>>,
    pub columns: Vec<PreparedColumn>,
    pub fits: Vec<SymbolFits>,
    shocks: Vec<[Vec<f64>; 2]>,
}

impl Shared {
    pub fn new(market: &Market) -> Self {
        let factor_returns: Vec<Vec<f64>> = market.factors.iter().map(|closes| simple_returns(closes)).collect();
        let returns: Vec<Vec<f64>> = market.symbols.iter().map(|closes| simple_returns(closes)).collect();
        let model = FactorModel::new(&window(&factor_returns), MIN_OBS);
        let columns: Vec<PreparedColumn> = window(&returns).into_iter().map(PreparedColumn::new).collect();
        let fits = columns.iter().map(|column| model.fit_prepared(column)).collect();
        let history = ConditionalShocks::new(&window(&factor_returns));
        let shocks = scenarios()
            .iter()
            .map(|s| [Mode::Direct, Mode::Correlated].map(|mode| history.apply(s, mode).unwrap_or_default()))
            .collect();
        Self { returns, columns, fits, shocks }
    }
}

/// What the calculations of one portfolio give.
#[derive(Debug)]
pub struct Outcome {
    pub totals: Aggregate,
    pub greeks: Vec<Greeks>,
    /// The moves of each factor, the scenarios (direct and correlated), the profit of the day, then what is known of the
    /// correlations as a whole.
    pub results: Vec<f64>,
    pub risk: RiskStats,
    pub diversification: Option<f64>,
}

/// Everything of one portfolio (eight of its positions are options); the correlations are given, either its own or a part of those of the run.
pub fn portfolio(market: &Market, shared: &Shared, held: &[usize], correlations: &Correlations) -> Outcome {
    let mut exposures = Vec::with_capacity(held.len());
    let mut greeks = Vec::with_capacity(OPTIONS);
    let mut day = 0.0;
    for (at, &symbol) in held.iter().enumerate() {
        let closes = &market.symbols[symbol];
        let last = |upto: usize| closes[..upto].iter().rev().copied().find(|c| !c.is_nan()).unwrap_or(100.0);
        let (price, previous) = (last(DAYS + 1), last(DAYS));
        let quantity = if at % 5 == 4 { -300.0 } else { 400.0 };
        if at < OPTIONS {
            let kind = if at % 2 == 0 { OptionKind::Call } else { OptionKind::Put };
            let option = OptionInput {
                kind,
                spot: price,
                strike: 105.0,
                years: 0.3,
                rate: 0.05,
                dividend_yield: 0.0,
                volatility: 0.25,
            };
            let g = price_and_greeks(&option);
            exposures.push(Exposure::option(quantity / 100.0, 100.0, g.price, g.delta, price));
            greeks.push(g);
        } else {
            exposures.push(Exposure::plain(quantity, 1.0, price));
        }
        day += daily_pnl(quantity, 1.0, price, previous);
    }
    let totals = aggregate(&exposures);
    let by_delta: Vec<f64> = exposures.iter().map(|e| e.delta_adjusted).collect();

    let mut univariate = [0.0; FACTORS];
    let mut multivariate = [0.0; FACTORS];
    for (&symbol, value) in held.iter().zip(&by_delta) {
        let fits = &shared.fits[symbol];
        for f in 0..FACTORS {
            univariate[f] += value * fits.univariate[f].beta_raw.unwrap_or(0.0).clamp(-3.0, 3.0);
            multivariate[f] += value * fits.multivariate.betas[f].unwrap_or(0.0);
        }
    }
    let mut results: Vec<f64> = univariate.iter().map(|exposure| exposure * -0.1).collect();
    for modes in &shared.shocks {
        results.extend(modes.iter().map(|shocks| pnl(&multivariate, shocks)));
    }
    results.push(day);

    let columns: Vec<&[f64]> = held.iter().map(|&symbol| &shared.returns[symbol][1..]).collect();
    let stats = risk(&simulate_history(&by_delta, &columns, EQUITY).returns);

    let groups = clusters(correlations, 0.7);
    results.push(groups.len() as f64 + effective_positions(correlations));
    results.extend(overall_correlation(correlations));
    let score = diversification_score(correlations, &by_delta[OPTIONS..]);
    Outcome { totals, greeks, results, risk: stats, diversification: score }
}

/// The returns that move the positions of a full revaluation.
pub fn drivers(market: &Market) -> Vec<CarriedReturns> {
    market.symbols.iter().map(|closes| CarriedReturns::new(closes, DAYS)).collect()
}

/// Full revaluation of one portfolio of all symbols, ten of them options: the sum of its figures.
pub fn full_revaluation(market: &Market, drivers: &[CarriedReturns]) -> f64 {
    let position = |at: usize| {
        let price = market.symbols[at].iter().rev().copied().find(|close| close.is_finite()).unwrap_or(100.0);
        let option = OptionInput {
            kind: if at.is_multiple_of(2) { OptionKind::Call } else { OptionKind::Put },
            spot: price,
            strike: 105.0,
            years: 0.3,
            rate: 0.05,
            dividend_yield: 0.0,
            volatility: 0.25,
        };
        let instrument = if at < 10 { Instrument::Option(option) } else { Instrument::Linear { price } };
        Position { units: 400.0, instrument, exposure: 400.0 * price, driver: &drivers[at] }
    };
    let positions: Vec<Position<'_>> = (0..drivers.len()).map(position).collect();
    let simulation = simulate(&positions, DAYS, EQUITY);
    let components: f64 = simulation.components().into_iter().flatten().sum();
    components + simulation.risk().es_95.unwrap_or(0.0) + simulation.ewma().volatility.unwrap_or(0.0)
}

/// One portfolio of all symbols of a market, nothing prepared beforehand.
pub fn one_portfolio(market: &Market) -> Outcome {
    let held: Vec<usize> = (0..market.symbols.len()).collect();
    let shared = Shared::new(market);
    let correlations = Correlations::from_prepared(&shared.columns[OPTIONS..], MIN_OVERLAP);
    portfolio(market, &shared, &held, &correlations)
}

/// What so many portfolios hold, drawn from all symbols.
pub fn holdings(portfolios: usize) -> Vec<Vec<usize>> {
    let mut noise = Noise(11);
    (0..portfolios).map(|_| (0..POSITIONS).map(|_| noise.below(SYMBOLS)).collect()).collect()
}

/// A run over portfolios that share their symbols: what depends on a symbol or a pair of symbols is computed once.
/// Gives the days of all their histories together.
pub fn run(market: &Market, held: &[Vec<usize>]) -> usize {
    let shared = Shared::new(market);
    let groups: Vec<&[usize]> = held.iter().map(|held| correlated(held)).collect();
    let table = Correlations::for_groups(&shared.columns, &groups, MIN_OVERLAP);
    held.iter().map(|held| portfolio(market, &shared, held, &table.select(correlated(held))).risk.n_obs).sum()
}
