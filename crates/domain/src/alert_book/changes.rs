//! How a night changes the incidents of its series.
//!
//! The order in which nights arrive does not decide what is open. A night that is older than others opens only what no
//! later night shows to be over, and ends nothing that a later night has.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::decide::NightFacts;
use super::seen::{Seen, fingerprints};
use super::{AlertBook, Owed};
use crate::alert_message::RecoveredLine;
use crate::alert_rules::{AlertRules, Mute, muted_until};
use crate::ids::{CauseId, PortfolioId};
use crate::incident::{Incident, IncidentEvent, IncidentKind, IncidentState, MOST_PORTFOLIOS, RunAge};
use crate::night::history::is_judged;
use crate::night::{Night, Verdict};

/// What a night changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Causes that people learn of for the first time.
    pub(super) opened: BTreeSet<CauseId>,
    /// Causes that people know of, on a further night.
    pub(super) repeated: BTreeSet<CauseId>,
    /// Causes that people know of, and know that this night has them.
    pub(super) known: BTreeSet<CauseId>,
    /// Causes that are over, of those that people know of.
    pub(super) recovered: Vec<RecoveredLine>,
}

/// Whether people know of an incident as one that goes on.
pub(super) const fn is_told(state: IncidentState) -> bool {
    matches!(state, IncidentState::Open { .. } | IncidentState::Reminded { .. })
}

/// The mutes of the settings and of the book, by cause: a mute may name the fingerprint of an error.
pub(super) fn mutes_of(book: &AlertBook, rules: &AlertRules, known: &BTreeMap<CauseId, CauseId>) -> Vec<Mute> {
    let mut causes = known.clone();
    for incident in book.incidents.values() {
        causes.extend(incident.fingerprints.iter().map(|id| (id.clone(), incident.cause.clone())));
    }
    let by_cause = |mute: &Mute| {
        let fingerprint = mute.fingerprint.as_ref().map(|id| causes.get(id).unwrap_or(id).clone());
        Mute { fingerprint, ..mute.clone() }
    };
    rules.mutes.iter().chain(&book.mutes).map(by_cause).collect()
}

impl AlertBook {
    /// Applies a night to the incidents.
    pub(super) fn apply_night(
        &mut self,
        facts: &NightFacts<'_>,
        seen: &[Seen],
        rules: &AlertRules,
        now: DateTime<Utc>,
    ) -> Changes {
        let known = fingerprints(facts.summary, facts.night);
        self.adopt(&known);
        let mutes = mutes_of(self, rules, &known);
        let mutes: Vec<&Mute> = mutes.iter().collect();
        let mut changes = Changes::default();
        for cause in seen {
            self.take_in(facts, cause, rules, &mutes, &mut changes, now);
        }
        for (fingerprint, cause) in known {
            if let Some(incident) = self.incidents.get_mut(&cause) {
                incident.fingerprints.insert(fingerprint);
            }
        }
        self.take_out(facts, seen, &mutes, &mut changes, now);
        self.pay_owed(facts, &mutes, &mut changes, now);
        changes
    }

    /// Gives an incident that was stored under the fingerprint of an error the key of its cause.
    fn adopt(&mut self, known: &BTreeMap<CauseId, CauseId>) {
        for (fingerprint, cause) in known {
            let old = self.incidents.iter().find_map(|(key, incident)| {
                (key != cause && incident.fingerprints.contains(fingerprint)).then(|| key.clone())
            });
            let Some(incident) = old.and_then(|key| self.incidents.remove(&key)) else { continue };
            super::rekey::insert(&mut self.incidents, Incident { cause: cause.clone(), ..incident });
        }
    }

