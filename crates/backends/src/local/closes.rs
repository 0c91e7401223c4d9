//! Closes that were fetched from outside the book: `prices.sqlite` in the data folder. Insert only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use domain::ports::StoreError;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::writer::OpError;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS closes (
        symbol TEXT NOT NULL,
        date   TEXT NOT NULL,  -- YYYY-MM-DD
        close  REAL NOT NULL CHECK (close > 0),
        PRIMARY KEY (symbol, date)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS asked (
        symbol     TEXT NOT NULL PRIMARY KEY,
        first_date TEXT NOT NULL,  -- days from here
        last_date  TEXT NOT NULL   -- to here were asked for and answered
    ) WITHOUT ROWID;";

/// The name of the file.
pub(crate) const FILE: &str = "prices.sqlite";

/// Closes by symbol, each sorted by day.
pub type Closes = BTreeMap<String, Vec<(NaiveDate, f64)>>;

/// The span of days that was asked for, by symbol.
pub type AskedSpans = BTreeMap<String, (NaiveDate, NaiveDate)>;

/// Fetched closes. Only the process that holds the lock of the data folder writes them.
#[derive(Debug, Clone)]
pub struct LocalCloses {
    file: PathBuf,
}

impl LocalCloses {
    /// Those of a data folder; the file is made with the first of them.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { file: folder.join(FILE) }
    }

    fn open(&self) -> Result<Connection, OpError> {
        let connection = Connection::open(&self.file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(connection)
    }

    /// The closes of these symbols from one day to another, and the spans that were asked for.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, symbols: &[String], from: NaiveDate, to: NaiveDate) -> Result<(Closes, AskedSpans), StoreError> {
        let read = || -> Result<_, OpError> {
            let (mut closes, mut asked) = (Closes::new(), AskedSpans::new());
            let connection = self.open()?;
            let mut of_symbol = connection
                .prepare("SELECT date, close FROM closes WHERE symbol = ?1 AND date BETWEEN ?2 AND ?3 ORDER BY date")?;
            let mut span = connection.prepare("SELECT first_date, last_date FROM asked WHERE symbol = ?1")?;
            for symbol in symbols {
                let rows = of_symbol.query_map(params![symbol, from.to_string(), to.to_string()], |row| {
                    Ok((row.get::<_, String>(0)?, row.get(1)?))
                })?;
                let mut series = Vec::new();
                for row in rows {
                    let (date, close) = row?;
                    series.push((day(&date)?, close));
                }
                if !series.is_empty() {
                    closes.insert(symbol.clone(), series);
                }
                let found =
                    span.query_row(params![symbol], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
                if let Some((first, last)) = found.optional()? {
                    asked.insert(symbol.clone(), (day(&first)?, day(&last)?));
                }
            }
            Ok((closes, asked))
        };
        read().map_err(|error| error.told("read the prices that were fetched"))
    }

    /// Adds closes where there are none, and notes that these symbols were asked for; says how many were added.
    ///
    /// # Errors
    /// The file cannot be written; then nothing is.
    pub fn add(
        &self,
        closes: &[(&str, NaiveDate, f64)],
        symbols: &[String],
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<u64, StoreError> {
        let write = || -> Result<u64, OpError> {
            let mut connection = self.open()?;
            let transaction = connection.transaction()?;
            let mut added = 0;
            {
                let mut insert = transaction.prepare("INSERT OR IGNORE INTO closes VALUES (?1, ?2, ?3)")?;
                for (symbol, date, close) in closes {
                    added += insert.execute(params![symbol, date.to_string(), close])? as u64;
                }
                let mut note = transaction.prepare(
                    "INSERT INTO asked VALUES (?1, ?2, ?3) ON CONFLICT (symbol) DO UPDATE SET
                     first_date = min(first_date, excluded.first_date), last_date = max(last_date, excluded.last_date)",
                )?;
                for symbol in symbols {
                    note.execute(params![symbol, from.to_string(), to.to_string()])?;
                }
            }
            transaction.commit()?;
            Ok(added)
        };
        write().map_err(|error| error.told("keep the prices that were fetched"))
    }

    /// Copies the file while it is in use, if it is there.
    pub(crate) fn backup(&self, to: &Path) -> Result<(), OpError> {
        if !self.file.is_file() {
            return Ok(());
        }
        let connection = self.open()?;
        let mut copy = Connection::open(to.join(FILE))?;
        rusqlite::backup::Backup::new(&connection, &mut copy)?.run_to_completion(
            1_000,
            std::time::Duration::ZERO,
            None,
        )?;
        Ok(())
    }
}

fn day(text: &str) -> Result<NaiveDate, OpError> {
    text.parse().map_err(|_| {
        let detail = format!("it holds {text:?}, which is no date: remove the file, the prices are fetched again");
        OpError::Store(StoreError::Damaged { what: FILE.to_owned(), detail })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(n: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 6, n).unwrap()
    }

    #[test]
    fn a_close_that_is_there_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let closes = LocalCloses::new(folder.path());
        let (a, b) = ("A".to_owned(), "B".to_owned());
        let both = [a.clone(), b.clone()];
        assert_eq!(closes.add(&[("A", date(1), 10.0), ("A", date(2), 11.0)], &both, date(1), date(2)).unwrap(), 2);
        assert_eq!(closes.add(&[("A", date(2), 99.0), ("A", date(3), 12.0)], &both[..1], date(2), date(3)).unwrap(), 1);
        let (held, asked) = LocalCloses::new(folder.path()).read(&both, date(2), date(9)).unwrap();
        assert_eq!(held, Closes::from([(a.clone(), vec![(date(2), 11.0), (date(3), 12.0)])]));
        assert_eq!(asked, AskedSpans::from([(a, (date(1), date(3))), (b, (date(1), date(2)))]));
        let copy = tempfile::tempdir().unwrap();
        closes.backup(copy.path()).unwrap();
        assert_eq!(LocalCloses::new(copy.path()).read(&both, date(2), date(9)).unwrap().0, held);
    }
}
