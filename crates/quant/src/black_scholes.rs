//! Price and Greeks of European options by Black, Scholes and Merton.
//!
//! Source: Black and Scholes (1973), Merton (1973); with spot `S`, strike `K`, time `T` in years, continuous rate `r`,
//! continuous dividend yield `q`, volatility `s`:
//!
//! ```text
//! d1 = (ln(S/K) + (r - q + s^2/2) T) / (s sqrt T),  d2 = d1 - s sqrt T
//! price = w (S e^(-qT) N(w d1) - K e^(-rT) N(w d2)),  w = 1 for a call, -1 for a put
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// Forward and strike closer than this (relative) are at the money where nothing is random (42 epsilon, as `QuantLib`).
const AT_THE_MONEY: f64 = 42.0 * f64::EPSILON;

const DAYS_PER_YEAR: f64 = 365.0;

/// Which right the option gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionKind {
    /// The right to buy.
    Call,
    /// The right to sell.
    Put,
}

/// What a European option is worth depends on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptionInput {
    /// Call or put.
    pub kind: OptionKind,
    /// Price of the underlying, above zero.
    pub spot: f64,
    /// Strike, above zero.
    pub strike: f64,
    /// Time to expiry in years: calendar days / 365; 0 on the day of expiry.
    pub years: f64,
    /// Continuous annual interest rate, a decimal; may be negative.
    pub rate: f64,
    /// Continuous annual dividend yield, a decimal.
    pub dividend_yield: f64,
    /// Annual volatility, a decimal; 0 is the deterministic forward.
    pub volatility: f64,
}

/// Why an option cannot be valued: the field and what was found there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptionInputError {
    /// A number is NaN or infinite.
    NotFinite {
        /// The field of [`OptionInput`].
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// Spot or strike is zero or negative.
    NotPositive {
        /// The field of [`OptionInput`].
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// Time or volatility is negative.
    Negative {
        /// The field of [`OptionInput`].
        field: &'static str,
        /// Its value.
        value: f64,
    },
}

impl fmt::Display for OptionInputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { field, value } => write!(f, "option {field} is {value}, but must be a finite number"),
            Self::NotPositive { field, value } => write!(f, "option {field} is {value}, but must be above zero"),
            Self::Negative { field, value } => write!(f, "option {field} is {value}, but must not be negative"),
        }
    }
}

impl std::error::Error for OptionInputError {}

impl OptionInput {
    /// A validated input; see the fields for units.
    ///
    /// # Errors
    ///
    /// [`OptionInputError`] for the first field that cannot be used.
    pub fn new(
        kind: OptionKind,
        spot: f64,
        strike: f64,
        years: f64,
        rate: f64,
        dividend_yield: f64,
        volatility: f64,
    ) -> Result<Self, OptionInputError> {
        let input = Self { kind, spot, strike, years, rate, dividend_yield, volatility };
        input.validate()?;
        Ok(input)
    }

    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// [`OptionInputError`] when a number is not finite, spot or strike is not above zero, or time or volatility is
    /// negative.
    pub fn validate(&self) -> Result<(), OptionInputError> {
        let fields = [
            ("spot", self.spot),
            ("strike", self.strike),
            ("years", self.years),
            ("rate", self.rate),
            ("dividend_yield", self.dividend_yield),
            ("volatility", self.volatility),
        ];
        if let Some(&(field, value)) = fields.iter().find(|(_, value)| !value.is_finite()) {
            return Err(OptionInputError::NotFinite { field, value });
        }
        if let Some(&(field, value)) = fields[..2].iter().find(|(_, value)| *value <= 0.0) {
            return Err(OptionInputError::NotPositive { field, value });
        }
        if let Some(&(field, value)) = [fields[2], fields[5]].iter().find(|(_, value)| *value < 0.0) {
            return Err(OptionInputError::Negative { field, value });
        }
        Ok(())
    }
}

/// Price and sensitivities of one unit of the underlying, long: no multiplier, no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Greeks {
    /// Value of the option.
    pub price: f64,
    /// Change of the price per unit of the spot.
    pub delta: f64,
    /// Change of delta per unit of the spot.
    pub gamma: f64,
    /// Change of the price over one calendar day (dV/dt / 365).
    pub theta: f64,
    /// Change of the price per volatility point (dV/ds / 100).
    pub vega: f64,
    /// Change of the price per 1 % of the rate (dV/dr / 100).
    pub rho: f64,
}

