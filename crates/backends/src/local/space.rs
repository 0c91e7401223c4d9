//! Space: pages of the records that are free after retention go back to the file system.

use domain::ports::StoreError;
use rusqlite::Connection;

use super::open::LocalStore;

/// Free space that is kept: the next runs need it again.
const KEPT_BYTES: i64 = 8 << 20;

/// Pages given back in one transaction: others write meanwhile only after it.
const PAGES_AT_ONCE: i64 = 20_000;

/// Free pages, all pages, and the size of a page in bytes.
struct Pages {
    free: i64,
    all: i64,
    size: i64,
}

impl Pages {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
        Ok(Self { free: number("freelist_count")?, all: number("page_count")?, size: number("page_size")? })
    }

    /// Pages to give back: all that are free but [`KEPT_BYTES`], where that is a quarter of the file or more.
    fn surplus(&self) -> i64 {
        let surplus = self.free - KEPT_BYTES / self.size.max(1);
        if surplus > 0 && self.free.saturating_mul(4) >= self.all { surplus } else { 0 }
    }
}

/// Whether single pages can be given back. Records of an older release have to be written anew for that, once.
fn is_incremental(connection: &Connection) -> rusqlite::Result<bool> {
    connection.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0)).map(|mode| mode == 2)
}

/// Gives back so many pages: one for each step of the statement.
fn give_back(connection: &Connection, pages: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Gives back what is free as the records are opened. It is no error where this fails, for example for want of space: the
/// records stay as they are.
pub(super) fn compact(connection: &Connection) {
    let compacted = || -> rusqlite::Result<()> {
        let surplus = Pages::of(connection)?.surplus();
        if surplus == 0 {
            return Ok(());
        }
        if is_incremental(connection)? {
            return give_back(connection, surplus);
        }
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
    };
    if let Err(error) = compacted() {
        tracing::warn!(error = %error, "the free space of the records could not be given back; it is tried again at the next start");
    }
}

impl LocalStore {
    /// Gives back what is free after retention, a part at a time.
    ///
    /// # Errors
    /// The store.
    pub async fn give_back_space(&self) -> Result<(), StoreError> {
        loop {
            let left = self.write("give back free space", |writing| {
                let connection = writing.connection;
                let surplus = Pages::of(connection)?.surplus().min(PAGES_AT_ONCE);
                if surplus == 0 || !is_incremental(connection)? {
                    return Ok(0);
                }
                give_back(connection, surplus)?;
                Ok(Pages::of(connection)?.surplus())
            });
            if left.await? == 0 {
                return Ok(());
            }
        }
    }
}
