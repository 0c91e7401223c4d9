//! The prices of the sample: a factor model with a seed for each symbol, so that the same sessions give the same closes.

use std::fmt::Write as _;

use chrono::NaiveDate;

use super::{DELISTED, DELISTED_BEFORE_END, LISTED_LATE};

/// The first session of the symbol that listed late, as a place in the history.
const fn listing(sessions: usize) -> usize {
    sessions / 2
}

/// The sector that positions in a symbol are of.
pub(super) fn sector_of(symbol: &str) -> &'static str {
    if symbol == VIX {
        return "Volatility";
    }
    MODELS.iter().find(|model| model.symbol == symbol).map_or("", |model| model.sector)
}

/// How the price of a symbol moves.
struct Model {
    symbol: &'static str,
    sector: &'static str,
    /// The close of the last session.
    level: f64,
    /// Daily volatility of what the factors do not explain.
    own: f64,
    /// What it makes of each factor, in the order of [`FACTORS`].
    loadings: [f64; FACTORS.len()],
}

/// Daily volatility and drift of the factors behind the prices: market, value, momentum, quality, size, low
/// volatility, rates.
const FACTORS: [(f64, f64); 7] = [
    (0.0095, 0.00045),
    (0.0042, 0.0),
    (0.0050, 0.0001),
    (0.0024, 0.0001),
    (0.0055, -0.0001),
    (0.0030, 0.0),
    (0.0085, 0.0),
];

const fn model(symbol: &'static str, sector: &'static str, level: f64, own: f64, loadings: [f64; 7]) -> Model {
    Model { symbol, sector, level, own, loadings }
}

