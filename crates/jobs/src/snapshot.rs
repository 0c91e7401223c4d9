//! The pinned inputs of a run: what the jobs may see, and nothing after `as_of`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use book::{Book, Class, Lot, OptionTerms, Portfolio, Settings};
use chrono::NaiveDate;
use domain::ids::PortfolioId;
use quant::factors::{FactorModel, SymbolFits};
use quant::returns::simple_returns;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::equity::{Equity, EquityBasis};

/// The first bytes of every snapshot, the last of them its version.
const HEADER: &[u8] = b"nightbook-snapshot\x001";

/// Fast, and within a few per cent of the size of slower levels: the bulk are prices.
const COMPRESSION: i32 = 3;

/// Until this size a snapshot may expand as much as it likes.
const FREE_EXPANSION: u64 = 64 << 20;

/// Beyond it, by no more than this factor. Prices compress a few times, gaps more; a bomb a thousandfold.
const MAX_EXPANSION: u64 = 200;

/// How large a snapshot of so many stored bytes may be.
const fn largest(stored: usize) -> u64 {
    let relative = (stored as u64).saturating_mul(MAX_EXPANSION);
    if relative > FREE_EXPANSION { relative } else { FREE_EXPANSION }
}

/// Why bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// They begin differently: something else, or another version.
    #[error(
        "the pinned inputs are not in the format of this release; run the release that wrote them, or run again from the book"
    )]
    Header,
    /// They cannot be decompressed.
    #[error("the pinned inputs cannot be decompressed")]
    Compression(#[source] std::io::Error),
    /// They are larger than what is read back.
    #[error(
        "{without} of {symbols} symbols have no close in the last {sessions} sessions ({examples}), too many to pin the inputs; add their closes, or give what has no market price a mark and the class private"
    )]
    TooLarge {
        /// The symbols that are used.
        symbols: usize,
        /// Those without a close.
        without: usize,
        /// The sessions of the window.
        sessions: usize,
        /// The first of those without a close.
        examples: String,
    },
    /// They cannot be decoded.
    #[error("the pinned inputs cannot be decoded")]
    Decode(#[source] rmp_serde::decode::Error),
    /// They cannot be encoded.
    #[error("the inputs cannot be pinned")]
    Encode(#[source] rmp_serde::encode::Error),
    /// An index in it leads nowhere.
    #[error("the pinned inputs contradict themselves: {0}")]
    Inconsistent(&'static str),
}

/// What a position is of: everything but how much of it is held, shared by all portfolios that hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instrument {
    /// The symbol of the position.
    pub symbol: String,
    /// Its class.
    pub class: Class,
    /// Terms of an option.
    pub option: Option<OptionTerms>,
    /// Units in one of the quantity.
    pub multiplier: f64,
    /// The volatility that the book gives.
    pub implied_vol: Option<f64>,
    /// The price that the book gives.
    pub mark: Option<f64>,
    /// The sector that the book gives.
    pub sector: Option<String>,
}

/// One lot of a position: quantity, entry price, entry date.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PinnedLot(pub f64, pub f64, pub NaiveDate);

/// All active lots of one instrument in a portfolio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// Index into [`Snapshot::instruments`].
    pub instrument: usize,
    /// The lots, in the order of the book.
    pub lots: Vec<PinnedLot>,
}

/// A lot that was exited after the previous session, on `as_of` at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExitedLot {
    /// Index into [`Snapshot::instruments`].
    pub instrument: usize,
    /// The lot.
    pub lot: PinnedLot,
    /// When it was exited.
    pub exit_date: NaiveDate,
}

/// A portfolio as of the date: active lots, and beside them those exited since the previous session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinnedPortfolio {
    /// Its id.
    pub id: PortfolioId,
    /// Its name.
    pub name: String,
    /// Its currency.
    pub currency: String,
    /// Its net asset value on the date.
    pub equity: Option<f64>,
    /// The date of its row in `equity.csv`; `None` where the net asset value states no date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equity_on: Option<NaiveDate>,
    /// Money that came in since the session before, negative if it went out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flow: f64,
    /// Its positions, by symbol, class, multiplier and terms.
    pub holdings: Vec<Holding>,
    /// Lots exited since the previous session: they count in the profit and loss of the day alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exited: Vec<ExitedLot>,
    /// Unusable rows, as text; one is enough for the portfolio to fail.
    pub issues: Vec<String>,
    /// What a reader should know about its rows.
    pub notes: Vec<String>,
}

