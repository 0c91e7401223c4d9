//! The gate before the inputs of a run: what is missing is fetched and shelved, and the run gets what the shelf holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use book::{Book, Class, HttpPriceSettings, PricePoint};
use chrono::NaiveDate;
use domain::ports::{Clock, Randomness};
use domain::record::JobError;
use domain::words::ErrorCategory;
use jobs::{Fetched, PriceGate};
use serde_json::json;

use crate::ask::Ask;
use crate::plan::plan;

/// Examples of rows that were left out, in the record.
const MOST_EXAMPLES: usize = 3;

/// The spans of days that were asked for and answered, by symbol.
pub type Asked = BTreeMap<String, (NaiveDate, NaiveDate)>;

/// Where fetched closes are kept: a close that is there is never overwritten.
pub trait Shelf: Send + Sync {
    /// The closes of these symbols from one day to another, and what was asked for before.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(
        &self,
        symbols: &[String],
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<(BTreeMap<String, Vec<PricePoint>>, Asked), JobError>;

    /// Adds closes where there are none, and notes that these symbols were asked for; says how many were added.
    ///
    /// # Errors
    /// It cannot be written; then nothing is.
    fn add(
        &self,
        closes: &[(String, PricePoint)],
        symbols: &[String],
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<u64, JobError>;
}

/// Prices over HTTP.
pub struct HttpPrices {
    settings: HttpPriceSettings,
    key: Option<String>,
    shelf: Arc<dyn Shelf>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
}

impl std::fmt::Debug for HttpPrices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpPrices").finish_non_exhaustive()
    }
}

/// Tells the thread that asks to stop, when nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl HttpPrices {
    /// Prices from this source, asked for with this key (what the variable that the settings name holds), and kept on
    /// this shelf.
    #[must_use]
    pub fn new(
        settings: HttpPriceSettings,
        key: Option<String>,
        shelf: Arc<dyn Shelf>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        Self { settings, key, shelf, clock, randomness }
    }

    fn checked_key(&self) -> Result<Option<String>, JobError> {
        match (&self.settings.key_env, &self.key) {
            (Some(name), None) => {
                let what =
                    format!("the environment variable {name}, which holds the key of the price source, is not set");
                Err(JobError::new(ErrorCategory::Permanent, what))
            }
            (_, key) => Ok(key.clone()),
        }
    }
}