#[rustfmt::skip]
const MODELS: [Model; 46] = [
    // The proxies of the eight factors.
    model("SPY", "Index", 541.20, 0.0006, [1.00, 0.00, 0.02, 0.02, 0.00, 0.02, 0.00]),
    model("VTV", "Index", 163.40, 0.0014, [0.84, 0.75, -0.05, 0.10, 0.10, 0.25, 0.00]),
    model("VUG", "Index", 378.50, 0.0015, [1.14, -0.70, 0.15, 0.05, -0.10, -0.20, 0.03]),
    model("MTUM", "Index", 194.10, 0.0025, [1.05, -0.15, 1.00, 0.10, 0.05, -0.10, 0.00]),
    model("QUAL", "Index", 168.30, 0.0014, [0.99, -0.10, 0.10, 0.90, -0.05, 0.05, 0.00]),
    model("IWM", "Index", 205.70, 0.0026, [1.15, 0.30, 0.00, -0.50, 1.10, -0.20, 0.04]),
    model("USMV", "Index", 84.60, 0.0015, [0.68, 0.15, 0.00, 0.10, -0.10, 0.95, 0.06]),
    model("TLT", "Bonds", 92.80, 0.0014, [-0.08, -0.02, 0.00, 0.03, 0.00, 0.05, 1.00]),
    // Funds.
    model("QQQ", "Index", 468.90, 0.0020, [1.16, -0.75, 0.20, 0.10, -0.10, -0.25, 0.02]),
    model("VTI", "Index", 266.30, 0.0006, [1.01, 0.02, 0.01, 0.00, 0.12, 0.00, 0.00]),
    model("FCNTX", "Funds", 16.35, 0.0018, [1.06, -0.45, 0.35, 0.15, 0.00, -0.10, 0.00]),
    model("FMAGX", "Funds", 15.80, 0.0018, [1.04, -0.40, 0.30, 0.20, 0.00, -0.10, 0.00]),
    model("VTIAX", "Funds", 31.45, 0.0042, [0.78, 0.35, -0.05, 0.00, 0.20, 0.05, 0.02]),
    model("FXNAX", "Bonds", 19.70, 0.0010, [0.02, 0.00, 0.00, 0.00, 0.00, 0.02, 0.35]),
    model("BND", "Bonds", 73.10, 0.0009, [0.02, 0.00, 0.00, 0.00, 0.00, 0.02, 0.36]),
    model("VNQ", "Real Estate", 91.20, 0.0060, [0.88, 0.35, -0.10, -0.10, 0.20, 0.40, 0.25]),
    model("GLD", "Commodities", 231.60, 0.0085, [0.05, 0.00, 0.10, 0.00, 0.00, 0.10, 0.22]),
    model("DJP", "Commodities", 31.30, 0.0090, [0.25, 0.30, 0.00, -0.10, 0.05, 0.00, -0.12]),
    // Shares.
    model("AAPL", "Technology", 229.80, 0.0105, [1.12, -0.60, 0.00, 0.60, -0.20, 0.00, 0.00]),
    model("MSFT", "Technology", 428.60, 0.0095, [1.05, -0.70, 0.15, 0.70, -0.30, 0.05, 0.00]),
    model("AMZN", "Consumer Discretionary", 184.30, 0.0130, [1.22, -0.90, 0.15, 0.00, -0.10, -0.40, 0.00]),
    model("GOOGL", "Communication Services", 168.90, 0.0125, [1.10, -0.55, 0.10, 0.50, -0.20, -0.20, 0.00]),
    model("META", "Communication Services", 538.40, 0.0165, [1.25, -0.80, 0.45, 0.45, -0.10, -0.40, 0.00]),
    model("NVDA", "Technology", 742.10, 0.0215, [1.75, -1.20, 1.10, 0.50, 0.00, -0.90, 0.00]),
    model("AMD", "Technology", 156.20, 0.0230, [1.70, -1.05, 0.70, 0.10, 0.20, -0.90, 0.00]),
    model("TSLA", "Consumer Discretionary", 248.70, 0.0290, [1.65, -1.00, 0.20, -0.60, 0.40, -1.00, 0.05]),
    model("BRK.B", "Financials", 447.50, 0.0070, [0.78, 0.65, 0.00, 0.30, -0.20, 0.45, -0.05]),
    model("JPM", "Financials", 201.30, 0.0105, [1.05, 0.95, 0.15, 0.10, 0.00, 0.00, -0.18]),
    model("C", "Financials", 62.40, 0.0135, [1.25, 1.20, 0.05, -0.40, 0.30, -0.20, -0.20]),
    model("V", "Financials", 276.90, 0.0085, [0.90, 0.00, 0.00, 0.70, -0.20, 0.35, 0.00]),
    model("JNJ", "Health Care", 157.60, 0.0085, [0.48, 0.45, -0.10, 0.50, -0.20, 0.85, 0.05]),
    model("UNH", "Health Care", 551.80, 0.0125, [0.62, 0.25, 0.00, 0.40, -0.20, 0.60, 0.00]),
    model("HD", "Consumer Discretionary", 362.20, 0.0105, [1.00, 0.10, -0.05, 0.55, 0.10, 0.15, 0.10]),
    model("PG", "Consumer Staples", 168.10, 0.0080, [0.42, 0.30, -0.05, 0.55, -0.25, 0.95, 0.06]),
    model("NFLX", "Communication Services", 512.70, 0.0195, [1.20, -0.90, 0.50, 0.10, 0.00, -0.30, 0.00]),
    model("SHOP", "Technology", 188.40, 0.0270, [1.80, -1.20, 0.40, -0.50, 0.60, -0.80, 0.05]),
    model("ZM", "Technology", 68.20, 0.0190, [0.95, -0.60, -0.30, 0.10, 0.40, -0.10, 0.05]),
    model(LISTED_LATE, "Consumer Discretionary", 36.90, 0.0380, [1.70, -0.40, -0.50, -1.10, 1.40, -0.90, 0.10]),
    model("ROKU", "Communication Services", 63.50, 0.0310, [1.75, -0.90, -0.20, -0.80, 1.10, -0.80, 0.08]),
    model("XOM", "Energy", 113.80, 0.0130, [0.75, 0.95, 0.10, 0.10, 0.10, 0.20, -0.12]),
    model("F", "Consumer Discretionary", 11.65, 0.0170, [1.30, 0.95, -0.20, -0.40, 0.60, -0.10, -0.05]),
    model("GE", "Industrials", 151.90, 0.0140, [1.15, 0.40, 0.60, 0.10, 0.10, -0.10, 0.00]),
    model(DELISTED, "Technology", 156.90, 0.0120, [0.90, -0.40, 0.20, 0.00, 0.40, 0.00, 0.00]),
    // Traded in no portfolio; they give the market more than the demo holds.
    model("KO", "Consumer Staples", 62.70, 0.0075, [0.45, 0.35, -0.05, 0.40, -0.25, 0.95, 0.05]),
    model("BA", "Industrials", 181.30, 0.0190, [1.25, 0.50, -0.10, -0.50, 0.40, -0.30, 0.00]),
    model("INTC", "Technology", 31.20, 0.0210, [1.30, -0.10, -0.60, -0.30, 0.20, -0.40, 0.00]),
];

const VIX: &str = "VIX";
const VIX_LEVEL: f64 = 16.9;

/// Closes that the source did not deliver: symbol, sessions before the last night. The first falls into the nights.
#[rustfmt::skip]
const GAPS: [(&str, usize); 9] =
    [("DJP", 3), ("DJP", 33), ("DJP", 71), ("ZM", 19), ("ZM", 52), ("ROKU", 24), ("ROKU", 88), ("DJP", 140), ("BA", 61)];

