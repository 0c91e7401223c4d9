//! The chain of closed runs: `Chain` on `SQLite`.

use async_trait::async_trait;
use domain::chain::{Appended, Link};
use domain::ids::RunId;
use domain::ports::{Chain, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};

use super::open::LocalStore;
use super::rows::damaged;
use super::writer::OpError;

/// Whether there can be one: a store of an older release that is only read has none.
fn has_chain(connection: &Connection) -> Result<bool, OpError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'chain')")?
        .query_row([], |row| row.get(0))?)
}

/// The columns of a link, in the order of [`link_of`].
const COLUMNS: &str = "number, batch_run_id, link, link_hash";

/// The link of a row, verified.
fn link_of(row: &Row<'_>) -> Result<Link, OpError> {
    let (number, run): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
    let what = || format!("link {number} of the chain");
    let link: Link = serde_json::from_str(&row.get::<_, String>(2)?).map_err(|error| damaged(what(), error))?;
    if link.hash().as_str() != row.get::<_, String>(3)? {
        return Err(damaged(what(), "its content does not fit its hash"));
    }
    if i64::try_from(link.number).ok() != Some(number) || link.batch_run_id.map(|run| run.to_string()) != run {
        return Err(damaged(what(), "its columns are not what it says"));
    }
    Ok(link)
}

fn one(connection: &Connection, clause: &str, values: &[&dyn ToSql]) -> Result<Option<Link>, OpError> {
    if !has_chain(connection)? {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM chain {clause}"))?;
    let mut rows = statement.query(values)?;
    rows.next()?.map(link_of).transpose()
}

#[async_trait]
impl Chain for LocalStore {
    async fn newest_link(&self) -> Result<Option<Link>, StoreError> {
        self.read_short("read the newest link of the chain", |connection| {
            one(connection, "ORDER BY number DESC LIMIT 1", &[])
        })
        .await
    }

    async fn link_of(&self, run: RunId) -> Result<Option<Link>, StoreError> {
        self.read_short("read the link of a run", move |connection| {
            one(connection, "WHERE batch_run_id = ?1", &[&run.to_string()])
        })
        .await
    }

    async fn append_link(&self, link: &Link) -> Result<Appended, StoreError> {
        let link = link.clone();
        self.write("append a link to the chain", move |writing| {
            let connection = writing.connection;
            let run = link.batch_run_id.map(|run| run.to_string());
            if let Some(of_run) = one(connection, "WHERE batch_run_id = ?1", &[&run])? {
                return Ok(Appended::RunHasLink(of_run));
            }
            let number = i64::try_from(link.number).unwrap_or(i64::MAX);
            let taken = connection
                .prepare_cached("SELECT 1 FROM chain WHERE number = ?1")?
                .query_row(params![number], |_| Ok(()))
                .optional()?;
            if taken.is_some() {
                return Ok(Appended::NumberTaken);
            }
            connection
                .prepare_cached(&format!("INSERT INTO chain ({COLUMNS}) VALUES (?1, ?2, ?3, ?4)"))?
                .execute(params![number, run, serde_json::to_string(&link)?, link.hash().as_str()])?;
            Ok(Appended::Appended)
        })
        .await
    }

    async fn links(&self, after: u64, limit: usize) -> Result<Vec<Link>, StoreError> {
        self.read("read the chain", move |connection| {
            if !has_chain(connection)? {
                return Ok(Vec::new());
            }
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM chain WHERE number > ?1 ORDER BY number LIMIT ?2"))?;
            let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![bound(after), bound(limit as u64)])?;
            let mut links = Vec::new();
            while let Some(row) = rows.next()? {
                links.push(link_of(row)?);
            }
            Ok(links)
        })
        .await
    }
}
