//! The records: `RunStore` on `SQLite`. The decisions are the domain's `next` functions, called inside a transaction.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::alert::{AlertEvent, AlertRefusal, AlertState, is_delivered};
use domain::fold::{Fold, FoldEntry};
use domain::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId};
use domain::ports::{
    Cell, Change, Creation, FailureSighting, JobRun, PortfolioRun, RecordQuery, RunPage, RunQuery, RunStore,
    StoreError, StoredRun,
};
use domain::record::JobRecord;
use domain::run::{PlannedPortfolio, Run, RunEvent, RunPhase, RunRefusal};
use domain::summary::RunSummary;
use domain::words::JobStatus;
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};
use rusqlite::types::{ToSql, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::open::LocalStore;
use super::writer::OpError;

/// An instant as the tables hold it.
pub(crate) fn time_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(crate) fn damaged(what: String, detail: impl ToString) -> OpError {
    OpError::Store(StoreError::Damaged { what, detail: detail.to_string() })
}

/// JSON that is what its hash says.
pub(crate) fn verified<T: DeserializeOwned>(json: &str, hash: &str, what: impl Fn() -> String) -> Result<T, OpError> {
    if ContentHash::of(json.as_bytes()).as_str() != hash {
        return Err(damaged(what(), "its content does not fit its hash"));
    }
    serde_json::from_str(json).map_err(|error| damaged(what(), error))
}

pub(crate) fn with_hash<T: Serialize>(value: &T) -> Result<(String, String), OpError> {
    let json = serde_json::to_string(value)?;
    let hash = ContentHash::of(json.as_bytes()).to_string();
    Ok((json, hash))
}

/// The hash of the columns of a row that is no JSON document.
fn row_hash<T: AsRef<str>>(columns: &[T]) -> String {
    let joined: Vec<&str> = columns.iter().map(AsRef::as_ref).collect();
    ContentHash::of(joined.join("\n").as_bytes()).to_string()
}

/// Verifies a row by its hash; one of schema version 1 has none.
fn check_row<T: AsRef<str>>(columns: &[T], hash: Option<String>, what: impl Fn() -> String) -> Result<(), OpError> {
    match hash {
        Some(hash) if row_hash(columns) != hash => Err(damaged(what(), "its content does not fit its hash")),
        _ => Ok(()),
    }
}

pub(crate) fn parsed<T: std::str::FromStr>(text: &str, what: impl Fn() -> String) -> Result<T, OpError>
where
    T::Err: ToString,
{
    text.parse().map_err(|error: T::Err| damaged(what(), error.to_string()))
}

const fn phase_word(phase: &RunPhase) -> &'static str {
    match phase {
        RunPhase::Planning { .. } => "planning",
        RunPhase::Running => "running",
        RunPhase::Closing { .. } => "closing",
        RunPhase::Closed => "closed",
        RunPhase::Missed => "missed",
    }
}

/// Runs on a page that counts as a short read.
const FEW_RUNS: usize = 100;

const RUN_COLUMNS: &str = "run, run_hash, summary, summary_hash, batch_run_id";

/// A run and its summary, verified.
pub(crate) fn stored_run(row: &Row<'_>) -> Result<StoredRun, OpError> {
    let id: String = row.get(4)?;
    let run: Run = verified(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, || format!("run {id}"))?;
    let summary = match (row.get::<_, Option<String>>(2)?, row.get::<_, Option<String>>(3)?) {
        (Some(json), hash) => {
            let summary: RunSummary =
                verified(&json, hash.as_deref().unwrap_or_default(), || format!("the summary of run {id}"))?;
            Some(RunSummary { publication: run.publication.clone(), ..summary })
        }
        (None, _) => None,
    };
    Ok(StoredRun { run, summary })
}

fn load_run(connection: &Connection, id: RunId) -> Result<Option<StoredRun>, OpError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM runs WHERE batch_run_id = ?1"))?;
    let mut rows = statement.query(params![id.to_string()])?;
    rows.next()?.map(stored_run).transpose()
}

pub(crate) fn need_run(connection: &Connection, id: RunId) -> Result<StoredRun, OpError> {
    load_run(connection, id)?.ok_or_else(|| StoreError::NotFound { what: format!("run {id}") }.into())
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
                    phase_word(&next.phase),
                    time_text(next.started_at),
                    next.closed_at.map(time_text),
                    json,
                    hash,
                    is_delivered(&next, load_alert(connection, id)?),
                    next.status_before_summary().as_str(),
                ])?;
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

