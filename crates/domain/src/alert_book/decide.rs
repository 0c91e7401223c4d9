//! What a run comes to: which incidents it opens and closes, and the one message that it is worth.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::AlertBook;
use super::notes::Note;
use super::wording::{line, page, title};
use crate::alert::{AlertAbout, TOP_CAUSES};
use crate::alert_message::{
    AlertKind, AlertMessage, CauseLine, NAMED_PORTFOLIOS, RecoveredLine, SCHEMA, dedup_key, lasted, plural, severity_of,
};
use crate::alert_rules::{AlertRules, Mute, Severity, muted_until};
use crate::ids::{CauseId, JobName, PortfolioId};
use crate::incident::{Incident, IncidentEvent, IncidentState, MOST_PORTFOLIOS, RunAge};
use crate::run::{AbandonReason, Run};
use crate::summary::RunSummary;
use crate::words::{ErrorCategory, RunStatus};

/// A run, as the rules look at it.
#[derive(Debug, Clone)]
pub struct RunFacts<'a> {
    /// Its summary.
    pub summary: &'a RunSummary,
    /// The portfolios that it was for; empty: all.
    pub filter: &'a [PortfolioId],
    /// What is worth knowing beside.
    pub notes: Vec<Note>,
}

/// A cause in a run.
pub(super) struct Seen {
    pub(super) cause: CauseId,
    pub(super) job: Option<JobName>,
    pub(super) category: Option<ErrorCategory>,
    pub(super) message: String,
    pub(super) count: u64,
    pub(super) skipped: u64,
    pub(super) portfolios: Vec<PortfolioId>,
}

fn plain(cause: &'static str, message: String, count: u64) -> Seen {
    Seen { cause: CauseId::named(cause), job: None, category: None, message, count, skipped: 0, portfolios: Vec::new() }
}

/// Why a run did not go well, the largest cause first.
fn causes_of(summary: &RunSummary) -> Vec<Seen> {
    match summary.status {
        RunStatus::Success | RunStatus::Running => return Vec::new(),
        RunStatus::Missed => {
            return vec![plain(CauseId::MISSED, "the slot passed without a run".to_owned(), 1)];
        }
        RunStatus::Partial | RunStatus::Failed => {}
    }
    let mut seen: Vec<Seen> = summary
        .failures
        .iter()
        .map(|cause| Seen {
            cause: CauseId::from(&cause.fingerprint),
            job: Some(cause.job.clone()),
            category: Some(cause.category),
            message: cause.message.clone(),
            count: cause.count,
            skipped: cause.skipped,
            portfolios: cause.portfolios.clone(),
        })
        .collect();
    if summary.missing_jobs > 0 {
        let why = if summary.cancelled_at.is_some() { "the run was cancelled" } else { "lost, timed out or given up" };
        let message = format!("{} without a record: {why}", plural(summary.missing_jobs, "job"));
        seen.push(plain(CauseId::MISSING, message, summary.missing_jobs));
    }
    if summary.abandoned.as_ref().is_some_and(|abandoned| abandoned.reason == AbandonReason::Canceled) {
        seen.push(plain(CauseId::OTHER, "the run was canceled before it started".to_owned(), 1));
    } else if summary.portfolios_expected == 0 && summary.abandoned.is_none() {
        seen.push(plain(CauseId::NO_PORTFOLIOS, "there was no portfolio to process".to_owned(), 1));
    }
    if seen.is_empty() {
        seen.push(plain(CauseId::OTHER, "the run did not go well, and no error says why".to_owned(), 1));
    }
    seen.sort_by(|a, b| {
        (b.count + b.skipped).cmp(&(a.count + a.skipped)).then_with(|| a.cause.as_str().cmp(b.cause.as_str()))
    });
    seen
}

