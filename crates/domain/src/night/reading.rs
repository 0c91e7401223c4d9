//! Reads nights for pages, commands and questions. Nothing is written.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use uuid::Uuid;

use super::Night;
use super::folding::{NIGHT_DOCUMENT, fold, json_of, read};
use super::head::{NightHead, NightKey};
use super::input::Acceptance;
use crate::ids::{ContentHash, RunId};
use crate::ports::{NightQuery, RunCursor, RunQuery, RunStore, StoreError};

/// Runs that are read at once to find dates without a head, at least.
const RUNS_LOOKED_THROUGH: usize = 120;

/// A night with its head.
#[derive(Debug, Clone, PartialEq)]
pub struct NightView {
    /// The head as it is stored; with version 0 where it was folded for this reader.
    pub head: NightHead,
    /// The whole fold.
    pub night: Night,
}

/// A night: as it is stored, or folded from its runs if it was never stored. `None` if the date has neither a run nor a
/// recorded missed slot.
///
/// # Errors
/// The store.
pub async fn read_night(
    store: &dyn RunStore,
    key: &NightKey,
    now: DateTime<Utc>,
) -> Result<Option<NightView>, StoreError> {
    if let Some(head) = store.night(key).await? {
        return night_of_head(store, head, now).await;
    }
    folded(store, key, Vec::new(), now).await
}

/// The night of a head. Where somebody writes it at the same time, the newer one.
///
/// # Errors
/// The store.
pub async fn night_of_head(
    store: &dyn RunStore,
    head: NightHead,
    now: DateTime<Utc>,
) -> Result<Option<NightView>, StoreError> {
    // A head with version 0 was folded for a reader: its document is not stored.
    if head.version == 0 {
        return folded(store, &head.key(), Vec::new(), now).await;
    }
    if let Some(night) = read::<Night>(store, &head.document, NIGHT_DOCUMENT).await? {
        return Ok(Some(NightView { head, night }));
    }
    // The document goes when the head is written again.
    if let Some(newer) = store.night(&head.key()).await?.filter(|newer| newer.version != head.version)
        && let Some(night) = read::<Night>(store, &newer.document, NIGHT_DOCUMENT).await?
    {
        return Ok(Some(NightView { head: newer, night }));
    }
    folded(store, &head.key(), head.acceptances, now).await
}

async fn folded(
    store: &dyn RunStore,
    key: &NightKey,
    acceptances: Vec<Acceptance>,
    now: DateTime<Utc>,
) -> Result<Option<NightView>, StoreError> {
    let Some(folded) = fold(store, key, acceptances, None).await? else { return Ok(None) };
    let document = ContentHash::of(&json_of(&folded.night)?);
    let head = folded.head(0, document, now);
    Ok(Some(NightView { head, night: folded.night }))
}

/// The heads of the selected nights, newest trading date first, also of dates that have runs but no head: those of
/// releases without nights, and one that was recorded a moment ago.
///
/// Dates with a head cost one read together, and the runs of the page one more for each page of runs.
///
/// # Errors
/// The store.
pub async fn recent_nights(
    store: &dyn RunStore,
    query: &NightQuery,
    now: DateTime<Utc>,
) -> Result<Vec<NightHead>, StoreError> {
    let mut heads = store.nights(query).await?;
    for as_of in dates_without_head(store, query, &heads).await? {
        let key = NightKey { series: query.series.clone(), as_of };
        heads.extend(folded(store, &key, Vec::new(), now).await?.map(|view| view.head));
    }
    heads.sort_by_key(|head| std::cmp::Reverse(head.as_of));
    if query.limit > 0 {
        heads.truncate(query.limit);
    }
    Ok(heads)
}

/// Days by which the slot of a run and its trading date may differ, in either direction.
const SLOT_DAYS: Days = Days::new(8);

/// The selected dates that have runs but no head, newest first: as many as belong on the page.
///
/// Runs are read newest slot first, from the last selected date on, until they are older than the page.
///
/// # Errors
/// The store.
pub(super) async fn dates_without_head(
    store: &dyn RunStore,
    query: &NightQuery,
    heads: &[NightHead],
) -> Result<Vec<NaiveDate>, StoreError> {
    let known: BTreeSet<NaiveDate> = heads.iter().map(|head| head.as_of).collect();
    let most = if query.limit == 0 { usize::MAX } else { query.limit };
    let selected = |as_of: &NaiveDate| {
        query.from.is_none_or(|from| *as_of >= from) && query.to.is_none_or(|to| *as_of <= to) && !known.contains(as_of)
    };
    let mut dates: BTreeSet<NaiveDate> = BTreeSet::new();
    let mut after = query.to.and_then(slots_up_to).map(|cursor| cursor.to_string());
    loop {
        let asked = RunQuery { limit: RUNS_LOOKED_THROUGH.max(query.limit), after, ..RunQuery::default() };
        let page = store.runs(&asked).await?;
        let oldest_slot = page.runs.last().map(|stored| stored.run.scheduled_for.date_naive());
        let of_series = page.runs.iter().filter(|stored| *stored.run.night_series() == query.series);
        dates.extend(of_series.map(|stored| stored.run.as_of).filter(selected));
        // The oldest date on the page, once the page is full.
        let page_dates: BTreeSet<NaiveDate> = known.union(&dates).copied().collect();
        let last = page_dates.iter().rev().nth(most - 1).copied().or(query.from);
        let is_passed = oldest_slot.and_then(|slot| slot.checked_add_days(SLOT_DAYS)) < last;
        after = page.next.filter(|_| !is_passed);
        if after.is_none() {
            dates.retain(|as_of| last.is_none_or(|last| *as_of >= last));
            return Ok(dates.into_iter().rev().take(most).collect());
        }
    }
}

/// The position before all runs whose slots may belong to this trading date or an earlier one.
fn slots_up_to(as_of: NaiveDate) -> Option<RunCursor> {
    let slot = as_of.checked_add_days(SLOT_DAYS)?.and_time(NaiveTime::MIN).and_utc();
    Some(RunCursor { scheduled_for: slot, started_at: slot, run: RunId(Uuid::nil()) })
}

/// The newest night up to the last allowed date, if there is any.
///
/// # Errors
/// The store.
pub async fn newest_night(
    store: &dyn RunStore,
    series: &crate::ids::ScheduleName,
    last: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Option<NightView>, StoreError> {
    let query = NightQuery { series: series.clone(), from: None, to: Some(last), limit: 1 };
    match recent_nights(store, &query, now).await?.into_iter().next() {
        Some(head) => night_of_head(store, head, now).await,
        None => Ok(None),
    }
}