/// A work item, verified, with its records.
fn item_of(connection: &Connection, row: &Row<'_>) -> Result<WorkItem, OpError> {
    let (item, cells, hash): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (run, portfolio): (String, String) = (row.get(3)?, row.get(4)?);
    let what = || format!("the work item of portfolio {portfolio} in run {run}");
    if ContentHash::of(format!("{item}\n{cells}").as_bytes()).as_str() != hash {
        return Err(damaged(what(), "its content does not fit its hash"));
    }
    let mut item: WorkItem = serde_json::from_str(&item).map_err(|error| damaged(what(), error))?;
    if item.state.is_terminal() {
        let mut statement = connection.prepare_cached(
            "SELECT record, content_hash FROM job_records WHERE batch_run_id = ?1 AND bucket = ?2 AND place = ?3 ORDER BY job_order",
        )?;
        let mut rows = statement.query(params![run, item.place.bucket, item.place.index])?;
        while let Some(row) = rows.next()? {
            item.records.push(record_of(row)?);
        }
        let told: Vec<Cell> = serde_json::from_str(&cells).map_err(|error| damaged(what(), error))?;
        if told.len() != item.records.len() {
            return Err(damaged(what(), format!("it has {} records, {} were written", item.records.len(), told.len())));
        }
    }
    Ok(item)
}

/// A record, verified.
pub(crate) fn record_of(row: &Row<'_>) -> Result<JobRecord, OpError> {
    let (json, hash): (String, String) = (row.get(0)?, row.get(1)?);
    verified(&json, &hash, || {
        let about = serde_json::from_str::<serde_json::Value>(&json).ok();
        let field = |name| about.as_ref().and_then(|value| value.get(name)?.as_str()).unwrap_or("?").to_owned();
        format!(
            "the record of {} of portfolio {} in run {}",
            field("job_name"),
            field("portfolio_id"),
            field("batch_run_id")
        )
    })
}

const ITEM_COLUMNS: &str = "item, cells, content_hash, batch_run_id, portfolio_id";

fn load_item(connection: &Connection, key: &ItemKey) -> Result<Option<WorkItem>, OpError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {ITEM_COLUMNS} FROM work_items WHERE batch_run_id = ?1 AND portfolio_id = ?2"
    ))?;
    let mut rows = statement.query(params![key.run.to_string(), key.portfolio.as_str()])?;
    match rows.next()? {
        Some(row) => Ok(Some(item_of(connection, row)?)),
        None => Ok(None),
    }
}

