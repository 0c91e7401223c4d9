//! What the calculations of one portfolio and of a run of 1,000 portfolios cost on one core.
//!
//! Budgets: 0.25 ms for one portfolio of 75 positions, 252 days, 7 factors, nothing prepared beforehand; 150 ms for
//! 1,000 such portfolios over 2,000 symbols, where what depends on a symbol or a pair of symbols is computed once.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use quant::aggregation::{Aggregate, Exposure, aggregate, daily_pnl};
use quant::black_scholes::{Greeks, OptionInput, OptionKind, price_and_greeks};
use quant::correlation::{
    Correlations, PreparedColumn, clusters, diversification_score, effective_positions, overall_correlation,
};
use quant::factors::{FactorModel, SymbolFits};
use quant::history::simulate_history;
use quant::returns::simple_returns;
use quant::risk::{RiskStats, risk};
use quant::stress::{ConditionalShocks, Mode, pnl};

const DAYS: usize = 252;
const FACTORS: usize = 7;
const POSITIONS: usize = 75;
const SYMBOLS: usize = 2_000;
const PORTFOLIOS: usize = 1_000;
const OPTIONS: usize = 8;
const MIN_OBS: usize = 60;
const MIN_OVERLAP: usize = 30;
const EQUITY: f64 = 5e6;

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
struct Market {
    factors: Vec<Vec<f64>>,
    symbols: Vec<Vec<f64>>,
}

impl Market {
    fn new(symbols: usize) -> Self {
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
fn correlated(held: &[usize]) -> &[usize] {
    &held[OPTIONS..]
}

/// The eighteen scenarios of the default set, by factor.
fn scenarios() -> Vec<Vec<(usize, f64)>> {
    (0..18).map(|s| (0..=s % 5).map(|f| (f, -0.1 - 0.02 * s as f64)).collect()).collect()
}

/// What a run knows of its symbols before it looks at portfolios.
struct Shared {
    returns: Vec<Vec<f64>>,
    columns: Vec<PreparedColumn>,
    fits: Vec<SymbolFits>,
    shocks: Vec<[Vec<f64>; 2]>,
}

impl Shared {
    fn new(market: &Market) -> Self {
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

/// Everything of one portfolio (eight of its positions are options); the correlations are given, either its own or a part of those of the run.
fn portfolio(
    market: &Market,
    shared: &Shared,
    held: &[usize],
    correlations: &Correlations,
) -> (Aggregate, Vec<Greeks>, Vec<f64>, RiskStats, Option<f64>) {
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
    (totals, greeks, results, stats, score)
}

fn benches(c: &mut Criterion) {
    let small = Market::new(POSITIONS);
    let all: Vec<usize> = (0..POSITIONS).collect();
    c.bench_function("one_portfolio", |b| {
        b.iter(|| {
            let shared = Shared::new(black_box(&small));
            let correlations = Correlations::from_prepared(&shared.columns[OPTIONS..], MIN_OVERLAP);
            portfolio(&small, &shared, &all, &correlations)
        });
    });

    let market = Market::new(SYMBOLS);
    let mut noise = Noise(11);
    let held: Vec<Vec<usize>> =
        (0..PORTFOLIOS).map(|_| (0..POSITIONS).map(|_| noise.below(SYMBOLS)).collect()).collect();
    let groups: Vec<&[usize]> = held.iter().map(|held| correlated(held)).collect();
    let mut group = c.benchmark_group("thousand_portfolios");
    group.sample_size(10);
    group.bench_function("all", |b| {
        b.iter(|| {
            let shared = Shared::new(black_box(&market));
            let table = Correlations::for_groups(&shared.columns, &groups, MIN_OVERLAP);
            let each = |held: &Vec<usize>| portfolio(&market, &shared, held, &table.select(correlated(held))).3.n_obs;
            held.iter().map(each).sum::<usize>()
        });
    });
    let shared = Shared::new(&market);
    group.bench_function("symbols_only", |b| b.iter(|| Shared::new(black_box(&market)).fits.len()));
    group.bench_function("correlations_only", |b| {
        b.iter(|| Correlations::for_groups(black_box(&shared.columns), &groups, MIN_OVERLAP).n);
    });
    let table = Correlations::for_groups(&shared.columns, &groups, MIN_OVERLAP);
    group.bench_function("portfolios_only", |b| {
        b.iter(|| {
            let each = |held: &Vec<usize>| portfolio(&market, &shared, held, &table.select(correlated(held))).3.n_obs;
            held.iter().map(each).sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
