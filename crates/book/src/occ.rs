//! Option symbols as the Options Clearing Corporation writes them: `NVDA251017C00800000`.

use chrono::NaiveDate;

use crate::model::{OptionTerms, Right};

/// An option symbol taken apart: root, expiry, right, strike.
#[derive(Debug, Clone, PartialEq)]
pub struct OccSymbol {
    /// 1 to 6 of `A-Z 0-9 .`
    pub root: String,
    /// `YYMMDD`, in this century
    pub expiry: NaiveDate,
    /// `C` or `P`
    pub right: Right,
    /// The strike, in thousandths in the symbol.
    pub strike: f64,
}

impl OccSymbol {
    /// Takes a symbol apart; `None` if it does not follow the pattern to the letter.
    ///
    /// The root has 1 to 6 of `A-Z 0-9 .` and may be filled up with spaces to 6; then follow the expiry as `YYMMDD`,
    /// `C` or `P`, and eight digits of strike x 1000. A date that does not exist or a strike of 0 is no option symbol.
    #[must_use]
    pub fn parse(symbol: &str) -> Option<Self> {
        let bytes = symbol.as_bytes();
        if !symbol.is_ascii() || !(16..=21).contains(&bytes.len()) {
            return None;
        }
        let (padded, terms) = bytes.split_at(bytes.len() - 15);
        let root = padded.trim_ascii_end();
        let root_char = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'.';
        if root.is_empty() || !root.iter().all(root_char) {
            return None;
        }
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0_u32, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
        };
        let (year, month, day) = (number(&terms[..2])?, number(&terms[2..4])?, number(&terms[4..6])?);
        let right = match terms[6] {
            b'C' => Right::Call,
            b'P' => Right::Put,
            _ => return None,
        };
        let strike = number(&terms[7..])?;
        let expiry = NaiveDate::from_ymd_opt(2000 + i32::try_from(year).ok()?, month, day)?;
        (strike > 0).then(|| Self {
            root: String::from_utf8_lossy(root).into_owned(),
            expiry,
            right,
            strike: f64::from(strike) / 1000.0,
        })
    }
}

impl From<OccSymbol> for OptionTerms {
    fn from(symbol: OccSymbol) -> Self {
        Self { underlying: symbol.root, right: symbol.right, strike: symbol.strike, expiry: symbol.expiry }
    }
}

impl std::fmt::Display for OccSymbol {
    /// Without padding: `NVDA251017C00800000`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let right = if self.right == Right::Call { 'C' } else { 'P' };
        write!(f, "{}{}{right}{:08.0}", self.root, self.expiry.format("%y%m%d"), self.strike * 1000.0)
    }
}

/// The terms that an option symbol spells out; `None` if it is not one.
///
/// ```
/// let terms = book::parse_occ("NVDA251017C00800000").unwrap();
/// assert_eq!((terms.underlying.as_str(), terms.strike), ("NVDA", 800.0));
/// assert!(book::parse_occ("A16Z_VC_FUND").is_none());
/// ```
#[must_use]
pub fn parse_occ(symbol: &str) -> Option<OptionTerms> {
    OccSymbol::parse(symbol).map(OptionTerms::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_options_are_taken_apart() {
        for (symbol, root, date, right, strike) in [
            ("SPY250919C00460000", "SPY", (2025, 9, 19), Right::Call, 460.0),
            ("AAPL  250815P00200000", "AAPL", (2025, 8, 15), Right::Put, 200.0),
            ("F240229C00000500", "F", (2024, 2, 29), Right::Call, 0.5),
            ("BRK.B 261218P00440125", "BRK.B", (2026, 12, 18), Right::Put, 440.125),
            ("AAPL1 250815P99999999", "AAPL1", (2025, 8, 15), Right::Put, 99_999.999),
        ] {
            let parsed = OccSymbol::parse(symbol).unwrap();
            let expiry = NaiveDate::from_ymd_opt(date.0, date.1, date.2).unwrap();
            assert_eq!(parsed, OccSymbol { root: root.to_owned(), expiry, right, strike }, "{symbol}");
            assert_eq!(OccSymbol::parse(&parsed.to_string()).unwrap(), parsed);
        }
    }

    #[test]
    fn names_that_only_look_like_options_are_not() {
        for symbol in [
            "A16Z_VC_FUND",
            "BX_PRIVATE_EQUITY",
            "RENTAL_CONDO",
            "TWO_SIGMA_FUND",
            "CRYPTO_BTC_ETH",
            "TREASURY_BILLS",
            "",
            "SPY",
            "SPY250230C00460000",
            "SPY250919X00460000",
            "SPY250919c00460000",
            "spy250919C00460000",
            "SPY250919C0046000",
            "SPY250919C00000000",
            "250919C00460000",
            "      250919C00460000",
            " SPY  250919C00460000",
            "TOOLONG250919C00460000",
            "S Y250919C00460000",
            "SPÿ250919C00460000",
            "SPY250919C0046000٣",
        ] {
            assert_eq!(OccSymbol::parse(symbol), None, "{symbol:?} was taken for an option");
        }
    }
}
