//! The heads of the nights: `Nights` on `SQLite`.

use async_trait::async_trait;
use domain::ids::{ContentHash, ScheduleName};
use domain::night::{NightHead, NightKey};
use domain::ports::{Keep, NightQuery, Nights, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::documents::{RESULTS_LEVEL, pack, unpacked};
use super::open::LocalStore;
use super::rows::{damaged, parsed, verified, with_hash};
use super::writer::OpError;

/// Whether there are any: a store of an older release that is only read has none.
pub(crate) fn has_nights(connection: &Connection) -> Result<bool, OpError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'nights')")?
        .query_row([], |row| row.get(0))?)
}

/// The columns of a head, in the order of [`head_of`].
const COLUMNS: &str = "night_series, as_of, version, verdict, head, content_hash";

/// The head of a row, verified.
fn head_of(row: &Row<'_>) -> Result<NightHead, OpError> {
    let (series, as_of, version, verdict): (String, String, i64, String) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let what = || format!("the night of {as_of}");
    let head: NightHead = verified(&row.get::<_, String>(4)?, &row.get::<_, String>(5)?, what)?;
    let columns = (head.night_series.to_string(), head.as_of.to_string(), i64::try_from(head.version).ok());
    if columns != (series, as_of.clone(), Some(version)) || head.verdict.as_str() != verdict {
        return Err(damaged(what(), "its columns are not what it says"));
    }
    Ok(head)
}

fn load_night(connection: &Connection, key: &NightKey) -> Result<Option<NightHead>, OpError> {
    if !has_nights(connection)? {
        return Ok(None);
    }
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM nights WHERE night_series = ?1 AND as_of = ?2"))?;
    let mut rows = statement.query(params![key.series.as_str(), key.as_of.to_string()])?;
    rows.next()?.map(head_of).transpose()
}

#[async_trait]
impl Nights for LocalStore {
    async fn night(&self, key: &NightKey) -> Result<Option<NightHead>, StoreError> {
        let key = key.clone();
        self.read_short("read a night", move |connection| load_night(connection, &key)).await
    }

    async fn put_night(&self, head: &NightHead) -> Result<bool, StoreError> {
        let head = head.clone();
        self.write("write a night", move |writing| {
            let stored = load_night(writing.connection, &head.key())?;
            if stored.as_ref().map_or(0, |stored| stored.version) != head.version {
                return Ok(false);
            }
            if let Some(replaced) = stored.map(|stored| stored.document).filter(|hash| *hash != head.document) {
                // A document names its night, so that no other head names this one.
                writing
                    .connection
                    .prepare_cached("DELETE FROM night_documents WHERE content_hash = ?1")?
                    .execute(params![replaced.as_str()])?;
            }
            let next = NightHead { version: head.version + 1, ..head.clone() };
            let (json, hash) = with_hash(&next)?;
            let version = i64::try_from(next.version).unwrap_or(i64::MAX);
            writing
                .connection
                .prepare_cached(&format!("INSERT OR REPLACE INTO nights ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"))?
                .execute(params![
                    next.night_series.as_str(),
                    next.as_of.to_string(),
                    version,
                    next.verdict.as_str(),
                    json,
                    hash
                ])?;
            Ok(true)
        })
        .await
    }

    async fn nights(&self, query: &NightQuery) -> Result<Vec<NightHead>, StoreError> {
        let query = query.clone();
        self.read("read the nights", move |connection| {
            if !has_nights(connection)? {
                return Ok(Vec::new());
            }
            let bound = |date: Option<chrono::NaiveDate>| date.map(|date| date.to_string());
            let limit = if query.limit == 0 { -1 } else { i64::try_from(query.limit).unwrap_or(i64::MAX) };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM nights WHERE night_series = ?1 AND as_of >= coalesce(?2, '')
                 AND as_of <= coalesce(?3, '9999-99-99') ORDER BY as_of DESC LIMIT ?4"
            ))?;
            let mut rows =
                statement.query(params![query.series.as_str(), bound(query.from), bound(query.to), limit])?;
            let mut heads = Vec::new();
            while let Some(row) = rows.next()? {
                heads.push(head_of(row)?);
            }
            Ok(heads)
        })
        .await
    }

    async fn night_series(&self) -> Result<Vec<ScheduleName>, StoreError> {
        self.read_short("read which night series there are", |connection| {
            if !has_nights(connection)? {
                return Ok(Vec::new());
            }
            let mut statement =
                connection.prepare_cached("SELECT DISTINCT night_series FROM nights ORDER BY night_series")?;
            let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            names.iter().map(|name| parsed(name, || "the name of a night series".to_owned())).collect()
        })
        .await
    }

    async fn put_night_document(&self, bytes: Vec<u8>, _: Keep) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        let packed =
            pack(&bytes, RESULTS_LEVEL).map_err(|error| OpError::Io(error).told("compress the document of a night"))?;
        self.write("write the document of a night", move |writing| {
            writing
                .connection
                .prepare_cached(
                    "INSERT INTO night_documents (content_hash, document) VALUES (?1, ?2)
                     ON CONFLICT (content_hash) DO UPDATE SET unnamed_since = NULL",
                )?
                .execute(params![hash.as_str(), packed])?;
            Ok(hash.clone())
        })
        .await
    }

    async fn night_document(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        let hash = hash.clone();
        self.read("read the document of a night", move |connection| {
            if !has_nights(connection)? {
                return Ok(None);
            }
            let packed: Option<Vec<u8>> = connection
                .prepare_cached("SELECT document FROM night_documents WHERE content_hash = ?1")?
                .query_row(params![hash.as_str()], |row| row.get(0))
                .optional()?;
            let Some(packed) = packed else { return Ok(None) };
            let what = || format!("the document {} of a night", hash.short());
            let bytes = unpacked(&packed).map_err(|error| damaged(what(), error.to_string()))?;
            if ContentHash::of(&bytes) != hash {
                return Err(damaged(what(), "its content does not fit its hash"));
            }
            Ok(Some(bytes))
        })
        .await
    }
}