// serde calls it with a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// The pinned inputs of a run. The same book, date and filter give the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The trading date.
    pub as_of: NaiveDate,
    /// The settings of the book.
    pub settings: Settings,
    /// Sessions up to `as_of`, oldest first.
    pub sessions: Vec<NaiveDate>,
    /// Symbols with a use, sorted: public positions and options, underlyings, proxies of factors.
    pub symbols: Vec<String>,
    /// A close for each symbol and session, symbol after symbol, NaN where there is none.
    pub closes: Vec<f64>,
    /// Wrong price rows by symbol, as text.
    pub price_issues: BTreeMap<String, Vec<String>>,
    /// What the portfolios hold.
    pub instruments: Vec<Instrument>,
    /// The portfolios, by id.
    pub portfolios: Vec<PinnedPortfolio>,
    /// Fits on the factors, one for each symbol.
    pub fits: Vec<SymbolFits>,
}

impl Snapshot {
    /// Pins what a book says as of a date about these portfolios (empty: all), without those that are closed by then.
    #[must_use]
    pub fn of(book: &Book, as_of: NaiveDate, filter: &[PortfolioId]) -> Self {
        Self::of_night(book, as_of, filter, &BTreeMap::new())
    }

    /// As [`Snapshot::of`], for a night whose newest full run pinned these equities, where a later night is on record.
    #[must_use]
    pub fn of_night(
        book: &Book,
        as_of: NaiveDate,
        filter: &[PortfolioId],
        pinned: &BTreeMap<PortfolioId, f64>,
    ) -> Self {
        let mut snapshot = Self::without_fits(book, as_of, filter, pinned);
        snapshot.fits = snapshot.fit();
        snapshot
    }

    /// As [`Snapshot::of_night`], without the fits: what can be compared, and not be stored.
    pub(crate) fn without_fits(
        book: &Book,
        as_of: NaiveDate,
        filter: &[PortfolioId],
        pinned: &BTreeMap<PortfolioId, f64>,
    ) -> Self {
        // What the calculations do not need is not pinned: the command of the alerts may hold a key.
        let settings = Settings { alerts: book::AlertSettings::default(), ..book.settings.clone() };
        let sessions = settings.schedule.last_sessions(as_of, sessions_needed(&settings));
        // Flows of days without a session count on the next one.
        let before = sessions.iter().rev().find(|session| **session < as_of).copied();
        let mut instruments = Instruments::default();
        let wanted = |id: &PortfolioId| filter.is_empty() || filter.contains(id);
        let is_run = |portfolio: &&Portfolio| wanted(&portfolio.id) && !portfolio.is_closed(as_of);
        let portfolios: Vec<PinnedPortfolio> = book
            .portfolios
            .iter()
            .filter(is_run)
            .map(|portfolio| {
                let lots: Vec<&Lot> = portfolio.positions.iter().filter(|lot| lot.is_active(as_of)).collect();
                let (holdings, notes) = instruments.group(&lots);
                let since = |exit: NaiveDate| before.is_none_or(|before| exit > before) && exit <= as_of;
                let is_exit = |lot: &&Lot| lot.exit_date.is_some_and(since);
                let exited = portfolio.positions.iter().filter(is_exit);
                let exited = exited.filter_map(|lot| instruments.exited(lot, &holdings)).collect();
                let equity = Equity::of(portfolio, as_of, pinned);
                PinnedPortfolio {
                    id: portfolio.id.clone(),
                    name: portfolio.name.clone(),
                    currency: portfolio.currency.clone(),
                    equity: equity.value,
                    equity_on: (equity.basis == EquityBasis::Dated).then_some(equity.on),
                    flow: before.map_or(0.0, |before| portfolio.flows(before, as_of)),
                    holdings,
                    exited,
                    issues: portfolio.issues_as_of(as_of).map(masked).collect(),
                    notes,
                }
            })
            .collect();
        let instruments = instruments.list;

        let mut used: BTreeSet<&str> = settings.factors.iter().map(|factor| factor.proxy.as_str()).collect();
        for instrument in &instruments {
            used.insert(&instrument.symbol);
            used.extend(instrument.option.as_ref().map(|terms| terms.underlying.as_str()));
        }
        let symbols: Vec<String> = used.into_iter().map(str::to_owned).collect();
        let mut closes = vec![f64::NAN; symbols.len() * sessions.len()];
        let mut price_issues = BTreeMap::new();
        for (row, symbol) in symbols.iter().enumerate() {
            let column = &mut closes[row * sessions.len()..(row + 1) * sessions.len()];
            fill(column, &sessions, book.prices.series(symbol).unwrap_or(&[]));
            let issues = book.prices.issues(symbol);
            if !issues.is_empty() {
                price_issues.insert(symbol.clone(), issues.iter().map(masked).collect());
            }
        }
        Self { as_of, settings, sessions, symbols, closes, price_issues, instruments, portfolios, fits: Vec::new() }
    }

    /// Closes of the symbol at this index, one a session.
    #[must_use]
    pub fn closes_of(&self, symbol: usize) -> &[f64] {
        let width = self.sessions.len();
        self.closes.get(symbol * width..(symbol + 1) * width).unwrap_or(&[])
    }

