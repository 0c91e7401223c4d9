//! The runs on `SQLite`. The decisions are those of [`Run::next`] and [`AlertState::next`], taken inside a transaction.

use async_trait::async_trait;
use domain::alert::{AlertEvent, AlertRefusal, AlertState, is_delivered};
use domain::ids::RunId;
use domain::ports::{Change, Creation, RunCursor, RunPage, RunQuery, Runs, StoreError, StoredRun, month_of};
use domain::run::{PlannedPortfolio, Run, RunEvent, RunRefusal};
use domain::summary::RunSummary;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::history::write_history;
use super::open::LocalStore;
use super::rows::{damaged, time_text, verified, with_hash};
use super::writer::OpError;

/// Runs on a page that counts as a short read.
const FEW_RUNS: usize = 100;

/// The phases of runs that [have ended](Run::has_ended), as the partial indexes of the table list them.
pub(super) const ENDED: &str = "('closed', 'missed')";

const RUN_COLUMNS: &str = "run, run_hash, summary, summary_hash, batch_run_id";

/// A run and its summary, verified.
pub(crate) fn stored_run(row: &Row<'_>) -> Result<StoredRun, OpError> {
    let id: String = row.get(4)?;
    let run: Run = verified(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, || format!("run {id}"))?;
    let summary = match (row.get::<_, Option<String>>(2)?, row.get::<_, Option<String>>(3)?) {
        (Some(json), hash) => {
            Some(verified(&json, hash.as_deref().unwrap_or_default(), || format!("the summary of run {id}"))?)
        }
        (None, _) => None,
    };
    Ok(StoredRun::new(run, summary))
}

pub(super) fn load_run(connection: &Connection, id: RunId) -> Result<Option<StoredRun>, OpError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM runs WHERE batch_run_id = ?1"))?;
    let mut rows = statement.query(params![id.to_string()])?;
    rows.next()?.map(stored_run).transpose()
}

pub(crate) fn need_run(connection: &Connection, id: RunId) -> Result<StoredRun, OpError> {
    load_run(connection, id)?.ok_or_else(|| StoreError::NotFound { what: format!("run {id}") }.into())
}

/// Writes the row of a run that has none.
pub(super) fn write_new_run(connection: &Connection, run: &Run) -> Result<(), OpError> {
    let (json, hash) = with_hash(run)?;
    let (alert, alert_hash) = with_hash(&AlertState::Open)?;
    connection
        .prepare_cached("INSERT INTO runs VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,NULL,NULL,?14,0,?15)")?
        .execute(params![
            run.batch_run_id.to_string(),
            run.schedule.as_str(),
            run.trigger,
            run.as_of.to_string(),
            month_of(run.as_of),
            time_text(run.scheduled_for),
            time_text(run.started_at),
            run.closed_at.map(time_text),
            run.phase.as_str(),
            run.status_before_summary().as_str(),
            run.rerun_of.map(|of| of.to_string()),
            json,
            hash,
            alert,
            alert_hash,
        ])?;
    Ok(())
}

/// Writes the summary into the row of its run.
pub(super) fn write_summary(connection: &Connection, summary: &RunSummary) -> Result<(), OpError> {
    let (json, hash) = with_hash(summary)?;
    connection
        .prepare_cached("UPDATE runs SET status = ?2, summary = ?3, summary_hash = ?4 WHERE batch_run_id = ?1")?
        .execute(params![summary.batch_run_id.to_string(), summary.status.as_str(), json, hash])?;
    Ok(())
}

/// Writes the state of its alert into the row of a run.
pub(super) fn write_alert(connection: &Connection, run: &Run, alert: AlertState) -> Result<(), OpError> {
    let (json, hash) = with_hash(&alert)?;
    connection
        .prepare_cached("UPDATE runs SET alert = ?2, alert_hash = ?3, delivered = ?4 WHERE batch_run_id = ?1")?
        .execute(params![run.batch_run_id.to_string(), json, hash, is_delivered(run, alert)])?;
    Ok(())
}

