//! The sample book: three portfolios, 75 positions, and the ten nights that `nightbook demo` runs.
//!
//! Pure and deterministic: the caller gives the trading sessions, everything else is made by counting back from the
//! last of them. A price depends on the number of sessions before the last one and on nothing else, so the demo shows the
//! same figures on every day and every machine. Only additions, multiplications, divisions and square roots are used,
//! which are exact to the last bit everywhere.

mod prices;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{Datelike, Months, NaiveDate, Weekday};

use self::prices::{prices_csv, sector_of};

/// Settings of the sample book.
const SAMPLE_SETTINGS: &str = include_str!("sample/nightbook.toml");
/// Files of `nightbook init`.
const INIT_SETTINGS: &str = include_str!("sample/init/nightbook.toml");
const INIT_PORTFOLIOS: &str = include_str!("sample/init/portfolios.csv");
const INIT_POSITIONS: &str = include_str!("sample/init/positions.csv");
const INIT_PRICES: &str = include_str!("sample/init/prices.csv");

/// Nights of the sample, the last sessions of its history.
pub(crate) const NIGHTS: usize = 10;
/// Sessions between the last price of the delisted symbol and the last night.
const DELISTED_BEFORE_END: usize = 40;
/// It begins to trade half-way through the history.
const LISTED_LATE: &str = "PTON";
/// It stops to trade before the first night; the positions in it were sold.
const DELISTED: &str = "SPLK";
/// It is bought on the night of the missing prices, and no price file has it.
const WITHOUT_PRICES: &str = "SNOW";

/// One night of the sample: the book as it was that evening, and what is special about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SampleNight {
    /// The trading date of the run.
    pub as_of: NaiveDate,
    /// The files of the book, by name.
    pub files: BTreeMap<String, String>,
    /// Whether the price source fails once this night; a retry cures it.
    pub price_fault: bool,
    /// Whether the date is run again on the last book, after all nights: a close was corrected.
    pub run_again: bool,
    /// The note with which somebody accepts the warnings of the control `freshness`.
    pub accepted: Option<&'static str>,
    /// What goes on, in one sentence for the reader of the demo.
    pub story: &'static str,
}

/// What is different about a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twist {
    None,
    WrongClose,
    NoEquity,
    LostPortfolio,
    NoPrices,
    PriceFault,
    OneLateClose,
    FatFinger,
    StalePrices,
}

const STORIES: [(Twist, &str); NIGHTS] = [
    (Twist::None, "All is well."),
    (Twist::WrongClose, "All is well, as it seems: a close of AAPL is corrected later."),
    (Twist::NoEquity, "The equity of the individual portfolio is blank: what needs it fails, the rest runs."),
    (Twist::LostPortfolio, "The equity is back, but the hedge fund is gone from the book: its jobs are missing."),
    (Twist::NoPrices, "A new position in SNOW has no prices yet: it is left out, and the data quality says so."),
    (Twist::PriceFault, "The price source fails once; the second attempt succeeds."),
    (
        Twist::OneLateClose,
        "DJP has no close today: it is valued at the last one, marked as stale; somebody accepts the warning.",
    ),
    (
        Twist::FatFinger,
        "A quantity was typed as \"1,5OO\": the first job of the hedge fund fails, the rest is skipped.",
    ),
    (
        Twist::StalePrices,
        "The quantity is corrected, but the closes of the day are missing: the control newest_close fails.",
    ),
    (Twist::None, "All is well."),
];

