//! The calculations of the nightly risk batch: pure functions on slices and small structs.
//!
//! No input or output, no clock, no threads, no `unsafe`. Callers (the jobs) bring prices and positions and store what
//! comes back; this crate only computes.
//!
//! # Conventions
//!
//! * **Missing values.** In slices a missing value is [`f64::NAN`]. Infinite values are no observations either and are
//!   treated as missing wherever statistics are taken. In results an undefined number is `None`, never NaN.
//! * **Units.** Returns, rates, volatilities and yields are decimals (`0.01` is one per cent); volatilities and rates
//!   are annual unless the name says otherwise. Money is in the portfolio's currency.
//! * **Shapes.** A matrix is a slice of columns (`&[&[f64]]`), one column per symbol or factor, one row per trading day,
//!   oldest first. Where columns of one call differ in length, rows past the shortest one are left out.
//! * **Same input, same bits.** Sums run in one fixed order, whatever else is computed beside them, and logarithm,
//!   exponential and normal distribution come from `libm`, so a rerun on another machine or with another number of
//!   threads gives the same bits.
//!
//! # Where to find what
//!
//! | module | what it computes |
//! |---|---|
//! | [`returns`] | simple returns of closes |
//! | [`ols`] | one ordinary least squares fit, the accurate reference |
//! | [`factors`] | univariate and multivariate fits of many symbols on the same factors |
//! | [`correlation`] | pairwise-complete correlations, clusters, concentration |
//! | [`black_scholes`] | price and Greeks of European options |
//! | [`risk`] | volatility, drawdown, value at risk, expected shortfall |
//! | [`stress`] | factor shocks, direct and correlated, and their profit and loss |
//! | [`aggregation`] | gross, net, long, short, delta-adjusted values; daily profit and loss |
//! | [`history`] | history simulation of a portfolio |
//! | [`simulation`] | historical simulation with full revaluation, components of expected shortfall, EWMA |
//! | [`backtest`] | exceptions of a value at risk: zones, Kupiec, Christoffersen |
//! | [`profit`] | daily profit and loss of a lot, and its attribution to the Greeks |

pub mod aggregation;
pub mod backtest;
pub mod black_scholes;
pub mod correlation;
pub mod factors;
pub mod history;
pub mod ols;
pub mod profit;
pub mod returns;
pub mod risk;
pub mod simulation;
pub mod stress;

mod column;
mod concentration;
mod gram;
mod lanes;
mod least_squares;
