//! What the calculations of one portfolio and of a run of 1,000 portfolios cost on one core, and the parts of a run.
//!
//! Budgets: 0.25 ms for one portfolio of 75 positions, 252 days, 7 factors, nothing prepared beforehand; 0.5 ms
//! for its full revaluation with 10 options; 150 ms for
//! 1,000 such portfolios over 2,000 symbols, where what depends on a symbol or a pair of symbols is computed once.

#![allow(missing_docs, reason = "a benchmark has no users of its items")]

mod workload;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use quant::correlation::Correlations;
use workload::{
    MIN_OVERLAP, Market, POSITIONS, SYMBOLS, Shared, correlated, drivers, full_revaluation, holdings, one_portfolio,
    portfolio, run,
};

fn benches(c: &mut Criterion) {
    let small = Market::new(POSITIONS);
    c.bench_function("one_portfolio", |b| b.iter(|| one_portfolio(black_box(&small))));

    let drivers = drivers(&small);
    c.bench_function("full_revaluation", |b| b.iter(|| full_revaluation(black_box(&small), &drivers)));

    let market = Market::new(SYMBOLS);
    let held = holdings(1_000);
    let mut group = c.benchmark_group("thousand_portfolios");
    group.sample_size(10);
    group.bench_function("all", |b| b.iter(|| run(black_box(&market), &held)));
    group.bench_function("symbols_only", |b| b.iter(|| Shared::new(black_box(&market)).fits.len()));
    let shared = Shared::new(&market);
    let groups: Vec<&[usize]> = held.iter().map(|held| correlated(held)).collect();
    group.bench_function("correlations_only", |b| {
        b.iter(|| Correlations::for_groups(black_box(&shared.columns), &groups, MIN_OVERLAP).n);
    });
    let table = Correlations::for_groups(&shared.columns, &groups, MIN_OVERLAP);
    group.bench_function("portfolios_only", |b| {
        b.iter(|| {
            let each =
                |held: &Vec<usize>| portfolio(&market, &shared, held, &table.select(correlated(held))).risk.n_obs;
            held.iter().map(each).sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
