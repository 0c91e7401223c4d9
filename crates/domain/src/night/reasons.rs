//! Why the figures of an edition changed: what differs between the pinned inputs of its run and those before.

use std::collections::{BTreeMap, BTreeSet};

use super::Night;
use super::editions::{ChangedVersion, Edition, InputChanges, MOST_CHANGES, Why};
use super::folding::{NIGHT_DOCUMENT, read};
use super::head::NightHead;
use crate::ids::{PortfolioId, RunId};
use crate::ports::{Ports, StoreError};
use crate::run::SealedPlan;

/// The plans of the runs of a night.
pub(super) type Plans = BTreeMap<RunId, SealedPlan>;

/// Fills in why the figures of each edition changed.
///
/// What an earlier fold found stays, since pinned inputs are retired before the night is. The rest is compared now.
pub(super) async fn fill(
    ports: &Ports,
    night: &mut Night,
    before: Option<&NightHead>,
    plans: &Plans,
) -> Result<(), StoreError> {
    if night.editions.is_empty() {
        return Ok(());
    }
    let mut known: BTreeMap<RunId, Why> = BTreeMap::new();
    if let Some(head) = before.filter(|head| head.edition_count > 0)
        && let Some(earlier) = read::<Night>(ports.store.as_ref(), &head.document, NIGHT_DOCUMENT).await?
    {
        known.extend(earlier.editions.into_iter().map(|edition| (edition.batch_run_id, edition.why)));
    }
    for edition in &mut night.editions {
        edition.why = match known.remove(&edition.batch_run_id) {
            Some(why) if !why.is_unknown() => why,
            _ => compared(ports, edition, plans).await?,
        };
    }
    Ok(())
}

/// What differs between the inputs of an edition and those of each run whose figures it replaced.
async fn compared(ports: &Ports, edition: &Edition, plans: &Plans) -> Result<Why, StoreError> {
    let Some(now) = plans.get(&edition.batch_run_id) else { return Ok(Why::UNKNOWN) };
    let portfolios: BTreeSet<PortfolioId> = edition.portfolios.iter().cloned().collect();
    let mut changes = InputChanges::default();
    for replaced in &edition.replaces {
        let Some(was) = plans.get(replaced) else { return Ok(Why::UNKNOWN) };
        let Some(found) = ports.comparer.compare(&was.snapshot, &now.snapshot, &portfolios).await? else {
            return Ok(Why::UNKNOWN);
        };
        changes.add(found);
        if let (Some(was), Some(now)) = (&was.night, &now.night)
            && was.nightbook_version != now.nightbook_version
        {
            let (was, now) = (was.nightbook_version.clone(), now.nightbook_version.clone());
            changes.nightbook_version = Some(ChangedVersion { was, now });
        }
    }
    Ok(Why::Changes(Box::new(changes)))
}

impl InputChanges {
    /// Adds what differs from the inputs of another run. A change that is in both counts once where it is named.
    fn add(&mut self, other: Self) {
        self.closes_count += add_new(&mut self.closes, other.closes, other.closes_count);
        self.lots_count += add_new(&mut self.lots, other.lots, other.lots_count);
        self.equity_count += add_new(&mut self.equity, other.equity, other.equity_count);
        let settings: BTreeSet<String> = self.settings.drain(..).chain(other.settings).collect();
        self.settings = settings.into_iter().collect();
    }
}

/// Adds the entries that are not there, up to the limit, and gives by how many the count rises.
fn add_new<T: PartialEq>(entries: &mut Vec<T>, others: Vec<T>, count: u64) -> u64 {
    let mut known = 0;
    for other in others {
        if entries.contains(&other) {
            known += 1;
        } else if entries.len() < MOST_CHANGES {
            entries.push(other);
        }
    }
    count.saturating_sub(known)
}