fn save_item(connection: &Connection, item: &WorkItem) -> Result<(), OpError> {
    let run = item.key.run.to_string();
    let (scheduled_for, started_at, as_of): (String, String, String) = connection
        .prepare_cached("SELECT scheduled_for, started_at, as_of FROM runs WHERE batch_run_id = ?1")?
        .query_row(params![run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?
        .ok_or_else(|| StoreError::NotFound { what: format!("run {run}") })?;
    let cells = serde_json::to_string(&item.records.iter().map(Cell::of).collect::<Vec<_>>())?;
    let ended = item.state.is_terminal();
    let json = if ended {
        serde_json::to_string(&WorkItem { records: Vec::new(), ..item.clone() })?
    } else {
        serde_json::to_string(item)?
    };
    let hash = ContentHash::of(format!("{json}\n{cells}").as_bytes());
    connection
        .prepare_cached("INSERT OR REPLACE INTO work_items VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)")?
        .execute(params![
            run,
            item.key.portfolio.as_str(),
            item.place.bucket,
            item.place.index,
            item.state.as_str(),
            item.attempt,
            item.heartbeat.map(time_text),
            scheduled_for,
            started_at,
            json,
            cells,
            hash.as_str(),
        ])?;
    if ended {
        let mut insert = connection.prepare_cached(
            "INSERT OR REPLACE INTO job_records VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)",
        )?;
        for (order, record) in item.records.iter().enumerate() {
            let (json, hash) = with_hash(record)?;
            let error = record.error.as_ref();
            insert.execute(params![
                run,
                item.place.bucket,
                item.place.index,
                order as i64,
                record.portfolio_id.as_str(),
                record.job_name.as_str(),
                record.job_type.as_str(),
                record.status.as_str(),
                as_of,
                started_at,
                record.attempt,
                record.started_at.map(time_text),
                record.completed_at.map(time_text),
                record.duration_seconds,
                record.records_processed as i64,
                error.map(|error| error.category.as_str()),
                error.map(|error| error.message.as_str()),
                error.map(|error| error.fingerprint.as_str()),
                record.skipped_because.as_ref().map(|because| because.job.as_str()),
                record.quality.as_ref().map(|quality| quality.flag.as_str()),
                json,
                hash,
            ])?;
        }
    }
    Ok(())
}

fn apply_item_in(
    connection: &Connection,
    key: &ItemKey,
    name: &str,
    place: Place,
    event: &ItemEvent,
) -> Result<Change<WorkItem, ItemRefusal>, OpError> {
    let item = load_item(connection, key)?;
    let item = item.unwrap_or_else(|| WorkItem::untouched(key.clone(), name.to_owned(), place));
    match item.next(event) {
        Ok(next) => {
            save_item(connection, &next)?;
            Ok(Change::Applied(next))
        }
        // The reply was lost, and the request came again.
        Err(_) if item.is_result_of(event) => Ok(Change::Applied(item)),
        Err(refusal) => Ok(Change::Refused(item, refusal)),
    }
}

fn apply_alert_in(
    connection: &Connection,
    run: RunId,
    event: &AlertEvent,
) -> Result<Change<AlertState, AlertRefusal>, OpError> {
    let state = load_alert(connection, run)?;
    let next = match state.next(event) {
        Err(refusal) => return Ok(Change::Refused(state, refusal)),
        Ok(next) => next,
    };
    let (json, hash) = with_hash(&next)?;
    connection
        .prepare_cached("UPDATE runs SET alert = ?2, alert_hash = ?3, delivered = ?4 WHERE batch_run_id = ?1")?
        .execute(params![run.to_string(), json, hash, is_delivered(&need_run(connection, run)?.run, next)])?;
    Ok(Change::Applied(next))
}

/// Voids the leases of the process that held the folder before.
pub(crate) fn void_leases_in(connection: &Connection, now: DateTime<Utc>) -> Result<(), OpError> {
    let open: Vec<String> = connection
        .prepare("SELECT batch_run_id FROM runs WHERE phase NOT IN ('closed', 'missed')")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in open {
        let run: RunId = parsed(&id, || format!("the id of run {id}"))?;
        apply_run_in(connection, run, &RunEvent::VoidLease { now })?;
        if let AlertState::Sending { owner, .. } = load_alert(connection, run)? {
            apply_alert_in(connection, run, &AlertEvent::GiveBack { owner })?;
        }
        let portfolios: Vec<String> = connection
            .prepare("SELECT portfolio_id FROM work_items WHERE batch_run_id = ?1 AND state = 'working'")?
            .query_map(params![id], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for portfolio in portfolios {
            let portfolio: PortfolioId = parsed(&portfolio, || format!("a work item of run {id}"))?;
            let key = ItemKey { run, portfolio };
            // The item is there, so neither name nor place is used.
            apply_item_in(connection, &key, "", Place { bucket: 0, index: 0 }, &ItemEvent::VoidLease)?;
        }
    }
    Ok(())
}

fn load_fold(connection: &Connection, run: RunId, bucket: u32) -> Result<Fold, OpError> {
    let row: Option<(String, String)> = connection
        .prepare_cached("SELECT fold, content_hash FROM folds WHERE batch_run_id = ?1 AND bucket = ?2")?
        .query_row(params![run.to_string(), bucket], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match row {
        Some((json, hash)) => verified(&json, &hash, || format!("the count of bucket {bucket} of run {run}")),
        None => Ok(Fold::empty(bucket)),
    }
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
    if let Some(after) = &query.after {
        let parts: Vec<&str> = after.split('_').collect();
        let [scheduled_for, started_at, id] = parts.as_slice() else {
            return Err(StoreError::NotFound { what: format!("page {after:?}") }.into());
        };
        let at = values.len();
        values.extend([scheduled_for, started_at, id].map(|part| Value::Text((*part).to_owned())));
        clauses.push(format!("(scheduled_for, started_at, batch_run_id) < (?{}, ?{}, ?{})", at + 1, at + 2, at + 3));
    }
    let clause = if clauses.is_empty() { String::new() } else { format!("WHERE {}", clauses.join(" AND ")) };
    Ok((clause, values))
}

#[async_trait]
impl RunStore for LocalStore {
    async fn create_run(&self, run: &Run) -> Result<Creation<Run>, StoreError> {
        let run = run.clone();
        self.write("record the run", move |writing| {
            let connection = writing.connection;
            if let Some(existing) = load_run(connection, run.batch_run_id)? {
                return Ok(Creation::Existing(existing.run));
            }
            let (json, hash) = with_hash(&run)?;
            let (alert, alert_hash) = with_hash(&AlertState::Open)?;
            connection
                .prepare_cached(
                    "INSERT INTO runs VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,NULL,NULL,?14,0,?15)",
                )?
                .execute(params![
                    run.batch_run_id.to_string(),
                    run.schedule.as_str(),
                    run.trigger,
                    run.as_of.to_string(),
                    run.as_of.format("%Y-%m").to_string(),
                    time_text(run.scheduled_for),
                    time_text(run.started_at),
                    run.closed_at.map(time_text),
                    phase_word(&run.phase),
                    run.status_before_summary().as_str(),
                    run.rerun_of.map(|of| of.to_string()),
                    json,
                    hash,
                    alert,
                    alert_hash,
                ])?;
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

    async fn apply_item(
        &self,
        key: &ItemKey,
        name: &str,
        place: Place,
        event: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError> {
        let (key, name, event) = (key.clone(), name.to_owned(), event.clone());
        self.write("write the work item", move |writing| apply_item_in(writing.connection, &key, &name, place, &event))
            .await
    }

    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError> {
        let key = key.clone();
        self.read_short("read the work item", move |connection| load_item(connection, &key)).await
    }

    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
        self.read("read the work items", move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {ITEM_COLUMNS} FROM work_items WHERE batch_run_id = ?1 AND bucket = ?2 ORDER BY place"
            ))?;
            let mut rows = statement.query(params![run.to_string(), bucket])?;
            let mut items = Vec::new();
            while let Some(row) = rows.next()? {
                items.push(item_of(connection, row)?);
            }
            Ok(items)
        })
        .await
    }

    async fn fold(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError> {
        let entry = *entry;
        self.write("count the work item", move |writing| {
            let mut fold = load_fold(writing.connection, run, bucket)?;
            if fold.count(&entry) {
                let (json, hash) = with_hash(&fold)?;
                writing
                    .connection
                    .prepare_cached(
                        "INSERT INTO folds VALUES (?1,?2,?3,?4,0) ON CONFLICT (batch_run_id, bucket)
                         DO UPDATE SET fold = excluded.fold, content_hash = excluded.content_hash",
                    )?
                    .execute(params![run.to_string(), bucket, json, hash])?;
            }
            Ok(fold)
        })
        .await
    }

    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError> {
        self.read("read the counts", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT fold, content_hash, bucket FROM folds WHERE batch_run_id = ?1 ORDER BY bucket",
            )?;
            let mut rows = statement.query(params![run.to_string()])?;
            let mut folds = Vec::new();
            while let Some(row) = rows.next()? {
                let bucket: u32 = row.get(2)?;
                folds.push(verified(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, || {
                    format!("the count of bucket {bucket} of run {run}")
                })?);
            }
            Ok(folds)
        })
        .await
    }

    async fn mark_full(&self, run: RunId, bucket: u32) -> Result<u32, StoreError> {
        self.write("mark a bucket as full", move |writing| {
            let id = run.to_string();
            writing
                .connection
                .prepare_cached("UPDATE folds SET is_full = 1 WHERE batch_run_id = ?1 AND bucket = ?2")?
                .execute(params![id, bucket])?;
            let full = writing
                .connection
                .prepare_cached("SELECT COUNT(*) FROM folds WHERE batch_run_id = ?1 AND is_full = 1")?
                .query_row(params![id], |row| row.get(0))?;
            Ok(full)
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
            let id = summary.batch_run_id.to_string();
            let (json, hash) = with_hash(&summary)?;
            connection
                .prepare_cached("UPDATE runs SET status = ?2, summary = ?3, summary_hash = ?4 WHERE batch_run_id = ?1")?
                .execute(params![id, summary.status.as_str(), json, hash])?;
            let (scheduled_for, started_at) = (time_text(summary.scheduled_for), time_text(summary.started_at));
            for line in &summary.job_summary {
                let (as_of, json) = (summary.as_of.to_string(), serde_json::to_string(line)?);
                let columns = [line.job.as_str(), &scheduled_for, &started_at, &id, &as_of, &json];
                connection
                    .prepare_cached("INSERT OR REPLACE INTO job_runs VALUES (?1,?2,?3,?4,?5,?6,?7)")?
                    .execute(params_from_iter(columns.into_iter().chain([row_hash(&columns).as_str()])))?;
            }
            for cause in &summary.failures {
                let (as_of, count) = (summary.as_of.to_string(), cause.count.to_string());
                let portfolios = serde_json::to_string(&cause.portfolios)?;
                let (job, category) = (cause.job.as_str(), cause.category.as_str());
                let columns = [
                    cause.fingerprint.as_str(),
                    &started_at,
                    &id,
                    &as_of,
                    job,
                    category,
                    &count,
                    &cause.message,
                    &portfolios,
                ];
                // The column of the count is a number, whatever it is written from.
                connection
                    .prepare_cached("INSERT OR REPLACE INTO failures VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)")?
                    .execute(params_from_iter(columns.into_iter().chain([row_hash(&columns).as_str()])))?;
            }
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
                    page.next = page.runs.last().map(|last| {
                        let run = &last.run;
                        format!("{}_{}_{}", time_text(run.scheduled_for), time_text(run.started_at), run.batch_run_id)
                    });
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
                "SELECT {RUN_COLUMNS} FROM runs WHERE phase NOT IN ('closed', 'missed') ORDER BY started_at, batch_run_id"
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
                "SELECT {RUN_COLUMNS} FROM runs WHERE phase IN ('closed', 'missed') AND delivered = 0
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

    async fn records(&self, run: RunId, query: &RecordQuery) -> Result<Vec<JobRecord>, StoreError> {
        let query = query.clone();
        self.read("read the records", move |connection| {
            let mut clause = "batch_run_id = ?1".to_owned();
            let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(run.to_string())];
            let mut add = |column: &str, value: String| {
                values.push(Box::new(value));
                clause.push_str(&format!(" AND {column} = ?{}", values.len()));
            };
            if let Some(job) = &query.job {
                add("job_name", job.to_string());
            }
            if let Some(family) = query.job_type {
                add("job_type", family.to_string());
            }
            if let Some(status) = query.status {
                add("status", status.to_string());
            }
            let few = query.status.is_some_and(|status| status != JobStatus::Success);
            if few {
                // What the index of the few that did not succeed asks for.
                clause.push_str(" AND status <> 'success'");
            }
            if let Some(portfolio) = &query.portfolio {
                // By its place, which the records of a run are kept by.
                values.push(Box::new(portfolio.to_string()));
                clause.push_str(&format!(
                    " AND (bucket, place) = (SELECT bucket, place FROM work_items WHERE batch_run_id = ?1 AND portfolio_id = ?{})",
                    values.len()
                ));
            }
            // Left alone, SQLite walks the whole run for the sake of the order, which these indexes have as well.
            let by = match &query {
                RecordQuery { portfolio: Some(_), .. } => "",
                _ if few => "INDEXED BY job_records_not_success",
                RecordQuery { job: Some(_), .. } => "INDEXED BY job_records_by_job",
                _ => "",
            };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT record, content_hash FROM job_records {by} WHERE {clause} ORDER BY bucket, place, job_order"
            ))?;
            let mut rows = statement.query(params_from_iter(values.iter().map(|value| value.as_ref())))?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                records.push(record_of(row)?);
            }
            Ok(records)
        })
        .await
    }

    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        let portfolio = portfolio.clone();
        self.read("read the runs of a portfolio", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT w.batch_run_id, w.cells, w.item, w.content_hash, r.as_of, r.scheduled_for, r.started_at
                 FROM work_items w JOIN runs r USING (batch_run_id)
                 WHERE w.portfolio_id = ?1 ORDER BY w.scheduled_for DESC, w.started_at DESC, w.batch_run_id DESC LIMIT ?2",
            )?;
            let mut rows = statement.query(params![portfolio.as_str(), limit as i64])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                let what = || format!("the work item of portfolio {portfolio} in run {id}");
                let (cells, item): (String, String) = (row.get(1)?, row.get(2)?);
                if ContentHash::of(format!("{item}\n{cells}").as_bytes()).as_str() != row.get::<_, String>(3)? {
                    return Err(damaged(what(), "its content does not fit its hash"));
                }
                let item: WorkItem = serde_json::from_str(&item).map_err(|error| damaged(what(), error))?;
                runs.push(PortfolioRun {
                    batch_run_id: item.key.run,
                    as_of: parsed(&row.get::<_, String>(4)?, what)?,
                    scheduled_for: parsed(&row.get::<_, String>(5)?, what)?,
                    started_at: parsed(&row.get::<_, String>(6)?, what)?,
                    portfolio_name: item.portfolio_name,
                    place: item.place,
                    cells: serde_json::from_str(&cells).map_err(|error| damaged(what(), error))?,
                });
            }
            Ok(runs)
        })
        .await
    }

    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        let job = job.clone();
        self.read("read the runs of a job", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT batch_run_id, as_of, scheduled_for, started_at, line, content_hash FROM job_runs WHERE job_name = ?1
                 ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?2",
            )?;
            let mut rows = statement.query(params![job.as_str(), limit as i64])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                let what = || format!("the line of {job} in run {id}");
                let [as_of, scheduled_for, started_at, line] = [1, 2, 3, 4].map(|at| row.get::<_, String>(at));
                let (as_of, scheduled_for, started_at, line) = (as_of?, scheduled_for?, started_at?, line?);
                let columns = [job.as_str(), &scheduled_for, &started_at, &id, &as_of, &line];
                check_row(&columns, row.get(5)?, what)?;
                runs.push(JobRun {
                    batch_run_id: parsed(&id, what)?,
                    as_of: parsed(&as_of, what)?,
                    scheduled_for: parsed(&scheduled_for, what)?,
                    started_at: parsed(&started_at, what)?,
                    line: serde_json::from_str(&line).map_err(|error| damaged(what(), error))?,
                });
            }
            Ok(runs)
        })
        .await
    }

    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        let (job, portfolio) = (job.clone(), portfolio.cloned());
        self.read("read the last success", move |connection| {
            let of = if portfolio.is_some() { "AND portfolio_id = ?2" } else { "AND ?2 IS NULL" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT record, content_hash, portfolio_id, as_of, run_started_at FROM job_records
                 WHERE job_name = ?1 {of} AND status = 'success' ORDER BY as_of DESC, run_started_at DESC"
            ))?;
            let mut superseded = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM job_records WHERE portfolio_id = ?1 AND job_name = ?2 AND as_of = ?3
                 AND run_started_at > ?4 AND status <> 'success')",
            )?;
            let mut rows = statement.query(params![job.as_str(), portfolio.as_ref().map(PortfolioId::as_str)])?;
            while let Some(row) = rows.next()? {
                let (id, as_of, started): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
                let newer: bool = superseded.query_row(params![id, job.as_str(), as_of, started], |row| row.get(0))?;
                if !newer {
                    return record_of(row).map(Some);
                }
            }
            Ok(None)
        })
        .await
    }

    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        let fingerprint = fingerprint.cloned();
        self.read("read the failures", move |connection| {
            let clause = if fingerprint.is_some() { "fingerprint = ?2 AND" } else { "?2 IS NULL AND" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT batch_run_id, as_of, started_at, fingerprint, category, job_name, message, count, portfolios, content_hash
                 FROM failures WHERE {clause} started_at >= ?1 ORDER BY started_at DESC, fingerprint"
            ))?;
            let since = since.map(time_text).unwrap_or_default();
            let mut rows = statement.query(params![since, fingerprint.as_ref().map(Fingerprint::as_str)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                let what = || format!("a cause of failures in run {id}");
                let text = |at: usize| row.get::<_, String>(at);
                let count: i64 = row.get(7)?;
                let columns =
                    [text(3)?, text(2)?, id.clone(), text(1)?, text(5)?, text(4)?, count.to_string(), text(6)?, text(8)?];
                check_row(&columns, row.get(9)?, what)?;
                found.push(FailureSighting {
                    batch_run_id: parsed(&id, what)?,
                    as_of: parsed(&row.get::<_, String>(1)?, what)?,
                    started_at: parsed(&row.get::<_, String>(2)?, what)?,
                    fingerprint: parsed(&row.get::<_, String>(3)?, what)?,
                    category: parsed(&row.get::<_, String>(4)?, what)?,
                    job: parsed(&row.get::<_, String>(5)?, what)?,
                    message: row.get(6)?,
                    count: count.max(0) as u64,
                    portfolios: serde_json::from_str(&row.get::<_, String>(8)?)
                        .map_err(|error| damaged(what(), error))?,
                });
            }
            Ok(found)
        })
        .await
    }

    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        let causes = causes.to_vec();
        self.read("read the causes", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT batch_run_id FROM failures WHERE fingerprint = ?1 ORDER BY started_at, batch_run_id LIMIT 1",
            )?;
            let mut first = BTreeMap::new();
            for cause in causes {
                let id: Option<String> = statement.query_row(params![cause.as_str()], |row| row.get(0)).optional()?;
                if let Some(id) = id {
                    first.insert(cause.clone(), parsed(&id, || format!("the first run with {cause}"))?);
                }
            }
            Ok(first)
        })
        .await
    }
}
