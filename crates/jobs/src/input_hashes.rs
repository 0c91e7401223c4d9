//! What the results of a run depend on, as one hash for each portfolio and one for the run.
//!
//! A hash does not depend on the order of rows, on other portfolios, on anything after the trading date, or on settings
//! that change no result. The content of the user's own programs is not part of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use domain::ids::{ContentHash, PortfolioId};
use domain::night::{Control, ControlResult, NightMembers, PinnedNight};
use serde_json::{Value, json};

use crate::job_list::FACTOR_ANALYSIS;
use crate::snapshot::{ExitedLot, Holding, Instrument, PinnedLot, PinnedPortfolio, Snapshot};

/// What every hash begins with: another rule makes other hashes.
const RULE: &str = "nightbook-inputs-1";

/// The hash of each portfolio of a snapshot.
#[must_use]
pub fn input_hashes(snapshot: &Snapshot) -> BTreeMap<PortfolioId, ContentHash> {
    let width = snapshot.sessions.len();
    let shared = {
        let mut parts = Parts::new();
        parts.date(snapshot.as_of);
        snapshot.sessions.iter().for_each(|session| parts.date(*session));
        parts.text(&settings_of(snapshot).to_string());
        factors(snapshot).iter().for_each(|hash| parts.text(hash.as_str()));
        parts.hash()
    };
    let symbols: Vec<ContentHash> = (0..snapshot.symbols.len()).map(|at| closes(snapshot, at, width)).collect();
    let hash =
        |portfolio: &PinnedPortfolio| (portfolio.id.clone(), of_portfolio(snapshot, portfolio, &shared, &symbols));
    snapshot.portfolios.iter().map(hash).collect()
}

/// The hash of a run: that of its portfolios, and what the night shows beside them.
pub(crate) fn run_hash(as_of: NaiveDate, members: &NightMembers, newest_close: Option<NaiveDate>) -> ContentHash {
    let mut parts = Parts::new();
    parts.date(as_of);
    for (id, member) in &members.open {
        if let Some(inputs) = &member.inputs {
            parts.text(id.as_str());
            parts.text(inputs.as_str());
        }
    }
    for (id, date) in members.closures.iter().filter(|(_, date)| **date <= as_of) {
        parts.text(id.as_str());
        parts.date(*date);
    }
    newest_close.into_iter().for_each(|date| parts.date(date));
    // A correction that reaches no portfolio, or another limit, must still lead to a run that judges again. What is compared
    // with the night before is left out: it is not known here.
    let compared =
        |result: &&ControlResult| matches!(result.control, Control::Positions | Control::Equity | Control::Portfolios);
    let judged = |result: &ControlResult| {
        let of_files = matches!(result.control, Control::Orphans | Control::InputEnd);
        let observed = result.observed.as_ref().filter(|_| of_files);
        json!([result.control, result.level, result.portfolio_id, result.symbol, observed]).to_string()
    };
    let mut results: Vec<String> = members.controls.iter().filter(|result| !compared(result)).map(judged).collect();
    results.sort_unstable();
    results.iter().for_each(|result| parts.text(result));
    for limit in &members.limits {
        parts.text(&json!(limit).to_string());
    }
    parts.hash()
}

/// Whether a plan with these members would have the same hash as the planned night if its portfolios had the same
/// inputs: the same portfolios, closures and newest close, and files in the same state.
#[must_use]
pub fn same_beside(
    as_of: NaiveDate,
    members: &NightMembers,
    newest_close: Option<NaiveDate>,
    planned: &PinnedNight,
) -> bool {
    let mut members = members.clone();
    for (id, member) in &mut members.open {
        member.inputs = planned.members.open.get(id).and_then(|member| member.inputs.clone());
    }
    run_hash(as_of, &members, newest_close) == planned.inputs
}

fn of_portfolio(
    snapshot: &Snapshot,
    portfolio: &PinnedPortfolio,
    shared: &ContentHash,
    symbols: &[ContentHash],
) -> ContentHash {
    let mut parts = Parts::new();
    parts.text(shared.as_str());
    parts.text(portfolio.id.as_str());
    parts.text(&portfolio.currency);
    parts.number(portfolio.equity);
    let mut holdings: Vec<Vec<u8>> = portfolio.holdings.iter().map(|holding| of_holding(snapshot, holding)).collect();
    holdings.sort_unstable();
    holdings.iter().for_each(|holding| parts.bytes(holding));
    let mut issues: Vec<&str> = portfolio.issues.iter().map(|issue| without_line(issue)).collect();
    issues.sort_unstable();
    issues.into_iter().for_each(|issue| parts.text(issue));
    let used: BTreeSet<usize> = portfolio.holdings.iter().flat_map(|holding| priced_by(snapshot, holding)).collect();
    used.into_iter().for_each(|at| parts.text(symbols[at].as_str()));
    let mut exited: Vec<Vec<u8>> = portfolio.exited.iter().map(|exit| of_exit(snapshot, exit, symbols)).collect();
    if !exited.is_empty() {
        parts.text("exited");
        exited.sort_unstable();
        exited.iter().for_each(|exit| parts.bytes(exit));
    }
    if portfolio.flow != 0.0 {
        parts.text("flow");
        parts.number(Some(portfolio.flow));
    }
    parts.hash()
}

