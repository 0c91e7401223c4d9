//! The numeric reference cases of `golden.json`, every one at the tolerances that the file itself states.
//!
//! The file is read at run time, so that another one of the same schema can stand in its place: any number of cases,
//! factors, columns and rows. An empty group, an unknown group and an unknown field are failures; all failures are
//! reported together, with case, field, expected and actual value.

use std::fmt::Write as _;

use chrono::NaiveDate;
use quant::aggregation::{Exposure, aggregate, daily_pnl};
use quant::black_scholes::{OptionInput, OptionKind, price_and_greeks};
use quant::correlation::pairwise;
use quant::factors::FactorModel;
use quant::ols::ols;
use quant::returns::simple_returns;
use quant::risk::risk;
use quant::stress::{Mode, applied_shocks, pnl};
use serde_json::{Map, Value, json};

type Outcome = Result<Value, String>;
type Calculation = fn(&Value, &Value) -> Outcome;

/// The groups: name, fields of the input, and the calculation of the input, which answers in the shape of `expected`.
const GROUPS: [(&str, &[&str], Calculation); 7] = [
    (
        "greeks",
        &[
            "option_type",
            "spot",
            "strike",
            "valuation_date",
            "expiry_date",
            "days_to_expiry",
            "rate",
            "dividend_yield",
            "volatility",
        ],
        greeks_case,
    ),
    ("ols", &["y", "x_columns", "min_obs", "add_intercept", "missing"], ols_case),
    ("correlation", &["columns", "min_overlap"], correlation_case),
    ("risk", &["returns"], risk_case),
    ("stress", &["factors", "factor_returns", "shocks", "mode", "missing", "factor_exposure_usd"], stress_case),
    ("returns", &["dates", "close_raw", "splits"], returns_case),
    ("aggregation", &["positions"], aggregation_case),
];

#[test]
fn every_reference_case_holds() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.json");
    let text = std::fs::read_to_string(path).expect("the reference file is beside this test");
    let file: Value = serde_json::from_str(&text).expect("the reference file is JSON");
    let (cases, failures) = check_file(&file);
    assert!(failures.is_empty(), "{} of {cases} cases or fields fail:\n{}", failures.len(), failures.join("\n"));
}

/// The number of cases, and what fails.
fn check_file(file: &Value) -> (usize, Vec<String>) {
    let mut failures = Vec::new();
    if file["meta"]["schema"] != "golden/1" {
        failures.push(format!("meta.schema is {}, this test reads \"golden/1\"", file["meta"]["schema"]));
    }
    for name in file.as_object().map(Map::keys).into_iter().flatten() {
        if name != "meta" && !GROUPS.iter().any(|(group, _, _)| group == name) {
            failures.push(format!("group {name:?} is unknown"));
        }
    }
    let mut count = 0;
    for (group, inputs, calculate) in GROUPS {
        let cases = file[group].as_array().map_or(&[][..], Vec::as_slice);
        if cases.is_empty() {
            failures.push(format!("group {group:?} has no cases"));
        }
        count += cases.len();
        let tolerances = &file["meta"]["tolerances"][group];
        for case in cases {
            check_case(group, inputs, calculate, tolerances, case, &mut failures);
        }
    }
    (count, failures)
}

fn check_case(
    group: &str,
    inputs: &[&str],
    calculate: Calculation,
    tolerances: &Value,
    case: &Value,
    failures: &mut Vec<String>,
) {
    let id = case["id"].as_str().unwrap_or("(case without id)");
    let mut fail = |what: String| failures.push(format!("{group}/{id}: {what}"));
    for field in case.as_object().map(Map::keys).into_iter().flatten() {
        let known = ["id", "tags", "reference", "input", "expected", "cross_check"].contains(&field.as_str());
        if !known && !field.starts_with("info_") {
            fail(format!("field {field:?} is unknown"));
        }
    }
    for field in case["input"].as_object().map(Map::keys).into_iter().flatten() {
        if !inputs.contains(&field.as_str()) && !field.starts_with("info_") {
            fail(format!("input field {field:?} is unknown"));
        }
    }
    let Some(expected) = case["expected"].as_object().filter(|fields| !fields.is_empty()) else {
        return fail("nothing is expected".into());
    };
    let actual = match calculate(&case["input"], &case["expected"]) {
        Ok(actual) => actual,
        Err(error) => return fail(error),
    };
    let tags: Vec<&str> = case["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, wanted) in expected {
        if field.starts_with("info_") || field == "cross_check" {
            continue;
        }
        match actual.get(field) {
            None => fail(format!("expected field {field:?} is unknown")),
            Some(found) => {
                let tolerance = tolerance(tolerances, field, &tags);
                compare(field, wanted, found, tolerance, &mut fail);
            }
        }
    }
}

