//! Incidents of earlier releases, which were stored under the fingerprint of an error: category, message and job.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::fingerprint::masked;
use crate::ids::CauseId;
use crate::incident::{Incident, MOST_PORTFOLIOS};
use crate::night::Failure;
use crate::night::causes::cause_of;

/// Reads the incidents of a book, each under its cause.
///
/// # Errors
/// What is stored is not a list of incidents.
pub(super) fn incidents<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<CauseId, Incident>, D::Error> {
    let stored = BTreeMap::<CauseId, Incident>::deserialize(from)?;
    let mut incidents = BTreeMap::new();
    for incident in stored.into_values() {
        insert(&mut incidents, by_cause(incident));
    }
    Ok(incidents)
}

/// The same incident under its cause. One that knows its nights has it already.
fn by_cause(mut incident: Incident) -> Incident {
    if !incident.nights.is_empty() {
        return incident;
    }
    incident.nights.insert(incident.opened_as_of);
    if let (Some(job), Some(category)) = (&incident.job, incident.category) {
        let known: Vec<&str> = incident.portfolios.iter().map(crate::ids::PortfolioId::as_str).collect();
        let masked = masked(&incident.message, &known);
        let failure = Failure { category, message: incident.message.clone(), masked };
        incident.jobs.insert(job.clone());
        incident.fingerprints.insert(incident.cause.clone());
        incident.cause = cause_of(&failure);
    }
    incident
}

/// Adds an incident, or joins it to the one that has the same cause.
pub(super) fn insert(incidents: &mut BTreeMap<CauseId, Incident>, incident: Incident) {
    let Some(mut other) = incidents.remove(&incident.cause) else {
        incidents.insert(incident.cause.clone(), incident);
        return;
    };
    let known = other.is_known_by_name() && incident.is_known_by_name();
    let counted = other.affected.max(incident.affected);
    let keep_state = other.state.runs() >= incident.state.runs();
    other.state = if keep_state { other.state } else { incident.state };
    if incident.opened < other.opened {
        (other.opened, other.opened_run) = (incident.opened, incident.opened_run);
    }
    if incident.last > other.last {
        (other.last, other.last_run) = (incident.last, incident.last_run);
    }
    other.opened_as_of = other.opened_as_of.min(incident.opened_as_of);
    other.nights.extend(incident.nights);
    other.jobs.extend(incident.jobs);
    other.fingerprints.extend(incident.fingerprints);
    other.closed.extend(incident.closed);
    other.portfolios.extend(incident.portfolios);
    other.portfolios.sort();
    other.portfolios.dedup();
    other.affected = if known { other.portfolios.len() as u64 } else { counted };
    other.portfolios.truncate(MOST_PORTFOLIOS);
    incidents.insert(other.cause.clone(), other);
}
