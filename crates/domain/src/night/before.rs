//! What a planner has to know about the night before.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use super::folding::read_members;
use super::head::{NightHead, NightKey};
use super::lookup::kept_equity;
use super::members::{Earlier, Member, NightBefore, NightMembers};
use super::reading::{night_of_head, recent_nights};
use super::{Control, Level, Night};
use crate::ids::{JobName, PortfolioId, RunId};
use crate::ports::{NightQuery, Ports, RunStore, StoreError};
use crate::words::JobStatus;

/// Nights that are read at a time to find the newest one with a plan.
const PAGE: usize = 100;

/// What a planner has to know about the newest night before this date.
///
/// # Errors
/// The store.
pub async fn night_before(ports: &Ports, key: &NightKey) -> Result<NightBefore, StoreError> {
    let kept_equity = kept_equity(ports.store.as_ref(), key, ports.clock.now()).await?;
    Ok(NightBefore { kept_equity, ..earlier_night(ports, key).await? })
}

async fn earlier_night(ports: &Ports, key: &NightKey) -> Result<NightBefore, StoreError> {
    let Some(to) = key.as_of.pred_opt() else { return Ok(NightBefore::default()) };
    let (store, now) = (ports.store.as_ref(), ports.clock.now());
    // A night that nothing was planned for says nothing about portfolios.
    let planned = |head: &NightHead| head.expected_portfolios > 0;
    let mut query = NightQuery { series: key.series.clone(), from: None, to: Some(to), limit: 1 };
    let newest = loop {
        let heads = recent_nights(store, &query, now).await?;
        let Some(oldest) = heads.last().map(|head| head.as_of) else { break None };
        if let Some(head) = heads.into_iter().find(planned) {
            break Some(head);
        }
        // The night before is planned almost always, so the first page is small.
        query.limit = PAGE;
        let Some(earlier) = oldest.pred_opt() else { break None };
        query.to = Some(earlier);
    };
    let Some(head) = newest else { return Ok(NightBefore::default()) };
    let (as_of, full_run) = (head.as_of, head.full_run.or_else(|| head.runs.last().copied()));
    let Some(view) = night_of_head(store, head, now).await? else { return Ok(NightBefore::default()) };
    let expected = view.night.outcomes.keys().cloned().collect();
    let mut before = NightBefore { as_of: Some(as_of), expected, ..NightBefore::default() };
    let members = match full_run {
        Some(run) => members_of(store, run).await?,
        None => None,
    };
    before.breaches = breaches(&view.night, as_of, members.as_ref());
    let (lost_rows, wrong_equity) = (failed(&view.night, Control::Positions), failed(&view.night, Control::Equity));
    let NightMembers { mut open, earlier, .. } = members.unwrap_or_default();
    open.extend(decided_apart(store, &view.night, full_run).await?);
    for (id, values) in earlier {
        before.rows.extend(values.rows.map(|rows| (id.clone(), rows)));
        before.equity.extend(values.equity.map(|equity| (id, equity)));
    }
    for (id, member) in open {
        let lost = lost_rows.contains(&id) || member.has_unusable_rows;
        let rows = now_or_before(lost, as_of, Some(member.rows), member.rows_before);
        let on = member.equity_on.unwrap_or(as_of);
        let equity = now_or_before(wrong_equity.contains(&id), on, member.equity, member.equity_before);
        before.rows.extend(rows.map(|rows| (id.clone(), rows)));
        before.equity.extend(equity.map(|equity| (id, equity)));
    }
    Ok(before)
}

/// What the plan of a run sealed of its night; `None` where it sealed nothing.
async fn members_of(store: &dyn RunStore, run: RunId) -> Result<Option<NightMembers>, StoreError> {
    let stored = store.run(run).await?;
    let sealed = stored.as_ref().and_then(|stored| stored.run.plan.as_ref()?.night.as_ref());
    match sealed {
        Some(sealed) => read_members(store, &sealed.members).await,
        None => Ok(None),
    }
}

/// The portfolios that another run than the full one decides, as that run saw them: it may have read corrected files.
async fn decided_apart(
    store: &dyn RunStore,
    night: &Night,
    full_run: Option<RunId>,
) -> Result<BTreeMap<PortfolioId, Member>, StoreError> {
    let mut runs: BTreeMap<RunId, BTreeSet<&PortfolioId>> = BTreeMap::new();
    for (id, outcome) in &night.outcomes {
        if let Some(run) = outcome.decided_by.filter(|run| Some(*run) != full_run) {
            runs.entry(run).or_default().insert(id);
        }
    }
    let mut apart = BTreeMap::new();
    for (run, decided) in runs {
        let members = members_of(store, run).await?.unwrap_or_default();
        apart.extend(members.open.into_iter().filter(|(id, _)| decided.contains(id)));
    }
    Ok(apart)
}

/// The breaches of limits of a night, accepted ones too, and those of an earlier night where this one could not judge.
fn breaches(
    night: &Night,
    as_of: NaiveDate,
    members: Option<&NightMembers>,
) -> BTreeMap<PortfolioId, BTreeMap<String, Earlier<u64>>> {
    let mut breaches: BTreeMap<PortfolioId, BTreeMap<String, Earlier<u64>>> = BTreeMap::new();
    let succeeded = |id: &PortfolioId, job: &JobName| {
        let at = night.jobs.iter().position(|known| known.name == *job);
        let outcome = at.and_then(|at| night.outcomes.get(id)?.jobs.get(at));
        outcome.is_some_and(|outcome| outcome.status == JobStatus::Success)
    };
    for (id, figures) in members.map(|members| &members.breaches).into_iter().flatten() {
        for (figure, sessions) in figures {
            let mut limits = members.into_iter().flat_map(|members| &members.limits);
            if limits.any(|limit| limit.figure == *figure && !succeeded(id, &limit.job)) {
                let earlier = Earlier { as_of, value: *sessions };
                breaches.entry(id.clone()).or_default().insert(figure.clone(), earlier);
            }
        }
    }
    let failed = night.controls.iter().map(|control| &control.result);
    for result in failed.filter(|result| result.control == Control::Limits && result.level == Level::Failure) {
        if let (Some(id), Some(figure)) = (&result.portfolio_id, &result.figure) {
            let earlier = Earlier { as_of, value: result.sessions.unwrap_or(1) };
            breaches.entry(id.clone()).or_default().insert(figure.clone(), earlier);
        }
    }
    breaches
}

/// The portfolios for which this control failed and was not accepted.
fn failed(night: &Night, control: Control) -> BTreeSet<PortfolioId> {
    let open = night.controls.iter().filter(|result| {
        result.result.control == control && result.result.level == Level::Failure && result.accepted.is_none()
    });
    open.filter_map(|result| result.result.portfolio_id.clone()).collect()
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
