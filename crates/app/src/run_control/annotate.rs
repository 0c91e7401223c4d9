//! The decision on a note.

use domain::note::{AUTHOR_CHARS, MOST_NOTES, Note, NoteKind, TEXT_CHARS};
use uuid::Uuid;

use super::RunControl;
use crate::error::{ControlError, Refusal};
use crate::requests::AnnotateRequest;
use crate::texts::{lines, one_line, refused};

impl RunControl {
    /// Adds a note to a run and has its pages written again; the same note again is the note that is stored.
    ///
    /// # Errors
    /// [`ControlError`]; then nothing is recorded.
    pub async fn annotate(&self, request: &AnnotateRequest) -> Result<Note, ControlError> {
        let author = one_line("author", &request.author, AUTHOR_CHARS)?;
        let text = lines("text", &request.text, TEXT_CHARS)?;
        if text.is_empty() && request.kind == NoteKind::Annotate {
            return Err(refused("text", "an annotation says something").into());
        }
        let run = self.stored(request.run).await?.run.batch_run_id;
        // Counting and adding are one step: else many notes at once would all find room.
        let _only = self.one_at_a_time.lock().await;
        let there = self.notes.notes(run).await?;
        let at = self.clock.now();
        let own = || {
            let text = format!("{author}\n{at}\n{}\n{text}", request.kind.as_str());
            Uuid::new_v5(&run.0, text.as_bytes())
        };
        let id = request.id.unwrap_or_else(own);
        if let Some(known) = there.iter().find(|known| known.id == id) {
            return Ok(known.clone());
        }
        if there.len() >= MOST_NOTES {
            return Err(Refusal::TooManyNotes { run, most: MOST_NOTES }.into());
        }
        let note = Note { id, batch_run_id: run, kind: request.kind, author, at, text };
        self.notes.add_note(&note).await?;
        tracing::info!(batch_run_id = %run, author = note.author, event = "note.added", "a note was added to a run");
        self.worker.publish(run).await;
        Ok(note)
    }
}