/// `(rtol, atol)`: that of a tag of the case, else of the field, else the default of the group.
fn tolerance(of_group: &Value, field: &str, tags: &[&str]) -> Option<(f64, f64)> {
    let field = if field.starts_with("pnl_") && of_group.get(field).is_none() { "pnl" } else { field };
    let by_tag = tags.iter().find_map(|tag| of_group.get(format!("{tag}_tag")));
    let found = by_tag.or_else(|| of_group.get(field)).or_else(|| of_group.get("default"))?;
    Some((found["rtol"].as_f64()?, found["atol"].as_f64()?))
}

/// Compares value by value; integers and strings exactly, null only with null.
fn compare(path: &str, wanted: &Value, found: &Value, tolerance: Option<(f64, f64)>, fail: &mut impl FnMut(String)) {
    match (wanted, found) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{i}]"), a, b, tolerance, fail);
            }
        }
        (Value::Object(a), Value::Object(b)) if a.keys().all(|key| b.contains_key(key)) && a.len() == b.len() => {
            for (key, a) in a {
                compare(&format!("{path}.{key}"), a, &b[key], tolerance, fail);
            }
        }
        // Undetermined coefficients may be written as one null or as one null for each.
        (Value::Object(a), Value::Null) if a.values().all(Value::is_null) => {}
        (Value::Number(a), Value::Number(b)) if b.is_f64() => {
            let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else { return };
            let Some((rtol, atol)) = tolerance else { return fail(format!("{path}: the file states no tolerance")) };
            let off = (b - a).abs();
            if off.is_nan() || off > atol + rtol * a.abs() {
                fail(format!("{path}: expected {a:e}, actual {b:e}, off by {off:e}"));
            }
        }
        (Value::Null, Value::Null) => {}
        (a, b) if a == b => {}
        (a, b) => {
            let mut line = format!("{path}: expected ");
            let _ = write!(line, "{}, actual {}", brief(a), brief(b));
            fail(line);
        }
    }
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 80 { format!("{}...", text.chars().take(80).collect::<String>()) } else { text }
}

// Reading the inputs.

fn number(input: &Value, field: &str) -> Result<f64, String> {
    input[field].as_f64().ok_or_else(|| format!("input {field} is not a number: {}", brief(&input[field])))
}

fn count(input: &Value, field: &str) -> Result<usize, String> {
    let value =
        input[field].as_u64().ok_or_else(|| format!("input {field} is not a count: {}", brief(&input[field])))?;
    usize::try_from(value).map_err(|error| error.to_string())
}

fn text<'a>(input: &'a Value, field: &str) -> Result<&'a str, String> {
    input[field].as_str().ok_or_else(|| format!("input {field} is not a text: {}", brief(&input[field])))
}

fn list<'a>(input: &'a Value, field: &str) -> Result<&'a [Value], String> {
    input[field].as_array().map(Vec::as_slice).ok_or_else(|| format!("input {field} is not a list"))
}

/// A column of numbers, null as NaN.
fn column(value: &Value) -> Result<Vec<f64>, String> {
    let items = value.as_array().ok_or_else(|| format!("not a column: {}", brief(value)))?;
    items
        .iter()
        .map(|item| match item {
            Value::Null => Ok(f64::NAN),
            item => item.as_f64().ok_or_else(|| format!("not a number: {item}")),
        })
        .collect()
}

