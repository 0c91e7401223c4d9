//! What all portfolios of a run share: worked out once from the pinned inputs, however many portfolios hold a symbol.

use std::collections::BTreeMap;

use book::{Class, Right};
use chrono::NaiveDate;
use quant::black_scholes::{Greeks, OptionInput, OptionInputError, OptionKind, price_and_greeks};
use quant::correlation::{Correlations, PreparedColumn};
use quant::factors::SymbolFits;
use quant::ols::ols;
use quant::simulation::CarriedReturns;
use quant::stress::ConditionalShocks;
use rayon::prelude::*;
use serde::Serialize;

use crate::job_list::{GREEKS_CALCULATION, POSITION_CORRELATIONS};
use crate::jobs::position_correlations::significant;
use crate::snapshot::{Instrument, Snapshot};

/// Above so many symbols the matrix of a whole run would take too much memory: each portfolio then works out its own.
const MATRIX_LIMIT: usize = 5_000;

/// Where a price comes from, in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceSource {
    /// The close of the date.
    Close,
    /// The mark of the book.
    Mark,
    /// A close of one of the sessions before.
    Stale,
    /// The model of an option.
    Model,
    /// There is none.
    None,
}

impl PriceSource {
    /// The source as results spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Mark => "mark",
            Self::Stale => "stale",
            Self::Model => "model",
            Self::None => "none",
        }
    }
}

/// A price and its day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dated {
    /// The price.
    pub price: f64,
    /// The session.
    pub session: usize,
}

/// What an option is worth by the model, and why not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Model {
    /// Price and Greeks of one unit, and the price of the underlying.
    Ok {
        /// Price and Greeks.
        greeks: Greeks,
        /// Price of the underlying.
        spot: f64,
        /// The volatility that was used.
        volatility: f64,
    },
    /// Its last day has passed.
    Expired,
    /// The underlying has no price.
    NoUnderlying,
    /// The inputs are out of range.
    Unusable,
}

/// The valuation of an instrument on the date.
#[derive(Debug, Clone, PartialEq)]
pub struct Quote {
    /// The price, if there is one.
    pub price: Option<f64>,
    /// Where it comes from.
    pub source: PriceSource,
    /// The day of a close.
    pub date: Option<NaiveDate>,
    /// The valuation as of the previous session, the base of the daily profit and loss.
    pub before: Option<Before>,
    /// The price that the daily profit and loss runs to: `price`, or the settlement price of an option that expired since
    /// the previous session.
    pub end: Option<f64>,
    /// The model, of an option.
    pub model: Option<Model>,
    /// The symbol whose returns drive it: its own, or the underlying's.
    pub driver: Option<usize>,
}

/// The valuation of an instrument as of the previous session. Marks, volatilities and rates are those of today: the book
/// states no others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Before {
    /// The price by the rules that hold for today; `None` if there is none.
    pub price: Option<f64>,
    /// Where it comes from.
    pub source: PriceSource,
    /// The model, of an option.
    pub model: Option<Model>,
}

/// A factor whose proxy has returns.
#[derive(Debug, Clone)]
pub struct UsedFactor {
    /// Its name.
    pub name: String,
    /// Its returns over the window.
    pub returns: Vec<f64>,
    /// Variance inflation over the rows that are complete in every factor.
    pub vif: Option<f64>,
}

/// What all portfolios of a run share.
#[derive(Debug)]
pub struct Shared {
    /// The pinned inputs.
    pub snapshot: Snapshot,
    /// One quote for each instrument.
    pub quotes: Vec<Quote>,
    /// The factors with returns, in the order of the settings.
    pub factors: Vec<UsedFactor>,
    /// Names of the factors without.
    pub factors_missing: Vec<String>,
    /// Conditional expectations between the factors.
    pub conditional: ConditionalShocks,
    /// Whether the job list has the Greeks.
    pub greeks_on: bool,
    /// Returns over the risk window, one column for each symbol.
    pub history: Vec<Vec<f64>>,
    /// Returns over the risk window with gaps carried, one column for each symbol.
    pub carried: Vec<CarriedReturns>,
    /// Observed returns in the window of the factor analysis, one for each symbol.
    pub observed: Vec<u32>,
    /// Returns over the correlation window.
    pub prepared: Vec<PreparedColumn>,
    /// Their correlations, as far as portfolios need them; none above a number of symbols.
    pub correlations: Option<Correlations>,
    /// Place of a symbol in `correlations`.
    pub matrix_place: BTreeMap<usize, usize>,
}

