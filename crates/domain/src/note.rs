//! Notes on a run: what people have to say of it. They are added, and never changed or removed.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::RunId;
use crate::ports::StoreError;

/// The longest name of who wrote a note, in characters.
pub const AUTHOR_CHARS: usize = 80;

/// The longest text of a note, in characters.
pub const TEXT_CHARS: usize = 1_000;

/// Notes that a run may have.
pub const MOST_NOTES: usize = 200;

/// What a note is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NoteKind {
    /// Somebody has seen how the run went, and looks after it.
    Acknowledge,
    /// Something that others should know.
    Annotate,
}

impl NoteKind {
    /// The word as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Annotate => "annotate",
        }
    }
}

/// A note on a run: who, when, what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Note {
    /// Its own id, so that the same note sent again is the same note.
    pub id: Uuid,
    /// The run.
    pub batch_run_id: RunId,
    /// What it is for.
    pub kind: NoteKind,
    /// Who wrote it, as they call themselves.
    pub author: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What; may be empty where a run is only acknowledged.
    pub text: String,
}

/// The notes of runs.
#[async_trait]
pub trait RunNotes: Send + Sync {
    /// Adds a note to a run that is there; one that is there already, by its id, stays as it is.
    async fn add_note(&self, note: &Note) -> Result<(), StoreError>;
    /// The notes of a run, oldest first.
    async fn notes(&self, run: RunId) -> Result<Vec<Note>, StoreError>;
}
