//! What a night comes to: which incidents it opens and closes, and the one message that it is worth.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::AlertBook;
use super::changes::{Changes, is_told, mutes_of};
use super::notes::Note;
use super::seen::{Seen, seen_of};
use super::wording::{line, page, title};
use crate::alert::{AlertAbout, TOP_CAUSES};
use crate::alert_message::{
    AlertKind, AlertMessage, CauseLine, NAMED_PORTFOLIOS, SCHEMA, dedup_key, lasted, severity_of,
};
use crate::alert_rules::{AlertRules, Mute, Severity, muted_until};
use crate::ids::{CauseId, PortfolioId};
use crate::incident::{Incident, IncidentEvent, IncidentKind, IncidentState, RunAge};
use crate::night::Night;
use crate::night::headline::Headline;
use crate::night::next_step::{CommandTarget, next_step};
use crate::run::Run;
use crate::summary::RunSummary;
use crate::words::RunStatus;

/// A night, as the rules look at it.
#[derive(Debug, Clone)]
pub struct NightFacts<'a> {
    /// The run that ended, or the slot that was missed: the reason to look at the night.
    pub summary: &'a RunSummary,
    /// The night of that run, with everything known about its date.
    pub night: &'a Night,
    /// Later nights of the series, the newest first; a few are enough.
    pub later: &'a [Night],
    /// Dates of the series with a missed slot and no run, with no night in between that had a run.
    pub missed: &'a [NaiveDate],
    /// What is worth knowing of the run beside.
    pub notes: Vec<Note>,
    /// Where the commands of the message point.
    pub target: &'a CommandTarget,
}

/// What a night comes to: applies it to the incidents, and returns the one message that it is worth, if any.
///
/// The same run again returns nothing and changes nothing. `base` is the address of the site.
pub fn decide(
    book: &mut AlertBook,
    facts: &NightFacts<'_>,
    rules: &AlertRules,
    base: &str,
    now: DateTime<Utc>,
) -> Option<AlertMessage> {
    let (summary, night) = (facts.summary, facts.night);
    let about = AlertAbout::of(summary.status);
    let alert_id = format!("{}/{}", summary.batch_run_id, about.as_str());
    if book.decided.contains(&alert_id) {
        return None;
    }
    book.decided.push(alert_id.clone());
    book.tidy(now);
    book.renamed = (summary.schedule != book.schedule).then(|| summary.schedule.clone());

    let was_bad = book.incidents.values().any(|incident| is_told(incident.state));
    let seen = seen_of(night);
    let changes = book.apply_night(facts, &seen, rules, now);
    let left = still_open(book);
    let due_notes = due_notes(book, facts, rules, now);
    let severity_of_night = severity_of(night.verdict.status());
    let worse = book.told_nights.get(&night.as_of).is_some_and(|told| *told < severity_of_night);
    let Some(kind) = kind_of(&changes, was_bad, left, worse) else {
        if due_notes.is_empty() {
            return close_key(book, None);
        }
        let kind = AlertKind::Digest;
        let notes = notes_told(book, due_notes, now);
        let open_key = book.open_key.clone();
        let message = message(book, facts, kind, &seen, Changes::default(), now, base, alert_id);
        book.open_key = open_key;
        // It opens nothing, so that nothing has to close its key.
        let dedup_key = dedup_key(&book.schedule, []);
        let title = title(kind, facts, &[], &[], notes.len());
        return close_key(book, Some(AlertMessage { title, dedup_key, notes, ..message }));
    };
    let message = message(book, facts, kind, &seen, changes, now, base, alert_id);
    book.told_nights.insert(night.as_of, severity_of_night);
    let notes = notes_told(book, due_notes, now);
    close_key(book, Some(AlertMessage { notes, ..message }))
}

/// What people know of and have not heard the end of. Muted causes count: a recovery closes the key of them all.
pub(super) fn still_open(book: &AlertBook) -> usize {
    book.incidents.values().filter(|incident| incident.state.was_told()).count() + book.owed.len()
}

/// Forgets the key once nothing that people know of is open.
pub(super) fn close_key(book: &mut AlertBook, message: Option<AlertMessage>) -> Option<AlertMessage> {
    if still_open(book) == 0 {
        book.open_key = None;
    }
    // With a message, `enqueue` still asks which channels had the others.
    if message.is_none() {
        book.forget_told_channels();
    }
    message
}

