//! The work items on `SQLite`, with the records of their jobs. The decisions are those of [`WorkItem::next`], taken inside
//! a transaction.

use async_trait::async_trait;
use domain::ids::{ContentHash, RunId};
use domain::ports::{Cell, Change, StoreError, WorkItems};
use domain::record::JobRecord;
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::open::LocalStore;
use super::rows::{damaged, time_text, verified, with_hash};
use super::writer::OpError;

const ITEM_COLUMNS: &str = "item, cells, content_hash, batch_run_id, portfolio_id";

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

/// The stored items of a run.
pub(super) fn load_items(connection: &Connection, run: RunId) -> Result<Vec<WorkItem>, OpError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {ITEM_COLUMNS} FROM work_items WHERE batch_run_id = ?1 ORDER BY bucket, place"
    ))?;
    let mut rows = statement.query(params![run.to_string()])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(item_of(connection, row)?);
    }
    Ok(items)
}

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

pub(super) fn save_item(connection: &Connection, item: &WorkItem) -> Result<(), OpError> {
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

pub(super) fn apply_item_in(
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

#[async_trait]
impl WorkItems for LocalStore {
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
}