    /// The index of a symbol.
    #[must_use]
    pub fn symbol(&self, symbol: &str) -> Option<usize> {
        self.symbols.binary_search_by(|known| known.as_str().cmp(symbol)).ok()
    }

    /// Simple returns of the symbol at this index over the last `window` sessions.
    #[must_use]
    pub fn returns_of(&self, symbol: usize, window: usize) -> Vec<f64> {
        let closes = self.closes_of(symbol);
        let returns = simple_returns(&closes[closes.len().saturating_sub(window + 1)..]);
        returns.get(1..).unwrap_or(&[]).to_vec()
    }

    /// The factors whose proxy has a return in the window, as indices into the settings and into the symbols.
    #[must_use]
    pub fn usable_factors(&self) -> Vec<(usize, usize)> {
        let window = self.settings.factor_analysis.window as usize;
        let usable = |symbol: usize| self.returns_of(symbol, window).iter().any(|value| value.is_finite());
        let found = self.settings.factors.iter().enumerate();
        found
            .filter_map(|(factor, known)| self.symbol(&known.proxy).map(|symbol| (factor, symbol)))
            .filter(|(_, symbol)| usable(*symbol))
            .collect()
    }

    fn fit(&self) -> Vec<SymbolFits> {
        let analysis = &self.settings.factor_analysis;
        let window = analysis.window as usize;
        let columns: Vec<Vec<f64>> =
            self.usable_factors().iter().map(|(_, symbol)| self.returns_of(*symbol, window)).collect();
        let slices: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let model = FactorModel::new(&slices, analysis.min_observations as usize);
        // Each fit stands alone, so the number of threads changes no bit.
        (0..self.symbols.len()).into_par_iter().map(|symbol| model.fit(&self.returns_of(symbol, window))).collect()
    }

    /// The bytes to store.
    ///
    /// # Errors
    /// [`SnapshotError::Encode`] or [`SnapshotError::Compression`]; neither is expected of a snapshot.
    pub fn encode(&self) -> Result<Vec<u8>, SnapshotError> {
        let plain = rmp_serde::to_vec_named(self).map_err(SnapshotError::Encode)?;
        let packed = zstd::bulk::compress(&plain, COMPRESSION).map_err(SnapshotError::Compression)?;
        if plain.len() as u64 > largest(packed.len()) {
            return Err(self.too_large());
        }
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(&packed);
        Ok(bytes)
    }

    /// What is mostly gaps compresses so well that it would not be read back.
    fn too_large(&self) -> SnapshotError {
        let is_gap = |at: &usize| !self.closes_of(*at).iter().any(|close| close.is_finite());
        let gaps: Vec<usize> = (0..self.symbols.len()).filter(is_gap).collect();
        let first: Vec<&str> = gaps.iter().take(3).map(|at| self.symbols[*at].as_str()).collect();
        let more = if gaps.len() > first.len() { " and more" } else { "" };
        SnapshotError::TooLarge {
            symbols: self.symbols.len(),
            without: gaps.len(),
            sessions: self.sessions.len(),
            examples: format!("{}{more}", first.join(", ")),
        }
    }

    /// The snapshot of stored bytes.
    ///
    /// # Errors
    /// [`SnapshotError`] says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let packed = bytes.strip_prefix(HEADER).ok_or(SnapshotError::Header)?;
        let reader = zstd::stream::read::Decoder::new(packed).map_err(SnapshotError::Compression)?;
        // Bytes that claim more end here, as if they broke off.
        let snapshot: Self = rmp_serde::from_read(reader.take(largest(packed.len()))).map_err(SnapshotError::Decode)?;
        snapshot.check()?;
        Ok(snapshot)
    }

    fn check(&self) -> Result<(), SnapshotError> {
        if self.closes.len() != self.symbols.len() * self.sessions.len() {
            return Err(SnapshotError::Inconsistent("closes do not fit the symbols and sessions"));
        }
        if self.fits.len() != self.symbols.len() {
            return Err(SnapshotError::Inconsistent("fits do not fit the symbols"));
        }
        let mut holdings = self.portfolios.iter().flat_map(|portfolio| &portfolio.holdings);
        let mut exited = self.portfolios.iter().flat_map(|portfolio| &portfolio.exited);
        if holdings.any(|holding| holding.instrument >= self.instruments.len())
            || exited.any(|exit| exit.instrument >= self.instruments.len())
        {
            return Err(SnapshotError::Inconsistent("a position of an unknown instrument"));
        }
        Ok(())
    }
}

/// An issue as it is pinned, and as records and pages come to quote it: it shows what stood in a wrong cell, and that
/// may be a secret that was pasted into the wrong place.
fn masked(issue: &book::Issue) -> String {
    domain::redact::redact_line(&issue.to_string())
}