/// What the message is about; `None` if the incidents are not worth one.
fn kind_of(changes: &Changes, was_bad: bool, left: usize, worse: bool) -> Option<AlertKind> {
    let all = |kind: IncidentKind, causes: &BTreeSet<CauseId>| {
        !causes.is_empty() && causes.iter().all(|cause| IncidentKind::of(cause) == kind)
    };
    let missed =
        |causes: &BTreeSet<CauseId>| causes.iter().any(|cause| IncidentKind::of(cause) == IncidentKind::Missed);
    if missed(&changes.opened) || missed(&changes.repeated) {
        return Some(AlertKind::Missed);
    }
    if all(IncidentKind::Control, &changes.opened) {
        return Some(AlertKind::Control);
    }
    if all(IncidentKind::Absent, &changes.opened) {
        return Some(AlertKind::Absent);
    }
    match (changes.opened.is_empty(), changes.recovered.is_empty()) {
        (false, _) if was_bad => Some(AlertKind::Update),
        (false, _) => Some(AlertKind::Open),
        (true, false) if left > 0 => Some(AlertKind::PartialRecovery),
        (true, false) => Some(AlertKind::Recovery),
        (true, true) if !changes.repeated.is_empty() => Some(AlertKind::Reminder),
        // The same causes on the same night are reported again only where the night became worse.
        (true, true) if worse && !changes.known.is_empty() => Some(AlertKind::Reminder),
        (true, true) => None,
    }
}

#[expect(clippy::too_many_arguments, reason = "one message has all of these")]
pub(super) fn message(
    book: &mut AlertBook,
    facts: &NightFacts<'_>,
    kind: AlertKind,
    seen: &[Seen],
    changes: Changes,
    now: DateTime<Utc>,
    base: &str,
    alert_id: String,
) -> AlertMessage {
    let (summary, night) = (facts.summary, facts.night);
    let Changes { opened, repeated, known, mut recovered } = changes;
    // The longest is named first. Stable: the others stay in the order of their causes.
    recovered.sort_by_key(|line| line.since);
    let told: Vec<&Seen> = seen
        .iter()
        .filter(|seen| [&opened, &repeated, &known].iter().any(|causes| causes.contains(&seen.cause)))
        .collect();
    let lines: Vec<CauseLine> = told.iter().filter_map(|seen| line(book, seen, opened.contains(&seen.cause))).collect();
    let portfolios: BTreeSet<&PortfolioId> = told.iter().flat_map(|seen| &seen.portfolios).collect();
    let causes: Vec<CauseId> = if lines.is_empty() {
        recovered.iter().map(|gone| gone.fingerprint.clone()).collect()
    } else {
        lines.iter().map(|line| line.fingerprint.clone()).collect()
    };
    let key = dedup_key(&book.schedule, &causes);
    let open_key = book.open_key.get_or_insert(key).clone();
    let left = still_open(book);
    let headline = Headline::of(night, facts.missed, facts.target);
    let step = next_step(night, facts.missed, facts.target);
    let status = night.verdict.status();
    AlertMessage {
        schema: SCHEMA.to_owned(),
        alert_id,
        attempt: 1,
        kind,
        severity: severity(kind, status),
        created_at: now,
        dedup_key: open_key,
        schedule: summary.schedule.clone(),
        night_series: Some(book.schedule.clone()),
        batch_run_id: summary.batch_run_id,
        as_of: night.as_of,
        status,
        night_verdict: Some(night.verdict),
        title: title(kind, facts, &lines, &recovered, left),
        verdict: headline.to_string(),
        causes: lines.len() as u64,
        top_causes: lines.into_iter().take(TOP_CAUSES).collect(),
        portfolios_affected: portfolios.len() as u64,
        portfolios: portfolios.into_iter().take(NAMED_PORTFOLIOS).cloned().collect(),
        recovered,
        notes: Vec::new(),
        page: page(base, summary.batch_run_id, summary.status),
        rerun: step.command,
        edition: None,
    }
}

