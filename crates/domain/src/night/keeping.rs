//! Writes the night: folds the runs of a date and stores head and document.

use chrono::NaiveDate;

use super::expected::deciding_run;
use super::head::{HeadFacts, NightBasis, NightHead, NightKey};
use super::input::{Acceptance, NightRun};
use super::members::{Earlier, NightBefore, NightMembers};
use super::reasons::{self, Plans};
use super::stored::{self, Members};
use super::{Control, Level, Night};
use crate::expected_items::all_expected_items;
use crate::ids::{ContentHash, RunId, ScheduleName};
use crate::ports::{NightQuery, Ports, RunQuery, StoreError, StoredRun};
use crate::run::Run;
use crate::work_item::WorkItem;

/// Tries to write a head that others write too.
const MOST_TRIES: usize = 100;

/// Nights without a plan that are passed over to find the newest one with a plan.
const MOST_PASSED_OVER: usize = 100;

/// What an error calls the document of a night.
pub(super) const NIGHT_DOCUMENT: &str = "the document of a night";

/// A night with its head.
#[derive(Debug, Clone, PartialEq)]
pub struct NightView {
    /// The head as it is stored.
    pub head: NightHead,
    /// The whole fold.
    pub night: Night,
}

/// The items of a run that the caller has read already.
#[derive(Debug, Clone, Copy)]
pub struct KnownItems<'a> {
    /// The run.
    pub run: RunId,
    /// All of its portfolios.
    pub items: &'a [WorkItem],
}

/// Folds a night from its runs and stores it. None where the date has neither a run nor a recorded missed slot.
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
    write_night(ports, key, known, None).await
}

/// Records that somebody accepted results of a control, and folds the night again.
///
/// # Errors
/// The store.
pub async fn accept_control(
    ports: &Ports,
    key: &NightKey,
    acceptance: Acceptance,
) -> Result<Option<NightView>, StoreError> {
    write_night(ports, key, None, Some(acceptance)).await
}

async fn write_night(
    ports: &Ports,
    key: &NightKey,
    known: Option<KnownItems<'_>>,
    acceptance: Option<Acceptance>,
) -> Result<Option<NightView>, StoreError> {
    for _ in 0..MOST_TRIES {
        // The head is read before the runs: a run that is recorded after this read changes the version.
        let before = ports.store.night(key).await?;
        let mut acceptances = before.as_ref().map(|head| head.acceptances.clone()).unwrap_or_default();
        if let Some(acceptance) = acceptance.as_ref().filter(|acceptance| !acceptances.contains(acceptance)) {
            acceptances.push(acceptance.clone());
        }
        let Some(folded) = fold(ports, key, acceptances, known).await? else { return Ok(None) };
        let Folded { mut night, schedule, full_run, acceptances, basis, plans } = folded;
        reasons::fill(ports, &mut night, before.as_ref(), &plans).await?;
        let document = ports.store.put_night_document(json_of(&night)?).await?;
        let version = before.as_ref().map_or(0, |head| head.version);
        let folded_at = ports.clock.now();
        let head =
            NightHead::of(&night, HeadFacts { version, schedule, full_run, acceptances, basis, document, folded_at });
        if before.as_ref().is_some_and(|before| NightHead { folded_at: before.folded_at, ..head.clone() } == *before) {
            return Ok(before.map(|head| NightView { head, night }));
        }
        if ports.store.put_night(&head).await? {
            return Ok(Some(NightView { head: NightHead { version: version + 1, ..head }, night }));
        }
    }
    Err(StoreError::Unavailable {
        doing: format!("write the night of {}", key.as_of),
        source: "others wrote it each time".into(),
    })
}

/// A night with what its head has beside it.
struct Folded {
    night: Night,
    schedule: ScheduleName,
    full_run: Option<RunId>,
    acceptances: Vec<Acceptance>,
    basis: NightBasis,
    plans: Plans,
}

