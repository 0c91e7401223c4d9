//! What a planner looks up about a night that has runs already.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::dates::latest_possible;
use super::head::NightKey;
use super::members::NightMembers;
use crate::ids::PortfolioId;
use crate::ports::{NightQuery, RunStore, StoreError};
use crate::run::Run;

/// What the plan of this run sealed about the portfolios of its book; `None` where it sealed nothing, or the document
/// has been retired.
///
/// # Errors
/// The store.
pub async fn sealed_members(store: &dyn RunStore, run: &Run) -> Result<Option<NightMembers>, StoreError> {
    let Some(sealed) = run.plan.as_ref().and_then(|plan| plan.night.as_ref()) else { return Ok(None) };
    let Some(bytes) = store.night_document(&sealed.members).await? else { return Ok(None) };
    let what = || "what a plan seals for the night".to_owned();
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreError::Damaged { what: what(), detail: error.to_string() })
}

/// Whether a later night of the series is on record.
///
/// # Errors
/// The store.
pub async fn later_night_on_record(
    store: &dyn RunStore,
    key: &NightKey,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let to = Some(latest_possible(now));
    let later = NightQuery { series: key.series.clone(), from: key.as_of.succ_opt(), to, limit: 1 };
    Ok(!store.nights(&later).await?.is_empty())
}

/// The usable equity that the newest full run of a night pinned, where a later night is on record. An equity without a
/// date is that of the newest night, so an older night keeps what it had.
///
/// # Errors
/// The store.
pub async fn kept_equity(
    store: &dyn RunStore,
    key: &NightKey,
    now: DateTime<Utc>,
) -> Result<BTreeMap<PortfolioId, f64>, StoreError> {
    if !later_night_on_record(store, key, now).await? {
        return Ok(BTreeMap::new());
    }
    let Some(full_run) = store.night(key).await?.and_then(|head| head.full_run) else { return Ok(BTreeMap::new()) };
    let Some(stored) = store.run(full_run).await? else { return Ok(BTreeMap::new()) };
    let members = sealed_members(store, &stored.run).await?.unwrap_or_default();
    Ok(members.open.into_iter().filter_map(|(id, member)| Some((id, member.equity?))).collect())
}
