//! One portfolio as the jobs see it: its positions, prices and options, over what the run shares.

use book::{Class, Lot, OptionTerms, Portfolio, Right};
use domain::record::{JobError, Quality};
use domain::words::{ErrorCategory, QualityFlag};
use quant::black_scholes::{Greeks, OptionInput, OptionKind, price_and_greeks};

use crate::results::{PriceSource, Results};
use crate::shared::Shared;

/// Days of a year in the option model.
const DAYS_PER_YEAR: f64 = 365.0;

/// The lots of one symbol with the same terms.
#[derive(Debug)]
pub struct Position<'a> {
    /// The symbol.
    pub symbol: &'a str,
    /// What it is.
    pub class: Class,
    /// Option terms.
    pub option: Option<&'a OptionTerms>,
    /// Units of the underlying for each unit of quantity.
    pub multiplier: f64,
    /// The lots, in the order of the file.
    pub lots: Vec<&'a Lot>,
    /// Its place among the symbols with prices.
    pub place: Option<usize>,
    /// The place of its underlying.
    pub underlying: Option<usize>,
}

impl Position<'_> {
    /// Signed quantity of all lots.
    #[must_use]
    pub fn quantity(&self) -> f64 {
        self.lots.iter().map(|lot| lot.quantity).sum()
    }

    /// The first mark of the lots.
    #[must_use]
    pub fn mark(&self) -> Option<f64> {
        self.lots.iter().find_map(|lot| lot.mark)
    }
}

/// A portfolio, what earlier jobs made of it, and what the run shares.
#[derive(Debug)]
pub struct OnPortfolio<'a> {
    /// What the run shares.
    pub shared: &'a Shared,
    /// The portfolio as it is pinned.
    pub portfolio: &'a Portfolio,
    /// Its positions, in the order of the file.
    pub positions: Vec<Position<'a>>,
    /// What earlier jobs made.
    pub earlier: &'a Results,
}

/// How an option stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptionState {
    /// Past its expiry.
    Expired,
    /// Its underlying has no price.
    NoUnderlyingPrice,
    /// Valued by the model.
    Valued {
        /// Of the model, per unit, long.
        greeks: Greeks,
        /// Price of the underlying.
        underlying_price: f64,
    },
}

