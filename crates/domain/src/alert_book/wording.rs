//! The words of a message.

use super::AlertBook;
use super::decide::NightFacts;
use super::seen::Seen;
use crate::alert_message::{AlertKind, CauseLine, NAMED_PORTFOLIOS, RecoveredLine, plural};
use crate::ids::RunId;
use crate::incident::IncidentKind;
use crate::night::Verdict;
use crate::words::RunStatus;

/// A cause of a night, as a message names it. `None` if no incident is open for it.
pub(super) fn line(book: &AlertBook, seen: &Seen, new: bool) -> Option<CauseLine> {
    let incident = book.incidents.get(&seen.cause)?;
    let missed = seen.kind() == IncidentKind::Missed && incident.nights.len() > 1;
    let message = if missed {
        let (first, last) = (incident.opened_as_of, incident.last_night());
        format!("no run took place for {}, {first} to {last}", plural(incident.nights.len() as u64, "night"))
    } else {
        seen.message.clone()
    };
    Some(CauseLine {
        fingerprint: seen.cause.clone(),
        job: seen.job.clone(),
        category: seen.category,
        message,
        count: seen.count,
        skipped: seen.skipped,
        portfolios_affected: seen.portfolios.len() as u64,
        portfolios: seen.portfolios.iter().take(NAMED_PORTFOLIOS).cloned().collect(),
        new,
        runs: incident.state.runs(),
        since: incident.opened_as_of,
    })
}

fn what(line: &CauseLine) -> String {
    let name = line.job.as_ref().map_or_else(|| line.fingerprint.to_string(), ToString::to_string);
    match line.portfolios_affected {
        0 => name,
        n => format!("{name} in {}", plural(n, "portfolio")),
    }
}

/// What is over, with its own duration: `factor_analysis over since 2026-11-24`.
fn gone(recovered: &[RecoveredLine]) -> String {
    let name = |line: &RecoveredLine| format!("{} ({})", line.what(), line.duration_and_reason());
    match recovered {
        [] => String::new(),
        [one] => name(one),
        [first, rest @ ..] => format!("{} and {}", name(first), plural(rest.len() as u64, "more cause")),
    }
}

/// The title of a message. `count`: notes of a digest, else incidents that are left.
pub(super) fn title(
    kind: AlertKind,
    facts: &NightFacts<'_>,
    lines: &[CauseLine],
    recovered: &[RecoveredLine],
    count: usize,
) -> String {
    let night = facts.night;
    let run = format!("{} {}", facts.summary.schedule, night.as_of);
    let verdict = night.verdict;
    let largest = lines.first().map(what).unwrap_or_default();
    let more = match lines.len() {
        0 | 1 => String::new(),
        n => format!(" and {}", plural(n as u64 - 1, "more cause")),
    };
    let over = if recovered.is_empty() { String::new() } else { format!("; over: {}", gone(recovered)) };
    match kind {
        AlertKind::Open | AlertKind::Test => format!("{run} {verdict}: {largest}{more}{over}"),
        AlertKind::Absent | AlertKind::Control => {
            let first = lines.iter().find(|line| line.new).map(what).unwrap_or_default();
            format!("{run} {verdict}: {first}{more}{over}")
        }
        AlertKind::Reminder => format!("{run} {verdict}, still: {largest}{more}"),
        AlertKind::Update => {
            let new = lines.iter().filter(|line| line.new).count() as u64;
            let first = lines.iter().find(|line| line.new).map(what).unwrap_or_default();
            format!("{run} {verdict}, {}: {first}{over}", plural(new, "new cause"))
        }
        AlertKind::PartialRecovery => {
            format!("{run} {verdict}, partly recovered: {} over, {count} left: {}", recovered.len(), gone(recovered))
        }
        AlertKind::Recovery if verdict == Verdict::Ok => format!("{run} ok again: {}", gone(recovered)),
        AlertKind::Recovery => format!("{run} recovered: {}", gone(recovered)),
        AlertKind::Missed => match facts.missed.len() {
            0 | 1 => format!("{run} missed: no run took place{over}"),
            n => {
                let first = facts.missed.iter().min().copied().unwrap_or(night.as_of);
                let last = facts.missed.iter().max().copied().unwrap_or(night.as_of);
                format!("{} missed: no run took place for {n} nights, {first} to {last}{over}", facts.summary.schedule)
            }
        },
        AlertKind::Overdue => format!("{run} overdue"),
        AlertKind::Restatement => format!("{run} restated"),
        AlertKind::Digest => format!("{run}: {} worth knowing", plural(count as u64, "thing")),
    }
}

/// A run that did not take place, or goes on, has no page of its own.
pub(super) fn page(base: &str, run: RunId, status: RunStatus) -> String {
    let base = base.trim_end_matches('/');
    match status {
        RunStatus::Missed | RunStatus::Running => format!("{base}/index.html"),
        RunStatus::Success | RunStatus::Partial | RunStatus::Failed => format!("{base}/runs/{run}/index.html"),
    }
}
