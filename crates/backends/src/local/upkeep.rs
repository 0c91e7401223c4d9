//! What only this backend can do: void leases, retire what is old.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Duration, Utc};
use domain::ids::ContentHash;
use domain::ports::{RunQuery, Runs as _, StoreError};
use rusqlite::{OptionalExtension as _, params};

use super::leases::void_leases_in;
use super::open::LocalStore;
use super::rows::time_text;
use super::writer::OpError;

/// In `meta`: closed runs that began before have no records, manifests and work items any more.
pub(crate) const RECORDS_RETIRED: &str = "records_retired_before";

/// In `meta`: closed runs that began before have no results any more.
pub(crate) const RESULTS_RETIRED: &str = "results_retired_before";

/// In `meta`: closed runs that began before have perhaps no pinned inputs any more. Where it is absent, an earlier release
/// deleted the inputs of a run with its results: [`RESULTS_RETIRED`] counts.
pub(crate) const INPUTS_RETIRED: &str = "inputs_retired_before";

/// For how many days each kind of what is stored is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionDays {
    /// Job records, work items and manifests.
    pub records: u32,
    /// Results documents.
    pub results: u32,
    /// Pinned inputs.
    pub inputs: u32,
}

/// How long a document of a night may be without a name. A planner or a closer stores a document before it names it,
/// and a rerun names the document of its original.
const UNNAMED_FOR: Duration = Duration::days(1);

/// Removes the documents of nights that neither a head nor the plan of a run with records names: what old plans sealed,
/// and what a process stored that died before it wrote the head.
///
/// A document is marked first. It is removed by a later retention, if nothing has named or stored it in between.
fn retire_documents(
    connection: &rusqlite::Connection,
    now: DateTime<Utc>,
    records_before: &str,
) -> Result<(), OpError> {
    // A rerun that is not planned yet takes over what its original sealed.
    const NAMED: &str = "(content_hash IN (SELECT json_extract(head, '$.document') FROM nights)
        OR content_hash IN (SELECT json_extract(run, '$.plan.night.members') FROM runs
            WHERE phase <> 'closed' OR started_at >= ?1
               OR batch_run_id IN (SELECT rerun_of FROM runs WHERE phase <> 'closed' AND rerun_of IS NOT NULL)))";
    connection
        .prepare_cached(&format!(
            "UPDATE night_documents SET unnamed_since = CASE WHEN {NAMED} THEN NULL ELSE coalesce(unnamed_since, ?2) END"
        ))?
        .execute(params![records_before, time_text(now)])?;
    connection
        .prepare_cached("DELETE FROM night_documents WHERE unnamed_since <= ?1")?
        .execute(params![time_text(now - UNNAMED_FOR)])?;
    Ok(())
}

