//! The notes on runs in memory.

use async_trait::async_trait;
use domain::ids::RunId;
use domain::note::{Note, RunNotes};
use domain::ports::StoreError;

use super::MemoryStore;

#[async_trait]
impl RunNotes for MemoryStore {
    async fn add_note(&self, note: &Note) -> Result<(), StoreError> {
        let mut state = self.state();
        state.need_run(note.batch_run_id)?;
        let notes = state.notes.entry(note.batch_run_id).or_default();
        if notes.iter().all(|known| known.id != note.id) {
            notes.push(note.clone());
            notes.sort_by_key(|note| (note.at, note.id));
        }
        Ok(())
    }

    async fn notes(&self, run: RunId) -> Result<Vec<Note>, StoreError> {
        Ok(self.state().notes.get(&run).cloned().unwrap_or_default())
    }
}