/// The nights of the sample, oldest first.
///
/// `sessions` are all trading sessions of the history, oldest first, at least 300; the last [`NIGHTS`] of
/// them are the nights. Fewer sessions give a shorter history, and fewer than [`NIGHTS`] fewer nights.
pub(crate) fn sample_nights(sessions: &[NaiveDate]) -> Vec<SampleNight> {
    let Some(&last) = sessions.last() else { return Vec::new() };
    let prices = prices_csv(sessions);
    let first_night = sessions.len().saturating_sub(NIGHTS);
    let stories = &STORIES[NIGHTS - (sessions.len() - first_night)..];
    let night = |(&as_of, &(twist, story)): (&NaiveDate, &(Twist, &'static str))| {
        let files = BTreeMap::from([
            ("portfolios.csv".to_owned(), portfolios_csv(twist)),
            ("positions.csv".to_owned(), positions_csv(sessions, last, as_of, twist)),
            ("prices.csv".to_owned(), prices_of(&prices, as_of, twist)),
            ("nightbook.toml".to_owned(), SAMPLE_SETTINGS.to_owned()),
        ]);
        let accepted = (twist == Twist::OneLateClose).then_some("The exchange published no close of DJP.");
        let (price_fault, run_again) = (twist == Twist::PriceFault, twist == Twist::WrongClose);
        SampleNight { as_of, files, price_fault, run_again, accepted, story }
    };
    sessions[first_night..].iter().zip(stories).map(night).collect()
}

/// The prices as the book had them that evening.
fn prices_of(prices: &str, as_of: NaiveDate, twist: Twist) -> String {
    match twist {
        Twist::StalePrices => {
            let missing = format!("{as_of},");
            prices.lines().filter(|line| !line.starts_with(&missing)).flat_map(|line| [line, "\n"]).collect()
        }
        Twist::WrongClose => {
            let wrong = format!("{as_of},{CORRECTED},");
            let line = |line: &str| match line.strip_prefix(&wrong).and_then(|close| close.parse::<f64>().ok()) {
                Some(close) => format!("{wrong}{:.2}\n", close * 1.02),
                None => format!("{line}\n"),
            };
            prices.lines().map(line).collect()
        }
        _ => prices.to_owned(),
    }
}

/// The symbol whose close is 2 % too high on the second night.
const CORRECTED: &str = "AAPL";

/// The files of a small book to fill in, for `nightbook init`.
pub(crate) fn init_files() -> BTreeMap<String, String> {
    let file = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    [
        ("portfolios.csv", INIT_PORTFOLIOS),
        ("positions.csv", INIT_POSITIONS),
        ("prices.csv", INIT_PRICES),
        ("nightbook.toml", INIT_SETTINGS),
    ]
    .map(file)
    .into()
}

const INDIVIDUAL: &str = "individual";
const HIGH_NET_WORTH: &str = "high-net-worth";
const HEDGE_FUND: &str = "hedge-fund";

fn portfolios_csv(twist: Twist) -> String {
    let equity = if twist == Twist::NoEquity { "" } else { "485000" };
    let mut csv = format!(
        "portfolio_id,name,currency,equity,owner,tags\n\
         {INDIVIDUAL},Demo Individual Investor Portfolio,USD,{equity},Retail desk,retail;long-only\n\
         {HIGH_NET_WORTH},Demo High Net Worth Investor Portfolio,USD,2850000,Private clients,private-clients;alternatives\n"
    );
    if twist != Twist::LostPortfolio {
        let name = "Demo Hedge Fund Style Investor Portfolio";
        csv.push_str(&format!("{HEDGE_FUND},{name},USD,3200000,Trading,long-short;options\n"));
    }
    csv
}

/// A row of shares or of a fund: symbol, quantity, entry price.
type Shares = (&'static str, f64, f64);

/// Shares and funds of each portfolio.
#[rustfmt::skip]
const SHARES: [(&str, &[Shares]); 3] = [
    (INDIVIDUAL, &[
        ("AAPL", 85.0, 225.0), ("MSFT", 45.0, 420.0), ("AMZN", 110.0, 170.0), ("GOOGL", 115.0, 160.0),
        ("TSLA", 70.0, 255.0), ("NVDA", 25.0, 700.0), ("JNJ", 105.0, 160.0), ("JPM", 85.0, 170.0),
        ("V", 50.0, 268.0), ("FXNAX", 4365.0, 20.0), ("FCNTX", 4850.0, 15.0), ("FMAGX", 3880.0, 15.0),
        ("VTIAX", 970.0, 30.0), ("VTI", 155.0, 250.0), ("BND", 315.0, 77.0), ("VNQ", 204.0, 95.0),
    ]),
    // Apple was bought in two lots: one position, two rows.
    (HIGH_NET_WORTH, &[
        ("SPY", 400.0, 530.0), ("QQQ", 450.0, 420.0), ("VTI", 800.0, 230.0), ("AAPL", 250.0, 218.0),
        ("AAPL", 150.0, 236.0), ("MSFT", 200.0, 420.0), ("AMZN", 480.0, 170.0), ("GOOGL", 500.0, 160.0),
        ("BRK.B", 180.0, 440.0), ("JPM", 350.0, 170.0), ("JNJ", 310.0, 160.0), ("NVDA", 70.0, 700.0),
        ("META", 90.0, 530.0), ("UNH", 85.0, 545.0), ("V", 170.0, 268.0), ("HD", 125.0, 350.0),
        ("PG", 250.0, 165.0), ("GLD", 325.0, 219.23), ("DJP", 1900.0, 30.0),
    ]),
    (HEDGE_FUND, &[
        ("NVDA", 800.0, 700.0), ("MSFT", 1000.0, 420.0), ("AAPL", 1500.0, 225.0), ("GOOGL", 1800.0, 160.0),
        ("META", 1000.0, 265.0), ("AMZN", 1400.0, 170.0), ("TSLA", 800.0, 255.0), ("AMD", 1200.0, 162.0),
        ("BRK.B", 600.0, 440.0), ("JPM", 1000.0, 170.0), ("JNJ", 800.0, 160.0), ("UNH", 200.0, 545.0),
        ("V", 350.0, 268.0), ("NFLX", -600.0, 490.0), ("SHOP", -1000.0, 195.0), ("ZM", -2000.0, 70.0),
        (LISTED_LATE, -3000.0, 40.0), ("ROKU", -1800.0, 60.0), ("XOM", -2000.0, 110.0), ("F", -10000.0, 12.0),
        ("GE", -800.0, 140.0), ("C", -2000.0, 55.0),
    ]),
];

/// Holdings without a market price, all of the high net worth portfolio: symbol, cost, mark, class, sector.
const MARKED: [(&str, f64, f64, &str, &str); 11] = [
    ("BX_PRIVATE_EQUITY", 285_000.0, 297_400.0, "private", "Private Equity"),
    ("A16Z_VC_FUND", 142_500.0, 138_900.0, "private", "Venture Capital"),
    ("STARWOOD_REIT", 142_500.0, 134_200.0, "private", "Real Estate"),
    ("TWO_SIGMA_FUND", 142_500.0, 151_300.0, "private", "Hedge Funds"),
    ("HOME_EQUITY", 285_000.0, 291_000.0, "private", "Real Estate"),
    ("RENTAL_CONDO", 142_500.0, 145_000.0, "private", "Real Estate"),
    ("RENTAL_SFH", 142_500.0, 148_000.0, "private", "Real Estate"),
    ("CRYPTO_BTC_ETH", 42_750.0, 51_600.0, "private", "Digital Assets"),
    ("ART_COLLECTIBLES", 28_500.0, 28_500.0, "private", "Collectibles"),
    ("MONEY_MARKET", 57_000.0, 57_000.0, "cash", "Cash"),
    ("TREASURY_BILLS", 28_500.0, 28_640.0, "cash", "Cash"),
];

/// Options of the hedge fund: underlying, right, strike, months to the expiry, contracts, premium, implied volatility.
const OPTIONS: [(&str, &str, u32, u32, i32, f64, f64); 8] = [
    ("SPY", "call", 460, 3, 200, 7.0, 0.19),
    ("QQQ", "call", 420, 3, 150, 7.0, 0.22),
    ("VIX", "call", 25, 3, 300, 2.5, 0.95),
    ("NVDA", "call", 800, 5, 50, 12.5, 0.46),
    ("AAPL", "put", 200, 3, -100, 4.5, 0.28),
    ("MSFT", "put", 380, 4, -80, 5.0, 0.25),
    ("TSLA", "call", 300, 6, -60, 8.0, 0.55),
    ("META", "put", 450, 9, -50, 7.5, 0.34),
];

fn positions_csv(sessions: &[NaiveDate], last: NaiveDate, as_of: NaiveDate, twist: Twist) -> String {
    let mut csv = "portfolio_id,symbol,quantity,entry_price,entry_date,exit_date,class,underlying,right,strike,expiry,\
                   multiplier,implied_vol,mark,sector\n"
        .to_owned();
    let entries = EntryDates { sessions };
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(csv, "{text}").unwrap_or_default();
    for (portfolio, shares) in SHARES {
        for (row, &(symbol, quantity, price)) in shares.iter().enumerate() {
            let entry = if symbol == LISTED_LATE { entries.after_listing() } else { entries.of_row(row) };
            let quantity = match (twist, portfolio, symbol) {
                // A letter O where a zero belongs, and a comma: as it happens when figures are typed.
                (Twist::FatFinger, HEDGE_FUND, "AAPL") => "\"1,5OO\"".to_owned(),
                _ => quantity.to_string(),
            };
            let sector = sector_of(symbol);
            line(format_args!("{portfolio},{symbol},{quantity},{price},{entry},,public,,,,,,,,{sector}"));
        }
    }
    for (row, (symbol, cost, mark, class, sector)) in MARKED.into_iter().enumerate() {
        let entry = entries.of_row(row);
        line(format_args!("{HIGH_NET_WORTH},{symbol},1,{cost},{entry},,{class},,,,,,,{mark},{sector}"));
    }
    for (underlying, right, strike, months, contracts, premium, volatility) in OPTIONS {
        let expiry = third_friday(last, months);
        let letter = if right == "call" { 'C' } else { 'P' };
        let symbol = format!("{underlying}{}{letter}{:08}", expiry.format("%y%m%d"), strike * 1000);
        let entry = entries.of_option();
        let sector = sector_of(underlying);
        line(format_args!(
            "{HEDGE_FUND},{symbol},{contracts},{premium},{entry},,option,{underlying},{right},{strike},{expiry},100,\
             {volatility},,{sector}"
        ));
    }
    // Held while it traded, and sold on its last day.
    let (entry, exit) = (entries.of_row(0), entries.delisting());
    let sector = sector_of(DELISTED);
    line(format_args!("{HIGH_NET_WORTH},{DELISTED},180,141.5,{entry},{exit},public,,,,,,,,{sector}"));
    line(format_args!("{HEDGE_FUND},{DELISTED},1200,138.25,{entry},{exit},public,,,,,,,,{sector}"));
    if twist == Twist::NoPrices {
        line(format_args!("{HIGH_NET_WORTH},{WITHOUT_PRICES},300,172.4,{as_of},,public,,,,,,,,Technology"));
    }
    if twist == Twist::LostPortfolio {
        let of_hedge_fund = format!("{HEDGE_FUND},");
        csv = csv.lines().filter(|line| !line.starts_with(&of_hedge_fund)).flat_map(|line| [line, "\n"]).collect();
    }
    csv
}

/// When the lots of the sample were bought, all before the first night.
struct EntryDates<'a> {
    sessions: &'a [NaiveDate],
}

impl EntryDates<'_> {
    fn before_end(&self, sessions: usize) -> NaiveDate {
        let at = self.sessions.len().saturating_sub(1 + sessions);
        self.sessions.get(at).copied().unwrap_or_default()
    }

    /// Spread over a year, the first rows first.
    fn of_row(&self, row: usize) -> NaiveDate {
        self.before_end(280 - 7 * row.min(28))
    }

    fn of_option(&self) -> NaiveDate {
        self.before_end(30)
    }

    fn after_listing(&self) -> NaiveDate {
        self.before_end(45)
    }

    fn delisting(&self) -> NaiveDate {
        self.before_end(DELISTED_BEFORE_END)
    }
}