    fn take_in(
        &mut self,
        facts: &NightFacts<'_>,
        cause: &Seen,
        rules: &AlertRules,
        mutes: &[&Mute],
        changes: &mut Changes,
        now: DateTime<Utc>,
    ) {
        let kind = cause.kind();
        let of_jobs = kind == IncidentKind::Jobs && !cause.portfolios.is_empty();
        if of_jobs && (cause.portfolios.len() as u64) < u64::from(rules.min_portfolios) {
            return;
        }
        let Some(portfolios) = still_affected(facts, cause) else { return };
        let as_of = facts.night.as_of;
        let age = RunAge::of(facts.summary);
        // It ended while it was muted, and nobody learned of that: it goes on for the reader.
        let owed = self.owed.iter().position(|owed| owed.line.fingerprint == cause.cause);
        let owed = owed.map(|at| self.owed.remove(at));
        let incident = self.incidents.entry(cause.cause.clone()).or_insert_with(|| fresh(facts, cause, age));
        if owed.is_some() && !incident.state.was_told() {
            incident.state = IncidentState::Open { runs: 0 };
        }
        let mut first_time = incident.add_night(as_of);
        if kind == IncidentKind::Missed {
            for date in facts.missed {
                first_time |= incident.add_night(*date);
            }
        }
        let known = owed.is_some() || incident.state.was_told();
        if first_time {
            let wait_runs = if of_jobs && owed.is_none() { rules.wait_runs } else { 1 };
            let muted_until = muted_until(mutes, &cause.cause, &cause.portfolios, now);
            let event = IncidentEvent::Failed { now, wait_runs, muted_until };
            // An incident that is over is not in the book, and a mute that is over mutes nothing.
            if let Ok(next) = incident.state.next(&event) {
                incident.state = next;
            }
            if kind == IncidentKind::Missed {
                let nights = u32::try_from(incident.nights.len()).unwrap_or(u32::MAX);
                incident.state = incident.state.with_runs(nights);
            }
        }
        incident.jobs.extend(cause.jobs.iter().cloned());
        update(incident, facts, cause, portfolios, age);
        if is_told(incident.state) {
            let list = match (first_time, known) {
                (_, false) => &mut changes.opened,
                (true, true) => &mut changes.repeated,
                (false, true) => &mut changes.known,
            };
            list.insert(cause.cause.clone());
        }
    }

    fn take_out(
        &mut self,
        facts: &NightFacts<'_>,
        seen: &[Seen],
        mutes: &[&Mute],
        changes: &mut Changes,
        now: DateTime<Utc>,
    ) {
        let mut incidents = std::mem::take(&mut self.incidents);
        incidents.retain(|cause, incident| {
            if seen.iter().any(|seen| seen.cause == *cause) {
                return true;
            }
            // A mute of portfolios is judged by those that were affected until now.
            let muted_until = muted_until(mutes, cause, &incident.portfolios, now);
            if !shows_the_end(facts, incident) {
                return true;
            }
            let told = incident.state.was_told();
            let line = recovered_line(incident, &RunAge::of(facts.summary), None);
            match muted_until {
                _ if !told => {}
                Some(until) => self.owed.push(Owed { line, until }),
                None => changes.recovered.push(line),
            }
            false
        });
        self.incidents = incidents;
    }

    /// Reports what ended during a mute that is over by now.
    fn pay_owed(&mut self, facts: &NightFacts<'_>, mutes: &[&Mute], changes: &mut Changes, now: DateTime<Utc>) {
        if facts.night.verdict == Verdict::Running {
            return;
        }
        self.owed.retain(|owed| {
            // A mute may have been extended since.
            if owed.until > now || muted_until(mutes, &owed.line.fingerprint, &[], now).is_some() {
                return true;
            }
            changes.recovered.push(owed.line.clone());
            false
        });
    }
}

fn fresh(facts: &NightFacts<'_>, cause: &Seen, age: RunAge) -> Incident {
    Incident {
        cause: cause.cause.clone(),
        state: IncidentState::NEW,
        job: cause.job.clone(),
        category: cause.category,
        message: String::new(),
        affected: 0,
        portfolios: Vec::new(),
        opened_run: facts.summary.batch_run_id,
        opened_as_of: facts.night.as_of,
        opened: age,
        last_run: facts.summary.batch_run_id,
        last: age,
        nights: BTreeSet::new(),
        jobs: BTreeSet::new(),
        fingerprints: BTreeSet::new(),
        closed: BTreeSet::new(),
    }
}

