//! The completion tallies on `SQLite`.

use async_trait::async_trait;
use domain::fold::{Fold, FoldEntry};
use domain::ids::RunId;
use domain::ports::{StoreError, Tallies};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::open::LocalStore;
use super::rows::{damaged, verified, with_hash};
use super::writer::OpError;

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

#[async_trait]
impl Tallies for LocalStore {
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
                let what = || format!("the count of bucket {bucket} of run {run}");
                let fold: Fold = verified(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, what)?;
                if fold.bucket != bucket {
                    return Err(damaged(what(), format!("it is that of bucket {}", fold.bucket)));
                }
                folds.push(fold);
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
}