/// The third Friday of the month that lies so many months after the month of a date.
fn third_friday(date: NaiveDate, months: u32) -> NaiveDate {
    let month = date.checked_add_months(Months::new(months)).unwrap_or(date);
    NaiveDate::from_weekday_of_month_opt(month.year(), month.month(), Weekday::Fri, 3).unwrap_or(month)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sessions(count: usize) -> Vec<NaiveDate> {
        let last = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
        book::CalendarKind::Nyse.last_sessions(last, count)
    }

    fn rows(file: &str) -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_reader(file.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn the_same_sessions_give_the_same_nights() {
        assert_eq!(sample_nights(&sessions(310)), sample_nights(&sessions(310)));
    }

    #[test]
    fn prices_go_by_index_and_not_by_date() {
        let closes = |days: &[NaiveDate]| -> Vec<String> {
            let rows = rows(&prices_csv(days));
            rows.into_iter().filter(|row| row[1] == "NVDA").map(|row| row[2].clone()).collect()
        };
        let days = sessions(320);
        let a_week_before = &days[..315];
        assert_eq!(closes(&days)[20..], closes(a_week_before)[15..]);
    }

    #[test]
    fn ten_nights_end_at_the_last_session_and_tell_what_happens() {
        let days = sessions(310);
        let nights = sample_nights(&days);
        let dates: Vec<NaiveDate> = nights.iter().map(|night| night.as_of).collect();
        assert_eq!(dates, days[300..]);
        let faults: Vec<bool> = nights.iter().map(|night| night.price_fault).collect();
        assert_eq!(faults.iter().position(|fault| *fault), Some(5));
        assert_eq!(faults.iter().filter(|fault| **fault).count(), 1);
        assert!(nights.iter().all(|night| night.story.ends_with('.')));

        let differs = |file: &str| -> Vec<usize> {
            let final_book = &nights[9].files[file];
            (1..=10).filter(|number| nights[number - 1].files[file] != *final_book).collect()
        };
        assert_eq!(differs("portfolios.csv"), [3, 4]);
        assert_eq!(differs("positions.csv"), [4, 5, 8]);
        assert_eq!(differs("prices.csv"), [2, 9]);
        let stale = &nights[8];
        assert!(!stale.files["prices.csv"].contains(&stale.as_of.to_string()));
        assert!(nights[2].files["portfolios.csv"].contains("individual,Demo Individual Investor Portfolio,USD,,"));
        assert!(nights[4].files["positions.csv"].contains(WITHOUT_PRICES));
        assert!(nights[7].files["positions.csv"].contains("hedge-fund,AAPL,\"1,5OO\","));
    }

    #[test]
    fn the_final_book_has_the_75_positions() {
        let days = sessions(310);
        let nights = sample_nights(&days);
        let last = nights[9].as_of.to_string();
        let rows = rows(&nights[9].files["positions.csv"]);
        let open: BTreeSet<(&str, &str)> = rows
            .iter()
            .filter(|row| row[5].is_empty() || row[5] > last)
            .map(|row| (row[0].as_str(), row[1].as_str()))
            .collect();
        let of = |portfolio: &str| open.iter().filter(|(owner, _)| *owner == portfolio).count();
        assert_eq!((of(INDIVIDUAL), of(HIGH_NET_WORTH), of(HEDGE_FUND)), (16, 29, 30));
        let of_class = |class: &str| rows.iter().filter(|row| row[6] == class).count();
        assert_eq!((of_class("option"), of_class("private"), of_class("cash")), (8, 9, 2));
        assert!(rows.iter().all(|row| !row[14].is_empty() && row[4] < days[300].to_string()));
        for row in rows.iter().filter(|row| row[6] == "option") {
            let terms = book::parse_occ(&row[1]).unwrap();
            assert_eq!(terms.expiry.to_string(), row[10]);
            assert_eq!((terms.underlying.as_str(), terms.strike.to_string()), (row[7].as_str(), row[9].clone()));
            assert!(terms.expiry.weekday() == Weekday::Fri && terms.expiry > days[309]);
        }
    }

    #[test]
    fn what_is_held_has_prices_and_they_look_like_prices() {
        let days = sessions(310);
        let night = sample_nights(&days).pop().unwrap();
        let mut closes: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for row in rows(&night.files["prices.csv"]) {
            closes.entry(row[1].clone()).or_default().push(row[2].parse().unwrap());
        }
        for row in rows(&night.files["positions.csv"]) {
            let symbol = if row[6] == "option" { &row[7] } else { &row[1] };
            assert!(closes.contains_key(symbol) || !row[13].is_empty(), "{symbol} has neither prices nor a mark");
        }
        assert_eq!(closes[LISTED_LATE].len(), 155);
        assert_eq!(closes[DELISTED].len(), 310 - DELISTED_BEFORE_END);
        assert_eq!(closes["DJP"].len(), 310 - 4);
        for (symbol, closes) in &closes {
            let (lowest, highest) = closes.iter().fold((f64::MAX, 0.0_f64), |(l, h), c| (l.min(*c), h.max(*c)));
            assert!(lowest > 0.5 && highest / lowest < 12.0, "{symbol} runs from {lowest} to {highest}");
        }
    }

    #[test]
    fn the_books_are_read_and_only_the_twists_are_found() {
        let days = sessions(310);
        let mut books: Vec<(&str, BTreeMap<String, String>)> = vec![("init", init_files())];
        books.extend(sample_nights(&days).into_iter().map(|night| (night.story, night.files)));
        for (name, files) in books {
            let files = files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
            let reading = book::read(&book::MemorySource::new(files)).unwrap();
            let errors = reading.errors.len();
            assert_eq!(errors, usize::from(name.contains("1,5OO")), "{name}: {:?}", reading.errors);
            let expected = usize::from(name.contains("equity of") || name.contains("no prices"));
            assert_eq!(reading.warnings.len(), expected, "{name}: {:?}", reading.warnings);
            assert!(reading.book.is_some(), "{name}");
        }
    }

    /// The lines that are commented out, made to count: what they show as the default has to be the default.
    fn with_every_setting(settings: &str) -> String {
        let is_setting = |line: &str| {
            let key = line.split_once(" = ").map(|(key, _)| key);
            let plain = |key: &str| key.chars().all(|c| c.is_alphanumeric() || c == '_');
            let quoted = |key: &str| key.starts_with('"') && key.ends_with('"');
            line.starts_with(['[', ']']) || line.starts_with("    \"") || key.is_some_and(|k| plain(k) || quoted(k))
        };
        let open = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if is_setting(rest) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        settings.lines().map(open).collect()
    }

    #[test]
    fn init_shows_every_setting_with_its_default() {
        let mut files: BTreeMap<String, Vec<u8>> =
            init_files().into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
        files.insert("nightbook.toml".to_owned(), with_every_setting(INIT_SETTINGS).into_bytes());
        let reading = book::read(&book::MemorySource::new(files)).unwrap();
        assert_eq!(reading.errors, []);
        let mut shown = reading.book.unwrap().settings;
        let defaults = book::Settings::default();
        // Those without a default show an example.
        assert!(shown.site.base_url.take().is_some() && shown.alerts.command.take().is_some());
        assert_eq!(std::mem::take(&mut shown.alerts.channels).len(), 6);
        assert_eq!(std::mem::take(&mut shown.alerts.rules.mutes).len(), 1);
        assert!(shown.alerts.rules.quiet_hours.take().is_some());
        assert_eq!(shown.alerts.rules.digest.take(), Some(true));
        assert!(shown.run.concurrency.take().is_some() && shown.schedule.series.take().is_some());
        assert!(shown.http_prices.take().is_some());
        let lineage = &mut shown.lineage;
        assert!(lineage.file.take().is_some() && lineage.url.take().is_some() && lineage.key_env.take().is_some());
        assert_eq!((shown.scenarios.len(), std::mem::take(&mut shown.added_jobs).len()), (1, 1));
        assert!(defaults.scenarios.contains(&shown.scenarios[0]));
        shown.scenarios.clone_from(&defaults.scenarios);
        for control in domain::night::Control::ALL {
            assert_eq!(shown.controls.limits(*control), defaults.controls.limits(*control), "{control}");
        }
        // The file states it, as `detail = "full"`.
        assert!(std::mem::take(&mut shown.site.detail_is_stated));
        shown.controls = book::ControlSettings::default();
        assert_eq!(std::mem::take(&mut shown.freshness.lag).len(), 1);
        assert_eq!(shown, defaults);
    }
}
