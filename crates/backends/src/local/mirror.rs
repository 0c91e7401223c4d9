//! The rows of a run as this release writes them, beside those that are stored: `doctor` compares every column.
//!
//! Columns that hold a document are left out: reading verifies them by their hash, and the text may be that of an older
//! release.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use domain::ids::RunId;
use domain::ports::Cell;
use domain::summary::JobSummary;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::history::write_history;
use super::rows::damaged;
use super::runs::{load_alert, load_run, write_alert, write_new_run, write_summary};
use super::schema;
use super::work_items::{load_items, save_item};
use super::writer::OpError;

/// A table with a row or more for each run.
struct Table {
    name: &'static str,
    /// The columns by which a row is found.
    keys: &'static [&'static str],
    /// The other columns that follow from the content.
    columns: &'static [&'static str],
    /// Whether its rows are retired with the records.
    retires: bool,
}

const fn table(
    name: &'static str,
    keys: &'static [&'static str],
    columns: &'static [&'static str],
    retires: bool,
) -> Table {
    Table { name, keys, columns, retires }
}

const TABLES: [Table; 5] = [
    table(
        "runs",
        &["batch_run_id"],
        &[
            "schedule",
            "trigger_name",
            "as_of",
            "month",
            "scheduled_for",
            "started_at",
            "closed_at",
            "phase",
            "status",
            "rerun_of",
            "delivered",
        ],
        false,
    ),
    table(
        "work_items",
        &["portfolio_id"],
        &["bucket", "place", "state", "attempt", "heartbeat", "scheduled_for", "started_at"],
        true,
    ),
    table(
        "job_records",
        &["bucket", "place", "job_order"],
        &[
            "portfolio_id",
            "job_name",
            "job_type",
            "status",
            "as_of",
            "run_started_at",
            "attempt",
            "started_at",
            "completed_at",
            "duration_seconds",
            "records_processed",
            "error_category",
            "error_message",
            "fingerprint",
            "skipped_because",
            "quality_flag",
        ],
        true,
    ),
    table("job_runs", &["job_name"], &["scheduled_for", "started_at", "as_of"], false),
    table(
        "failures",
        &["fingerprint"],
        &["started_at", "as_of", "job_name", "category", "count", "message", "portfolios"],
        false,
    ),
];

/// Every table that names a run in each of its rows.
const TABLES_OF_RUNS: [&str; 8] =
    ["manifests", "work_items", "job_records", "folds", "job_runs", "failures", "results", "notes"];

/// Rows of runs that are not stored, one sentence for each table and run.
pub(super) fn rows_without_run(connection: &Connection) -> Result<Vec<String>, OpError> {
    let mut found = Vec::new();
    for table in TABLES_OF_RUNS {
        // A store of an older release that is only read lacks some of them.
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)";
        if !connection.prepare_cached(sql)?.query_row(params![table], |row| row.get::<_, bool>(0))? {
            continue;
        }
        let mut statement = connection.prepare(&format!(
            "SELECT DISTINCT batch_run_id FROM {table} WHERE batch_run_id NOT IN (SELECT batch_run_id FROM runs)"
        ))?;
        let runs: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        found.extend(
            runs.into_iter().map(|run| format!("rows of {table} are of run {run:.80}, and there is no such run")),
        );
    }
    Ok(found)
}

/// Marks of the retention on documents of nights that are no instants.
pub(super) fn damaged_marks(connection: &Connection) -> Result<Vec<String>, OpError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('night_documents') WHERE name = 'unnamed_since')";
    if !connection.query_row(sql, [], |row| row.get::<_, bool>(0))? {
        return Ok(Vec::new());
    }
    let mut statement = connection
        .prepare("SELECT DISTINCT unnamed_since FROM night_documents WHERE unnamed_since IS NOT NULL ORDER BY 1")?;
    let marks: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let damaged = marks.into_iter().filter(|mark| mark.parse::<DateTime<Utc>>().is_err());
    Ok(damaged.map(|mark| format!("the mark {mark:.80} on a document of a night is no instant")).collect())
}

/// An empty copy of the tables, in memory.
#[derive(Clone)]
pub(super) struct Mirror(Arc<Mutex<Connection>>);

impl Mirror {
    pub(super) fn new() -> Result<Self, OpError> {
        let mut connection = Connection::open_in_memory()?;
        match schema::migrate(&mut connection, "")? {
            Ok(()) => Ok(Self(Arc::new(Mutex::new(connection)))),
            Err(found) => Err(damaged("an empty copy of the tables".into(), format!("its schema version is {found}"))),
        }
    }

    /// What the rows of a run say otherwise than its content, one sentence each. `records`: its records are not retired.
    pub(super) fn differences(
        &self,
        connection: &Connection,
        id: RunId,
        records: bool,
    ) -> Result<Vec<String>, OpError> {
        let mirror = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for table in &TABLES {
            mirror.execute(&format!("DELETE FROM {}", table.name), [])?;
        }
        // One transaction, so that a run under way does not change meanwhile.
        let stored = connection.unchecked_transaction()?;
        let Some(run) = load_run(&stored, id)? else { return Ok(Vec::new()) };
        write_new_run(&mirror, &run.run)?;
        if let Some(summary) = &run.summary {
            write_summary(&mirror, summary)?;
            write_history(&mirror, summary)?;
        }
        write_alert(&mirror, &run.run, load_alert(&stored, id)?)?;
        if records {
            for item in load_items(&stored, id)? {
                save_item(&mirror, &item)?;
            }
        }
        let mut found = Vec::new();
        for table in TABLES.iter().filter(|table| records || !table.retires) {
            compare(table, &stored, &mirror, id, &mut found)?;
        }
        if records {
            found.extend(differing_cells(&stored, &mirror, id)?);
        }
        found.extend(differing_lines(&stored, &mirror, id)?);
        found.extend(unfilled_buckets(&stored, id, run.run.is_closed())?);
        Ok(found)
    }
}