/// Applies an event to a run inside the open transaction.
pub(crate) fn apply_run_in(
    connection: &Connection,
    id: RunId,
    event: &RunEvent,
) -> Result<Change<Run, RunRefusal>, OpError> {
    let run = need_run(connection, id)?.run;
    match run.next(event) {
        Err(refusal) => Ok(Change::Refused(run, refusal)),
        Ok(next) => {
            let (json, hash) = with_hash(&next)?;
            // A run has the status of its summary, once it has one.
            connection
                .prepare_cached(
                    "UPDATE runs SET phase = ?2, started_at = ?3, closed_at = ?4, run = ?5, run_hash = ?6, delivered = ?7,
                       status = CASE WHEN summary IS NULL THEN ?8 ELSE status END WHERE batch_run_id = ?1",
                )?
                .execute(params![
                    id.to_string(),
                    next.phase.as_str(),
                    time_text(next.started_at),
                    next.closed_at.map(time_text),
                    json,
                    hash,
                    is_delivered(&next, load_alert(connection, id)?),
                    next.status_before_summary().as_str(),
                ])?;
            if next.is_closed() && !run.is_closed() {
                // Whoever was to mark a bucket as full may have died before.
                connection
                    .prepare_cached("UPDATE folds SET is_full = 1 WHERE batch_run_id = ?1")?
                    .execute(params![id.to_string()])?;
            }
            if next.started_at != run.started_at {
                // A slot that was missed is run late: what is asked by the start of the run goes by the new one.
                for update in [
                    "UPDATE job_records SET run_started_at = ?2 WHERE batch_run_id = ?1",
                    "UPDATE work_items SET started_at = ?2 WHERE batch_run_id = ?1",
                ] {
                    connection.prepare_cached(update)?.execute(params![id.to_string(), time_text(next.started_at)])?;
                }
            }
            Ok(Change::Applied(next))
        }
    }
}

