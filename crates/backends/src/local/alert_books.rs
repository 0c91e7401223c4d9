//! The alert books: `AlertBooks` on `SQLite`.

use async_trait::async_trait;
use domain::alert_book::AlertBook;
use domain::ids::ScheduleName;
use domain::ports::{AlertBooks, StoreError};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::open::LocalStore;
use super::rows::{damaged, parsed, verified, with_hash};
use super::writer::OpError;

/// Whether there are any: a store of an older release that is only read has none.
fn has_books(connection: &Connection) -> Result<bool, OpError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alert_books')")?
        .query_row([], |row| row.get(0))?)
}

/// The book of a schedule, verified; none where there is none.
pub(crate) fn load_alert_book(connection: &Connection, schedule: &str) -> Result<Option<AlertBook>, OpError> {
    if !has_books(connection)? {
        return Ok(None);
    }
    let found: Option<(u32, String, String)> = connection
        .prepare_cached("SELECT version, book, content_hash FROM alert_books WHERE schedule = ?1")?
        .query_row(params![schedule], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((version, json, hash)) = found else { return Ok(None) };
    let what = || format!("the alert book of {schedule}");
    let book: AlertBook = verified(&json, &hash, what)?;
    if book.version != version || book.schedule.as_str() != schedule {
        return Err(damaged(what(), "its columns are not what it says"));
    }
    Ok(Some(book))
}

#[async_trait]
impl AlertBooks for LocalStore {
    async fn alert_book(&self, schedule: &ScheduleName) -> Result<AlertBook, StoreError> {
        let of = schedule.clone();
        let stored =
            self.read_short("read the alert book", move |connection| load_alert_book(connection, of.as_str())).await?;
        Ok(stored.unwrap_or_else(|| AlertBook::empty(schedule.clone())))
    }

    async fn put_alert_book(&self, book: &AlertBook) -> Result<bool, StoreError> {
        let book = book.clone();
        self.write("write the alert book", move |writing| {
            let stored = load_alert_book(writing.connection, book.schedule.as_str())?;
            if stored.map_or(0, |stored| stored.version) != book.version {
                return Ok(false);
            }
            let next = AlertBook { version: book.version + 1, ..book.clone() };
            let (json, hash) = with_hash(&next)?;
            writing
                .connection
                .prepare_cached("INSERT OR REPLACE INTO alert_books VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![next.schedule.as_str(), next.version, json, hash])?;
            Ok(true)
        })
        .await
    }

    async fn alert_schedules(&self) -> Result<Vec<ScheduleName>, StoreError> {
        self.read_short("read whose alert books there are", |connection| {
            if !has_books(connection)? {
                return Ok(Vec::new());
            }
            let mut statement = connection.prepare_cached("SELECT schedule FROM alert_books ORDER BY schedule")?;
            let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            names.iter().map(|name| parsed(name, || "the name of an alert book".to_owned())).collect()
        })
        .await
    }
}
