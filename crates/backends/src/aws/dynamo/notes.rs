//! The notes on runs: one item each, beside its run, written once.

use async_trait::async_trait;
use domain::ids::RunId;
use domain::note::{Note, RunNotes};
use domain::ports::{Runs as _, StoreError};

use super::DynamoStore;
use super::document::{ITEM_LIMIT, Item, fill, open};
use super::keys;
use super::table::{Pages, Range};

#[async_trait]
impl RunNotes for DynamoStore {
    async fn add_note(&self, note: &Note) -> Result<(), StoreError> {
        let run = note.batch_run_id;
        if self.run(run).await?.is_none() {
            return Err(StoreError::NotFound { what: format!("run {run}") });
        }
        let mut item = Item::new();
        let parts = fill(&mut item, &keys::note(run, note.id), note, ITEM_LIMIT)?;
        // Refused: it is there already, and stays as it is.
        self.table.put_if(item, parts, self.table.absent(), || format!("write a note on run {run}")).await?;
        Ok(())
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>, StoreError> {
        let doing = || format!("read the notes on run {run}");
        let rows =
            self.table.all(Pages::of(keys::run_partition(run), Range::Prefix(keys::NOTES.to_owned())), doing).await?;
        let mut notes = rows
            .iter()
            .map(|item| open(item, || format!("a note on run {run}")))
            .collect::<Result<Vec<Note>, StoreError>>()?;
        notes.sort_by_key(|note| (note.at, note.id));
        Ok(notes)
    }
}