/// Moves a mark of the retention in `meta` forward; never back.
fn move_mark(connection: &rusqlite::Connection, mark: &str, before: &str) -> Result<(), OpError> {
    connection
        .prepare_cached(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute(params![mark, before])?;
    Ok(())
}

/// Moves the mark of the pinned inputs forward; gives whether closed runs passed it, so that inputs may be due.
fn mark_retired_inputs(connection: &rusqlite::Connection, before: &str) -> Result<bool, OpError> {
    let mark = |name: &str| {
        connection
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
            .query_row(params![name], |row| row.get::<_, String>(0))
            .optional()
    };
    let earlier = match mark(INPUTS_RETIRED)? {
        Some(earlier) => Some(earlier),
        None => mark(RESULTS_RETIRED)?,
    };
    if let Some(earlier) = &earlier {
        move_mark(connection, INPUTS_RETIRED, earlier)?;
    }
    move_mark(connection, INPUTS_RETIRED, before)?;
    let passed = "SELECT EXISTS (SELECT 1 FROM runs WHERE phase = 'closed' AND started_at >= ?1 AND started_at < ?2)";
    let earlier = earlier.unwrap_or_default();
    Ok(connection.prepare_cached(passed)?.query_row(params![earlier, before], |row| row.get(0))?)
}

impl LocalStore {
    /// Voids the leases of the process that held the folder before: the lock proves it dead.
    ///
    /// # Errors
    /// The store.
    pub async fn void_leases(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.write("void the leases of a process that ended", move |writing| void_leases_in(writing.connection, now))
            .await
    }

    /// When the store was made: no slot before it is ever missed.
    ///
    /// # Errors
    /// The store.
    pub async fn created_at(&self) -> Result<DateTime<Utc>, StoreError> {
        self.read_short("read when the store was made", |connection| {
            let text: String =
                connection.query_row("SELECT value FROM meta WHERE name = 'created_at'", [], |row| row.get(0))?;
            text.parse().map_err(|error: chrono::ParseError| {
                StoreError::Damaged { what: "the date the store was made".into(), detail: error.to_string() }.into()
            })
        })
        .await
    }

    /// Deletes results, pinned inputs and records that are older than their time, counted back from an instant that no
    /// clock can move. Runs and their summaries stay for ever. What is deleted is logged.
    ///
    /// # Errors
    /// The store.
    pub async fn retire(&self, from: DateTime<Utc>, keep: RetentionDays) -> Result<(), StoreError> {
        let before = |days: u32| time_text(from - Duration::days(i64::from(days)));
        let (records, results, inputs) = (before(keep.records), before(keep.results), before(keep.inputs));
        let (emptied, inputs_are_due) = self
            .write("retire what is old", move |writing| {
                let connection = writing.connection;
                let inputs_are_due = mark_retired_inputs(connection, &inputs)?;
                for (mark, before) in [(RECORDS_RETIRED, &records), (RESULTS_RETIRED, &results)] {
                    move_mark(connection, mark, before)?;
                }
                let old = "SELECT batch_run_id FROM runs WHERE phase = 'closed' AND started_at < ?1";
                let emptied: Vec<String> = connection
                    .prepare(&format!("SELECT DISTINCT batch_run_id FROM results WHERE batch_run_id IN ({old})"))?
                    .query_map(params![results], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                for run in &emptied {
                    connection.prepare_cached("DELETE FROM results WHERE batch_run_id = ?1")?.execute(params![run])?;
                }
                let mut deleted = 0;
                for table in ["job_records", "work_items", "manifests"] {
                    deleted += connection
                        .prepare(&format!("DELETE FROM {table} WHERE batch_run_id IN ({old})"))?
                        .execute(params![records])?;
                }
                retire_documents(connection, from, &records)?;
                if deleted > 0 {
                    tracing::info!(event = "retention.records", before = %records, rows = deleted, "deleted the records of old runs");
                }
                Ok((emptied, inputs_are_due))
            })
            .await?;
        if !emptied.is_empty() {
            tracing::info!(
                event = "retention.results",
                runs = emptied.len(),
                days = keep.results,
                "deleted the results of old runs"
            );
        }
        for run in emptied {
            // A pack that is gone already was retired by a process that died here.
            let _ = std::fs::remove_file(self.folder().join("results").join(format!("{run}.pack")));
        }
        if inputs_are_due {
            self.retire_snapshots(from - Duration::days(i64::from(keep.inputs)), keep.inputs).await?;
        }
        Ok(())
    }

    /// Removes pinned inputs that no run younger than this names.
    async fn retire_snapshots(&self, before: DateTime<Utc>, days: u32) -> Result<(), StoreError> {
        let young = self.runs(&RunQuery { started_since: Some(before), ..RunQuery::default() }).await?;
        let mut named: Vec<ContentHash> =
            young.runs.into_iter().filter_map(|stored| stored.run.plan.map(|plan| plan.snapshot)).collect();
        for open in self.open_runs().await? {
            // A rerun that is not planned yet reads the inputs that its original pinned.
            let original = match open.rerun_of {
                Some(of) => self.run(of).await?.and_then(|stored| stored.run.plan),
                None => None,
            };
            named.extend([open.plan, original].into_iter().flatten().map(|plan| plan.snapshot));
        }
        let told = |error: std::io::Error| OpError::Io(error).told("retire pinned inputs");
        let mut files = 0_usize;
        for entry in std::fs::read_dir(self.folder().join("snapshots")).map_err(told)? {
            let path = entry.map_err(told)?.path();
            let hash = path.file_stem().and_then(|name| name.to_str()).and_then(|name| ContentHash::new(name).ok());
            if hash.is_some_and(|hash| !named.contains(&hash)) {
                std::fs::remove_file(&path).map_err(told)?;
                files += 1;
            }
        }
        if files > 0 {
            tracing::info!(event = "retention.inputs", files, days, "deleted the pinned inputs of old runs");
        }
        Ok(())
    }

    /// Bytes on disk, by part.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn disk_usage(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let told = |error: std::io::Error| OpError::Io(error).told("measure the data folder");
        let mut usage = BTreeMap::new();
        let mut records = 0;
        for file in ["records.sqlite", "records.sqlite-wal"] {
            records += std::fs::metadata(self.folder().join(file)).map_or(0, |data| data.len());
        }
        usage.insert("records".to_owned(), records);
        for part in ["results", "snapshots", "site"] {
            usage.insert(part.to_owned(), folder_bytes(&self.folder().join(part)).map_err(told)?);
        }
        Ok(usage)
    }
}

fn folder_bytes(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let data = entry.metadata()?;
            bytes += if data.is_dir() { folder_bytes(&entry.path())? } else { data.len() };
        }
    }
    Ok(bytes)
}