#[async_trait]
impl PriceGate for HttpPrices {
    async fn open(&self, book: &Book, as_of: NaiveDate, _attempt: u32) -> Result<Fetched, JobError> {
        let key = self.checked_key()?;
        let symbols = symbols(book, as_of);
        let schedule = &book.settings.schedule;
        // A session that has not ended has no close yet.
        let newest = as_of.min(schedule.last_completed_session(self.clock.now()));
        let mut sessions = schedule.last_sessions(as_of, jobs::snapshot::sessions_needed(&book.settings));
        sessions.retain(|session| *session <= newest);
        let own: BTreeMap<String, BTreeSet<NaiveDate>> = symbols
            .iter()
            .filter_map(|symbol| {
                let series = book.prices.series(symbol)?;
                Some((symbol.clone(), series.iter().map(|point| point.date).collect()))
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let _guard = StopOnDrop(Arc::clone(&stop));
        let work = Work {
            settings: self.settings.clone(),
            shelf: Arc::clone(&self.shelf),
            randomness: Arc::clone(&self.randomness),
            key,
            symbols,
            sessions,
            own,
            stop,
        };
        tokio::task::spawn_blocking(move || work.fetch())
            .await
            .map_err(|error| JobError::from_error(ErrorCategory::Internal, &error))?
    }
}

/// The symbols whose closes a run of this book needs: what is held and public, what options are of, and the factors.
fn symbols(book: &Book, as_of: NaiveDate) -> Vec<String> {
    let mut symbols: BTreeSet<&str> = book.settings.factors.iter().map(|factor| factor.proxy.as_str()).collect();
    for lot in book.portfolios.iter().flat_map(|portfolio| &portfolio.positions).filter(|lot| lot.is_active(as_of)) {
        match lot.class {
            Class::Public => {
                symbols.insert(&lot.symbol);
            }
            Class::Option => symbols.extend(lot.option.as_ref().map(|terms| terms.underlying.as_str())),
            Class::Private | Class::Cash => {}
        }
    }
    symbols.into_iter().map(str::to_owned).collect()
}

/// Everything that the thread needs that asks.
struct Work {
    settings: HttpPriceSettings,
    shelf: Arc<dyn Shelf>,
    randomness: Arc<dyn Randomness>,
    key: Option<String>,
    symbols: Vec<String>,
    sessions: Vec<NaiveDate>,
    /// The days that the book itself has, by symbol.
    own: BTreeMap<String, BTreeSet<NaiveDate>>,
    stop: Arc<AtomicBool>,
}

/// What was done, under the names of the old system.
#[derive(Default)]
struct Counts {
    attempted: u64,
    inserted: u64,
    updated: BTreeSet<String>,
    left_out: u64,
    examples: Vec<String>,
}

impl Work {
    fn fetch(self) -> Result<Fetched, JobError> {
        let (Some(from), Some(to)) = (self.sessions.first().copied(), self.sessions.last().copied()) else {
            return Ok(Fetched::default());
        };
        let (shelved, asked) = self.shelf.read(&self.symbols, from, to)?;
        let days: BTreeMap<&str, BTreeSet<NaiveDate>> = shelved
            .iter()
            .map(|(symbol, points)| (symbol.as_str(), points.iter().map(|point| point.date).collect()))
            .collect();
        let held = |symbol: &str, date: NaiveDate| {
            let on = |days: Option<&BTreeSet<NaiveDate>>| days.is_some_and(|days| days.contains(&date));
            on(self.own.get(symbol)) || on(days.get(symbol))
        };
        let requests = plan(&self.symbols, &self.sessions, self.settings.batch_size as usize, held, |symbol| {
            asked.get(symbol).copied()
        });
        let asked_for: usize = requests.iter().map(|request| request.symbols.len()).sum();
        let jitter = || self.randomness.jitter();
        let mut ask = Ask::new(&self.settings, self.key.clone(), &self.stop, &jitter);
        let sessions: BTreeSet<NaiveDate> = self.sessions.iter().copied().collect();
        let mut counts = Counts::default();
        for request in &requests {
            let (rows, left_out) = ask.ask(request).map_err(|error| JobError::from_error(error.category(), &error))?;
            for why in left_out {
                counts.leave_out(why);
            }
            let mut closes = Vec::with_capacity(rows.len());
            for row in rows {
                counts.attempted += 1;
                let symbol = match symbol_of(row.symbol, &request.symbols) {
                    Ok(symbol) => symbol,
                    Err(why) => {
                        counts.leave_out(why);
                        continue;
                    }
                };
                if row.date > request.to || row.date < request.from {
                    counts.leave_out(format!("a row of {symbol} on {}, which was not asked for", row.date));
                } else if sessions.contains(&row.date) && !held(&symbol, row.date) {
                    closes.push((symbol, PricePoint { date: row.date, close: row.close }));
                }
            }
            // Each answer is kept at once: what one run could fetch before it ended, the next need not ask for.
            let inserted = self.shelf.add(&closes, &request.symbols, request.from, request.to)?;
            counts.inserted += inserted;
            counts.updated.extend(closes.into_iter().map(|(symbol, _)| symbol));
        }
        let calls = ask.calls;
        let (closes, _) = self.shelf.read(&self.symbols, from, to)?;
        let metadata = [
            ("symbols_processed", json!(self.symbols.len())),
            ("symbols_updated", json!(counts.updated.len())),
            ("total_records_attempted", json!(counts.attempted)),
            ("records_inserted", json!(counts.inserted)),
            ("records_skipped", json!(counts.attempted.saturating_sub(counts.inserted))),
            ("api_calls", json!(calls)),
            ("api_calls_saved", json!(self.symbols.len().saturating_sub(asked_for))),
            ("rows_left_out", json!(counts.left_out)),
            ("rows_left_out_examples", json!(counts.examples)),
        ];
        tracing::info!(
            symbols = self.symbols.len(),
            calls,
            inserted = counts.inserted,
            left_out = counts.left_out,
            event = "prices.fetched",
            "the prices that were missing are fetched"
        );
        let metadata = metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Fetched { closes, metadata })
    }
}

/// The symbol that a row is of, among those that were asked for; else why the row is left out.
fn symbol_of(named: Option<String>, wanted: &[String]) -> Result<String, String> {
    match (named, wanted) {
        (Some(symbol), wanted) if wanted.contains(&symbol) => Ok(symbol),
        (None, [only]) => Ok(only.clone()),
        (Some(other), _) => Err(format!("a row of {other:?}, which was not asked for")),
        (None, _) => Err("a row does not say of which symbol it is: set `symbol` in [prices]".to_owned()),
    }
}

impl Counts {
    fn leave_out(&mut self, why: String) {
        self.left_out += 1;
        if self.examples.len() < MOST_EXAMPLES {
            self.examples.push(domain::redact::redact_line(&why));
        }
    }
}
