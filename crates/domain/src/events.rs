//! The events: one vocabulary for logs, metrics and traces. `docs/events.md` is this table, and a test holds the sources
//! to it.

/// An event, as it may be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSpec {
    /// Its name, in the field `event`.
    pub name: &'static str,
    /// The levels that it comes at.
    pub levels: &'static [&'static str],
    /// The fields that it may have beside `event` and the message.
    pub fields: &'static [&'static str],
    /// What happened.
    pub meaning: &'static str,
}

const fn event(
    name: &'static str,
    levels: &'static [&'static str],
    fields: &'static [&'static str],
    meaning: &'static str,
) -> EventSpec {
    EventSpec { name, levels, fields, meaning }
}

/// Every event there is, by name.
pub const EVENTS: &[EventSpec] = &[
    event("access.refused", &["warn"], &["count"], "requests without a valid token were refused; one line a minute"),
    event(
        "alert.delivered",
        &["info"],
        &["batch_run_id", "alert_id", "channel", "attempt"],
        "an alert got through a channel",
    ),
    event(
        "alert.failed",
        &["error", "warn"],
        &["batch_run_id", "alert_id", "channel", "attempt", "error", "given_up"],
        "an alert could not be delivered; it is tried again unless it is given up",
    ),
    event("alert.muted", &["info"], &["until", "reason"], "alerts of a cause or a portfolio were muted"),
    event("api.failed", &["error"], &["error"], "a question to the history API could not be answered"),
    event(
        "book.errors",
        &["warn"],
        &["errors", "first"],
        "the book has errors that fail some portfolios or leave prices out",
    ),
    event("book.unusable", &["error"], &["error"], "the book cannot be read, so no run can start"),
    event("book.usable", &["info"], &[], "the book can be read again"),
    event("book.warnings", &["info"], &["warnings", "first"], "the book has warnings"),
    event(
        "control.accepted",
        &["info"],
        &["as_of", "control", "author"],
        "somebody accepted results of a control, so that the night does not count them",
    ),
    event(
        "control.unavailable",
        &["warn"],
        &["error"],
        "`serve` could not bind its control socket; commands on the data folder are refused while it runs",
    ),
    event("event.lost", &["error"], &["batch_run_id", "error"], "the event bus was not told of a closed run"),
    event("function.failed", &["error"], &["error"], "a function of the cloud cannot begin"),
    event(
        "job.failed",
        &["error"],
        &["batch_run_id", "portfolio_id", "job_name", "attempt", "category", "fingerprint", "error", "chain"],
        "a job failed for good; the fingerprint is the same for the same cause",
    ),
    event(
        "job.progress",
        &["info"],
        &["batch_run_id", "portfolio_id", "job_name", "attempt", "done", "total", "item"],
        "a long job says how far it is",
    ),
    event(
        "job.retried",
        &["warn"],
        &["batch_run_id", "portfolio_id", "job_name", "as_of", "attempt", "category", "error", "wait_seconds"],
        "a job, or the price source of a run, failed and is tried again",
    ),
    event("job.success", &["debug"], &["batch_run_id", "portfolio_id", "job_name", "attempt"], "a job ended well"),
    event(
        "lease.taken_over",
        &["info", "warn"],
        &["batch_run_id", "portfolio_id", "attempt", "epoch"],
        "somebody took over from a worker or planner that is gone",
    ),
    event("lineage.failed", &["error"], &["batch_run_id", "error"], "OpenLineage events could not be told"),
    event("lineage.told", &["info"], &["batch_run_id", "events"], "the OpenLineage events of a run are told"),
    event(
        "message.failed",
        &["error"],
        &["batch_run_id", "portfolio_id", "error"],
        "a message could not be worked on; it comes again",
    ),
    event(
        "message.stale",
        &["info", "warn"],
        &["batch_run_id", "portfolio_id"],
        "a message for a run that is closed or unknown was dropped",
    ),
    event(
        "message.stranger",
        &["error"],
        &["batch_run_id", "portfolio_id", "bucket", "index"],
        "a message for a portfolio that the run does not have at this place was dropped",
    ),
    event(
        "message.unreadable",
        &["error"],
        &["message_id", "reason", "body", "unreadable"],
        "a message cannot be read and was dropped: no retry would make it readable",
    ),
    event(
        "messages.handled",
        &["debug"],
        &["given_back", "unreadable"],
        "the messages of one call of process-portfolio are worked on",
    ),
    event("metrics.lost", &["warn"], &["error"], "metrics could not be written"),
    event("note.added", &["info"], &["batch_run_id", "author"], "somebody added a note to a run"),
    event("panic", &["error"], &["place", "backtrace"], "a part of the program panicked: a defect of ours"),
    event(
        "portfolio.settled",
        &["warn"],
        &["batch_run_id", "portfolio_id", "state"],
        "a portfolio was given up: lost, timed out or cancelled",
    ),
    event(
        "portfolio.yielded",
        &["warn"],
        &["batch_run_id", "portfolio_id", "attempt"],
        "a worker ran out of time and gave the portfolio back",
    ),
    event(
        "prices.fetched",
        &["info"],
        &["symbols", "calls", "inserted", "left_out"],
        "prices that the book lacked were fetched",
    ),
    event("prices.retried", &["debug"], &["host", "what", "attempt"], "the price source is asked again"),
    event("process.stopping", &["info"], &[], "the process was asked to stop"),
    event(
        "publication.failed",
        &["error", "warn"],
        &["batch_run_id", "error"],
        "pages could not be written; the run stands",
    ),
    event(
        "publication.spread",
        &["info"],
        &["batch_run_id", "buckets"],
        "the pages of the portfolios of a run were asked for by messages, one a bucket",
    ),
    event("queue.unknown", &["warn"], &["error"], "the length of the work queue is not known"),
    event(
        "records.migrated",
        &["info"],
        &["from", "to", "copy"],
        "the records are of an earlier release and are migrated; the copy is as they were",
    ),
    event(
        "result.late",
        &["warn"],
        &["batch_run_id", "portfolio_id"],
        "a worker came with a result after its claim was lost; it does not count",
    ),
    event(
        "retention.inputs",
        &["info"],
        &["days", "files"],
        "the pinned inputs that only runs older than this named were deleted",
    ),
    event(
        "retention.records",
        &["info"],
        &["before", "rows"],
        "the records of runs that began before this instant were deleted",
    ),
    event("retention.results", &["info"], &["days", "runs"], "the results of so many old runs were deleted"),
    event(
        "run.abandoned",
        &["error"],
        &["batch_run_id", "as_of", "reason", "error"],
        "a run has not started, and is closed as failed: its inputs could not be read, or nobody planned it in time",
    ),
    event(
        "run.alert",
        &["info", "warn"],
        &["batch_run_id", "alert_id", "as_of", "status", "kind", "verdict", "top_causes", "page", "rerun"],
        "there is something to tell of a run",
    ),
    event("run.asked_for", &["info"], &["batch_run_id", "as_of", "trigger"], "a run was requested and recorded"),
    event("run.cancelled", &["info"], &["batch_run_id"], "a run was canceled"),
    event(
        "run.closed",
        &["info"],
        &[
            "batch_run_id",
            "as_of",
            "status",
            "total_jobs",
            "successful_jobs",
            "failed_jobs",
            "skipped_jobs",
            "missing_jobs",
            "wall_seconds",
        ],
        "a run is closed, with its totals",
    ),
    event("run.continued", &["info"], &["batch_run_id"], "a run that was not finished goes on"),
    event(
        "run.mended",
        &["info"],
        &["batch_run_id", "sent", "settled", "folded", "close_asked"],
        "what was left lying of a run was mended",
    ),
    event("run.none", &["info"], &["reason"], "nothing is to be run: the date is no session with a run of its own"),
    event("run.sealed", &["info"], &["batch_run_id", "as_of", "portfolios", "jobs"], "the plan of a run is fixed"),
    event("run.started", &["info"], &["batch_run_id", "as_of", "outcome"], "start-run has started or found a run"),
    event("serve.failed", &["error"], &["error"], "a round of the scheduler failed; the next one tries again"),
    event("serve.refused", &["warn"], &["error"], "a connection could not be taken"),
    event(
        "settings.applied",
        &["info"],
        &["changed"],
        "`serve` puts changed settings in force as a whole; `changed` names their sections",
    ),
    event(
        "settings.refused",
        &["warn"],
        &["error"],
        "changed settings are invalid; the earlier settings stay in force. One line a cause",
    ),
    event("settings.replaced", &["warn"], &["error"], "the kept settings were damaged and are replaced"),
    event("slot.late", &["info"], &["batch_run_id", "scheduled_for"], "a slot that had passed is run late"),
    event(
        "slot.missed",
        &["warn"],
        &["batch_run_id", "as_of", "scheduled_for"],
        "a scheduled slot passed without a run",
    ),
    event(
        "start.delayed",
        &["warn"],
        &["batch_run_id", "error"],
        "start-run could not be called for what is on record of a run; the watch does it",
    ),
    event(
        "summary.differs",
        &["error"],
        &["batch_run_id"],
        "two closers computed different summaries: a defect of ours; the first stands",
    ),
    event(
        "traces.failed",
        &["warn"],
        &["batch_run_id", "error"],
        "traces could not be told to the collector; the run stands",
    ),
    event("traces.told", &["info"], &["batch_run_id", "spans"], "the traces of a run are told to the collector"),
    event("watch.failed", &["error"], &["error"], "the watch could not mend a run; it goes on with the others"),
    event(
        "watch.swept",
        &["info"],
        &[
            "sent",
            "settled",
            "folded",
            "unplanned",
            "abandoned",
            "resumed",
            "late",
            "missed",
            "published",
            "not_published",
            "told",
            "not_told",
            "deliveries",
            "open",
        ],
        "the watch found something that was left lying",
    ),
];

/// The table as `docs/events.md` shows it.
#[must_use]
pub fn table() -> String {
    let mut lines = String::from("| event | level | fields | what happened |\n|---|---|---|---|\n");
    for EventSpec { name, levels, fields, meaning } in EVENTS {
        let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        lines.push_str(&format!("| `{name}` | {} | {} | {meaning} |\n", levels.join(", "), fields.join(" ")));
    }
    lines
}
