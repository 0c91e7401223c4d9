//! Folds a night from the records.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use super::expected::deciding_run;
use super::head::{HeadFacts, NightBasis, NightHead, NightKey};
use super::input::{Acceptance, NightRun};
use super::members::NightMembers;
use super::reasons::Plans;
use super::stored::{self, Members};
use super::{ControlResult, Night};
use crate::expected_items::all_expected_items;
use crate::ids::{ContentHash, RunId, ScheduleName};
use crate::ports::{Keep, RunQuery, RunStore, StoreError, StoredRun};
use crate::run::Run;
use crate::work_item::WorkItem;

/// What an error calls the document of a night.
pub(super) const NIGHT_DOCUMENT: &str = "the document of a night";

/// The items of a run that the caller has, so that they are not read twice.
#[derive(Debug, Clone, Copy)]
pub struct KnownItems<'a> {
    /// The run.
    pub run: RunId,
    /// All of its portfolios.
    pub items: &'a [WorkItem],
}

/// A night with what its head has beside it.
pub(super) struct Folded {
    pub(super) night: Night,
    pub(super) plans: Plans,
    /// Whether the records of some of its runs were retired, so that their figures are not known.
    pub(super) has_retired: bool,
    schedule: ScheduleName,
    full_run: Option<RunId>,
    acceptances: Vec<Acceptance>,
    basis: NightBasis,
}

impl Folded {
    /// The head of the night, to replace the one of this version.
    pub(super) fn head(&self, version: u64, document: ContentHash, folded_at: DateTime<Utc>) -> NightHead {
        let facts = HeadFacts {
            version,
            schedule: self.schedule.clone(),
            full_run: self.full_run,
            acceptances: self.acceptances.clone(),
            basis: self.basis,
            document,
            folded_at,
        };
        NightHead::of(&self.night, facts)
    }
}

/// Folds a night from its runs. `None` if the date has neither a run nor a recorded missed slot, and if the records of a
/// run that would decide were retired: an outcome that is not known is not `missing`.
///
/// # Errors
/// The store.
pub(super) async fn fold(
    store: &dyn RunStore,
    key: &NightKey,
    acceptances: Vec<Acceptance>,
    known: Option<KnownItems<'_>>,
) -> Result<Option<Folded>, StoreError> {
    let stored = runs_of(store, key).await?;
    let Some(newest) = stored.iter().max_by_key(|stored| (stored.run.started_at, stored.run.batch_run_id)) else {
        return Ok(None);
    };
    let schedule = newest.run.schedule.clone();
    let mut members = Members::new();
    for hash in stored::members_documents(&stored) {
        if let Some(document) = read_members(store, &hash).await? {
            members.insert(hash, document);
        }
    }
    let mut runs = Vec::with_capacity(stored.len());
    let mut retired: Vec<NightRun> = Vec::new();
    for one in &stored {
        let run = &one.run;
        let sealed = stored::members_of(&members, run);
        let night_run = match known.filter(|known| known.run == run.batch_run_id) {
            Some(known) => stored::night_run(one, known.items, sealed),
            // Nothing of an open run counts but its plan, and a plan with members says which portfolios are open.
            None if one.summary.is_none() && sealed.is_some() => stored::night_run(one, &[], sealed),
            None => {
                let items = all_expected_items(store, run).await?;
                if is_retired(one, &items, sealed) {
                    retired.push(stored::retired_run(one));
                    continue;
                }
                stored::night_run(one, &items, sealed)
            }
        };
        runs.push(night_run);
    }
    let newest_retired = retired.iter().map(NightRun::order).max();
    runs.append(&mut retired);
    let Some(night) = Night::of(&key.series, key.as_of, &runs, &acceptances) else { return Ok(None) };
    if newest_retired.is_some_and(|newest| !is_decided_after(&night, &runs, newest)) {
        return Ok(None);
    }
    let sealed = |run: &Run| run.plan.as_ref().is_some_and(|plan| plan.night.is_some());
    let planned = stored.iter().any(|stored| stored.run.plan.is_some());
    let basis =
        if planned && !stored.iter().any(|stored| sealed(&stored.run)) { NightBasis::Runs } else { NightBasis::Plans };
    let plan = |stored: StoredRun| Some((stored.run.batch_run_id, stored.run.plan?));
    let plans = stored.into_iter().filter_map(plan).collect();
    let has_retired = newest_retired.is_some();
    Ok(Some(Folded { night, plans, has_retired, schedule, full_run: newest_full(&runs), acceptances, basis }))
}