/// The notes of a run for its digest. A night that is not the newest has no notes: they describe the present.
fn due_notes(book: &AlertBook, facts: &NightFacts<'_>, rules: &AlertRules, now: DateTime<Utc>) -> Vec<Note> {
    let again_after = TimeDelta::days(rules.digest_days.into());
    let is_due = |note: &&Note| book.notes_told.get(&note.key).is_none_or(|at| *at + again_after <= now);
    let wanted = rules.digest != Some(false) && facts.later.is_empty();
    facts.notes.iter().filter(|note| wanted && is_due(note)).cloned().collect()
}

/// The texts of a message. Records when each note was reported.
fn notes_told(book: &mut AlertBook, due: Vec<Note>, now: DateTime<Utc>) -> Vec<String> {
    book.notes_told.extend(due.iter().map(|note| (note.key.clone(), now)));
    due.into_iter().map(|note| note.text).collect()
}

/// How urgent a message of this kind is: as the night, where it does not report that something is over.
fn severity(kind: AlertKind, status: RunStatus) -> Severity {
    match kind {
        AlertKind::Recovery | AlertKind::Digest | AlertKind::Restatement => Severity::Info,
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
    let message = format!("the run has taken {took} so far");
    let seen = Seen::plain(CauseId::named(CauseId::OVERDUE), message, Vec::new());
    let new = take_overdue(book, run, summary, &seen, rules, now)?;
    let lines: Vec<CauseLine> = line(book, &seen, new).into_iter().collect();
    let key = dedup_key(&book.schedule, [&seen.cause]);
    Some(AlertMessage {
        schema: SCHEMA.to_owned(),
        alert_id,
        attempt: 1,
        kind: AlertKind::Overdue,
        severity: Severity::Warning,
        created_at: now,
        dedup_key: book.open_key.get_or_insert(key).clone(),
        schedule: run.schedule.clone(),
        night_series: Some(book.schedule.clone()),
        batch_run_id: run.batch_run_id,
        as_of: run.as_of,
        status: RunStatus::Running,
        night_verdict: None,
        title: format!("{} {} overdue: the run has taken {took} so far", run.schedule, run.as_of),
        verdict: format!("Overdue: the run of {} has taken {took} so far.", run.as_of),
        top_causes: lines,
        causes: 1,
        portfolios: Vec::new(),
        portfolios_affected: 0,
        recovered: Vec::new(),
        notes: Vec::new(),
        // Its own page comes when it is closed.
        page: page(base, run.batch_run_id, RunStatus::Missed),
        rerun: None,
        edition: None,
    })
}

/// Opens or goes on with the incident of an overdue run; says whether people learn of it for the first time. `None` where
/// it is muted.
fn take_overdue(
    book: &mut AlertBook,
    run: &Run,
    summary: &RunSummary,
    seen: &Seen,
    rules: &AlertRules,
    now: DateTime<Utc>,
) -> Option<bool> {
    let mutes = mutes_of(book, rules, &std::collections::BTreeMap::new());
    let mutes: Vec<&Mute> = mutes.iter().collect();
    let age = RunAge::of(summary);
    let incident = book.incidents.entry(seen.cause.clone()).or_insert_with(|| Incident {
        cause: seen.cause.clone(),
        state: IncidentState::NEW,
        job: None,
        category: None,
        message: String::new(),
        affected: 0,
        portfolios: Vec::new(),
        opened_run: run.batch_run_id,
        opened_as_of: run.as_of,
        opened: age,
        last_run: run.batch_run_id,
        last: age,
        nights: BTreeSet::new(),
        jobs: BTreeSet::new(),
        fingerprints: BTreeSet::new(),
        closed: BTreeSet::new(),
    });
    let muted_until = muted_until(&mutes, &seen.cause, &[], now);
    // It is reported at once: `wait_runs` is for causes of jobs.
    let event = IncidentEvent::Failed { now, wait_runs: 1, muted_until };
    let known = incident.state.was_told();
    incident.state = incident.state.next(&event).ok()?;
    incident.add_night(run.as_of);
    incident.message.clone_from(&seen.message);
    (incident.last, incident.last_run) = (age, run.batch_run_id);
    is_told(incident.state).then_some(!known)
}