impl Shared {
    /// Prepares what the portfolios share.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        let settings = &snapshot.settings;
        let on = |name: &str| settings.run.jobs.iter().any(|job| job.as_str() == name);
        let (greeks_on, correlations_on) = (on(GREEKS_CALCULATION), on(POSITION_CORRELATIONS));
        let symbols = 0..snapshot.symbols.len();
        let risk_window = settings.snapshot.risk_window as usize;
        let window = settings.factor_analysis.window as usize;

        let quotes = snapshot.instruments.iter().map(|instrument| quote(&snapshot, instrument)).collect();
        let history = symbols.clone().map(|symbol| snapshot.returns_of(symbol, risk_window)).collect();
        let carried = symbols.clone().map(|symbol| CarriedReturns::new(snapshot.closes_of(symbol), risk_window));
        let carried = carried.collect();
        let observed = symbols.clone().map(|symbol| observations(&snapshot.returns_of(symbol, window))).collect();
        let prepared: Vec<PreparedColumn> = symbols
            .into_par_iter()
            .map(|symbol| PreparedColumn::new(&snapshot.returns_of(symbol, settings.correlations.window as usize)))
            .collect();

        let usable = snapshot.usable_factors();
        let columns: Vec<Vec<f64>> = usable.iter().map(|(_, symbol)| snapshot.returns_of(*symbol, window)).collect();
        let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let conditional = ConditionalShocks::new(&slices);
        let vifs = variance_inflation(&slices);
        let factors = usable.iter().zip(&columns).zip(vifs).map(|(((factor, _), returns), vif)| UsedFactor {
            name: settings.factors[*factor].name.clone(),
            returns: returns.clone(),
            vif,
        });
        let factors: Vec<UsedFactor> = factors.collect();
        let missing = settings.factors.iter().map(|factor| &factor.name);
        let factors_missing = missing.filter(|name| factors.iter().all(|used| used.name != **name)).cloned().collect();

        let mut shared = Self {
            quotes,
            factors,
            factors_missing,
            conditional,
            greeks_on,
            history,
            carried,
            observed,
            prepared,
            correlations: None,
            matrix_place: BTreeMap::new(),
            snapshot,
        };
        if correlations_on {
            shared.correlate();
        }
        shared
    }

    /// Correlations of all pairs that stand in a portfolio together.
    fn correlate(&mut self) {
        let groups: Vec<Vec<usize>> =
            self.snapshot.portfolios.iter().map(|portfolio| significant(self, portfolio).included_symbols()).collect();
        let mut places: BTreeMap<usize, usize> = groups.iter().flatten().map(|symbol| (*symbol, 0)).collect();
        if places.len() > MATRIX_LIMIT {
            return;
        }
        places.values_mut().enumerate().for_each(|(at, place)| *place = at);
        let columns: Vec<&PreparedColumn> = places.keys().map(|symbol| &self.prepared[*symbol]).collect();
        let groups: Vec<Vec<usize>> =
            groups.iter().map(|group| group.iter().map(|symbol| places[symbol]).collect()).collect();
        let slices: Vec<&[usize]> = groups.iter().map(Vec::as_slice).collect();
        let min_overlap = self.snapshot.settings.correlations.min_overlap as usize;
        self.correlations = Some(Correlations::for_groups(&columns, &slices, min_overlap));
        self.matrix_place = places;
    }

    /// The index of a factor that has returns.
    #[must_use]
    pub fn factor(&self, name: &str) -> Option<usize> {
        self.factors.iter().position(|factor| factor.name == name)
    }

    /// The fits of a symbol.
    #[must_use]
    pub fn fits(&self, symbol: usize) -> Option<&SymbolFits> {
        self.snapshot.fits.get(symbol)
    }
}

