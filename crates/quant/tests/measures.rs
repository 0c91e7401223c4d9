//! The reference cases of `measures.json`, made with other software by `measures.py`, at 1e-9 relative to their scale.

#![allow(clippy::unwrap_used)]

use quant::black_scholes::{OptionInput, OptionKind, price_and_greeks};
use quant::profit::{Moves, explain_option, lot_pnl};
use quant::simulation::{CarriedReturns, Instrument, Position, simulate};
use serde_json::Value;

fn cases(group: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/measures.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file[group].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{group}");
    cases
}

fn option(terms: &Value) -> OptionInput {
    let kind = if terms["kind"] == "call" { OptionKind::Call } else { OptionKind::Put };
    let number = |key: &str| terms[key].as_f64().unwrap();
    let years = number("days") / 365.0;
    OptionInput::new(
        kind,
        number("spot"),
        number("strike"),
        years,
        number("rate"),
        number("dividend_yield"),
        number("volatility"),
    )
    .unwrap()
}

#[track_caller]
fn close(what: &str, got: f64, wanted: &Value, scale: f64) {
    let wanted = wanted.as_f64().unwrap();
    assert!((got - wanted).abs() <= 1e-9 * scale.max(wanted.abs()), "{what}: {got} is not {wanted}");
}

#[test]
fn pnl_of_options_and_its_causes() {
    for case in cases("pnl") {
        let (before, after) = (option(&case["before"]), option(&case["after"]));
        let units = case["units"].as_f64().unwrap();
        let (greeks, now) = (price_and_greeks(&before), price_and_greeks(&after));
        let pnl = lot_pnl(units, 1.0, Some(greeks.price), Some(now.price)).unwrap();
        let moves = Moves {
            spot: after.spot - before.spot,
            days: ((before.years - after.years) * 365.0).round(),
            volatility: after.volatility - before.volatility,
            rate: after.rate - before.rate,
        };
        let explain = explain_option(Some(&greeks), units, moves, pnl);
        let (expected, scale) = (&case["expected"], units.abs() * before.spot);
        for (what, got) in [
            ("pnl", pnl),
            ("delta", explain.delta),
            ("gamma", explain.gamma),
            ("theta", explain.theta),
            ("vega", explain.vega),
            ("rho", explain.rho),
            ("residual", explain.residual),
        ] {
            close(what, got, &expected[what], scale);
        }
        assert!((explain.total() - pnl).abs() <= 1e-9 * scale);
    }
}

#[test]
fn historical_simulation_with_full_revaluation() {
    for case in cases("simulation") {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let given = case["positions"].as_array().unwrap();
        let closes = |position: &Value| position["closes"].as_array().unwrap().iter().map(number).collect::<Vec<f64>>();
        let days = given[0]["closes"].as_array().unwrap().len() - 1;
        let drivers: Vec<CarriedReturns> =
            given.iter().map(|position| CarriedReturns::new(&closes(position), days)).collect();
        let positions: Vec<Position<'_>> = given
            .iter()
            .zip(&drivers)
            .map(|(position, driver)| {
                let instrument = match &position["option"] {
                    Value::Null => Instrument::Linear { price: number(&position["price"]) },
                    terms => Instrument::Option(option(terms)),
                };
                Position { units: number(&position["units"]), instrument, exposure: 1.0, driver }
            })
            .collect();
        let simulation = simulate(&positions, days, number(&case["equity"]));
        let expected = &case["expected"];
        for (day, got) in simulation.returns.iter().enumerate() {
            close(&format!("return {day}"), *got, &expected["returns"][day], 0.1);
        }
        let (risk, ewma) = (simulation.risk(), simulation.ewma());
        let known = [
            ("volatility", risk.volatility),
            ("var_95", risk.var_95),
            ("es_95", risk.es_95),
            ("ewma_volatility", ewma.volatility),
            ("ewma_var_95", ewma.var_95),
            ("ewma_var_99", ewma.var_99),
        ];
        for (what, got) in known {
            close(what, got.unwrap(), &expected[what], 0.1);
        }
        for (what, got) in [("var_99", risk.var_99), ("es_99", risk.es_99)] {
            assert_eq!(got.is_some(), days >= 100);
            if let Some(got) = got {
                close(what, got, &expected[what], 0.1);
            }
        }
        let components = simulation.components().unwrap();
        for (at, got) in components.iter().enumerate() {
            close(&format!("component {at}"), *got, &expected["components"][at], 0.1);
        }
        assert!((components.iter().sum::<f64>() - risk.es_95.unwrap()).abs() <= 1e-12);
    }
}

#[test]
fn backtests_of_recorded_values_at_risk() {
    for case in cases("backtest") {
        let hits: Vec<bool> = case["hits"].as_array().unwrap().iter().map(|hit| *hit == 1).collect();
        let got =
            serde_json::to_value(quant::backtest::backtest(&hits, case["probability"].as_f64().unwrap())).unwrap();
        for (key, wanted) in case["expected"].as_object().unwrap() {
            match (got[key].as_f64(), wanted.as_f64()) {
                (Some(number), Some(_)) => close(key, number, wanted, 1e-3),
                _ => assert_eq!(&got[key], wanted, "{key} of {got}"),
            }
        }
    }
}