/// Whether the records of a run were retired: some of its portfolios were processed and nothing says how they ended, or
/// what its plan sealed is gone.
fn is_retired(stored: &StoredRun, items: &[WorkItem], sealed: Option<&NightMembers>) -> bool {
    let Some(summary) = &stored.summary else { return false };
    let seals = stored.run.plan.as_ref().is_some_and(|plan| plan.night.is_some());
    let unknown = summary.portfolios_processed > 0 && !items.iter().any(|item| item.state.is_terminal());
    unknown || (seals && sealed.is_none())
}

/// Whether runs after this one decide the whole night: a full run, and every expected portfolio in a run of its own.
/// Otherwise the runs without records would have a say, and nobody knows which.
fn is_decided_after(night: &Night, runs: &[NightRun], retired: (DateTime<Utc>, RunId)) -> bool {
    let newer: BTreeSet<RunId> = runs.iter().filter(|run| run.order() > retired).map(|run| run.id).collect();
    let full = runs.iter().any(|run| run.counts() && run.is_full() && newer.contains(&run.id));
    full && night.outcomes.values().all(|outcome| outcome.decided_by.is_some_and(|run| newer.contains(&run)))
}

/// The night that the runs on record come to, with what somebody accepted.
///
/// # Errors
/// The store.
pub async fn refold(
    store: &dyn RunStore,
    key: &NightKey,
    acceptances: Vec<Acceptance>,
) -> Result<Option<Night>, StoreError> {
    Ok(fold(store, key, acceptances, None).await?.map(|folded| folded.night))
}

/// The newest full run: the deciding one where it is full.
fn newest_full(runs: &[NightRun]) -> Option<RunId> {
    let ordered: Vec<&NightRun> = runs.iter().collect();
    deciding_run(&ordered).map(|(run, _)| run).filter(|run| run.is_full()).map(|run| run.id)
}

/// The runs and recorded missed slots of a night.
///
/// # Errors
/// The store.
pub async fn runs_of(store: &dyn RunStore, key: &NightKey) -> Result<Vec<StoredRun>, StoreError> {
    let query = RunQuery { as_of: Some(key.as_of), ..RunQuery::default() };
    let page = store.runs(&query).await?;
    Ok(page.runs.into_iter().filter(|stored| *stored.run.night_series() == key.series).collect())
}

/// Stores what a plan seals about the portfolios of the book.
///
/// # Errors
/// The store.
pub(crate) async fn put_members(store: &dyn RunStore, members: &NightMembers) -> Result<ContentHash, StoreError> {
    store.put_night_document(json_of(members)?, Keep::AsRecords).await
}

/// Keeps what a plan sealed as long as the records of the rerun that takes it over.
///
/// # Errors
/// The store.
pub(crate) async fn keep_members(store: &dyn RunStore, members: &ContentHash) -> Result<(), StoreError> {
    if let Some(bytes) = store.night_document(members).await? {
        store.put_night_document(bytes, Keep::AsRecords).await?;
    }
    Ok(())
}

/// A document as it is stored.
pub(super) fn json_of<T: serde::Serialize>(document: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(document).map_err(|error| StoreError::Unavailable {
        doing: "write a document of a night".to_owned(),
        source: Box::new(error),
    })
}

/// The control results of a run, from what its plan sealed and what these portfolios of it, all of them, recorded.
///
/// # Errors
/// The store.
pub(crate) async fn run_controls(
    store: &dyn RunStore,
    run: &Run,
    items: &[WorkItem],
) -> Result<Vec<ControlResult>, StoreError> {
    let members = match run.plan.as_ref().and_then(|plan| plan.night.as_ref()) {
        Some(sealed) => read_members(store, &sealed.members).await?,
        None => None,
    };
    Ok(stored::controls_of_run(run, members.as_ref(), items))
}

/// What a plan seals about the portfolios of the book. `None` if it was retired.
pub(super) async fn read_members(store: &dyn RunStore, hash: &ContentHash) -> Result<Option<NightMembers>, StoreError> {
    read(store, hash, "what a plan seals for the night").await
}

/// A stored document. `None` if it was retired.
pub(super) async fn read<T: DeserializeOwned>(
    store: &dyn RunStore,
    hash: &ContentHash,
    what: &str,
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = store.night_document(hash).await? else { return Ok(None) };
    let damaged = |error: serde_json::Error| StoreError::Damaged { what: what.to_owned(), detail: error.to_string() };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}