pub(crate) fn load_alert(connection: &Connection, id: RunId) -> Result<AlertState, OpError> {
    let (json, hash): (String, Option<String>) = connection
        .prepare_cached("SELECT alert, alert_hash FROM runs WHERE batch_run_id = ?1")?
        .query_row(params![id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| StoreError::NotFound { what: format!("run {id}") })?;
    let what = || format!("the alert of run {id}");
    match hash {
        Some(hash) => verified(&json, &hash, what),
        None => serde_json::from_str(&json).map_err(|error| damaged(what(), error)),
    }
}

pub(super) fn apply_alert_in(
    connection: &Connection,
    run: RunId,
    event: &AlertEvent,
) -> Result<Change<AlertState, AlertRefusal>, OpError> {
    let state = load_alert(connection, run)?;
    let next = match state.next(event) {
        Err(refusal) => return Ok(Change::Refused(state, refusal)),
        Ok(next) => next,
    };
    write_alert(connection, &need_run(connection, run)?.run, next)?;
    Ok(Change::Applied(next))
}

fn run_filter(query: &RunQuery) -> Result<(String, Vec<Value>), OpError> {
    let mut clauses = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut add = |clause: &str, value: String| {
        values.push(Value::Text(value));
        clauses.push(format!("{clause} ?{}", values.len()));
    };
    if let Some(status) = query.status {
        add("status =", status.to_string());
    }
    if let Some(month) = &query.month {
        add("month =", month.clone());
    }
    if let Some(as_of) = query.as_of {
        add("as_of =", as_of.to_string());
    }
    if let Some(of) = query.rerun_of {
        add("rerun_of =", of.to_string());
    }
    if let Some(since) = query.started_since {
        add("started_at >=", time_text(since));
    }
    if let Some(after) = query.cursor()? {
        let at = values.len();
        let RunCursor { scheduled_for, started_at, run } = after;
        values.extend([time_text(scheduled_for), time_text(started_at), run.to_string()].map(Value::Text));
        clauses.push(format!("(scheduled_for, started_at, batch_run_id) < (?{}, ?{}, ?{})", at + 1, at + 2, at + 3));
    }
    let clause = if clauses.is_empty() { String::new() } else { format!("WHERE {}", clauses.join(" AND ")) };
    Ok((clause, values))
}

#[async_trait]
impl Runs for LocalStore {
    async fn create_run(&self, run: &Run) -> Result<Creation<Run>, StoreError> {
        let run = run.clone();
        self.write("record the run", move |writing| {
            let connection = writing.connection;
            if let Some(existing) = load_run(connection, run.batch_run_id)? {
                return Ok(Creation::Existing(existing.run));
            }
            write_new_run(connection, &run)?;
            Ok(Creation::Created)
        })
        .await
    }

    async fn apply_run(&self, id: RunId, event: &RunEvent) -> Result<Change<Run, RunRefusal>, StoreError> {
        let event = event.clone();
        self.write("write the run", move |writing| apply_run_in(writing.connection, id, &event)).await
    }

    async fn run(&self, id: RunId) -> Result<Option<StoredRun>, StoreError> {
        self.read_short("read the run", move |connection| load_run(connection, id)).await
    }

    async fn put_manifest(
        &self,
        run: RunId,
        epoch: u32,
        bucket: u32,
        chunk: &[PlannedPortfolio],
    ) -> Result<(), StoreError> {
        let chunk = chunk.to_vec();
        self.write("write the list of portfolios", move |writing| {
            let (json, hash) = with_hash(&chunk)?;
            writing
                .connection
                .prepare_cached("INSERT OR REPLACE INTO manifests VALUES (?1,?2,?3,?4,?5)")?
                .execute(params![run.to_string(), epoch, bucket, json, hash])?;
            Ok(())
        })
        .await
    }

    async fn manifest(&self, run: RunId, epoch: u32, bucket: u32) -> Result<Vec<PlannedPortfolio>, StoreError> {
        self.read("read the list of portfolios", move |connection| {
            let row: Option<(String, String)> = connection
                .prepare_cached("SELECT portfolios, content_hash FROM manifests WHERE batch_run_id = ?1 AND epoch = ?2 AND bucket = ?3")?
                .query_row(params![run.to_string(), epoch, bucket], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            row.map_or_else(
                || Ok(Vec::new()),
                |(json, hash)| verified(&json, &hash, || format!("bucket {bucket} of the portfolios of run {run}")),
            )
        })
        .await
    }

    async fn put_summary(&self, summary: &RunSummary) -> Result<Creation<RunSummary>, StoreError> {
        let summary = summary.clone();
        self.write("write the summary", move |writing| {
            let connection = writing.connection;
            if let Some(existing) = need_run(connection, summary.batch_run_id)?.summary {
                return Ok(Creation::Existing(existing));
            }
            write_summary(connection, &summary)?;
            write_history(connection, &summary)?;
            Ok(Creation::Created)
        })
        .await
    }

    async fn apply_alert(
        &self,
        run: RunId,
        event: &AlertEvent,
    ) -> Result<Change<AlertState, AlertRefusal>, StoreError> {
        let event = *event;
        self.write("write the alert", move |writing| apply_alert_in(writing.connection, run, &event)).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunPage, StoreError> {
        let query = query.clone();
        let few = (1..=FEW_RUNS).contains(&query.limit);
        let read = move |connection: &Connection| {
            let (clause, mut values) = run_filter(&query)?;
            let limit = if query.limit == 0 { -1 } else { i64::try_from(query.limit + 1).unwrap_or(i64::MAX) };
            values.push(Value::Integer(limit));
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {RUN_COLUMNS} FROM runs {clause} ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?{}",
                values.len()
            ))?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut page = RunPage::default();
            while let Some(row) = rows.next()? {
                if query.limit > 0 && page.runs.len() == query.limit {
                    page.next = page.runs.last().map(|last| RunCursor::of(&last.run).to_string());
                    break;
                }
                page.runs.push(stored_run(row)?);
            }
            Ok(page)
        };
        if few { self.read_short("read the runs", read).await } else { self.read("read the runs", read).await }
    }

    async fn open_runs(&self) -> Result<Vec<Run>, StoreError> {
        self.read_short("read the open runs", move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {RUN_COLUMNS} FROM runs WHERE phase NOT IN {ENDED} ORDER BY started_at, batch_run_id"
            ))?;
            let mut rows = statement.query([])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                runs.push(stored_run(row)?.run);
            }
            Ok(runs)
        })
        .await
    }

    async fn undelivered(&self) -> Result<Vec<StoredRun>, StoreError> {
        self.read("read what is not delivered", move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {RUN_COLUMNS} FROM runs WHERE phase IN {ENDED} AND delivered = 0
                 ORDER BY started_at, batch_run_id"
            ))?;
            let mut rows = statement.query([])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                runs.push(stored_run(row)?);
            }
            Ok(runs)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use domain::ids::Owner;
    use domain::run::RunPhase;

    #[test]
    fn the_phases_in_the_statements_are_those_of_runs_that_have_ended() {
        let (owner, lease_until) = (Owner(uuid::Uuid::nil()), DateTime::UNIX_EPOCH);
        let phases = [
            RunPhase::Planning { owner, lease_until },
            RunPhase::Running,
            RunPhase::Closing { owner, lease_until },
            RunPhase::Closed,
            RunPhase::Missed,
        ];
        for phase in phases {
            let listed = ENDED.contains(&format!("'{}'", phase.as_str()));
            assert_eq!(listed, phase.has_ended(), "{phase:?}");
        }
    }
}