/// The rows of a run by their keys as text; the values without the keys.
fn rows(table: &Table, connection: &Connection, id: RunId) -> Result<BTreeMap<String, Vec<Value>>, OpError> {
    let names = table.keys.iter().chain(table.columns).copied().collect::<Vec<_>>().join(", ");
    let mut statement =
        connection.prepare_cached(&format!("SELECT {names} FROM {} WHERE batch_run_id = ?1", table.name))?;
    let width = table.keys.len();
    let row = |row: &rusqlite::Row<'_>| {
        let keys: Vec<Value> = (0..width).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        let values: Vec<Value> =
            (width..width + table.columns.len()).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        Ok((keys.iter().map(shown).collect::<Vec<_>>().join(", "), values))
    };
    Ok(statement.query_map(params![id.to_string()], row)?.collect::<Result<_, _>>()?)
}

fn compare(
    table: &Table,
    stored: &Connection,
    mirror: &Connection,
    id: RunId,
    found: &mut Vec<String>,
) -> Result<(), OpError> {
    let (stored, mut expected) = (rows(table, stored, id)?, rows(table, mirror, id)?);
    let name = table.name;
    for (key, values) in stored {
        let Some(expected) = expected.remove(&key) else {
            found.push(format!("the row {key} of {name} of run {id} belongs to nothing"));
            continue;
        };
        for (column, (value, expected)) in table.columns.iter().zip(values.iter().zip(&expected)) {
            if value != expected {
                let (value, expected) = (shown(value), shown(expected));
                found.push(format!(
                    "the column {column} of the row {key} of {name} of run {id} says {value}; its content says {expected}"
                ));
            }
        }
    }
    found.extend(expected.into_keys().map(|key| format!("the row {key} of {name} of run {id} is gone")));
    Ok(())
}

/// A value as a sentence shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.chars().take(80).collect(),
        Value::Blob(_) => "bytes".to_owned(),
    }
}
/// The cells of the work items are those of the records. A cell of an older release may have fewer figures.
fn differing_cells(stored: &Connection, mirror: &Connection, id: RunId) -> Result<Vec<String>, OpError> {
    let read = |connection: &Connection| -> Result<Vec<(String, String)>, OpError> {
        let mut statement = connection.prepare_cached(
            "SELECT portfolio_id, cells FROM work_items WHERE batch_run_id = ?1 ORDER BY portfolio_id",
        )?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(statement.query_map(params![id.to_string()], row)?.collect::<Result<_, _>>()?)
    };
    let mut found = Vec::new();
    for ((portfolio, cells), (_, expected)) in read(stored)?.into_iter().zip(read(mirror)?) {
        let what = || format!("the cells of portfolio {portfolio} in run {id}");
        let parse = |text: &str| serde_json::from_str::<Vec<Cell>>(text).map_err(|error| damaged(what(), error));
        let (cells, expected) = (parse(&cells)?, parse(&expected)?);
        let same = |(cell, expected): (&Cell, &Cell)| {
            let figures = cell.figures.iter().all(|(name, value)| expected.figures.get(name) == Some(value));
            figures && Cell { figures: expected.figures.clone(), ..cell.clone() } == *expected
        };
        if cells.len() != expected.len() || !cells.iter().zip(&expected).all(same) {
            found.push(format!("{} are not those of its records", what()));
        }
    }
    Ok(found)
}

/// The lines of jobs are those of the summary.
fn differing_lines(stored: &Connection, mirror: &Connection, id: RunId) -> Result<Vec<String>, OpError> {
    let read = |connection: &Connection| -> Result<Vec<(String, JobSummary)>, OpError> {
        let mut statement = connection
            .prepare_cached("SELECT job_name, line FROM job_runs WHERE batch_run_id = ?1 ORDER BY job_name")?;
        let mut rows = statement.query(params![id.to_string()])?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            let job: String = row.get(0)?;
            let line = serde_json::from_str(&row.get::<_, String>(1)?)
                .map_err(|error| damaged(format!("the line of {job} in run {id}"), error))?;
            lines.push((job, line));
        }
        Ok(lines)
    };
    let (stored, expected) = (read(stored)?, read(mirror)?);
    let differing = stored.iter().filter(|line| !expected.contains(line));
    Ok(differing.map(|(job, _)| format!("the line of {job} in run {id} is not what its summary says")).collect())
}

/// Once a run is closed, every bucket is marked as full.
fn unfilled_buckets(stored: &Connection, id: RunId, is_closed: bool) -> Result<Vec<String>, OpError> {
    if !is_closed {
        return Ok(Vec::new());
    }
    let mut statement =
        stored.prepare_cached("SELECT bucket FROM folds WHERE batch_run_id = ?1 AND is_full <> 1 ORDER BY bucket")?;
    let buckets: Vec<u32> =
        statement.query_map(params![id.to_string()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(buckets
        .into_iter()
        .map(|bucket| format!("bucket {bucket} of run {id} is not marked as full, and the run is closed"))
        .collect())
}