/// What a run comes to: takes it into the incidents, and gives the one message that it is worth, if any.
///
/// The same run again gives nothing and changes nothing. `base` is the address of the site.
pub fn decide(
    book: &mut AlertBook,
    facts: &RunFacts<'_>,
    rules: &AlertRules,
    base: &str,
    now: DateTime<Utc>,
) -> Option<AlertMessage> {
    let summary = facts.summary;
    let about = AlertAbout::of(summary.status);
    let alert_id = format!("{}/{}", summary.batch_run_id, about.as_str());
    if book.decided.contains(&alert_id) {
        return None;
    }
    book.decided.push(alert_id.clone());
    book.tidy(now);

    let was_bad = book.incidents.values().any(|incident| is_told(incident.state));
    let seen = causes_of(summary);
    let (opened, repeated) = take_in(book, summary, &seen, rules, now);
    let recovered = if summary.status == RunStatus::Missed { Vec::new() } else { take_out(book, facts, &seen, now) };
    let left = book.incidents.values().filter(|incident| is_told(incident.state)).count();
    let due_notes = due_notes(book, facts, rules, now);
    let kind = if about == AlertAbout::Missed && !(opened.is_empty() && repeated.is_empty()) {
        AlertKind::Missed
    } else if !opened.is_empty() {
        if was_bad { AlertKind::Update } else { AlertKind::Open }
    } else if !recovered.is_empty() {
        if left > 0 { AlertKind::PartialRecovery } else { AlertKind::Recovery }
    } else if !repeated.is_empty() {
        AlertKind::Reminder
    } else if !due_notes.is_empty() {
        AlertKind::Digest
    } else {
        return None;
    };
    let notes: Vec<String> = due_notes.iter().map(|note| note.text.clone()).collect();
    let keys: Vec<String> = due_notes.iter().map(|note| note.key.clone()).collect();
    book.notes_told.extend(keys.into_iter().map(|key| (key, now)));

    let told: Vec<&Seen> =
        seen.iter().filter(|seen| opened.contains(&seen.cause) || repeated.contains(&seen.cause)).collect();
    let lines: Vec<CauseLine> = told.iter().filter_map(|seen| line(book, seen, opened.contains(&seen.cause))).collect();
    let portfolios: BTreeSet<&PortfolioId> = told.iter().flat_map(|seen| &seen.portfolios).collect();
    let keyed: Vec<&CauseId> = lines.iter().map(|line| &line.fingerprint).collect();
    Some(AlertMessage {
        schema: SCHEMA.to_owned(),
        alert_id,
        attempt: 1,
        kind,
        severity: severity(kind, summary.status),
        created_at: now,
        dedup_key: if keyed.is_empty() {
            dedup_key(&summary.schedule, recovered.iter().map(|gone| &gone.fingerprint))
        } else {
            dedup_key(&summary.schedule, keyed)
        },
        schedule: summary.schedule.clone(),
        batch_run_id: summary.batch_run_id,
        as_of: summary.as_of,
        status: summary.status,
        title: title(kind, summary, &lines, &recovered, if kind == AlertKind::Digest { notes.len() } else { left }),
        verdict: summary.verdict(),
        causes: lines.len() as u64,
        top_causes: lines.into_iter().take(TOP_CAUSES).collect(),
        portfolios_affected: portfolios.len() as u64,
        portfolios: portfolios.into_iter().take(NAMED_PORTFOLIOS).cloned().collect(),
        recovered,
        notes,
        page: page(base, summary.batch_run_id, summary.status),
        rerun: summary.remedy(),
    })
}

/// The notes of a run that a digest is due for.
fn due_notes<'f>(book: &AlertBook, facts: &'f RunFacts<'_>, rules: &AlertRules, now: DateTime<Utc>) -> Vec<&'f Note> {
    let again_after = TimeDelta::days(rules.digest_days.into());
    let is_due = |note: &&Note| book.notes_told.get(&note.key).is_none_or(|at| *at + again_after <= now);
    facts.notes.iter().filter(|note| rules.digest != Some(false) && is_due(note)).collect()
}

/// How urgent a message of this kind is.
fn severity(kind: AlertKind, status: RunStatus) -> Severity {
    match kind {
        AlertKind::Recovery | AlertKind::Digest => Severity::Info,
        AlertKind::PartialRecovery => severity_of(status).min(Severity::Warning),
        _ => severity_of(status),
    }
}

/// What an overdue run comes to: one message, once, where the rules call it overdue.
pub fn decide_overdue(
    book: &mut AlertBook,
    run: &Run,
    summary: &RunSummary,
    rules: &AlertRules,
    base: &str,
    now: DateTime<Utc>,
) -> Option<AlertMessage> {
    let limit = TimeDelta::minutes(rules.overdue_minutes.into());
    let alert_id = format!("{}/overdue", run.batch_run_id);
    if limit == TimeDelta::zero() || run.started_at + limit >= now || book.decided.contains(&alert_id) {
        return None;
    }
    book.decided.push(alert_id.clone());
    let took = lasted((now - run.started_at).num_seconds());
    let seen = plain(CauseId::OVERDUE, format!("the run goes on since {took}"), 1);
    let (opened, repeated) = take_in(book, summary, std::slice::from_ref(&seen), rules, now);
    if opened.is_empty() && repeated.is_empty() {
        return None;
    }
    let lines: Vec<CauseLine> = line(book, &seen, !opened.is_empty()).into_iter().collect();
    Some(AlertMessage {
        schema: SCHEMA.to_owned(),
        alert_id,
        attempt: 1,
        kind: AlertKind::Overdue,
        severity: Severity::Warning,
        created_at: now,
        dedup_key: dedup_key(&run.schedule, [&seen.cause]),
        schedule: run.schedule.clone(),
        batch_run_id: run.batch_run_id,
        as_of: run.as_of,
        status: RunStatus::Running,
        title: format!("{} {} overdue: it goes on since {took}", run.schedule, run.as_of),
        verdict: format!("Overdue: the run of {} goes on since {took}", run.as_of),
        top_causes: lines,
        causes: 1,
        portfolios: Vec::new(),
        portfolios_affected: 0,
        recovered: Vec::new(),
        notes: Vec::new(),
        // Its own page comes when it is closed.
        page: page(base, run.batch_run_id, RunStatus::Missed),
        rerun: None,
    })
}