/// Price and Greeks of a European option.
///
/// On the day of expiry (`years` 0): the intrinsic value, delta 1, -1 or 0 (half of that exactly at the money), all
/// other Greeks 0. Without volatility: the deterministic forward, gamma and vega 0, half weight at the money of the
/// forward. An input that [`OptionInput::validate`] refuses gives NaN in every field.
///
/// ```
/// use quant::black_scholes::{OptionInput, OptionKind, price_and_greeks};
/// let input = OptionInput::new(OptionKind::Call, 100.0, 100.0, 1.0, 0.05, 0.0, 0.25)?;
/// assert!((price_and_greeks(&input).price - 12.335999).abs() < 1e-6);
/// # Ok::<(), quant::black_scholes::OptionInputError>(())
/// ```
#[must_use]
pub fn price_and_greeks(input: &OptionInput) -> Greeks {
    let &OptionInput { kind, spot, strike, years, rate, dividend_yield, volatility } = input;
    if input.validate().is_err() {
        let nan = f64::NAN;
        return Greeks { price: nan, delta: nan, gamma: nan, theta: nan, vega: nan, rho: nan };
    }
    let sign = match kind {
        OptionKind::Call => 1.0,
        OptionKind::Put => -1.0,
    };
    if years == 0.0 {
        let price = (sign * (spot - strike)).max(0.0);
        let weight = if spot == strike { 0.5 } else { f64::from(price > 0.0) };
        return Greeks { price, delta: signed(sign, weight), gamma: 0.0, theta: 0.0, vega: 0.0, rho: 0.0 };
    }

    let root = years.sqrt();
    let deviation = volatility * root;
    let spot_discount = libm::exp(-dividend_yield * years);
    let strike_discount = libm::exp(-rate * years);
    let (spot_value, strike_value) = (spot * spot_discount, strike * strike_discount);

    // N(w d1), N(w d2) and the density n(d1); a deterministic forward has neither spread nor density.
    let (spot_weight, strike_weight, density) = if deviation > 0.0 {
        let drift = (rate - dividend_yield) * years;
        let d1 = (libm::log(spot / strike) + drift) / deviation + 0.5 * deviation;
        let d2 = d1 - deviation;
        (normal(sign * d1), normal(sign * d2), libm::exp(-0.5 * d1 * d1) / (2.0 * std::f64::consts::PI).sqrt())
    } else {
        let gap = spot_value - strike_value;
        let weight =
            if gap.abs() <= AT_THE_MONEY * spot_value.max(strike_value) { 0.5 } else { f64::from(sign * gap > 0.0) };
        (weight, weight, 0.0)
    };

    // Rounding may leave a worthless option below zero; a NaN from an overflow must stay visible.
    let difference = sign * (spot_value * spot_weight - strike_value * strike_weight);
    let price = if difference < 0.0 { 0.0 } else { difference };
    let vega = spot_value * density * root;
    let carry = dividend_yield * spot_value * spot_weight - rate * strike_value * strike_weight;
    let decay = spot_value * density * volatility / (2.0 * root);
    Greeks {
        price,
        delta: signed(sign, spot_discount * spot_weight),
        gamma: if density > 0.0 { spot_discount * density / (spot * deviation) } else { 0.0 },
        theta: (signed(sign, carry) - decay) / DAYS_PER_YEAR,
        vega: vega / 100.0,
        rho: signed(sign, strike_value * years * strike_weight) / 100.0,
    }
}

/// Values one option at many spots: what does not depend on the spot is computed once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Repricer {
    input: OptionInput,
    drift: f64,
    deviation: f64,
    spot_discount: f64,
    strike_value: f64,
}

impl Repricer {
    /// For the option at another time to expiry, in years.
    pub(crate) fn new(input: &OptionInput, years: f64) -> Self {
        Self {
            input: OptionInput { years, ..*input },
            drift: (input.rate - input.dividend_yield) * years,
            deviation: input.volatility * years.sqrt(),
            spot_discount: libm::exp(-input.dividend_yield * years),
            strike_value: input.strike * libm::exp(-input.rate * years),
        }
    }

    /// The price at this spot, to the bit that of [`price_and_greeks`]; NaN for a spot that is not above zero.
    pub(crate) fn price(&self, spot: f64) -> f64 {
        if self.input.years == 0.0 || self.deviation <= 0.0 || !spot.is_finite() || spot <= 0.0 {
            return price_and_greeks(&OptionInput { spot, ..self.input }).price;
        }
        let sign = if self.input.kind == OptionKind::Call { 1.0 } else { -1.0 };
        let d1 = (libm::log(spot / self.input.strike) + self.drift) / self.deviation + 0.5 * self.deviation;
        let d2 = d1 - self.deviation;
        let spot_value = spot * self.spot_discount;
        let difference = sign * (spot_value * normal(sign * d1) - self.strike_value * normal(sign * d2));
        if difference < 0.0 { 0.0 } else { difference }
    }
}

/// `sign * value` without a negative zero.
fn signed(sign: f64, value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { sign * value }
}

/// The standard normal distribution function, with full relative accuracy far out in the lower tail.
fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_tail_keeps_its_digits() {
        // QuantLib 1.44, a call at a fifth of its strike.
        let input = OptionInput::new(OptionKind::Call, 75.8, 394.13, 173.0 / 365.0, 0.0386, 0.0123, 0.1892).unwrap();
        let g = price_and_greeks(&input);
        assert!((g.price / 3.027497029350722e-36 - 1.0).abs() < 1e-10);
        assert!((g.delta / 3.919436446048393e-36 - 1.0).abs() < 1e-10);
    }

    #[test]
    fn unusable_inputs_are_named() {
        let new = |spot, strike, years, volatility| {
            OptionInput::new(OptionKind::Put, spot, strike, years, 0.05, 0.0, volatility).unwrap_err()
        };
        assert!(matches!(new(f64::NAN, 1.0, 1.0, 0.2), OptionInputError::NotFinite { field: "spot", .. }));
        assert!(matches!(new(1.0, 0.0, 1.0, 0.2), OptionInputError::NotPositive { field: "strike", .. }));
        assert!(matches!(new(1.0, 1.0, -0.1, 0.2), OptionInputError::Negative { field: "years", .. }));
        let error = new(1.0, 1.0, 1.0, -0.2);
        assert_eq!(error.to_string(), "option volatility is -0.2, but must not be negative");
    }

    #[test]
    fn an_invalid_input_has_no_price() {
        let input = OptionInput {
            kind: OptionKind::Call,
            spot: -1.0,
            strike: 1.0,
            years: 1.0,
            rate: 0.0,
            dividend_yield: 0.0,
            volatility: 0.2,
        };
        assert!(price_and_greeks(&input).price.is_nan());
    }
}