/// The keys of an object of columns, and the columns.
fn columns(value: &Value) -> Result<(Vec<String>, Vec<Vec<f64>>), String> {
    let object = value.as_object().ok_or_else(|| format!("not an object of columns: {}", brief(value)))?;
    let columns = object.values().map(column).collect::<Result<_, _>>()?;
    Ok((object.keys().cloned().collect(), columns))
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

fn day(input: &Value, field: &str) -> Result<NaiveDate, String> {
    text(input, field)?.parse().map_err(|error| format!("input {field}: {error}"))
}

/// An object of one value per key; undefined as a whole when `values` is.
fn keyed(keys: &[String], values: Option<&[f64]>) -> Value {
    values.map_or(Value::Null, |values| keys.iter().cloned().zip(values.iter().map(|v| json!(v))).collect())
}

// The calculations.

fn greeks_case(input: &Value, _expected: &Value) -> Outcome {
    let kind = match text(input, "option_type")? {
        "call" => OptionKind::Call,
        "put" => OptionKind::Put,
        other => return Err(format!("option type {other:?} is unknown")),
    };
    let days = (day(input, "expiry_date")? - day(input, "valuation_date")?).num_days();
    if input.get("days_to_expiry").is_some_and(|stated| stated.as_i64() != Some(days)) {
        return Err(format!("days_to_expiry is {}, the dates say {days}", input["days_to_expiry"]));
    }
    let option = OptionInput::new(
        kind,
        number(input, "spot")?,
        number(input, "strike")?,
        days as f64 / 365.0,
        number(input, "rate")?,
        number(input, "dividend_yield")?,
        number(input, "volatility")?,
    )
    .map_err(|error| error.to_string())?;
    let g = price_and_greeks(&option);
    Ok(json!({
        "price": g.price,
        "delta": g.delta,
        "gamma": g.gamma,
        "theta_per_day": g.theta,
        "vega_per_volpt": g.vega,
        "rho_per_pct": g.rho,
    }))
}

fn ols_case(input: &Value, _expected: &Value) -> Outcome {
    if input["add_intercept"] != true || input["missing"] != "listwise_drop" {
        return Err("only fits with intercept and listwise deletion exist".into());
    }
    let y = column(&input["y"])?;
    let (names, x) = columns(&input["x_columns"])?;
    let x = slices(&x);
    let min_obs = count(input, "min_obs")?;
    let fit = ols(&y, &x, min_obs);

    // The fast path of a run must agree with the accurate fit on the same case.
    let shared = FactorModel::new(&x, min_obs).fit(&y).multivariate;
    let near = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-10 * scale + 1e-15;
    let largest = |values: &Option<Vec<f64>>| values.iter().flatten().fold(0.0_f64, |m, v| m.max(v.abs()));
    let (errors, betas) = (fit.se_betas.clone().unwrap_or_default(), fit.betas.clone().unwrap_or_default());
    let agrees = shared.status == fit.status
        && shared.n == fit.n
        && shared.r2.is_some() == fit.r2.is_some()
        && near(shared.r2.unwrap_or(0.0), fit.r2.unwrap_or(0.0), 1.0)
        && shared.betas.iter().flatten().count() == betas.len()
        && shared.betas.iter().flatten().zip(&betas).all(|(a, b)| near(*a, *b, largest(&fit.betas)))
        && shared.std_errors.iter().flatten().zip(&errors).all(|(a, b)| near(*a, *b, *b));
    if !agrees {
        return Err(format!("the factor model says {shared:?}, the accurate fit {fit:?}"));
    }

    Ok(json!({
        "n_obs": fit.n,
        "status": fit.status,
        "rank": fit.rank,
        "r2": fit.r2,
        "r2_adj": fit.r2_adj,
        "intercept": fit.intercept,
        "betas": keyed(&names, fit.betas.as_deref()),
        "se_intercept": fit.se_intercept,
        "se_betas": keyed(&names, fit.se_betas.as_deref()),
        "resid_std": fit.resid_std,
    }))
}

fn correlation_case(input: &Value, expected: &Value) -> Outcome {
    let (mut names, mut columns) = columns(&input["columns"])?;
    // The order of the symbols is stated beside the matrix; the keys of a JSON object have none.
    if let Ok(stated) = list(expected, "symbols") {
        let stated: Vec<String> = stated.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let mut sorted = stated.clone();
        sorted.sort();
        names.sort();
        if sorted != names {
            return Err(format!("symbols {stated:?} are not the columns {names:?}"));
        }
        columns = stated.iter().map(|name| column(&input["columns"][name])).collect::<Result<_, _>>()?;
        names = stated;
    }
    let c = pairwise(&slices(&columns), count(input, "min_overlap")?);
    let n = names.len();
    let corr: Vec<Vec<Option<f64>>> = (0..n).map(|i| (0..n).map(|j| c.get(i, j)).collect()).collect();
    let overlap: Vec<Vec<usize>> = (0..n).map(|i| (0..n).map(|j| c.overlap(i, j)).collect()).collect();
    Ok(json!({ "symbols": names, "corr": corr, "n_overlap": overlap }))
}

fn risk_case(input: &Value, _expected: &Value) -> Outcome {
    serde_json::to_value(risk(&column(&input["returns"])?)).map_err(|error| error.to_string())
}

fn stress_case(input: &Value, _expected: &Value) -> Outcome {
    let names: Vec<String> = list(input, "factors")?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let history =
        names.iter().map(|name| column(&input["factor_returns"][name])).collect::<Result<Vec<_>, String>>()?;
    let named = input["shocks"].as_object().ok_or("input shocks is not an object")?;
    let mut shocks = Vec::new();
    for (name, shock) in named {
        let at = names.iter().position(|factor| factor == name).ok_or(format!("shock of unknown factor {name:?}"))?;
        shocks.push((at, shock.as_f64().ok_or("a shock is not a number")?));
    }
    let mode = match text(input, "mode")? {
        "direct" => Mode::Direct,
        "correlated" => Mode::Correlated,
        other => return Err(format!("mode {other:?} is unknown")),
    };
    if input["missing"] != "listwise_drop" {
        return Err("only listwise deletion exists".into());
    }
    let applied = applied_shocks(&slices(&history), &shocks, mode).map_err(|error| error.to_string())?;

    let positions = input["factor_exposure_usd"].as_object().ok_or("input factor_exposure_usd is not an object")?;
    let mut by_factor = vec![0.0; names.len()];
    let mut by_position = Map::new();
    let mut total = 0.0;
    for (position, of_factor) in positions {
        let exposures: Vec<f64> = names.iter().map(|name| of_factor[name].as_f64().unwrap_or(0.0)).collect();
        for (sum, (exposure, shock)) in by_factor.iter_mut().zip(exposures.iter().zip(&applied)) {
            *sum += exposure * shock;
        }
        let result = pnl(&exposures, &applied);
        total += result;
        by_position.insert(position.clone(), json!(result));
    }
    Ok(json!({
        "applied_shocks": keyed(&names, Some(&applied)),
        "pnl_by_factor": keyed(&names, Some(&by_factor)),
        "pnl_by_position": by_position,
        "pnl_total": total,
    }))
}

fn returns_case(input: &Value, _expected: &Value) -> Outcome {
    let dates = list(input, "dates")?;
    let mut closes = column(&input["close_raw"])?;
    if dates.len() != closes.len() {
        return Err(format!("{} dates, {} closes", dates.len(), closes.len()));
    }
    // Split-adjusted: what stood before the day of the split is divided by its ratio.
    for split in list(input, "splits")? {
        let (day, ratio) = (text(split, "date")?, number(split, "ratio")?);
        for (close, date) in closes.iter_mut().zip(dates) {
            if date.as_str().is_some_and(|date| date < day) {
                *close /= ratio;
            }
        }
    }
    Ok(json!({ "returns": simple_returns(&closes) }))
}

fn aggregation_case(input: &Value, _expected: &Value) -> Outcome {
    let mut exposures = Vec::new();
    let mut pnl_1d = 0.0;
    for position in list(input, "positions")? {
        let fields = ["id", "type", "quantity", "multiplier", "price", "prev_price", "underlying_price", "delta"];
        if let Some(field) =
            position.as_object().and_then(|object| object.keys().find(|key| !fields.contains(&key.as_str())))
        {
            return Err(format!("position field {field:?} is unknown"));
        }
        let [quantity, multiplier, price, previous] = ["quantity", "multiplier", "price", "prev_price"]
            .map(|field| number(position, field))
            .into_iter()
            .collect::<Result<Vec<f64>, String>>()?[..]
        else {
            unreachable!("four fields were read");
        };
        exposures.push(match text(position, "type")? {
            "stock" => Exposure::plain(quantity, multiplier, price),
            "call" | "put" => Exposure::option(
                quantity,
                multiplier,
                price,
                number(position, "delta")?,
                number(position, "underlying_price")?,
            ),
            other => return Err(format!("position type {other:?} is unknown")),
        });
        pnl_1d += daily_pnl(quantity, multiplier, price, previous);
    }
    let a = aggregate(&exposures);
    Ok(json!({
        "gross": a.gross,
        "net": a.net,
        "long": a.long,
        "short": a.short,
        "options_mv": a.options_mv,
        "stock_mv": a.stock_mv,
        "delta_adjusted_net": a.delta_adjusted_net,
        "delta_adjusted_gross": a.delta_adjusted_gross,
        "pnl_1d": pnl_1d,
    }))
}

// The test of the test: a reference that is off must be reported.

#[test]
fn a_wrong_reference_is_reported_with_case_and_field() {
    let case = |expected: Value| {
        json!({
            "meta": { "schema": "golden/1", "tolerances": { "returns": { "returns": { "rtol": 1e-12, "atol": 1e-14 } } } },
            "returns": [{
                "id": "one",
                "input": { "dates": ["2026-01-02", "2026-01-05"], "close_raw": [1.0, 2.0], "splits": [] },
                "expected": expected,
            }],
        })
    };
    let of_returns = |expected: Value| -> Vec<String> {
        check_file(&case(expected)).1.into_iter().filter(|line| line.starts_with("returns/")).collect()
    };
    assert!(of_returns(json!({ "returns": [null, 1.0] })).is_empty());
    assert!(of_returns(json!({ "returns": [null, 1.0], "info_x": 3 })).is_empty());
    for wrong in [json!([null, 1.1]), json!([0.0, 1.0]), json!([null, null]), json!([null])] {
        let lines = of_returns(json!({ "returns": wrong }));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("returns/one: returns"), "{lines:?}");
    }
    assert_eq!(of_returns(json!({ "returns": [null, 1.0], "surprise": 1 })).len(), 1);
    let (_, failures) = check_file(&case(json!({ "returns": [null, 1.0] })));
    assert!(failures.iter().any(|line| line.contains("\"greeks\" has no cases")));
}