/// Sessions that the longest window needs, one more for the first return, and enough for prices of earlier sessions.
#[must_use]
pub fn sessions_needed(settings: &Settings) -> usize {
    let longest = settings.factor_analysis.window.max(settings.correlations.window).max(settings.snapshot.risk_window);
    longest.max(settings.run.price_max_age_sessions) as usize + 1
}

/// Writes the closes of a sorted series to the sessions they belong to.
fn fill(column: &mut [f64], sessions: &[NaiveDate], series: &[book::PricePoint]) {
    let Some(first) = sessions.first() else { return };
    let start = series.partition_point(|point| point.date < *first);
    let mut points = series[start..].iter().peekable();
    for (close, session) in column.iter_mut().zip(sessions) {
        while points.next_if(|point| point.date < *session).is_some() {}
        if let Some(point) = points.next_if(|point| point.date == *session) {
            *close = point.close;
        }
    }
}

/// Instruments in the order of their first sighting, each once.
#[derive(Default)]
struct Instruments {
    list: Vec<Instrument>,
    known: BTreeMap<String, Vec<usize>>,
}

impl Instruments {
    fn index_of(&mut self, instrument: Instrument) -> usize {
        let alike = self.known.entry(instrument.symbol.clone()).or_default();
        if let Some(found) = alike.iter().find(|at| self.list[**at] == instrument) {
            return *found;
        }
        alike.push(self.list.len());
        self.list.push(instrument);
        self.list.len() - 1
    }

    /// An exited lot, of the instrument of the holding that it was a lot of, if some of that is still held.
    fn exited(&mut self, lot: &Lot, holdings: &[Holding]) -> Option<ExitedLot> {
        let same = |known: &Instrument| {
            known.symbol == lot.symbol
                && known.class == lot.class
                && known.multiplier == lot.multiplier
                && known.option == lot.option
        };
        let held = holdings.iter().map(|holding| holding.instrument).find(|at| same(&self.list[*at]));
        let instrument = held.unwrap_or_else(|| {
            self.index_of(Instrument {
                symbol: lot.symbol.clone(),
                class: lot.class,
                option: lot.option.clone(),
                multiplier: lot.multiplier,
                implied_vol: lot.implied_vol,
                mark: lot.mark,
                sector: lot.sector.clone(),
            })
        });
        let exit_date = lot.exit_date?;
        Some(ExitedLot { instrument, lot: PinnedLot(lot.quantity, lot.entry_price, lot.entry_date), exit_date })
    }

    /// Lots by what they are of. Where lots of one position give different marks or volatilities, the first counts.
    fn group(&mut self, lots: &[&Lot]) -> (Vec<Holding>, Vec<String>) {
        let mut sorted: Vec<&Lot> = lots.to_vec();
        sorted.sort_by(|a, b| order(a).cmp(&order(b)).then(a.multiplier.total_cmp(&b.multiplier)).then(strike(a, b)));
        let mut notes = Vec::new();
        let mut holdings = Vec::new();
        let same = |a: &&Lot, b: &&Lot| {
            a.symbol == b.symbol && a.class == b.class && a.multiplier == b.multiplier && a.option == b.option
        };
        for group in sorted.chunk_by(same) {
            let first = group[0];
            let marks: Vec<f64> = group.iter().filter_map(|lot| lot.mark).collect();
            let vols: Vec<f64> = group.iter().filter_map(|lot| lot.implied_vol).collect();
            for (what, values) in [("mark", &marks), ("implied_vol", &vols)] {
                if values.iter().any(|value| *value != values[0]) {
                    notes.push(format!(
                        "{}: its lots differ in {what}; the first one, {}, counts",
                        first.symbol, values[0]
                    ));
                }
            }
            let instrument = Instrument {
                symbol: first.symbol.clone(),
                class: first.class,
                option: first.option.clone(),
                multiplier: first.multiplier,
                implied_vol: vols.first().copied(),
                mark: marks.first().copied(),
                sector: group.iter().find_map(|lot| lot.sector.clone()),
            };
            let lots = group.iter().map(|lot| PinnedLot(lot.quantity, lot.entry_price, lot.entry_date)).collect();
            holdings.push(Holding { instrument: self.index_of(instrument), lots });
        }
        (holdings, notes)
    }
}

type Order<'a> = (&'a str, Class, Option<(&'a str, book::Right, NaiveDate)>);

fn order(lot: &Lot) -> Order<'_> {
    let terms = lot.option.as_ref().map(|terms| (terms.underlying.as_str(), terms.right, terms.expiry));
    (&lot.symbol, lot.class, terms)
}

fn strike(a: &Lot, b: &Lot) -> std::cmp::Ordering {
    let strike = |lot: &Lot| lot.option.as_ref().map_or(0.0, |terms| terms.strike);
    strike(a).total_cmp(&strike(b))
}
