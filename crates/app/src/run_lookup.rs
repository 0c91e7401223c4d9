//! The run that a person means.

use domain::ids::RunId;
use domain::ports::{RunQuery, RunStore, StoredRun};

use crate::error::{ControlError, Refusal};

/// A run as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunText {
    /// A whole id.
    Id(RunId),
    /// The newest run.
    Latest,
    /// The beginning of an id, in lower case, with or without hyphens.
    Beginning(String),
}

impl RunText {
    /// Reads an id, `latest`, or the beginning of an id.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text.parse::<RunId>() {
            Ok(id) => Self::Id(id),
            Err(_) if text == "latest" => Self::Latest,
            Err(_) => Self::Beginning(text.to_ascii_lowercase()),
        }
    }
}

/// The run that this text names: an id, `latest`, or the beginning of an id.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::Ambiguous`], and the store.
pub async fn find_run(store: &dyn RunStore, text: &str) -> Result<StoredRun, ControlError> {
    let missing = || Refusal::NotFound { text: text.to_owned() };
    match RunText::read(text) {
        RunText::Id(id) => Ok(store.run(id).await?.ok_or_else(missing)?),
        RunText::Latest => {
            let page = store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await?;
            Ok(page.runs.into_iter().next().ok_or_else(missing)?)
        }
        RunText::Beginning(beginning) => {
            let page = store.runs(&RunQuery::default()).await?;
            let mut fitting = page.runs.into_iter().filter(|stored| {
                let id = stored.run.batch_run_id.to_string();
                id.starts_with(&beginning) || id.replace('-', "").starts_with(&beginning)
            });
            match (fitting.next(), fitting.next()) {
                (Some(run), None) => Ok(run),
                (None, _) => Err(missing().into()),
                (Some(_), Some(_)) => Err(Refusal::Ambiguous { text: text.to_owned() }.into()),
            }
        }
    }
}