impl<'a> OnPortfolio<'a> {
    /// The portfolio at this place.
    #[must_use]
    pub fn new(shared: &'a Shared, at: usize, earlier: &'a Results) -> Self {
        let portfolio = &shared.snapshot.portfolios[at];
        let mut positions: Vec<Position<'a>> = Vec::new();
        let mut by_symbol: std::collections::HashMap<&str, Vec<usize>> = std::collections::HashMap::new();
        for lot in &portfolio.positions {
            let same = by_symbol.entry(lot.symbol.as_str()).or_default();
            let fits = |position: &Position<'_>| {
                position.class == lot.class
                    && position.multiplier.total_cmp(&lot.multiplier).is_eq()
                    && position.option == lot.option.as_ref()
            };
            if let Some(at) = same.iter().copied().find(|at| fits(&positions[*at])) {
                positions[at].lots.push(lot);
                continue;
            }
            same.push(positions.len());
            let priced = matches!(lot.class, Class::Public | Class::Option);
            positions.push(Position {
                symbol: &lot.symbol,
                class: lot.class,
                option: lot.option.as_ref(),
                multiplier: lot.multiplier,
                lots: vec![lot],
                place: if priced { shared.snapshot.place(&lot.symbol) } else { None },
                underlying: lot.option.as_ref().and_then(|terms| shared.snapshot.place(&terms.underlying)),
            });
        }
        Self { shared, portfolio, positions, earlier }
    }

    /// The equity that some jobs cannot do without.
    ///
    /// # Errors
    /// A permanent error that says so.
    pub fn equity(&self) -> Result<f64, JobError> {
        match self.portfolio.equity {
            Some(equity) if equity > 0.0 => Ok(equity),
            Some(equity) => Err(JobError::new(
                ErrorCategory::Permanent,
                format!("the equity of portfolio {} is {equity}: a positive net asset value is needed in the column equity of portfolios.csv", self.portfolio.id),
            )),
            None => Err(JobError::new(
                ErrorCategory::Permanent,
                format!("the equity of portfolio {} is missing: fill in the column equity of portfolios.csv", self.portfolio.id),
            )),
        }
    }

    /// An option by the model, as of the run's date. None for what is no option.
    #[must_use]
    pub fn option_state(&self, position: &Position<'_>) -> Option<OptionState> {
        let terms = position.option?;
        let as_of = self.shared.snapshot.as_of;
        if terms.expiry < as_of {
            return Some(OptionState::Expired);
        }
        let Some(underlying_price) = position.underlying.and_then(|at| self.shared.recent_close(at)) else {
            return Some(OptionState::NoUnderlyingPrice);
        };
        let settings = &self.shared.snapshot.settings.greeks;
        let input = OptionInput {
            kind: match terms.right {
                Right::Call => OptionKind::Call,
                Right::Put => OptionKind::Put,
            },
            spot: underlying_price,
            strike: terms.strike,
            years: (terms.expiry - as_of).num_days() as f64 / DAYS_PER_YEAR,
            rate: settings.rate,
            dividend_yield: settings.dividend_yield,
            volatility: self.volatility(position),
        };
        Some(if input.validate().is_ok() {
            OptionState::Valued { greeks: price_and_greeks(&input), underlying_price }
        } else {
            OptionState::NoUnderlyingPrice
        })
    }

    /// The volatility of an option: the first that its lots give, else the setting.
    #[must_use]
    pub fn volatility(&self, position: &Position<'_>) -> f64 {
        position
            .lots
            .iter()
            .find_map(|lot| lot.implied_vol)
            .unwrap_or(self.shared.snapshot.settings.greeks.default_volatility)
    }

    /// The price of a position, and where it comes from.
    #[must_use]
    pub fn price(&self, position: &Position<'_>) -> (Option<f64>, PriceSource) {
        let option = self.option_state(position);
        if option == Some(OptionState::Expired) {
            return (Some(0.0), PriceSource::Expired);
        }
        if let Some(close) = position.place.and_then(|at| self.shared.close(at)) {
            return (Some(close), PriceSource::Close);
        }
        if let Some(mark) = position.mark() {
            return (Some(mark), PriceSource::Mark);
        }
        if let Some(stale) = position.place.and_then(|at| self.shared.recent_close(at)) {
            return (Some(stale), PriceSource::Stale);
        }
        match option {
            Some(OptionState::Valued { greeks, .. }) => (Some(greeks.price), PriceSource::Model),
            _ => (None, PriceSource::None),
        }
    }

    /// Signed market value of the position at this place, as job 2 stored it.
    #[must_use]
    pub fn value(&self, at: usize) -> Option<f64> {
        self.earlier.positions.as_ref()?.get(at)?.market_value
    }

    /// Signed dollars with which a position takes part in risk, and the symbol whose returns it follows: its market
    /// value, or for an option its delta-adjusted exposure on the underlying, if the Greeks were calculated.
    #[must_use]
    pub fn risk_exposure(&self, at: usize) -> Option<(f64, usize)> {
        let position = &self.positions[at];
        match position.class {
            Class::Public => Some((self.value(at)?, position.place?)),
            Class::Option => {
                self.earlier.greeks.as_ref()?;
                match self.option_state(position)? {
                    OptionState::Expired => Some((0.0, position.underlying?)),
                    OptionState::NoUnderlyingPrice => None,
                    OptionState::Valued { greeks, underlying_price } => Some((
                        position.quantity() * position.multiplier * greeks.delta * underlying_price,
                        position.underlying?,
                    )),
                }
            }
            Class::Private | Class::Cash => None,
        }
    }

    /// The quality over a window of returns: `used` are the places of positions that went in, `total` how many could
    /// have. Full when every one of them has the whole window.
    #[must_use]
    pub fn quality(&self, used: &[usize], total: usize, window: u32, left_out: Vec<String>, notes: Vec<String>) -> Quality {
        let days = used.iter().map(|symbol| self.shared.observed(*symbol, window)).min().unwrap_or(0);
        let flag = if used.is_empty() && total > 0 {
            QualityFlag::Failed
        } else if used.len() < total || (days < window && total > 0) || !notes.is_empty() {
            QualityFlag::Limited
        } else {
            QualityFlag::Full
        };
        let mut symbols_missing = left_out;
        symbols_missing.sort_unstable();
        symbols_missing.dedup();
        symbols_missing.truncate(50);
        let mut notes = notes;
        notes.truncate(20);
        Quality {
            flag,
            data_days: if total == 0 { window } else { days },
            required_days: window,
            positions_processed: count(used.len()),
            positions_total: count(total),
            symbols_missing,
            notes,
        }
    }
}

/// A count as records hold it.
#[must_use]
pub fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Pairs as the brief form of a record.
pub fn brief<const N: usize>(pairs: [(&str, serde_json::Value); N]) -> serde_json::Map<String, serde_json::Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
