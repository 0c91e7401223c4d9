//! The records in one `DynamoDB` table: no scan, no index; every decision is the domain's `next`, written on the
//! condition that nobody else wrote in between. `docs/dynamodb.md` describes the items.
//!
//! Lists (`RUNS`, `STARTED`, `ACTIVE` and others) name runs and say nothing about them. They are written before what
//! they name, so that nothing is ever missing from them, and what they name is read before it is believed.

mod books;
mod chain;
mod dictionary;
mod doctor;
mod document;
mod history;
mod keys;
mod manifests;
mod meta;
mod nights;
mod notes;
mod run_list;
mod runs;
mod summaries;
mod table;
mod tallies;
mod work_items;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::{PortfolioId, RunId};
use domain::ports::Clock;
use domain::run::Run;
use table::{Table, Time};

use crate::system::SystemClock;

/// Entries of a memory at most; more, and it begins anew.
const REMEMBERED: usize = 256;

/// The store of the records. Cheap to clone; all clones share what they remember.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    table: Table,
    records_days: u32,
    memory: Arc<Mutex<Memory>>,
}

/// What never changes once it is there, so that it is read once for many portfolios.
#[derive(Debug, Default)]
struct Memory {
    runs: BTreeMap<RunId, Facts>,
    manifests: BTreeMap<(RunId, u32, u32), Listed>,
}

/// A bucket of a sealed manifest, and until when it is there.
#[derive(Debug, Clone)]
struct Listed {
    portfolios: Arc<[PortfolioId]>,
    expires_at: i64,
}

/// What is fixed of a run: its slot, and the epoch of its manifest from the seal on.
#[derive(Debug, Clone, Copy)]
struct Facts {
    scheduled_for: DateTime<Utc>,
    sealed: Option<u32>,
}

impl Facts {
    fn of(run: &Run) -> Self {
        Self { scheduled_for: run.scheduled_for, sealed: run.plan.as_ref().map(|plan| plan.epoch) }
    }
}

impl DynamoStore {
    pub(super) fn new(client: aws_sdk_dynamodb::Client, table: &str, records_days: u32) -> Self {
        let table = Table { client, name: table.to_owned(), time: Time(Arc::new(SystemClock)) };
        Self { table, records_days, memory: Arc::default() }
    }

    /// The same by another clock, for tests: it says what has expired, and when that which is written will.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.table.time = Time(clock);
        self
    }

    /// When a record that is written now may be removed, in seconds since 1970.
    fn expires_at(&self) -> i64 {
        (self.table.now() + TimeDelta::days(i64::from(self.records_days))).timestamp()
    }

    fn remembered<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        // Each change is one insert, so a panic leaves nothing half done.
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Memory {
    fn know_run(&mut self, id: RunId, facts: Facts) {
        if self.runs.len() >= REMEMBERED {
            self.runs.clear();
        }
        self.runs.insert(id, facts);
    }

    fn know_manifest(&mut self, of: (RunId, u32, u32), listed: Listed) {
        if self.manifests.len() >= REMEMBERED {
            self.manifests.clear();
        }
        self.manifests.insert(of, listed);
    }
}
