//! What only this backend can do: void leases, back up, retire what is old.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Duration, Utc};
use domain::ids::ContentHash;
use domain::ports::{RunQuery, Runs as _, StoreError};
use rusqlite::params;

use super::closes::LocalCloses;
use super::folder::{sync_all_of, write_durably};
use super::leases::void_leases_in;
use super::open::LocalStore;
use super::rows::time_text;
use super::writer::OpError;

/// Files of the data folder without which nothing is published.
const PUBLISHING: [&str; 2] = ["site-settings.json", "redaction-key"];

/// The file of the site that says by which detail its pages were written.
const DETAIL_MARK: &str = "detail.txt";

/// In `meta`: closed runs that began before have no records, manifests and work items any more.
pub(crate) const RECORDS_RETIRED: &str = "records_retired_before";

/// In `meta`: closed runs that began before have no results and perhaps no pinned inputs any more.
pub(crate) const RESULTS_RETIRED: &str = "results_retired_before";

/// Removes what the plans of old runs sealed for their nights, unless a plan that stays names it too.
///
/// A document that nothing names is left alone: a planner or a closer may have stored it a moment ago, and be about to
/// name it.
fn retire_members(connection: &rusqlite::Connection, records_before: &str) -> Result<(), OpError> {
    const MEMBERS: &str = "json_extract(run, '$.plan.night.members')";
    // A rerun that is not planned yet takes over what its original sealed.
    const STAYS: &str = "(phase <> 'closed' OR started_at >= ?1
        OR batch_run_id IN (SELECT rerun_of FROM runs WHERE phase <> 'closed' AND rerun_of IS NOT NULL))";
    connection
        .prepare_cached(&format!(
            "DELETE FROM night_documents WHERE content_hash IN (SELECT {MEMBERS} FROM runs WHERE NOT {STAYS})
             AND content_hash NOT IN (SELECT {MEMBERS} FROM runs WHERE {STAYS} AND {MEMBERS} IS NOT NULL)"
        ))?
        .execute(params![records_before])?;
    Ok(())
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

    /// Copies the folder while it is in use: records by the backup of `SQLite`, then the files that they name, last the
    /// settings and the key that the site is published by. The copy is durable, and can be read without writing to it.
    ///
    /// # Errors
    /// The store, or the folder to copy to.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let doing = "copy the records";
        let told = |error: std::io::Error| OpError::Io(error).told(doing);
        for part in ["results", "snapshots", "site"] {
            std::fs::create_dir_all(to.join(part)).map_err(told)?;
        }
        let target = to.join("records.sqlite");
        self.read(doing, move |connection| {
            let mut copy = rusqlite::Connection::open(target)?;
            let backup = rusqlite::backup::Backup::new(connection, &mut copy)?;
            backup.run_to_completion(1_000, std::time::Duration::ZERO, None)?;
            drop(backup);
            // With a write-ahead log, even a reader has to write beside the records.
            copy.pragma_update(None, "journal_mode", "DELETE")?;
            Ok(())
        })
        .await?;
        LocalCloses::new(self.folder()).backup(to).map_err(|error| error.told(doing))?;
        // After the records: a pack only grows and a snapshot never changes, so what the records name is there.
        for part in ["results", "snapshots", "site"] {
            copy_folder(&self.folder().join(part), &to.join(part)).map_err(told)?;
        }
        // A site that became redacted while it was copied is of both details. Without its mark it is written again.
        remove_if_there(&to.join("site").join(DETAIL_MARK)).map_err(told)?;
        for file in PUBLISHING {
            match std::fs::read(self.folder().join(file)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                read => read.and_then(|bytes| write_durably(&to.join(file), &bytes)).map_err(told)?,
            }
        }
        sync_all_of(to).map_err(told)
    }

    /// Forgets what is older than its time, counted from the writing: results and pinned inputs first, later the
    /// records. Runs and their summaries stay for ever.
    ///
    /// # Errors
    /// The store.
    pub async fn retire(&self, now: DateTime<Utc>, records_days: u32, results_days: u32) -> Result<(), StoreError> {
        let before = |days: u32| time_text(now - Duration::days(i64::from(days)));
        let (records, results) = (before(records_days), before(results_days));
        let emptied = self
            .write("retire what is old", move |writing| {
                let connection = writing.connection;
                for (mark, before) in [(RECORDS_RETIRED, &records), (RESULTS_RETIRED, &results)] {
                    connection
                        .prepare_cached(
                            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                        )?
                        .execute(params![mark, before])?;
                }
                let old = "SELECT batch_run_id FROM runs WHERE phase = 'closed' AND started_at < ?1";
                let emptied: Vec<String> = connection
                    .prepare(&format!("SELECT DISTINCT batch_run_id FROM results WHERE batch_run_id IN ({old})"))?
                    .query_map(params![results], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                for run in &emptied {
                    connection.prepare_cached("DELETE FROM results WHERE batch_run_id = ?1")?.execute(params![run])?;
                }
                for table in ["job_records", "work_items", "manifests"] {
                    connection
                        .prepare(&format!("DELETE FROM {table} WHERE batch_run_id IN ({old})"))?
                        .execute(params![records])?;
                }
                retire_members(connection, &records)?;
                Ok(emptied)
            })
            .await?;
        if emptied.is_empty() {
            return Ok(());
        }
        for run in emptied {
            // A pack that is gone already was retired by a process that died here.
            let _ = std::fs::remove_file(self.folder().join("results").join(format!("{run}.pack")));
        }
        self.retire_snapshots(now - Duration::days(i64::from(results_days))).await
    }

    /// Removes pinned inputs that no run younger than this names.
    async fn retire_snapshots(&self, before: DateTime<Utc>) -> Result<(), StoreError> {
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
        for entry in std::fs::read_dir(self.folder().join("snapshots")).map_err(told)? {
            let path = entry.map_err(told)?.path();
            let hash = path.file_stem().and_then(|name| name.to_str()).and_then(|name| ContentHash::new(name).ok());
            if hash.is_some_and(|hash| !named.contains(&hash)) {
                std::fs::remove_file(&path).map_err(told)?;
            }
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

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    if from.is_dir() {
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy_folder(&entry.path(), &target)?;
            } else {
                std::fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}
