//! What only this backend can do: void leases, verify everything, back up, retire what is old.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Duration, Utc};
use domain::fold::Fold;
use domain::ids::{ContentHash, PortfolioId, RunId};
use domain::ports::{Documents as _, RunQuery, RunStore as _, StoreError};
use domain::summary::disagreement;
use domain::work_item::ItemKey;
use rusqlite::{OptionalExtension as _, params};

use super::open::LocalStore;
use super::runs::{record_of, time_text, void_leases_in};
use super::writer::OpError;

/// In `meta`: closed runs that began before have no records, manifests and work items any more.
const RECORDS_RETIRED: &str = "records_retired_before";

/// In `meta`: closed runs that began before have no results and perhaps no pinned inputs any more.
const RESULTS_RETIRED: &str = "results_retired_before";

/// What `doctor` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoctorReport {
    /// What was verified, and how many of it.
    pub checked: BTreeMap<String, u64>,
    /// What is not in order, one sentence each.
    pub problems: Vec<String>,
}

impl DoctorReport {
    fn count(&mut self, what: &str, number: usize) {
        *self.checked.entry(what.to_owned()).or_default() += number as u64;
    }

    fn note<T>(&mut self, outcome: Result<T, StoreError>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                self.problems.push(format!("{error}{cause}"));
                None
            }
        }
    }
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
        self.read("read when the store was made", |connection| {
            let text: String =
                connection.query_row("SELECT value FROM meta WHERE name = 'created_at'", [], |row| row.get(0))?;
            text.parse().map_err(|error: chrono::ParseError| {
                StoreError::Damaged { what: "the date the store was made".into(), detail: error.to_string() }.into()
            })
        })
    }

    /// Verifies everything that is stored.
    ///
    /// # Errors
    /// Only where the store cannot be read at all; what is damaged is in the report.
    pub async fn doctor(&self) -> Result<DoctorReport, StoreError> {
        let mut report = DoctorReport::default();
        let integrity: Vec<String> = self.read("check the file of the records", |connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check")?;
            let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<_, _>>()?;
            Ok(lines)
        })?;
        report
            .problems
            .extend(integrity.into_iter().filter(|line| line != "ok").map(|line| format!("records.sqlite: {line}")));
        let ids: Vec<String> = self.read("list the runs", |connection| {
            let mut statement = connection.prepare("SELECT batch_run_id FROM runs ORDER BY scheduled_for")?;
            let ids = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(ids)
        })?;
        for id in ids {
            match id.parse::<RunId>() {
                Ok(id) => self.examine(id, &mut report).await?,
                Err(error) => report.problems.push(format!("a run has the id {id:?}: {error}")),
            }
        }
        Ok(report)
    }

    async fn examine(&self, id: RunId, report: &mut DoctorReport) -> Result<(), StoreError> {
        report.count("runs", 1);
        let Some(Some(stored)) = report.note(self.run(id).await) else { return Ok(()) };
        let began = stored.run.is_closed().then(|| time_text(stored.run.started_at));
        let retired = |mark: &Option<String>| began.is_some() && began < *mark;
        let no_records = retired(&self.mark(RECORDS_RETIRED)?);
        let no_inputs = retired(&self.mark(RESULTS_RETIRED)?);
        let plan = stored.run.plan.as_ref();
        for bucket in 0..plan.filter(|_| !no_records).map_or(0, domain::run::SealedPlan::buckets) {
            let epoch = plan.map_or(0, |plan| plan.epoch);
            if let Some(chunk) = report.note(self.manifest(id, epoch, bucket).await) {
                report.count("portfolios in lists", chunk.len());
                let expected = plan.map_or(0, |plan| plan.bucket_len(bucket));
                if chunk.len() != expected as usize {
                    report.problems.push(format!(
                        "bucket {bucket} of the portfolios of run {id} holds {} of {expected}",
                        chunk.len()
                    ));
                }
            }
            if let Some(items) = report.note(self.items(id, bucket).await) {
                report.count("work items", items.len());
            }
        }
        self.examine_records(id, report)?;
        let folds: Option<Vec<Fold>> = report.note(self.folds(id).await);
        if let (Some(folds), Some(summary)) = (folds, &stored.summary) {
            report.count("counts", folds.len());
            if let Some(text) = disagreement(summary, &folds) {
                report.problems.push(format!("the counts of run {id} do not add up to its summary: {text}"));
            }
        }
        self.examine_results(id, report)?;
        if let Some(plan) = plan.filter(|_| !no_inputs) {
            report.count("pinned inputs", 1);
            report.note(self.snapshot(&plan.snapshot).await);
        }
        Ok(())
    }

    /// Up to which start of a run something was retired.
    fn mark(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.read("read what was retired", |connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
            Ok(statement.query_row(params![name], |row| row.get(0)).optional()?)
        })
    }

    fn examine_records(&self, id: RunId, report: &mut DoctorReport) -> Result<(), StoreError> {
        self.read("read the records", |connection| {
            let mut statement =
                connection.prepare("SELECT record, content_hash FROM job_records WHERE batch_run_id = ?1")?;
            let mut rows = statement.query(params![id.to_string()])?;
            while let Some(row) = rows.next()? {
                report.count("records", 1);
                report.note(record_of(row).map_err(|error| error.told("read a record")));
            }
            Ok(())
        })
    }

    fn examine_results(&self, id: RunId, report: &mut DoctorReport) -> Result<(), StoreError> {
        let places: Vec<(String, String, i64, i64)> = self.read("list the results", |connection| {
            let mut statement = connection
                .prepare("SELECT portfolio_id, content_hash, offset, length FROM results WHERE batch_run_id = ?1")?;
            let places = statement
                .query_map(params![id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect::<Result<_, _>>()?;
            Ok(places)
        })?;
        for (portfolio, hash, offset, length) in places {
            report.count("results", 1);
            match (PortfolioId::new(portfolio.as_str()), ContentHash::new(hash)) {
                (Ok(portfolio), Ok(hash)) => {
                    report.note(self.unpack(&ItemKey { run: id, portfolio }, &hash, offset, length));
                }
                (Err(error), _) | (_, Err(error)) => report.problems.push(format!("results of run {id}: {error}")),
            }
        }
        Ok(())
    }

    /// Copies the folder while it is in use: records by the backup of `SQLite`, then the files that they name.
    ///
    /// # Errors
    /// The store, or the folder to copy to.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let doing = "copy the records";
        let told = |error: std::io::Error| OpError::Io(error).told(doing);
        for part in ["results", "snapshots", "site"] {
            std::fs::create_dir_all(to.join(part)).map_err(told)?;
        }
        self.read(doing, |connection| {
            let mut copy = rusqlite::Connection::open(to.join("records.sqlite"))?;
            let backup = rusqlite::backup::Backup::new(connection, &mut copy)?;
            backup.run_to_completion(1_000, std::time::Duration::ZERO, None)?;
            Ok(())
        })?;
        // After the records: a pack only grows and a snapshot never changes, so what the records name is there.
        for part in ["results", "snapshots", "site"] {
            copy_folder(&self.folder().join(part), &to.join(part)).map_err(told)?;
        }
        Ok(())
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
        named.extend(self.open_runs().await?.into_iter().filter_map(|run| run.plan.map(|plan| plan.snapshot)));
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
