//! `greeks_calculation`: sensitivities of options, of one unit and of the position.

use book::OptionTerms;
use domain::record::{JobError, JobOutput};
use domain::words::JobType;
use quant::profit::PnlExplain;
use serde::Serialize;
use serde_json::json;

use crate::job_list::{GREEKS_CALCULATION, MARKET_DATA_UPDATE};
use crate::profit;
use crate::quality::{Findings, brief};
use crate::registry::{About, Input, Job};
use crate::shared::Model;
use crate::snapshot::Instrument;

/// The job.
#[derive(Debug)]
pub struct GreeksCalculation;

/// How the Greeks of an option were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GreeksStatus {
    /// By the model.
    Ok,
    /// All zero: its last day has passed.
    Expired,
    /// Not at all: the underlying has no price.
    NoUnderlyingPrice,
    /// Not at all: the model cannot value it.
    OutOfRange,
}

/// The options of a portfolio.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct OptionGreeks {
    /// One row for each option position.
    pub rows: Vec<GreeksRow>,
}

/// Greeks of one unit of the underlying, long, and beside them those of the position (times quantity and multiplier).
#[derive(Debug, Clone, Serialize)]
pub struct GreeksRow {
    /// The option.
    pub symbol: String,
    /// What it is on.
    pub underlying: String,
    /// Whether there are Greeks.
    pub status: GreeksStatus,
    /// Price of the underlying.
    pub underlying_price: Option<f64>,
    /// The volatility that was used.
    pub volatility: Option<f64>,
    /// Quantity of the position.
    pub quantity: f64,
    /// Price by the model.
    pub price: Option<f64>,
    /// Change of the price per unit of the underlying.
    pub delta: Option<f64>,
    /// Change of delta per unit of the underlying.
    pub gamma: Option<f64>,
    /// Change per calendar day.
    pub theta: Option<f64>,
    /// Change per volatility point.
    pub vega: Option<f64>,
    /// Change per 1 % of the rate.
    pub rho: Option<f64>,
    /// Delta of the position.
    pub position_delta: Option<f64>,
    /// Gamma of the position.
    pub position_gamma: Option<f64>,
    /// Theta of the position.
    pub position_theta: Option<f64>,
    /// Vega of the position.
    pub position_vega: Option<f64>,
    /// Rho of the position.
    pub position_rho: Option<f64>,
    /// Delta of the position times the price of the underlying.
    pub delta_dollars: Option<f64>,
    /// The profit and loss of the day by cause; null where it is not known.
    pub pnl_explain: Option<PnlExplain>,
}

impl Job for GreeksCalculation {
    const ABOUT: &'static About = &About {
        name: GREEKS_CALCULATION,
        job_type: JobType::RiskMetrics,
        critical: false,
        needs: &[MARKET_DATA_UPDATE],
        run_level: false,
        section: Some("greeks"),
    };
    type Output = OptionGreeks;

    fn run(input: &Input<'_>) -> Result<(OptionGreeks, JobOutput), JobError> {
        let (shared, snapshot) = (input.shared, &input.shared.snapshot);
        let total = input.portfolio.holdings.len();
        let mut findings = Findings::new(0);
        let mut rows = Vec::new();
        for (done, holding) in input.portfolio.holdings.iter().enumerate() {
            let instrument = &snapshot.instruments[holding.instrument];
            if done % 64 == 0 {
                let (done, symbol) = (done + 1, &instrument.symbol);
                input.context.progress(done as u64, total as u64, || format!("position {done}/{total} {symbol}"))?;
            }
            let Some((model, terms)) = shared.quotes[holding.instrument].model.zip(instrument.option.as_ref()) else {
                continue;
            };
            let (status, values, spot, volatility) = judged(model, instrument, terms, &mut findings);
            let quantity: f64 = holding.lots.iter().map(|lot| lot.0).sum();
            let unit = |at: usize| values.map(|values| values[at]);
            let position = |at: usize| unit(at).map(|value| value * quantity * instrument.multiplier);
            let delta_dollars = if status == GreeksStatus::Expired {
                Some(0.0)
            } else {
                position(1).zip(spot).map(|(delta, spot)| delta * spot)
            };
            rows.push(GreeksRow {
                symbol: instrument.symbol.clone(),
                underlying: terms.underlying.clone(),
                status,
                underlying_price: spot,
                volatility,
                quantity,
                price: unit(0),
                delta: unit(1),
                gamma: unit(2),
                theta: unit(3),
                vega: unit(4),
                rho: unit(5),
                position_delta: position(1),
                position_gamma: position(2),
                position_theta: position(3),
                position_vega: position(4),
                position_rho: position(5),
                delta_dollars,
                pnl_explain: profit::of_holding(shared, input.portfolio, holding).explain,
            });
        }
        input.context.progress(total as u64, total as u64, || "done".to_owned())?;
        let without = rows.iter().filter(|row| row.price.is_none()).count();
        let delta_dollars: f64 = rows.iter().filter_map(|row| row.delta_dollars).sum();
        let metadata = [
            ("options", json!(rows.len())),
            ("without_greeks", json!(without)),
            ("delta_dollars", json!(delta_dollars)),
        ];
        let records = rows.len();
        Ok((OptionGreeks { rows }, brief(records, findings.finish(), metadata)))
    }
}

/// Status, price and Greeks of one unit, price of the underlying, volatility.
type Judged = (GreeksStatus, Option<[f64; 6]>, Option<f64>, Option<f64>);

/// What the model says of an option, and what is to be noted of it.
fn judged(model: Model, instrument: &Instrument, terms: &OptionTerms, findings: &mut Findings) -> Judged {
    match model {
        Model::Ok { greeks: g, spot, volatility } => {
            findings.used_as_it_is();
            let values = [g.price, g.delta, g.gamma, g.theta, g.vega, g.rho];
            (GreeksStatus::Ok, Some(values), Some(spot), Some(volatility))
        }
        Model::Expired => {
            findings.used_as_it_is();
            findings.limit(format!("{} is past its expiry and counts as 0", instrument.symbol));
            (GreeksStatus::Expired, Some([0.0; 6]), None, None)
        }
        Model::NoUnderlying => {
            findings.left_out(&instrument.symbol);
            findings.note(format!("{}: {} has no price", instrument.symbol, terms.underlying));
            (GreeksStatus::NoUnderlyingPrice, None, None, None)
        }
        Model::Unusable => {
            findings.left_out(&instrument.symbol);
            findings.note(format!("{}: its terms are out of the range of the model", instrument.symbol));
            (GreeksStatus::OutOfRange, None, None, None)
        }
    }
}
