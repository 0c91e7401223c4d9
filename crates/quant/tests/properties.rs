//! Laws that hold for all data, checked on random data.

use proptest::prelude::*;
use quant::aggregation::{Exposure, aggregate};
use quant::black_scholes::{OptionInput, OptionKind, price_and_greeks};
use quant::correlation::{
    PreparedColumn, clusters, diversification_score, effective_positions, overall_correlation, pair, pairwise,
};
use quant::factors::FactorModel;
use quant::history::simulate_history;
use quant::ols::{FitStatus, ols};
use quant::returns::simple_returns;
use quant::risk::{quantile_type7, risk};
use quant::simulation::{CarriedReturns, Instrument, Position, simulate};
use quant::stress::{Mode, applied_shocks, pnl};

/// Daily returns of about one per cent, made of a common part and their own.
fn returns(columns: usize, rows: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    let noise = prop::collection::vec(prop::collection::vec(-0.02..0.02_f64, rows), columns);
    (prop::collection::vec(-0.02..0.02_f64, rows), noise).prop_map(|(common, noise)| {
        noise.into_iter().map(|own| own.iter().zip(&common).map(|(a, b)| a + b).collect()).collect()
    })
}

/// The same with missing values: some at random, and some columns that start late.
fn returns_with_gaps(columns: usize, rows: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    let gaps =
        prop::collection::vec((prop::collection::vec(0..rows, 0..8), prop_oneof![4 => Just(0), 1 => 0..rows]), columns);
    (returns(columns, rows), gaps).prop_map(|(mut data, gaps)| {
        for (column, (single, start)) in data.iter_mut().zip(gaps) {
            column[..start].fill(f64::NAN);
            for row in single {
                column[row] = f64::NAN;
            }
        }
        data
    })
}