/// Updates what an incident says about itself by a night that has it.
fn update(incident: &mut Incident, facts: &NightFacts<'_>, cause: &Seen, portfolios: Vec<PortfolioId>, age: RunAge) {
    let is_newest = incident.last_night() == facts.night.as_of;
    if is_newest {
        incident.clear(facts.night);
        incident.message.clone_from(&cause.message);
        (incident.job, incident.category) = (cause.job.clone(), cause.category);
    } else if incident.message.is_empty() {
        incident.message.clone_from(&cause.message);
    }
    let known = incident.is_known_by_name();
    let unnamed = incident.affected;
    let mut affected: BTreeSet<PortfolioId> = portfolios.into_iter().collect();
    affected.extend(incident.portfolios.iter().cloned());
    let count = affected.len() as u64;
    incident.affected = if known || is_newest { count } else { count.max(unnamed) };
    incident.portfolios = affected.into_iter().take(MOST_PORTFOLIOS).collect();
    incident.opened = incident.opened.min(age);
    if age >= incident.last {
        (incident.last, incident.last_run) = (age, facts.summary.batch_run_id);
    }
}

/// The affected portfolios that no later night shows to be well; `None` if later nights show that the cause is over.
fn still_affected(facts: &NightFacts<'_>, cause: &Seen) -> Option<Vec<PortfolioId>> {
    let kind = cause.kind();
    // A missed slot is always reported: nothing else says that a night has no results.
    if matches!(kind, IncidentKind::Missed | IncidentKind::Overdue) {
        return Some(cause.portfolios.clone());
    }
    let later = || facts.later.iter().filter(|night| is_judged(night));
    if cause.portfolios.is_empty() || cause.portfolios.len() > MOST_PORTFOLIOS {
        let ends = |night: &Night| night.full_run_ended && !has(night, &cause.cause);
        return (!later().any(ends)).then(|| cause.portfolios.clone());
    }
    let open = |id: &&PortfolioId| !later().any(|night| kind.shown(night, id, &cause.jobs).is_some());
    let open: Vec<PortfolioId> = cause.portfolios.iter().filter(open).cloned().collect();
    (!open.is_empty()).then_some(open)
}

fn has(night: &Night, cause: &CauseId) -> bool {
    super::seen::seen_of(night).iter().any(|seen| seen.cause == *cause)
}

/// Takes in that a night does not have the cause; returns whether that shows that the incident is over.
fn shows_the_end(facts: &NightFacts<'_>, incident: &mut Incident) -> bool {
    let night = facts.night;
    if incident.kind() == IncidentKind::Overdue {
        let same = incident.last_run == facts.summary.batch_run_id;
        let later = night.as_of > incident.last_night() && night.full_run_ended;
        return same || later;
    }
    if !is_judged(night) {
        return false;
    }
    let (newest, had) = (incident.last_night(), incident.nights.contains(&night.as_of));
    if incident.kind() == IncidentKind::Missed {
        // `since` stays the oldest slot that was missed, also when that one is run first.
        incident.nights.remove(&night.as_of);
        return incident.nights.is_empty() || (night.as_of > newest && night.full_run_ended);
    }
    if night.as_of < newest {
        incident.remove_night(night.as_of);
        return false;
    }
    match incident.kind() {
        _ if !incident.is_known_by_name() => night.full_run_ended,
        _ if incident.portfolios.is_empty() => night.full_run_ended || had,
        _ => {
            incident.clear(night);
            incident.portfolios.is_empty()
        }
    }
}

/// What a message says about an incident that is over. `end`: the age of the run that shows it.
pub(super) fn recovered_line(incident: &Incident, end: &RunAge, because: Option<String>) -> RecoveredLine {
    RecoveredLine {
        because,
        fingerprint: incident.cause.clone(),
        job: incident.job.clone(),
        message: incident.message.clone(),
        runs: incident.state.runs().max(1),
        since: incident.opened_as_of,
        lasted_seconds: incident.opened.until(end).num_seconds(),
        closed: incident.closed.iter().take(crate::alert_message::NAMED_PORTFOLIOS).cloned().collect(),
    }
}