/// The symbols whose closes price a holding.
fn priced_by<'a>(snapshot: &'a Snapshot, holding: &Holding) -> impl Iterator<Item = usize> + 'a {
    let instrument = &snapshot.instruments[holding.instrument];
    let underlying = instrument.option.as_ref().map(|terms| terms.underlying.as_str());
    std::iter::once(instrument.symbol.as_str()).chain(underlying).filter_map(|symbol| snapshot.symbol(symbol))
}

fn of_holding(snapshot: &Snapshot, holding: &Holding) -> Vec<u8> {
    let Instrument { symbol, class, option, multiplier, implied_vol, mark, sector } =
        &snapshot.instruments[holding.instrument];
    let mut parts = Parts::new();
    parts.text(symbol);
    parts.text(class.as_str());
    if let Some(terms) = option {
        parts.text(&terms.underlying);
        parts.text(terms.right.as_str());
        parts.number(Some(terms.strike));
        parts.date(terms.expiry);
    }
    parts.number(Some(*multiplier));
    parts.number(*implied_vol);
    parts.number(*mark);
    parts.text(sector.as_deref().unwrap_or_default());
    let mut lots: Vec<Vec<u8>> = holding.lots.iter().map(of_lot).collect();
    lots.sort_unstable();
    lots.iter().for_each(|lot| parts.bytes(lot));
    parts.0
}

/// An exited lot, with its instrument and the closes that price it.
fn of_exit(snapshot: &Snapshot, exit: &ExitedLot, symbols: &[ContentHash]) -> Vec<u8> {
    let holding = Holding { instrument: exit.instrument, lots: vec![exit.lot] };
    let mut parts = Parts(of_holding(snapshot, &holding));
    parts.date(exit.exit_date);
    priced_by(snapshot, &holding).for_each(|at| parts.text(symbols[at].as_str()));
    parts.0
}

fn of_lot(PinnedLot(quantity, price, date): &PinnedLot) -> Vec<u8> {
    let mut parts = Parts(Vec::with_capacity(64));
    parts.date(*date);
    parts.number(Some(*quantity));
    parts.number(Some(*price));
    parts.0
}

/// The closes of a symbol over the last sessions of the snapshot.
fn closes(snapshot: &Snapshot, symbol: usize, sessions: usize) -> ContentHash {
    let mut parts = Parts::new();
    parts.text(&snapshot.symbols[symbol]);
    let first = snapshot.sessions.len().saturating_sub(sessions);
    let dated = snapshot.sessions.iter().zip(snapshot.closes_of(symbol)).skip(first);
    for (session, close) in dated.filter(|(_, close)| close.is_finite()) {
        parts.date(*session);
        parts.number(Some(*close));
    }
    parts.hash()
}

/// The closes of the factors, where a job reads them, in the window in which it reads them.
fn factors(snapshot: &Snapshot) -> Vec<ContentHash> {
    let settings = &snapshot.settings;
    if !settings.run.jobs.iter().any(|job| job.as_str() == FACTOR_ANALYSIS) {
        return Vec::new();
    }
    let sessions = settings.factor_analysis.window as usize + 1;
    let proxies = settings.factors.iter().filter_map(|factor| snapshot.symbol(&factor.proxy));
    proxies.map(|at| closes(snapshot, at, sessions)).collect()
}

/// The settings that change results, as far as they are not the defaults: a setting that a later release adds changes
/// no hash until it is used.
fn settings_of(snapshot: &Snapshot) -> Value {
    let chosen = |settings: &book::Settings| {
        json!({
            "factors": settings.factors,
            "rates": settings.rates,
            "factor_analysis": settings.factor_analysis,
            "correlations": settings.correlations,
            "snapshot": settings.snapshot,
            "greeks": settings.greeks,
            "market_risk": settings.market_risk,
            "scenarios": settings.scenarios,
            "added_jobs": settings.added_jobs,
            "jobs": settings.run.jobs,
            "price_max_age_sessions": settings.run.price_max_age_sessions,
        })
    };
    differing(chosen(&snapshot.settings), &chosen(&book::Settings::default())).unwrap_or_default()
}

/// What of a value differs from the default; tables are compared key by key.
fn differing(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (value, default) if value == *default => None,
        (Value::Object(table), Value::Object(defaults)) => {
            let differs = |(key, value): (String, Value)| {
                let value = differing(value, defaults.get(&key).unwrap_or(&Value::Null))?;
                Some((key, value))
            };
            Some(Value::Object(table.into_iter().filter_map(differs).collect()))
        }
        (value, _) => Some(value),
    }
}

/// An issue without the line that it was found on: `positions.csv:39: quantity ...`.
fn without_line(issue: &str) -> &str {
    issue.split_once(": ").map_or(issue, |(_, what)| what)
}

/// What is hashed: each part with its length, so that different lists of parts never make the same bytes.
struct Parts(Vec<u8>);

impl Parts {
    fn new() -> Self {
        let mut parts = Self(Vec::with_capacity(4_096));
        parts.text(RULE);
        parts
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: Option<f64>) {
        match number {
            Some(number) => self.bytes(&number.to_bits().to_le_bytes()),
            None => self.bytes(&[]),
        }
    }

    fn date(&mut self, date: NaiveDate) {
        use chrono::Datelike as _;
        self.bytes(&date.num_days_from_ce().to_le_bytes());
    }

    fn hash(&self) -> ContentHash {
        ContentHash::of(&self.0)
    }
}