fn observations(returns: &[f64]) -> u32 {
    u32::try_from(returns.iter().filter(|value| value.is_finite()).count()).unwrap_or(u32::MAX)
}

/// Variance inflation of each factor on the others; none where it cannot be determined.
fn variance_inflation(factors: &[&[f64]]) -> Vec<Option<f64>> {
    let undetermined = vec![None; factors.len()];
    let Some(response) = factors.first() else { return undetermined };
    // It does not depend on the response, so any column will do.
    match ols(response, factors, 0).vif {
        Some(vifs) => vifs.into_iter().map(|vif| vif.is_finite().then_some(vif)).collect(),
        None => undetermined,
    }
}

/// The newest close before a session.
fn newest_before(closes: &[f64], session: usize) -> Option<Dated> {
    (0..session.min(closes.len()))
        .rev()
        .find(|at| closes[*at].is_finite())
        .map(|at| Dated { price: closes[at], session: at })
}

/// The newest close that is not too old.
pub(crate) fn fresh_close(snapshot: &Snapshot, symbol: usize) -> Option<Dated> {
    fresh_close_at(snapshot, symbol, snapshot.sessions.len().checked_sub(1)?)
}

/// The newest close up to a session that is not too old on that session.
fn fresh_close_at(snapshot: &Snapshot, symbol: usize, session: usize) -> Option<Dated> {
    let newest = newest_before(snapshot.closes_of(symbol), session + 1)?;
    let age = session - newest.session;
    (age <= snapshot.settings.run.price_max_age_sessions as usize).then_some(newest)
}

/// The previous session: the last one before `as_of`.
pub(crate) fn previous_session(snapshot: &Snapshot) -> Option<usize> {
    snapshot.sessions.iter().rposition(|session| *session < snapshot.as_of)
}

/// The last session that is not after a date.
fn session_of(snapshot: &Snapshot, date: NaiveDate) -> Option<usize> {
    snapshot.sessions.iter().rposition(|session| *session <= date)
}

/// A price by the rules: the close of the session (where the date is one), else the mark, else an older close, else the
/// model.
fn priced(
    snapshot: &Snapshot,
    instrument: &Instrument,
    date: NaiveDate,
    session: Option<usize>,
) -> (Option<f64>, PriceSource, Option<NaiveDate>, Option<Model>) {
    let fresh = |symbol: &str| fresh_close_at(snapshot, snapshot.symbol(symbol)?, session?);
    let own = fresh(&instrument.symbol);
    let is_session = session.and_then(|at| snapshot.sessions.get(at)) == Some(&date);
    let on_date = own.filter(|close| is_session && Some(close.session) == session);
    let model = instrument.option.as_ref().map(|terms| {
        let spot = fresh(&terms.underlying).map(|close| close.price);
        model_on(snapshot, instrument, terms, spot, date)
    });
    if model == Some(Model::Expired) {
        return (Some(0.0), PriceSource::Model, None, model);
    }
    let day = |close: Dated| snapshot.sessions.get(close.session).copied();
    let (price, source, on) = match (on_date, instrument.mark, own, model) {
        (Some(close), ..) => (Some(close.price), PriceSource::Close, day(close)),
        (None, Some(mark), ..) => (Some(mark), PriceSource::Mark, None),
        (None, None, Some(close), _) => (Some(close.price), PriceSource::Stale, day(close)),
        (None, None, None, Some(Model::Ok { greeks, .. })) => (Some(greeks.price), PriceSource::Model, None),
        _ => (None, PriceSource::None, None),
    };
    (price, source, on, model)
}