/// Whether people know of an incident as one that goes on.
const fn is_told(state: IncidentState) -> bool {
    matches!(state, IncidentState::Open { .. } | IncidentState::Reminded { .. })
}

/// Takes the causes of a run into the incidents: those that people are told of for the first time, and again.
fn take_in(
    book: &mut AlertBook,
    summary: &RunSummary,
    seen: &[Seen],
    rules: &AlertRules,
    now: DateTime<Utc>,
) -> (BTreeSet<CauseId>, BTreeSet<CauseId>) {
    let (mut opened, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    let age = RunAge::of(summary);
    let mutes: Vec<Mute> = rules.mutes.iter().chain(&book.mutes).cloned().collect();
    let mutes: Vec<&Mute> = mutes.iter().collect();
    for cause in seen {
        let few = (cause.portfolios.len() as u64) < u64::from(rules.min_portfolios);
        if few && !cause.portfolios.is_empty() {
            continue;
        }
        let fresh = || Incident {
            cause: cause.cause.clone(),
            state: IncidentState::NEW,
            job: cause.job.clone(),
            category: cause.category,
            message: String::new(),
            affected: 0,
            portfolios: Vec::new(),
            opened_run: summary.batch_run_id,
            opened_as_of: summary.as_of,
            opened: age,
            last_run: summary.batch_run_id,
            last: age,
        };
        let incident = book.incidents.entry(cause.cause.clone()).or_insert_with(fresh);
        let muted_until = muted_until(&mutes, &cause.cause, &cause.portfolios, now);
        let event = IncidentEvent::Failed { now, wait_runs: rules.wait_runs, muted_until };
        // An incident that is over is not in the book, and a mute that is over mutes nothing.
        let Ok(next) = incident.state.next(&event) else { continue };
        let told_before = incident.state.was_told();
        incident.state = next;
        incident.message.clone_from(&cause.message);
        let mut affected: BTreeSet<PortfolioId> = cause.portfolios.iter().cloned().collect();
        // A rerun of some portfolios says nothing of the others.
        affected.extend(incident.portfolios.iter().cloned());
        incident.affected = (affected.len() as u64).max(cause.portfolios.len() as u64);
        incident.portfolios = affected.into_iter().take(MOST_PORTFOLIOS).collect();
        if age >= incident.last {
            (incident.last, incident.last_run) = (age, summary.batch_run_id);
        }
        if is_told(next) {
            if told_before { &mut repeated } else { &mut opened }.insert(cause.cause.clone());
        }
    }
    (opened, repeated)
}

/// Takes out of the incidents what a run did not have any more; gives what people had been told of.
fn take_out(book: &mut AlertBook, facts: &RunFacts<'_>, seen: &[Seen], now: DateTime<Utc>) -> Vec<RecoveredLine> {
    let age = RunAge::of(facts.summary);
    let mut recovered = Vec::new();
    book.incidents.retain(|_, incident| {
        let here = seen.iter().find(|seen| seen.cause == incident.cause);
        if incident.last > age {
            return true;
        }
        // A run that has not started says nothing of other causes than its own.
        if facts.summary.abandoned.is_some() && incident.last_run != facts.summary.batch_run_id {
            return true;
        }
        if let Some(seen) = here {
            // Of a run of all portfolios, those it names are all there are.
            if facts.filter.is_empty() && !seen.portfolios.is_empty() {
                incident.affected = seen.portfolios.len() as u64;
                incident.portfolios = seen.portfolios.iter().take(MOST_PORTFOLIOS).cloned().collect();
            } else if !seen.portfolios.is_empty() {
                let well: Vec<PortfolioId> =
                    facts.filter.iter().filter(|id| !seen.portfolios.contains(id)).cloned().collect();
                if !well.is_empty() {
                    incident.clear(&well);
                }
            }
            return true;
        }
        // What is no matter of portfolios is over with a run of all of them, with a rerun of those that had it, or with
        // the run itself that was overdue.
        let covers = facts.filter.is_empty()
            || facts.summary.rerun_of.is_some()
            || incident.last_run == facts.summary.batch_run_id;
        let over = if incident.job.is_some() { incident.clear(facts.filter) } else { covers };
        if !over {
            return true;
        }
        if let Ok(IncidentState::Recovered { runs, told: true, .. }) =
            incident.state.next(&IncidentEvent::Recover { now })
        {
            recovered.push(RecoveredLine {
                fingerprint: incident.cause.clone(),
                job: incident.job.clone(),
                message: incident.message.clone(),
                runs,
                since: incident.opened_as_of,
                lasted_seconds: incident.opened.until(&age).num_seconds(),
            });
        }
        false
    });
    recovered
}
