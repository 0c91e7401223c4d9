//! Prices from outside: a function has no disk that stays, so what it fetched is kept for this run only, in the pinned
//! inputs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use book::PricePoint;
use chrono::NaiveDate;
use domain::record::JobError;
use prices::{Asked, Shelf};

/// What is held: closes by symbol and day, and what was asked for.
#[derive(Debug, Default)]
struct Held {
    closes: BTreeMap<(String, NaiveDate), PricePoint>,
    asked: Asked,
}

/// A shelf in memory.
#[derive(Debug, Default)]
pub struct MemoryShelf {
    held: Mutex<Held>,
}

impl Shelf for MemoryShelf {
    fn read(
        &self,
        symbols: &[String],
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<(BTreeMap<String, Vec<PricePoint>>, Asked), JobError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut closes: BTreeMap<String, Vec<PricePoint>> = BTreeMap::new();
        for ((symbol, date), point) in &held.closes {
            if symbols.contains(symbol) && (from..=to).contains(date) {
                closes.entry(symbol.clone()).or_default().push(*point);
            }
        }
        let asked = held.asked.iter().filter(|(symbol, _)| symbols.contains(symbol));
        Ok((closes, asked.map(|(symbol, span)| (symbol.clone(), *span)).collect()))
    }

    fn add(
        &self,
        closes: &[(String, PricePoint)],
        symbols: &[String],
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<u64, JobError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut added = 0;
        for (symbol, point) in closes {
            held.closes.entry((symbol.clone(), point.date)).or_insert_with(|| {
                added += 1;
                *point
            });
        }
        for symbol in symbols {
            let span = held.asked.entry(symbol.clone()).or_insert((from, to));
            *span = (span.0.min(from), span.1.max(to));
        }
        Ok(added)
    }
}
