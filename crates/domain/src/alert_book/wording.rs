//! The words of a message.

use super::AlertBook;
use super::decide::Seen;
use crate::alert_message::{AlertKind, CauseLine, NAMED_PORTFOLIOS, RecoveredLine, lasted, plural};
use crate::ids::RunId;
use crate::summary::RunSummary;
use crate::words::RunStatus;

/// A cause of a run, as a message names it; none where no incident is open for it.
pub(super) fn line(book: &AlertBook, seen: &Seen, new: bool) -> Option<CauseLine> {
    let incident = book.incidents.get(&seen.cause)?;
    Some(CauseLine {
        fingerprint: seen.cause.clone(),
        job: seen.job.clone(),
        category: seen.category,
        message: seen.message.clone(),
        count: seen.count,
        skipped: seen.skipped,
        portfolios_affected: seen.portfolios.len() as u64,
        portfolios: seen.portfolios.iter().take(NAMED_PORTFOLIOS).cloned().collect(),
        new,
        runs: incident.state.runs(),
        since: incident.opened_as_of,
    })
}

/// The title of a message. `count`: notes of a digest, else incidents that are left.
pub(super) fn title(
    kind: AlertKind,
    summary: &RunSummary,
    lines: &[CauseLine],
    recovered: &[RecoveredLine],
    count: usize,
) -> String {
    let run = format!("{} {}", summary.schedule, summary.as_of);
    let what = |line: &CauseLine| {
        let name = line.job.as_ref().map_or_else(|| line.fingerprint.to_string(), ToString::to_string);
        match line.portfolios_affected {
            0 => name,
            n => format!("{name} in {}", plural(n, "portfolio")),
        }
    };
    let largest = lines.first().map(what).unwrap_or_default();
    let more = match lines.len() {
        0 | 1 => String::new(),
        n => format!(" and {}", plural(n as u64 - 1, "more cause")),
    };
    let runs = recovered.iter().map(|gone| gone.runs).max().unwrap_or(0);
    let after = lasted(recovered.iter().map(|gone| gone.lasted_seconds).max().unwrap_or(0));
    match kind {
        AlertKind::Open | AlertKind::Test => format!("{run} {}: {largest}{more}", summary.status),
        AlertKind::Reminder => format!("{run} {}, still: {largest}{more}", summary.status),
        AlertKind::Update => {
            let new = lines.iter().filter(|line| line.new).count() as u64;
            let first = lines.iter().find(|line| line.new).map(what).unwrap_or_default();
            format!("{run} {}, {}: {first}", summary.status, plural(new, "new cause"))
        }
        AlertKind::PartialRecovery => {
            format!(
                "{run} {}, partly recovered: {} gone, {} left",
                summary.status,
                plural(recovered.len() as u64, "cause"),
                count
            )
        }
        AlertKind::Recovery if summary.status == RunStatus::Success => {
            format!("{run} all well again, after {after} and {}", plural(runs.into(), "run"))
        }
        AlertKind::Recovery => format!("{run} recovered, after {after} and {}", plural(runs.into(), "run")),
        AlertKind::Missed => format!("{run} missed: the run did not take place"),
        AlertKind::Overdue => format!("{run} overdue"),
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
