//! The notes on runs: `RunNotes` on `SQLite`.

use async_trait::async_trait;
use domain::ids::RunId;
use domain::note::{Note, RunNotes};
use domain::ports::StoreError;
use rusqlite::{Connection, params};

use super::open::LocalStore;
use super::rows::{damaged, time_text, verified, with_hash};
use super::runs::need_run;
use super::writer::OpError;

/// Whether there can be any: a store of an older release that is only read has none.
fn has_notes(connection: &Connection) -> Result<bool, OpError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'notes')")?
        .query_row([], |row| row.get(0))?)
}

/// The notes of a run, verified, oldest first.
fn load_notes(connection: &Connection, run: RunId) -> Result<Vec<Note>, OpError> {
    if !has_notes(connection)? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT note, content_hash, at, note_id FROM notes WHERE batch_run_id = ?1 ORDER BY at, note_id",
    )?;
    let mut rows = statement.query(params![run.to_string()])?;
    let mut notes = Vec::new();
    while let Some(row) = rows.next()? {
        let what = || format!("a note on run {run}");
        let note: Note = verified(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, what)?;
        let (at, id): (String, String) = (row.get(2)?, row.get(3)?);
        if (time_text(note.at), note.id.to_string(), note.batch_run_id) != (at, id, run) {
            return Err(damaged(what(), "its columns are not what it says"));
        }
        notes.push(note);
    }
    Ok(notes)
}

#[async_trait]
impl RunNotes for LocalStore {
    async fn add_note(&self, note: &Note) -> Result<(), StoreError> {
        let note = note.clone();
        self.write("write a note on a run", move |writing| {
            need_run(writing.connection, note.batch_run_id)?;
            let (json, hash) = with_hash(&note)?;
            let (run, at, id) = (note.batch_run_id.to_string(), time_text(note.at), note.id.to_string());
            writing
                .connection
                .prepare_cached("INSERT OR IGNORE INTO notes VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![run, at, id, json, hash])?;
            Ok(())
        })
        .await
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>, StoreError> {
        self.read_short("read the notes on a run", move |connection| load_notes(connection, run)).await
    }
}