/// Anything that fits in an f64.
fn anything(rows: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        any::<f64>(),
        -0.05..0.05_f64,
        Just(0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(5e-324),
    ];
    prop::collection::vec(value, rows)
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

fn near(a: f64, b: f64, relative: f64, scale: f64) -> bool {
    (a - b).abs() <= relative * scale.abs().max(a.abs()).max(b.abs())
}

/// Pearson's correlation over the common rows, as the formula stands in a book.
fn plain_correlation(a: &[f64], b: &[f64]) -> (f64, usize) {
    let common: Vec<(f64, f64)> =
        a.iter().zip(b).filter(|(x, y)| x.is_finite() && y.is_finite()).map(|(x, y)| (*x, *y)).collect();
    let n = common.len() as f64;
    let x_mean = common.iter().map(|p| p.0).sum::<f64>() / n;
    let y_mean = common.iter().map(|p| p.1).sum::<f64>() / n;
    let sum = |f: &dyn Fn(f64, f64) -> f64| common.iter().map(|p| f(p.0 - x_mean, p.1 - y_mean)).sum::<f64>();
    let (sxx, syy, sxy) = (sum(&|x, _| x * x), sum(&|_, y| y * y), sum(&|x, y| x * y));
    (sxy / (sxx * syy).sqrt(), common.len())
}

/// Fits of `y` by the shared model against the accurate ones, fit by fit.
fn assert_model_agrees(y: &[f64], factors: &[&[f64]], min_obs: usize) -> Result<(), TestCaseError> {
    let fits = FactorModel::new(factors, min_obs).fit(y);
    prop_assert_eq!(fits.univariate.len(), factors.len());
    for (fast, factor) in fits.univariate.iter().zip(factors) {
        let slow = ols(y, &[factor], min_obs);
        prop_assert_eq!((fast.n, fast.status), (slow.n, slow.status));
        prop_assert_eq!(fast.r2.is_some(), slow.r2.is_some());
        let (r2, slow_r2) = (fast.r2.unwrap_or(0.0), slow.r2.unwrap_or(0.0));
        prop_assert!((r2 - slow_r2).abs() < 1e-12, "r2 {} {}", r2, slow_r2);
        let beta = slow.betas.as_ref().map(|b| b[0]);
        let error = slow.se_betas.as_ref().map(|e| e[0]);
        prop_assert_eq!((fast.beta_raw.is_some(), fast.std_error.is_some()), (beta.is_some(), error.is_some()));
        if let (Some(a), Some(b), Some(e), Some(f)) = (fast.beta_raw, beta, fast.std_error, error) {
            prop_assert!(near(a, b, 1e-11, f), "beta {a} {b}");
            prop_assert!(near(e, f, 1e-10, 1e-14), "error {e} {f}");
        }
    }
    let fast = &fits.multivariate;
    let slow = ols(y, factors, min_obs);
    prop_assert_eq!((fast.n, fast.status), (slow.n, slow.status));
    prop_assert_eq!(fast.r2.is_some(), slow.r2.is_some());
    let (r2, slow_r2) = (fast.r2.unwrap_or(0.0), slow.r2.unwrap_or(0.0));
    prop_assert!((r2 - slow_r2).abs() < 1e-11, "r2 {} {}", r2, slow_r2);
    if let (Some(betas), Some(errors), Some(vifs)) = (slow.betas, slow.se_betas, slow.vif) {
        for j in 0..factors.len() {
            let (beta, error, vif) = (fast.betas[j], fast.std_errors[j], fast.vifs[j]);
            prop_assert!(beta.is_some_and(|v| near(v, betas[j], 1e-10, errors[j])), "beta {beta:?} {}", betas[j]);
            prop_assert!(error.is_some_and(|v| near(v, errors[j], 1e-10, 1e-14)), "error {error:?} {}", errors[j]);
            prop_assert!(vif.is_some_and(|v| near(v, vifs[j], 1e-10, 1.0)), "vif {vif:?} {}", vifs[j]);
        }
    } else {
        prop_assert!(fast.betas.iter().all(Option::is_none) && fast.vifs.iter().all(Option::is_none));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Returns.

    #[test]
    fn returns_compound_back_to_the_closes(closes in prop::collection::vec(1.0..500.0_f64, 2..60)) {
        let r = simple_returns(&closes);
        let grown = r[1..].iter().fold(closes[0], |close, r| close * (1.0 + r));
        prop_assert!(near(grown, closes[closes.len() - 1], 1e-12, 0.0));
    }

    // Least squares.

    #[test]
    fn residuals_are_orthogonal_to_the_factors(data in returns_with_gaps(5, 80)) {
        let x = slices(&data[1..]);
        let fit = ols(&data[0], &x, 10);
        if let (Some(a), Some(betas), FitStatus::Ok) = (fit.intercept, &fit.betas, fit.status) {
            let rows: Vec<usize> = (0..80).filter(|&t| data.iter().all(|c| c[t].is_finite())).collect();
            let residual = |t: usize| data[0][t] - a - betas.iter().zip(&x).map(|(b, c)| b * c[t]).sum::<f64>();
            prop_assert!(rows.iter().map(|&t| residual(t)).sum::<f64>().abs() < 1e-13);
            for c in &x {
                prop_assert!(rows.iter().map(|&t| residual(t) * c[t]).sum::<f64>().abs() < 1e-14);
            }
        }
    }

    #[test]
    fn each_slope_is_that_of_the_residuals_of_the_other_factors(data in returns(4, 60)) {
        // Frisch, Waugh and Lovell: partial the other factors out of y and of x0, then fit one on the other.
        let fit = ols(&data[0], &slices(&data[1..]), 0);
        let others = slices(&data[2..]);
        let residuals = |y: &[f64]| -> Vec<f64> {
            let fit = ols(y, &others, 0);
            let (a, b) = (fit.intercept.unwrap(), fit.betas.unwrap());
            (0..60).map(|t| y[t] - a - b.iter().zip(&others).map(|(b, c)| b * c[t]).sum::<f64>()).collect()
        };
        let partial = ols(&residuals(&data[0]), &[&residuals(&data[1])], 0);
        prop_assert!(near(partial.betas.unwrap()[0], fit.betas.unwrap()[0], 1e-9, 1e-2));
        // And the variance inflation is that of the fit of the factor on the others.
        let r2 = ols(&data[1], &others, 0).r2.unwrap();
        prop_assert!(near(fit.vif.unwrap()[0], 1.0 / (1.0 - r2), 1e-10, 0.0));
    }

    #[test]
    fn scaling_a_factor_scales_its_slope_and_nothing_else(data in returns(4, 50), scale in 1e-12..1e12_f64) {
        let plain = ols(&data[0], &slices(&data[1..]), 0);
        let mut scaled = data.clone();
        scaled[2].iter_mut().for_each(|v| *v *= scale);
        let fit = ols(&scaled[0], &slices(&scaled[1..]), 0);
        prop_assert_eq!(plain.status, fit.status);
        let (a, b) = (plain.betas.unwrap(), fit.betas.unwrap());
        let errors = plain.se_betas.unwrap();
        prop_assert!(near(a[0], b[0], 1e-10, errors[0]));
        prop_assert!(near(a[1], b[1] * scale, 1e-10, errors[1]));
        prop_assert!(near(plain.r2.unwrap(), fit.r2.unwrap(), 1e-11, 1.0));
    }

    // The shared factor model.

    #[test]
    fn factor_model_agrees_with_ols(data in returns_with_gaps(8, 90), min_obs in 0..60_usize) {
        assert_model_agrees(&data[0], &slices(&data[1..]), min_obs)?;
    }

    #[test]
    fn factor_model_agrees_with_ols_when_only_the_symbol_has_gaps(
        factors in returns(7, 90), symbol in returns_with_gaps(1, 90), loading in -2.0..2.0_f64,
    ) {
        let y: Vec<f64> = symbol[0].iter().zip(&factors[0]).map(|(a, b)| a + loading * b).collect();
        assert_model_agrees(&y, &slices(&factors), 30)?;
    }

    #[test]
    fn factor_model_agrees_with_ols_on_nearly_collinear_factors(
        data in returns_with_gaps(6, 90), noise in prop::collection::vec(-1.0..1.0_f64, 90), power in 1..5_i32,
    ) {
        let mut data = data;
        let twin = data[1].iter().zip(&noise).map(|(a, e)| 0.7 * a + 0.02 * 10.0_f64.powi(-power) * e).collect();
        data.push(twin);
        assert_model_agrees(&data[0], &slices(&data[1..]), 20)?;
    }

    #[test]
    fn factor_model_agrees_with_ols_on_nearly_exact_fits(
        factors in returns_with_gaps(4, 70), noise in prop::collection::vec(-1.0..1.0_f64, 70), power in 1..5_i32,
    ) {
        let y: Vec<f64> = (0..70)
            .map(|t| 1.3 * factors[0][t] - 0.4 * factors[2][t] + 0.02 * 10.0_f64.powi(-power) * noise[t])
            .collect();
        assert_model_agrees(&y, &slices(&factors), 20)?;
        assert_model_agrees(&y, &[&factors[0]], 20)?;
    }

    #[test]
    fn factor_model_agrees_with_ols_on_stale_and_dependent_columns(data in returns_with_gaps(4, 60), price in 0.0..0.01_f64) {
        let stale = vec![price; 60];
        let twice: Vec<f64> = data[1].iter().map(|v| 2.0 * v).collect();
        assert_model_agrees(&stale, &slices(&data[1..]), 20)?;
        assert_model_agrees(&data[0], &[&data[1], &stale], 20)?;
        assert_model_agrees(&data[0], &[&data[1], &data[2], &twice], 20)?;
        assert_model_agrees(&stale, &[&data[1], &stale], 20)?;
        assert_model_agrees(&twice, &[&data[1]], 70)?;
    }

    #[test]
    fn a_prepared_symbol_gives_the_same_bits(data in returns_with_gaps(4, 70)) {
        let model = FactorModel::new(&slices(&data[1..]), 20);
        prop_assert_eq!(model.fit(&data[0]), model.fit_prepared(&PreparedColumn::new(&data[0])));
    }

    // Correlations.

    #[test]
    fn correlations_are_those_of_the_formula(data in returns_with_gaps(7, 100), min_overlap in 0..60_usize) {
        let c = pairwise(&slices(&data), min_overlap);
        for i in 0..7 {
            for j in 0..7 {
                let (wanted, overlap) = plain_correlation(&data[i], &data[j]);
                prop_assert_eq!(c.overlap(i, j), overlap);
                prop_assert_eq!(c.get(i, j), c.get(j, i));
                match c.get(i, j) {
                    Some(r) => {
                        prop_assert!((-1.0..=1.0).contains(&r) && (r - wanted).abs() < 1e-12, "{r} {wanted}");
                        prop_assert!(overlap >= min_overlap && (i != j || r == 1.0));
                    }
                    None => prop_assert!(overlap < min_overlap || overlap < 2),
                }
            }
        }
    }

    #[test]
    fn a_pair_alone_has_the_bits_of_the_matrix(data in returns_with_gaps(11, 70)) {
        let c = pairwise(&slices(&data), 20);
        let chosen = [7, 2, 9, 2, 40];
        let part = c.select(&chosen);
        for i in 0..11 {
            for j in 0..11 {
                let (value, overlap) = pair(&data[i], &data[j], 20);
                prop_assert_eq!(value.map(f64::to_bits), c.get(i, j).map(f64::to_bits));
                prop_assert_eq!(overlap, c.overlap(i, j));
            }
        }
        for (a, &i) in chosen.iter().enumerate() {
            for (b, &j) in chosen.iter().enumerate() {
                prop_assert_eq!((part.get(a, b), part.overlap(a, b)), (c.get(i, j), c.overlap(i, j)));
            }
        }
    }

    #[test]
    fn an_outlier_outside_the_overlap_costs_no_digits(data in returns(2, 60), outlier in 1e3..1e9_f64) {
        let (mut a, mut b) = (data[0].clone(), data[1].clone());
        a[3] = outlier;
        b[3] = f64::NAN;
        let (wanted, _) = plain_correlation(&a, &b);
        let got = pair(&a, &b, 2).0.unwrap();
        prop_assert!((got - wanted).abs() < 1e-12, "{got} {wanted}");
        assert_model_agrees(&b, &[&a], 10)?;
        assert_model_agrees(&a, &[&b], 10)?;
    }

    #[test]
    fn constant_on_the_overlap_is_undefined(data in returns(1, 40), price in -0.01..0.01_f64, start in 1..39_usize) {
        let mut stale = vec![price; 40];
        stale[..start].copy_from_slice(&data[0][..start]);
        let mut late = data[0].clone();
        late[..start].fill(f64::NAN);
        prop_assert_eq!(pair(&stale, &late, 1), (None, 40 - start));
        prop_assert_eq!(pair(&late, &stale, 1).0, None);
    }

    #[test]
    fn concentration_stays_in_bounds(data in returns_with_gaps(6, 50), threshold in 0.0..1.0_f64) {
        let c = pairwise(&slices(&data), 20);
        let groups = clusters(&c, threshold);
        prop_assert!(groups.iter().all(|group| group.len() > 1 && group.is_sorted()));
        prop_assert!(groups.is_sorted_by(|a, b| a.len() > b.len() || (a.len() == b.len() && a[0] < b[0])));
        prop_assert!(overall_correlation(&c).is_none_or(|r| (0.0..=1.0).contains(&r)));
        prop_assert!(diversification_score(&c, &[1.0; 6]).is_none_or(|r| (0.0..=1.0 + 1e-12).contains(&r)));
        prop_assert!(effective_positions(&c) >= 1.0 - 1e-12);
    }

    // Options.

    #[test]
    fn puts_and_calls_are_in_parity(
        spot in 1.0..1000.0_f64, moneyness in 0.3..3.0_f64, days in 0..20_000_u32, rate in -0.03..0.1_f64,
        yields in 0.0..0.06_f64, volatility in prop_oneof![Just(0.0), 0.001..3.0_f64],
    ) {
        let (strike, years) = (spot * moneyness, f64::from(days) / 365.0);
        let at = |kind| OptionInput::new(kind, spot, strike, years, rate, yields, volatility).unwrap();
        let (call, put) = (price_and_greeks(&at(OptionKind::Call)), price_and_greeks(&at(OptionKind::Put)));
        let (forward, discount) = (spot * (-yields * years).exp(), (-rate * years).exp());
        let scale = forward + strike * discount;
        prop_assert!(near(call.price - put.price, forward - strike * discount, 1e-13, scale));
        prop_assert!(near(call.delta - put.delta, (-yields * years).exp(), 1e-13, 1.0));
        prop_assert_eq!((call.gamma, call.vega), (put.gamma, put.vega));
        if days > 0 {
            let carry = yields * forward - rate * strike * discount;
            prop_assert!(near(call.theta - put.theta, carry / 365.0, 1e-12, scale));
            prop_assert!(near(call.rho - put.rho, strike * years * discount / 100.0, 1e-12, scale * years));
        }
        prop_assert!(call.price >= 0.0 && call.price <= forward * (1.0 + 1e-12) && call.delta >= 0.0);
        prop_assert!(put.price >= 0.0 && put.delta <= 0.0 && put.gamma >= 0.0 && put.vega >= 0.0);
    }

    #[test]
    fn greeks_are_the_slopes_of_the_price(
        moneyness in 0.7..1.4_f64, years in 0.1..3.0_f64, rate in -0.02..0.08_f64, yields in 0.0..0.05_f64,
        volatility in 0.1..0.8_f64, is_call in any::<bool>(),
    ) {
        let kind = if is_call { OptionKind::Call } else { OptionKind::Put };
        let at = |spot: f64, years: f64, rate: f64, volatility: f64| {
            price_and_greeks(&OptionInput::new(kind, spot, 100.0, years, rate, yields, volatility).unwrap())
        };
        let (spot, h) = (100.0 * moneyness, 1e-4);
        let g = at(spot, years, rate, volatility);
        let slope = |up: f64, down: f64, h: f64| (up - down) / (2.0 * h);
        let delta = slope(at(spot + h, years, rate, volatility).price, at(spot - h, years, rate, volatility).price, h);
        let gamma = slope(at(spot + h, years, rate, volatility).delta, at(spot - h, years, rate, volatility).delta, h);
        let theta = slope(at(spot, years - h, rate, volatility).price, at(spot, years + h, rate, volatility).price, h);
        let vega = slope(at(spot, years, rate, volatility + h).price, at(spot, years, rate, volatility - h).price, h);
        let rho = slope(at(spot, years, rate + h, volatility).price, at(spot, years, rate - h, volatility).price, h);
        prop_assert!((g.delta - delta).abs() < 1e-7);
        prop_assert!((g.gamma - gamma).abs() < 1e-7);
        prop_assert!((g.theta - theta / 365.0).abs() < 1e-6);
        prop_assert!((g.vega - vega / 100.0).abs() < 1e-4);
        prop_assert!((g.rho - rho / 100.0).abs() < 1e-4);
    }

    // Risk.

    #[test]
    fn tails_are_ordered(data in prop::collection::vec(-0.2..0.2_f64, 1..300)) {
        let stats = risk(&data);
        let (low, mean) = (data.iter().copied().fold(f64::INFINITY, f64::min), stats.mean_daily.unwrap());
        let slack = 1e-15;
        prop_assert!(low <= stats.es_99.unwrap() + slack && stats.es_99.unwrap() <= stats.es_95.unwrap() + slack);
        prop_assert!(stats.es_95.unwrap() <= stats.var_95.unwrap() + slack && stats.es_95.unwrap() <= mean + slack);
        prop_assert!(stats.es_99.unwrap() <= stats.var_99.unwrap() + slack);
        prop_assert!((-1.0..=0.0).contains(&stats.max_drawdown.unwrap()));
        let mut sorted = data.clone();
        sorted.sort_by(f64::total_cmp);
        prop_assert_eq!(stats.var_95, quantile_type7(&sorted, 0.05));
        prop_assert_eq!(stats.var_99, quantile_type7(&sorted, 0.01));
        let mut shuffled = data.clone();
        shuffled.reverse();
        prop_assert_eq!(risk(&shuffled).es_95, stats.es_95);
    }

    // Stress.

    #[test]
    fn correlated_shock_of_one_factor_is_the_univariate_beta(
        data in returns(8, 90), shock in -0.5..0.5_f64, which in 0..7_usize,
    ) {
        // The law: for a position without gaps, the multivariate exposures under a correlated shock of one factor lose
        // what the univariate beta says.
        let factors = slices(&data[1..]);
        let fits = FactorModel::new(&factors, 60).fit(&data[0]);
        let applied = applied_shocks(&factors, &[(which, shock)], Mode::Correlated).unwrap();
        let betas: Vec<f64> = fits.multivariate.betas.iter().map(|b| b.unwrap()).collect();
        let value = 12_345.0;
        let exposures: Vec<f64> = betas.iter().map(|b| b * value).collect();
        let univariate = fits.univariate[which].beta_raw.unwrap() * value * shock;
        let scale: f64 = exposures.iter().zip(&applied).map(|(e, s)| (e * s).abs()).sum();
        prop_assert!(near(pnl(&exposures, &applied), univariate, 1e-11, scale));
        let direct = applied_shocks(&factors, &[(which, shock)], Mode::Direct).unwrap();
        prop_assert!(near(pnl(&exposures, &direct), exposures[which] * shock, 1e-14, 0.0));
    }

    // Totals and history.

    #[test]
    fn totals_add_up(values in prop::collection::vec((-1e6..1e6_f64, any::<bool>()), 0..80)) {
        let exposures: Vec<Exposure> = values
            .iter()
            .map(|&(market_value, is_option)| Exposure { market_value, is_option, delta_adjusted: market_value })
            .collect();
        let a = aggregate(&exposures);
        prop_assert!(near(a.long + a.short, a.net, 1e-12, a.gross));
        prop_assert!(near(a.long - a.short, a.gross, 1e-12, 0.0));
        prop_assert!(near(a.options_mv + a.stock_mv, a.net, 1e-12, a.gross));
        prop_assert!(near(a.options_gross + a.stock_gross, a.gross, 1e-12, 0.0));
        prop_assert_eq!((a.delta_adjusted_net, a.delta_adjusted_gross), (a.net, a.gross));
    }

    #[test]
    fn history_of_one_position_is_its_leverage_times_its_returns(data in returns_with_gaps(1, 50), leverage in 0.1..3.0_f64) {
        let history = simulate_history(&[leverage * 1000.0], &[&data[0]], 1000.0);
        let observed = data[0].iter().filter(|r| r.is_finite()).count();
        prop_assert_eq!(history.days_with_data, observed);
        prop_assert_eq!(history.coverage, (observed > 0).then_some(1.0));
        for (simulated, r) in history.returns.iter().zip(&data[0]) {
            prop_assert!(simulated.is_nan() == r.is_nan());
            prop_assert!(r.is_nan() || near(*simulated, leverage * r, 1e-14, 0.0));
        }
    }

    // Anything at all.

    #[test]
    fn no_input_panics_or_leaves_the_range(
        a in anything(0..40), b in anything(0..40), c in anything(0..40), small in 0..4_usize,
    ) {
        let columns = [a.as_slice(), &b, &c];
        let matrix = pairwise(&columns, small);
        for i in 0..4 {
            for j in 0..4 {
                prop_assert!(matrix.get(i, j).is_none_or(|r| (-1.0..=1.0).contains(&r)));
            }
        }
        for (i, j) in [(0, 1), (1, 2), (0, 2), (2, 2)] {
            prop_assert_eq!(pair(columns[i], columns[j], small), (matrix.get(i, j), matrix.overlap(i, j)));
        }
        let defined = |value: Option<f64>| value.is_none_or(|v| !v.is_nan());
        let fit = ols(&a, &columns[1..], small);
        prop_assert!(defined(fit.r2) && defined(fit.intercept) && fit.r2.is_none_or(|r2| (0.0..=1.0).contains(&r2)));
        let fits = FactorModel::new(&columns[1..], small).fit(&a);
        for fit in &fits.univariate {
            prop_assert!(defined(fit.r2) && defined(fit.beta_raw) && defined(fit.std_error));
        }
        prop_assert!(fits.multivariate.betas.iter().all(|beta| defined(*beta)));
        let stats = risk(&a);
        prop_assert!([stats.mean_daily, stats.vol_daily, stats.var_95, stats.es_99].into_iter().all(defined));
        let _ = applied_shocks(&columns, &[(small, 0.1)], Mode::Correlated);
        let _ = simulate_history(&b, &columns, 1000.0);
        let _ = simple_returns(&a);
        let _ = clusters(&matrix, 0.7);
        let _ = FactorModel::new(&[], small).fit(&a);
        let _ = ols(&a, &[], small);
    }

    #[test]
    fn no_option_panics(values in prop::array::uniform6(prop_oneof![any::<f64>(), Just(0.0), 0.01..100.0_f64])) {
        let [spot, strike, years, rate, yields, volatility] = values;
        for kind in [OptionKind::Call, OptionKind::Put] {
            match OptionInput::new(kind, spot, strike, years, rate, yields, volatility) {
                Ok(input) => {
                    let price = price_and_greeks(&input).price;
                    prop_assert!(price.is_nan() || price >= 0.0);
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// A position of the simulation: units, whether it is an option, and its volatility.
type Simulated = (f64, bool, f64);
fn simulated() -> impl Strategy<Value = (Vec<Simulated>, Vec<Vec<f64>>)> {
    (prop::collection::vec((-500.0..500.0_f64, any::<bool>(), 0.05..0.9_f64), 4), returns_with_gaps(4, 120))
}

proptest! {
    /// The components add up to the expected shortfall; two halves of every position are as good as the whole; the P&L of
    /// an option long and short cancels out.
    #[test]
    fn components_add_up_and_positions_are_additive((positions, returns) in simulated(), share in 0.1..0.9_f64) {
        let drivers: Vec<CarriedReturns> = returns
            .iter()
            .map(|column| CarriedReturns {
                returns: column.clone(),
                covered: column.iter().map(|value| value.is_finite()).collect(),
            })
            .collect();
        let place = |(at, &(units, is_option, volatility)): (usize, &Simulated), part: f64| {
            let option = OptionInput::new(OptionKind::Call, 100.0, 97.0, 0.2, 0.04, 0.0, volatility).unwrap();
            let instrument = if is_option { Instrument::Option(option) } else { Instrument::Linear { price: 100.0 } };
            Position { units: units * part, instrument, exposure: units * part, driver: &drivers[at] }
        };
        let part = |part: f64| positions.iter().enumerate().map(move |one| place(one, part)).collect::<Vec<_>>();
        let whole = simulate(&part(1.0), 120, 1e6);
        let split = simulate(&[part(share), part(1.0 - share)].concat(), 120, 1e6);
        for (a, b) in whole.returns.iter().zip(&split.returns) {
            prop_assert!((a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-13);
        }
        if let (Some(components), Some(es)) = (whole.components(), whole.risk().es_95) {
            prop_assert!((components.iter().sum::<f64>() - es).abs() <= 1e-12);
        }
        let cancelled = simulate(&[part(1.0), part(-1.0)].concat(), 120, 1e6);
        prop_assert!(cancelled.returns.iter().all(|value| value.is_nan() || value.abs() <= 1e-13));
        prop_assert!(whole.coverage.is_none_or(|share| (0.0..=1.0).contains(&share)));
    }
}
