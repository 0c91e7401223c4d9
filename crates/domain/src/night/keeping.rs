//! Writes nights: folds the runs of a date, and stores head and document.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::Night;
use super::folding::{KnownItems, NIGHT_DOCUMENT, fold, json_of, read};
use super::head::{NightHead, NightKey};
use super::input::Acceptance;
use super::reading::NightView;
use super::reasons;
use crate::ids::{RunId, ScheduleName};
use crate::ports::{Clock, InputComparer, Keep, NightQuery, Ports, RunQuery, RunStore, StoreError, StoredRun};

/// Tries to write a head that others write too.
const MOST_TRIES: usize = 100;

/// Runs that are looked at to find nights without a head.
const MOST_LOOKED_AT: usize = 60;

/// Folds a night from its runs and stores it. `None` if the date has neither a run nor a recorded missed slot.
///
/// Called after each start, close, missed slot and acceptance; may be called any number of times by anyone. Whoever
/// comes second folds again, so that the stored head is never older than the records it was called for.
///
/// # Errors
/// The store.
pub async fn keep_night(
    ports: &Ports,
    key: &NightKey,
    known: Option<KnownItems<'_>>,
) -> Result<Option<NightView>, StoreError> {
    let parts =
        Parts { store: ports.store.as_ref(), clock: ports.clock.as_ref(), comparer: Some(ports.comparer.as_ref()) };
    parts.write_night(key, known, None).await
}

/// Records that somebody accepted results of a control, and folds the night again. The same acceptance again changes
/// nothing.
///
/// # Errors
/// The store.
pub async fn accept_control(
    store: &dyn RunStore,
    clock: &dyn Clock,
    key: &NightKey,
    acceptance: Acceptance,
) -> Result<Option<NightView>, StoreError> {
    // An acceptance changes no figure, so nothing has to be compared.
    Parts { store, clock, comparer: None }.write_night(key, None, Some(acceptance)).await
}

/// Folds and stores the nights of the newest runs that their heads do not know. Gives how many were folded.
///
/// They are those of releases without nights, and those whose writer died between the run and the head, or between the
/// summary and the head.
///
/// # Errors
/// The store.
pub async fn keep_missing_nights(ports: &Ports) -> Result<usize, StoreError> {
    let page = ports.store.runs(&RunQuery { limit: MOST_LOOKED_AT, ..RunQuery::default() }).await?;
    let mut nights: BTreeMap<ScheduleName, BTreeMap<NaiveDate, Vec<StoredRun>>> = BTreeMap::new();
    for stored in page.runs {
        let dates = nights.entry(stored.run.night_series().clone()).or_default();
        dates.entry(stored.run.as_of).or_default().push(stored);
    }
    let mut written = 0;
    for (series, dates) in nights {
        let from = dates.first_key_value().map(|(as_of, _)| *as_of);
        let to = dates.last_key_value().map(|(as_of, _)| *as_of);
        let heads = ports.store.nights(&NightQuery { series: series.clone(), from, to, limit: 0 }).await?;
        let heads: BTreeMap<NaiveDate, NightHead> = heads.into_iter().map(|head| (head.as_of, head)).collect();
        for (as_of, runs) in dates {
            if heads.get(&as_of).is_some_and(|head| runs.iter().all(|stored| head.knows(stored))) {
                continue;
            }
            let key = NightKey { series: series.clone(), as_of };
            written += usize::from(keep_night(ports, &key, None).await?.is_some());
        }
    }
    Ok(written)
}

/// What the writer of a night needs.
#[derive(Clone, Copy)]
struct Parts<'a> {
    store: &'a dyn RunStore,
    clock: &'a dyn Clock,
    comparer: Option<&'a dyn InputComparer>,
}

impl Parts<'_> {
    /// The night as it is stored, where its runs say nothing any more: their records were retired.
    async fn unchanged(&self, head: Option<NightHead>, accepts: bool) -> Result<Option<NightView>, StoreError> {
        let Some(head) = head else { return Ok(None) };
        if accepts {
            let what =
                format!("record of the runs of {}: they were retired, so that nothing can be accepted", head.as_of);
            return Err(StoreError::NotFound { what });
        }
        let night = read::<Night>(self.store, &head.document, NIGHT_DOCUMENT).await?;
        Ok(night.map(|night| NightView { head, night }))
    }

    /// Puts the editions that the stored night has and the fold does not know any more before those that it knows.
    async fn keep_editions(&self, before: Option<&NightHead>, night: &mut Night) -> Result<(), StoreError> {
        let Some(head) = before.filter(|head| head.edition_count > 0) else { return Ok(()) };
        let Some(stored) = read::<Night>(self.store, &head.document, NIGHT_DOCUMENT).await? else { return Ok(()) };
        let known: BTreeSet<RunId> = night.editions.iter().map(|edition| edition.batch_run_id).collect();
        let mut editions = stored.editions;
        editions.retain(|edition| !known.contains(&edition.batch_run_id));
        editions.append(&mut night.editions);
        for (edition, number) in editions.iter_mut().zip(2..) {
            edition.number = number;
        }
        night.editions = editions;
        Ok(())
    }

    async fn write_night(
        self,
        key: &NightKey,
        known: Option<KnownItems<'_>>,
        acceptance: Option<Acceptance>,
    ) -> Result<Option<NightView>, StoreError> {
        for _ in 0..MOST_TRIES {
            // The head is read before the runs: a run that is recorded after this read changes the version.
            let before = self.store.night(key).await?;
            let mut acceptances = before.as_ref().map(|head| head.acceptances.clone()).unwrap_or_default();
            if let Some(acceptance) = acceptance.as_ref().filter(|acceptance| !acceptances.contains(acceptance)) {
                acceptances.push(acceptance.clone());
            }
            let Some(mut folded) = fold(self.store, key, acceptances, known).await? else {
                return self.unchanged(before, acceptance.is_some()).await;
            };
            if folded.has_retired {
                self.keep_editions(before.as_ref(), &mut folded.night).await?;
            }
            reasons::fill(self.store, self.comparer, &mut folded.night, before.as_ref(), &folded.plans).await?;
            // With an open run, the head is written again when that has ended.
            let keep = if folded.night.in_progress.is_empty() { Keep::UntilReplaced } else { Keep::AsRecords };
            let document = self.store.put_night_document(json_of(&folded.night)?, keep).await?;
            let version = before.as_ref().map_or(0, |head| head.version);
            let head = folded.head(version, document, self.clock.now());
            if let Some(before) =
                before.filter(|before| NightHead { folded_at: before.folded_at, ..head.clone() } == *before)
            {
                return Ok(Some(NightView { head: before, night: folded.night }));
            }
            if self.store.put_night(&head).await? {
                return Ok(Some(NightView { head: NightHead { version: version + 1, ..head }, night: folded.night }));
            }
        }
        Err(StoreError::Unavailable {
            doing: format!("write the night of {}", key.as_of),
            source: "others wrote it each time".into(),
        })
    }
}
