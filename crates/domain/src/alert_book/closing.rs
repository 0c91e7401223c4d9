//! Incidents that end without another run: somebody accepted a control result, or the schedule is gone from the settings.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::changes::{Changes, mutes_of, recovered_line};
use super::decide::{NightFacts, close_key, message, still_open};
use super::seen::seen_of;
use super::{AlertBook, Owed};
use crate::alert_message::{AlertKind, AlertMessage, RecoveredLine, SCHEMA, dedup_key, plural, severity_of};
use crate::alert_rules::{AlertRules, Mute, Severity, muted_until};
use crate::ids::{CauseId, PortfolioId};
use crate::incident::{Incident, IncidentKind, RunAge};
use crate::night::Night;
use crate::night::controls::Accepted;
use crate::words::RunStatus;

/// What the acceptances of a night end: applies them to the incidents of its controls, and returns the message about it.
///
/// Only the newest night of an incident decides. An incident with a result that nobody accepted stays open.
pub fn decide_accepted(
    book: &mut AlertBook,
    facts: &NightFacts<'_>,
    rules: &AlertRules,
    base: &str,
    now: DateTime<Utc>,
) -> Option<AlertMessage> {
    let night = facts.night;
    let seen = seen_of(night);
    let all = mutes_of(book, rules, &BTreeMap::new());
    let mutes: Vec<&Mute> = all.iter().collect();
    let mut changes = Changes::default();
    let mut newest: Option<Accepted> = None;
    let mut incidents = std::mem::take(&mut book.incidents);
    incidents.retain(|cause, incident| {
        let is_over = !seen.iter().any(|seen| seen.cause == *cause);
        let Some(acceptance) = is_over.then(|| accepted(night, incident)).flatten() else { return true };
        let muted_until = muted_until(&mutes, cause, &incident.portfolios, now);
        let because = Some(format!("accepted by {}: {}", acceptance.author, acceptance.note));
        let line = recovered_line(incident, &RunAge::of(facts.summary), because);
        match muted_until {
            _ if !incident.state.was_told() => {}
            Some(until) => book.owed.push(Owed { line, until }),
            None => changes.recovered.push(line),
        }
        if newest.as_ref().is_none_or(|known| known.at < acceptance.at) {
            newest = Some(acceptance);
        }
        false
    });
    book.incidents = incidents;
    let Some(acceptance) = newest.filter(|_| !changes.recovered.is_empty()) else { return close_key(book, None) };
    let left = still_open(book);
    let kind = if left > 0 { AlertKind::PartialRecovery } else { AlertKind::Recovery };
    let run = facts.summary.batch_run_id;
    let alert_id = format!("{run}/accepted/{}", acceptance.at.format("%Y%m%dT%H%M%S%fZ"));
    let message = message(book, facts, kind, &[], changes, now, base, alert_id);
    close_key(book, Some(message))
}

/// The newest acceptance that ends this incident, if its newest night shows that every result of its control is accepted.
fn accepted(night: &Night, incident: &mut Incident) -> Option<Accepted> {
    if incident.kind() != IncidentKind::Control || incident.last_night() != night.as_of {
        return None;
    }
    let of_incident = night.controls.iter().filter(|found| CauseId::of_control(found.result.control) == incident.cause);
    let accepted: Vec<_> = of_incident.filter_map(|found| Some((found, found.accepted.as_ref()?))).collect();
    let newest = accepted.iter().map(|(_, acceptance)| *acceptance).max_by_key(|acceptance| acceptance.at)?.clone();
    if incident.is_known_by_name() && !incident.portfolios.is_empty() {
        let done: BTreeSet<&PortfolioId> =
            accepted.iter().filter_map(|(found, _)| found.result.portfolio_id.as_ref()).collect();
        incident.portfolios.retain(|id| !done.contains(id));
        incident.affected = incident.portfolios.len() as u64;
        incident.clear(night);
        if !incident.portfolios.is_empty() {
            return None;
        }
    }
    Some(newest)
}

/// Closes the incidents of a series that the settings do not name any more, and returns the message about it.
///
/// Nothing can show that they are over, and a pager must not keep them open. Muted incidents are closed when their mute
/// is over. `status` is that of the newest night that has one of them.
pub fn decide_unconfigured(
    book: &mut AlertBook,
    status: RunStatus,
    rules: &AlertRules,
    base: &str,
    now: DateTime<Utc>,
) -> Option<AlertMessage> {
    let newest = book.incidents.values().max_by_key(|incident| incident.last_night()).cloned()?;
    let all = mutes_of(book, rules, &BTreeMap::new());
    let mutes: Vec<&Mute> = all.iter().collect();
    let gone = format!("the schedule {} is no longer configured", book.shown_schedule());
    let mut closed: Vec<RecoveredLine> = Vec::new();
    book.incidents.retain(|cause, incident| {
        let told = incident.state.was_told();
        if told && muted_until(&mutes, cause, &incident.portfolios, now).is_some() {
            return true;
        }
        if told {
            closed.push(recovered_line(incident, &incident.last, Some(gone.clone())));
        }
        false
    });
    let is_owed = |owed: &Owed| owed.until > now;
    closed.extend(book.owed.iter().filter(|owed| !is_owed(owed)).map(|owed| owed.line.clone()));
    book.owed.retain(is_owed);
    if closed.is_empty() {
        return close_key(book, None);
    }
    let left = still_open(book);
    let kind = if left > 0 { AlertKind::PartialRecovery } else { AlertKind::Recovery };
    let severity = if left > 0 { severity_of(status) } else { Severity::Info };
    let causes: Vec<CauseId> = closed.iter().map(|line| line.fingerprint.clone()).collect();
    let key = dedup_key(&book.schedule, &causes);
    let closes = plural(closed.len() as u64, "incident");
    let message = AlertMessage {
        schema: SCHEMA.to_owned(),
        alert_id: format!("{}/unconfigured/{}", newest.last_run, now.format("%Y%m%dT%H%M%S%fZ")),
        attempt: 1,
        kind,
        severity,
        created_at: now,
        dedup_key: book.open_key.clone().unwrap_or(key),
        schedule: book.shown_schedule().clone(),
        night_series: Some(book.schedule.clone()),
        batch_run_id: newest.last_run,
        as_of: newest.last_night(),
        status,
        night_verdict: None,
        title: format!("{}: {closes} closed, not recovered: {gone}", book.shown_schedule()),
        verdict: format!("{closes} closed: {gone}, so that no run can show a recovery."),
        top_causes: Vec::new(),
        causes: 0,
        portfolios: Vec::new(),
        portfolios_affected: 0,
        recovered: closed,
        notes: Vec::new(),
        page: format!("{}/index.html", base.trim_end_matches('/')),
        rerun: None,
        edition: None,
    };
    close_key(book, Some(message))
}