fn quote(snapshot: &Snapshot, instrument: &Instrument) -> Quote {
    let driver = match (&instrument.option, instrument.class) {
        (Some(terms), _) => snapshot.symbol(&terms.underlying),
        (None, Class::Public) => snapshot.symbol(&instrument.symbol),
        (None, _) => None,
    };
    let (price, source, date, model) =
        priced(snapshot, instrument, snapshot.as_of, snapshot.sessions.len().checked_sub(1));
    let before = previous_session(snapshot).map(|session| {
        let (price, source, _, model) = priced(snapshot, instrument, snapshot.sessions[session], Some(session));
        Before { price, source, model }
    });
    let expired_since = model == Some(Model::Expired) && before.is_some_and(|then| then.model != Some(Model::Expired));
    let end = match &instrument.option {
        Some(terms) if expired_since => settlement(snapshot, terms),
        _ => price,
    };
    Quote { price, source, date, before, end, model, driver }
}

/// What an expired option was settled at: its intrinsic value at the last close of the underlying up to the expiry.
fn settlement(snapshot: &Snapshot, terms: &book::OptionTerms) -> Option<f64> {
    let spot = settlement_spot(snapshot, terms)?;
    Some(match terms.right {
        Right::Call => (spot - terms.strike).max(0.0),
        Right::Put => (terms.strike - spot).max(0.0),
    })
}

/// The last close of the underlying of an expired option up to its expiry.
pub(crate) fn settlement_spot(snapshot: &Snapshot, terms: &book::OptionTerms) -> Option<f64> {
    let symbol = snapshot.symbol(&terms.underlying)?;
    fresh_close_at(snapshot, symbol, session_of(snapshot, terms.expiry)?).map(|close| close.price)
}

/// What a lot was sold at on a date where the book gives no price: the close of the date, else the last one before, else
/// the mark or the model.
pub(crate) fn proceeds(snapshot: &Snapshot, instrument: &Instrument, date: NaiveDate) -> Option<f64> {
    let session = session_of(snapshot, date)?;
    let close = snapshot.symbol(&instrument.symbol).and_then(|symbol| fresh_close_at(snapshot, symbol, session));
    close.map(|close| close.price).or_else(|| {
        let expired = instrument.option.as_ref().filter(|terms| terms.expiry < date);
        match expired {
            Some(terms) => settlement(snapshot, terms),
            None => priced(snapshot, instrument, date, Some(session)).0,
        }
    })
}

/// What an option is worth where its underlying has this price.
pub(crate) fn model(
    snapshot: &Snapshot,
    instrument: &Instrument,
    terms: &book::OptionTerms,
    spot: Option<f64>,
) -> Model {
    model_on(snapshot, instrument, terms, spot, snapshot.as_of)
}

/// What an option is worth on a date where its underlying has this price.
fn model_on(
    snapshot: &Snapshot,
    instrument: &Instrument,
    terms: &book::OptionTerms,
    spot: Option<f64>,
    date: NaiveDate,
) -> Model {
    let days = (terms.expiry - date).num_days();
    if days < 0 {
        return Model::Expired;
    }
    let Some(spot) = spot else { return Model::NoUnderlying };
    let volatility = instrument.implied_vol.unwrap_or(snapshot.settings.greeks.default_volatility);
    let Ok(input) = model_input(snapshot, terms, spot, volatility, date) else { return Model::Unusable };
    let greeks = price_and_greeks(&input);
    let all = [greeks.price, greeks.delta, greeks.gamma, greeks.theta, greeks.vega, greeks.rho];
    if all.iter().all(|value| value.is_finite()) { Model::Ok { greeks, spot, volatility } } else { Model::Unusable }
}

/// The input of the model for an option on a date.
pub(crate) fn model_input(
    snapshot: &Snapshot,
    terms: &book::OptionTerms,
    spot: f64,
    volatility: f64,
    date: NaiveDate,
) -> Result<OptionInput, OptionInputError> {
    let kind = match terms.right {
        Right::Call => OptionKind::Call,
        Right::Put => OptionKind::Put,
    };
    let market = &snapshot.settings.greeks;
    let years = (terms.expiry - date).num_days() as f64 / 365.0;
    OptionInput::new(kind, spot, terms.strike, years, market.rate, market.dividend_yield, volatility)
}
