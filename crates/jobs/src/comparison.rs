//! What differs between the pinned inputs of two runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::NaiveDate;
use domain::ids::{ContentHash, PortfolioId};
use domain::night::editions::{ChangedClose, ChangedEquity, ChangedLots, InputChanges, MOST_CHANGES};
use domain::ports::{Documents, InputComparer, StoreError};
use serde_json::Value;

use crate::snapshot::{PinnedLot, PinnedPortfolio, Snapshot};

/// Compares the pinned inputs that are kept as documents.
pub struct SnapshotComparer {
    documents: Arc<dyn Documents>,
}

impl std::fmt::Debug for SnapshotComparer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SnapshotComparer")
    }
}

impl SnapshotComparer {
    /// A comparer over these documents.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        Self { documents }
    }

    /// The pinned inputs with this hash. `None` if they are gone or this release does not read their format.
    async fn read(&self, hash: &ContentHash) -> Result<Option<Snapshot>, StoreError> {
        let bytes = match self.documents.snapshot(hash).await {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let decoding = tokio::task::spawn_blocking(move || Snapshot::decode(&bytes).ok());
        decoding.await.map_err(|error| StoreError::Unavailable {
            doing: "compare pinned inputs".to_owned(),
            source: Box::new(error),
        })
    }
}

#[async_trait]
impl InputComparer for SnapshotComparer {
    async fn compare(
        &self,
        was: &ContentHash,
        now: &ContentHash,
        portfolios: &BTreeSet<PortfolioId>,
    ) -> Result<Option<InputChanges>, StoreError> {
        if was == now {
            return Ok(Some(InputChanges::default()));
        }
        let (Some(was), Some(now)) = (self.read(was).await?, self.read(now).await?) else { return Ok(None) };
        Ok(Some(changes(&was, &now, portfolios)))
    }
}

/// What differs between two snapshots, as far as it concerns these portfolios.
#[must_use]
pub fn changes(was: &Snapshot, now: &Snapshot, portfolios: &BTreeSet<PortfolioId>) -> InputChanges {
    let mut changes = InputChanges { settings: changed_settings(was, now), ..InputChanges::default() };
    let (before, after) = (portfolios_of(was, portfolios), portfolios_of(now, portfolios));
    let mut symbols: BTreeSet<&str> = was.settings.factors.iter().map(|factor| factor.proxy.as_str()).collect();
    symbols.extend(now.settings.factors.iter().map(|factor| factor.proxy.as_str()));
    for id in portfolios {
        let (was_portfolio, now_portfolio) = (before.get(id).copied(), after.get(id).copied());
        let equity = |portfolio: Option<&PinnedPortfolio>| portfolio.and_then(|portfolio| portfolio.equity);
        if equity(was_portfolio) != equity(now_portfolio) {
            let entry =
                ChangedEquity { portfolio_id: id.clone(), was: equity(was_portfolio), now: equity(now_portfolio) };
            count(&mut changes.equity, &mut changes.equity_count, entry);
        }
        let (was_lots, now_lots) = (lots(was, was_portfolio), lots(now, now_portfolio));
        let held: BTreeSet<&str> = was_lots.keys().chain(now_lots.keys()).copied().collect();
        for symbol in &held {
            let (was_held, now_held) = (was_lots.get(symbol), now_lots.get(symbol));
            if was_held.map(|held| &held.lots) != now_held.map(|held| &held.lots) {
                let quantity = |held: Option<&Held<'_>>| held.map(|held| held.lots.iter().map(|lot| lot.0).sum());
                let entry = ChangedLots {
                    portfolio_id: id.clone(),
                    symbol: (*symbol).to_owned(),
                    was: quantity(was_held),
                    now: quantity(now_held),
                };
                count(&mut changes.lots, &mut changes.lots_count, entry);
            }
        }
        symbols.extend(was_lots.values().chain(now_lots.values()).flat_map(|held| held.priced_by.iter().copied()));
    }
    changed_closes(was, now, &symbols, &mut changes);
    changes
}

/// Adds an entry to a list that holds only the first ones, and counts it.
fn count<T>(entries: &mut Vec<T>, count: &mut u64, entry: T) {
    *count += 1;
    if entries.len() < MOST_CHANGES {
        entries.push(entry);
    }
}

fn portfolios_of<'a>(
    snapshot: &'a Snapshot,
    wanted: &BTreeSet<PortfolioId>,
) -> BTreeMap<&'a PortfolioId, &'a PinnedPortfolio> {
    let portfolios = snapshot.portfolios.iter().filter(|portfolio| wanted.contains(&portfolio.id));
    portfolios.map(|portfolio| (&portfolio.id, portfolio)).collect()
}

/// The lots of a symbol in a portfolio, and the symbols that price them.
#[derive(Default)]
struct Held<'a> {
    lots: Vec<PinnedLot>,
    priced_by: BTreeSet<&'a str>,
}

fn lots<'a>(snapshot: &'a Snapshot, portfolio: Option<&'a PinnedPortfolio>) -> BTreeMap<&'a str, Held<'a>> {
    let mut lots: BTreeMap<&str, Held<'_>> = BTreeMap::new();
    for holding in portfolio.into_iter().flat_map(|portfolio| &portfolio.holdings) {
        let instrument = &snapshot.instruments[holding.instrument];
        let held = lots.entry(&instrument.symbol).or_default();
        held.lots.extend(&holding.lots);
        held.priced_by.insert(&instrument.symbol);
        held.priced_by.extend(instrument.option.as_ref().map(|terms| terms.underlying.as_str()));
    }
    for held in lots.values_mut() {
        held.lots.sort_by(|a, b| (a.2, a.0, a.1).partial_cmp(&(b.2, b.0, b.1)).unwrap_or(std::cmp::Ordering::Equal));
    }
    lots
}

/// The closes of these symbols that differ, over the sessions of both snapshots.
fn changed_closes(was: &Snapshot, now: &Snapshot, symbols: &BTreeSet<&str>, changes: &mut InputChanges) {
    let sessions: BTreeSet<NaiveDate> = was.sessions.iter().chain(&now.sessions).copied().collect();
    let first = was.sessions.first().max(now.sessions.first());
    for symbol in symbols {
        let (before, after) = (closes(was, symbol), closes(now, symbol));
        // A window that begins earlier is no change of a close.
        for date in sessions.iter().filter(|date| Some(*date) >= first) {
            let (was, now) = (before.get(date).copied(), after.get(date).copied());
            if was != now {
                let entry = ChangedClose { symbol: (*symbol).to_owned(), date: *date, was, now };
                count(&mut changes.closes, &mut changes.closes_count, entry);
            }
        }
    }
}

fn closes(snapshot: &Snapshot, symbol: &str) -> BTreeMap<NaiveDate, f64> {
    let Ok(at) = snapshot.symbols.binary_search_by(|known| known.as_str().cmp(symbol)) else { return BTreeMap::new() };
    let closes = snapshot.sessions.iter().copied().zip(snapshot.closes_of(at).iter().copied());
    closes.filter(|(_, close)| close.is_finite()).collect()
}

/// The sections of the settings that differ.
fn changed_settings(was: &Snapshot, now: &Snapshot) -> Vec<String> {
    let sections = |snapshot: &Snapshot| match serde_json::to_value(&snapshot.settings) {
        Ok(Value::Object(sections)) => sections,
        _ => serde_json::Map::new(),
    };
    let (was, now) = (sections(was), sections(now));
    let names: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    names.into_iter().filter(|name| was.get(*name) != now.get(*name)).cloned().collect()
}
