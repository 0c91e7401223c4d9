//! A book of any size, always the same: what a run of it costs is measured.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use book::Calendar;
use chrono::{Duration, NaiveDate};

/// Symbols that the portfolios hold.
const SYMBOLS: usize = 2_000;
/// Positions of each portfolio, of which so many are options.
const POSITIONS: usize = 75;
const OPTIONS: usize = 8;
/// The factors, by their names in the settings.
const FACTORS: [(&str, &str); 7] = [
    ("Market", "FMKT"),
    ("Value", "FVAL"),
    ("Growth", "FGRO"),
    ("Momentum", "FMOM"),
    ("Quality", "FQUA"),
    ("Size", "FSIZ"),
    ("Low Volatility", "FLOW"),
];

/// The trading date of the run.
pub(crate) const AS_OF: NaiveDate = match NaiveDate::from_ymd_opt(2026, 11, 24) {
    Some(date) => date,
    None => NaiveDate::MIN,
};

/// Writes a book of so many portfolios of 75 positions over 2,000 symbols, with 253 days of prices.
pub(crate) fn write(folder: &Path, portfolios: usize) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut list = String::from("portfolio_id,name,equity\n");
    let mut positions = String::from("portfolio_id,symbol,quantity,entry_price,entry_date\n");
    for p in 0..portfolios {
        writeln!(list, "p{p:05},Portfolio {p},5000000")?;
        for at in 0..POSITIONS {
            // 67 and 2,000 have no common factor, so that no portfolio holds a symbol twice.
            let symbol = (p * 31 + at * 67) % SYMBOLS;
            let quantity = if at % 5 == 4 { -300 } else { 400 + i64::try_from(at)? };
            if at < OPTIONS {
                writeln!(positions, "p{p:05},{}270115C00105000,{},4,2025-01-02", name(symbol), quantity / 100)?;
            } else {
                writeln!(positions, "p{p:05},{},{quantity},50,2025-01-02", name(symbol))?;
            }
        }
    }
    let sessions = Calendar::Nyse.sessions(AS_OF - Duration::days(372), AS_OF);
    let sessions = sessions.get(sessions.len().saturating_sub(253)..).context("a year has 253 sessions")?;
    let mut prices = String::from("date,symbol,close\n");
    for (day, date) in sessions.iter().enumerate() {
        let names = (0..SYMBOLS).map(name).chain(FACTORS.map(|(_, symbol)| symbol.to_owned()));
        for (s, symbol) in names.enumerate() {
            let (day, s) = (day as f64, s as f64);
            let close = 100.0 + 8.0 * (day * 0.041 + s).sin() + 3.0 * (day * (0.3 + (s % 97.0) * 0.011)).cos();
            writeln!(prices, "{date},{symbol},{close:.4}")?;
        }
    }
    let factors: String = FACTORS.map(|(name, symbol)| format!("\"{name}\" = \"{symbol}\"\n")).concat();
    fs::write(folder.join("portfolios.csv"), list)?;
    fs::write(folder.join("positions.csv"), positions)?;
    fs::write(folder.join("prices.csv"), prices)?;
    fs::write(folder.join("nightbook.toml"), format!("[factors]\n{factors}"))?;
    Ok(())
}

/// Four letters, so that the symbols of options are well formed.
fn name(symbol: usize) -> String {
    let letter = |n: usize| char::from(b'A' + u8::try_from(n % 26).unwrap_or(0));
    [letter(symbol / 676 + 16), letter(symbol / 26), letter(symbol), 'X'].iter().collect()
}