pub(super) fn prices_csv(sessions: &[NaiveDate]) -> String {
    let count = sessions.len();
    let factors = factor_returns(count);
    let mut columns: Vec<(&str, Vec<f64>)> =
        MODELS.iter().map(|model| (model.symbol, closes(model, &factors, count))).collect();
    columns.push((VIX, vix(&factors, count)));
    let mut csv = "date,symbol,close\n".to_owned();
    for (at, date) in sessions.iter().enumerate() {
        let before_end = count - 1 - at;
        for (symbol, back) in &columns {
            let not_yet = *symbol == LISTED_LATE && at < listing(count);
            let no_more = *symbol == DELISTED && before_end < DELISTED_BEFORE_END;
            if not_yet || no_more || GAPS.contains(&(*symbol, before_end)) {
                continue;
            }
            writeln!(csv, "{date},{symbol},{:.2}", back[before_end]).unwrap_or_default();
        }
    }
    csv
}

/// Returns of the factors, newest first.
fn factor_returns(count: usize) -> Vec<[f64; FACTORS.len()]> {
    let mut streams: Vec<Stream> = (0..FACTORS.len()).map(|factor| Stream::of(&format!("factor {factor}"))).collect();
    (0..count)
        .map(|_| {
            let mut day = [0.0; FACTORS.len()];
            for ((value, stream), (volatility, drift)) in day.iter_mut().zip(&mut streams).zip(FACTORS) {
                *value = drift + volatility * stream.fat_tailed();
            }
            day
        })
        .collect()
}

/// Closes of a symbol, newest first.
fn closes(model: &Model, factors: &[[f64; FACTORS.len()]], count: usize) -> Vec<f64> {
    let mut own = Stream::of(model.symbol);
    let mut close = model.level;
    let mut back = Vec::with_capacity(count);
    for day in factors.iter().take(count) {
        back.push(close);
        let explained: f64 = day.iter().zip(model.loadings).map(|(factor, loading)| factor * loading).sum();
        let move_of_day = (explained + model.own * own.fat_tailed()).clamp(-0.35, 0.35);
        close /= 1.0 + move_of_day;
    }
    back
}

/// Levels of the volatility index, newest first: it falls when the market rises, and comes back to its usual level.
fn vix(factors: &[[f64; FACTORS.len()]], count: usize) -> Vec<f64> {
    let mut own = Stream::of(VIX);
    let mut level = VIX_LEVEL;
    let mut back = Vec::with_capacity(count);
    for day in factors.iter().take(count) {
        back.push(level);
        let pull = 0.08 * (VIX_LEVEL - level) / VIX_LEVEL;
        let move_back = 4.5 * day[0] + pull + 0.035 * own.fat_tailed();
        level = (level * (1.0 + move_back.clamp(-0.3, 0.4))).clamp(10.5, 60.0);
    }
    back
}

/// A stream of random numbers, always the same for the same name: SplitMix64.
struct Stream(u64);

impl Stream {
    fn of(name: &str) -> Self {
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
    }

    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal to a good approximation, as a sum of twelve uniform numbers: no logarithm whose last bit differs.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Student's t with five degrees of freedom, of variance 1: most days are quiet, a few are not.
    fn fat_tailed(&mut self) -> f64 {
        const DEGREES: u32 = 5;
        let normal = self.normal();
        let spread: f64 = (0..DEGREES).map(|_| self.normal().powi(2)).sum::<f64>() / f64::from(DEGREES);
        let scale = ((f64::from(DEGREES) - 2.0) / f64::from(DEGREES)).sqrt();
        (scale * normal / spread.sqrt().max(0.1)).clamp(-7.0, 7.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_market_explains_what_it_should() {
        let factors = factor_returns(250);
        let returns = |symbol: &str| -> Vec<f64> {
            let model = MODELS.iter().find(|model| model.symbol == symbol).unwrap();
            closes(model, &factors, 250).windows(2).map(|pair| pair[0] / pair[1] - 1.0).collect()
        };
        let market = returns("SPY");
        let beta = |symbol: &str| {
            let own = returns(symbol);
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let (mx, my) = (mean(&market), mean(&own));
            let covariance: f64 = market.iter().zip(&own).map(|(x, y)| (x - mx) * (y - my)).sum();
            covariance / market.iter().map(|x| (x - mx).powi(2)).sum::<f64>()
        };
        let (steady, market, wild) = (beta("PG"), beta("VTI"), beta("NVDA"));
        assert!(steady < 0.8 && (market - 1.0).abs() < 0.1 && wild > 1.3, "{steady} {market} {wild}");
    }
}