async fn fold(
    ports: &Ports,
    key: &NightKey,
    acceptances: Vec<Acceptance>,
    known: Option<KnownItems<'_>>,
) -> Result<Option<Folded>, StoreError> {
    let stored = runs_of(ports, key).await?;
    let Some(newest) = stored.iter().max_by_key(|stored| (stored.run.started_at, stored.run.batch_run_id)) else {
        return Ok(None);
    };
    let schedule = newest.run.schedule.clone();
    let mut members = Members::new();
    for hash in stored::members_documents(&stored) {
        if let Some(document) = read_members(ports, &hash).await? {
            members.insert(hash, document);
        }
    }
    let mut runs = Vec::with_capacity(stored.len());
    for one in &stored {
        let run = &one.run;
        let sealed = stored::members_of(&members, run);
        let night_run = match known.filter(|known| known.run == run.batch_run_id) {
            Some(known) => stored::night_run(one, known.items, sealed),
            // Nothing of an open run counts but its plan, and a plan with members says which portfolios are open.
            None if one.summary.is_none() && sealed.is_some() => stored::night_run(one, &[], sealed),
            None => stored::night_run(one, &all_expected_items(ports.store.as_ref(), run).await?, sealed),
        };
        runs.push(night_run);
    }
    let Some(night) = Night::of(&key.series, key.as_of, &runs, &acceptances) else { return Ok(None) };
    let sealed = |run: &Run| run.plan.as_ref().is_some_and(|plan| plan.night.is_some());
    let planned = stored.iter().any(|stored| stored.run.plan.is_some());
    let basis =
        if planned && !stored.iter().any(|stored| sealed(&stored.run)) { NightBasis::Runs } else { NightBasis::Plans };
    let plan = |stored: StoredRun| Some((stored.run.batch_run_id, stored.run.plan?));
    let plans = stored.into_iter().filter_map(plan).collect();
    Ok(Some(Folded { night, schedule, full_run: newest_full(&runs), acceptances, basis, plans }))
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
pub async fn runs_of(ports: &Ports, key: &NightKey) -> Result<Vec<StoredRun>, StoreError> {
    let query = RunQuery { as_of: Some(key.as_of), ..RunQuery::default() };
    let page = ports.store.runs(&query).await?;
    Ok(page.runs.into_iter().filter(|stored| *stored.run.night_series() == key.series).collect())
}

/// Stores what a plan seals about the portfolios of the book.
///
/// # Errors
/// The store.
pub(crate) async fn put_members(ports: &Ports, members: &NightMembers) -> Result<ContentHash, StoreError> {
    ports.store.put_night_document(json_of(members)?).await
}

fn json_of<T: serde::Serialize>(document: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(document).map_err(|error| StoreError::Unavailable {
        doing: "write a document of a night".to_owned(),
        source: Box::new(error),
    })
}

async fn read_members(ports: &Ports, hash: &ContentHash) -> Result<Option<NightMembers>, StoreError> {
    read(ports, hash, "what a plan seals for the night").await
}

pub(super) async fn read<T: serde::de::DeserializeOwned>(
    ports: &Ports,
    hash: &ContentHash,
    what: &str,
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = ports.store.night_document(hash).await? else { return Ok(None) };
    let damaged = |error: serde_json::Error| StoreError::Damaged { what: what.to_owned(), detail: error.to_string() };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// A night as it is stored. A night that was never folded, because a release without nights ran it, is folded now.
///
/// # Errors
/// The store.
pub async fn stored_night(ports: &Ports, key: &NightKey) -> Result<Option<NightView>, StoreError> {
    if let Some(head) = ports.store.night(key).await?
        && let Some(night) = read::<Night>(ports, &head.document, NIGHT_DOCUMENT).await?
    {
        return Ok(Some(NightView { head, night }));
    }
    keep_night(ports, key, None).await
}

/// The night of a head; `None` if its document has been retired.
///
/// # Errors
/// The store.
pub async fn night_of_head(store: &dyn crate::ports::RunStore, head: &NightHead) -> Result<Option<Night>, StoreError> {
    let Some(bytes) = store.night_document(&head.document).await? else { return Ok(None) };
    let damaged =
        |error: serde_json::Error| StoreError::Damaged { what: NIGHT_DOCUMENT.to_owned(), detail: error.to_string() };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// What a planner has to know about the newest night before this date.
///
/// # Errors
/// The store.
pub async fn night_before(ports: &Ports, key: &NightKey) -> Result<NightBefore, StoreError> {
    let Some(to) = key.as_of.pred_opt() else { return Ok(NightBefore::default()) };
    let query = NightQuery { series: key.series.clone(), from: None, to: Some(to), limit: MOST_PASSED_OVER };
    // A night that nothing was planned for says nothing about portfolios.
    let planned = |head: &NightHead| head.expected_portfolios > 0;
    let Some(head) = ports.store.nights(&query).await?.into_iter().find(planned) else {
        return Ok(NightBefore::default());
    };
    let Some(view) = stored_night(ports, &head.key()).await? else { return Ok(NightBefore::default()) };
    let expected = view.night.outcomes.keys().cloned().collect();
    let mut before = NightBefore { as_of: Some(head.as_of), expected, ..NightBefore::default() };
    let deciding = match head.full_run.or_else(|| head.runs.last().copied()) {
        Some(run) => ports.store.run(run).await?,
        None => None,
    };
    let sealed = deciding.as_ref().and_then(|stored| stored.run.plan.as_ref()?.night.as_ref());
    let members = match sealed {
        Some(sealed) => read_members(ports, &sealed.members).await?,
        None => None,
    };
    let failed = |control: Control| {
        let open = view.night.controls.iter().filter(move |result| {
            result.result.control == control && result.result.level == Level::Failure && result.accepted.is_none()
        });
        open.filter_map(|result| result.result.portfolio_id.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let (lost_rows, wrong_equity) = (failed(Control::Positions), failed(Control::Equity));
    for (id, member) in members.map(|members| members.open).unwrap_or_default() {
        let rows = now_or_before(lost_rows.contains(&id), head.as_of, Some(member.rows), member.rows_before);
        let equity = now_or_before(wrong_equity.contains(&id), head.as_of, member.equity, member.equity_before);
        before.rows.extend(rows.map(|rows| (id.clone(), rows)));
        before.equity.extend(equity.map(|equity| (id, equity)));
    }
    Ok(before)
}

/// The value of a night, or the one it was compared with where its control failed or it has none.
fn now_or_before<T>(
    failed: bool,
    as_of: NaiveDate,
    value: Option<T>,
    before: Option<Earlier<T>>,
) -> Option<Earlier<T>> {
    match value {
        Some(value) if !failed => Some(Earlier { as_of, value }),
        _ => before,
    }
}
