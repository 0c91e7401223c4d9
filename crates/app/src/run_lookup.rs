//! The run that a person means.

use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{PortfolioId, RunId};
use domain::night::NightView;
use domain::ports::{RunQuery, RunStore, StoredRun};

use crate::error::{ControlError, Refusal};
use crate::night_reader::NightReader;

/// A run as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunText {
    /// A whole id.
    Id(RunId),
    /// The newest full run of the newest night.
    Latest,
    /// The newest full run of a trading date.
    Date(NaiveDate),
    /// The beginning of an id, in lower case, with or without hyphens.
    Beginning(String),
}

impl RunText {
    /// Reads an id, `latest`, a date as `yyyy-mm-dd`, or the beginning of an id.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match (text.parse::<RunId>(), text.parse::<NaiveDate>()) {
            (Ok(id), _) => Self::Id(id),
            (Err(_), _) if text == "latest" => Self::Latest,
            // The beginning of an id may look like a date only with its hyphens elsewhere.
            (Err(_), Ok(date)) if text.len() == "yyyy-mm-dd".len() => Self::Date(date),
            (Err(_), _) => Self::Beginning(text.to_ascii_lowercase()),
        }
    }
}

/// Where a run is looked for.
#[derive(Debug, Clone, Copy)]
pub struct RunLookup<'a> {
    /// Which nights there are, and which is the newest.
    pub nights: &'a NightReader,
    /// The portfolio that the question is about: the run that decides its jobs is meant.
    pub portfolio: Option<&'a PortfolioId>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// The run that this text names: an id, the beginning of an id, `latest` or a trading date.
///
/// `latest` is the newest full run of the newest night, a date the newest full run of that date; where every run of the
/// night is filtered, or none has ended, its newest run. With a portfolio, it is the run that decides its jobs.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::Ambiguous`], and the store.
pub async fn find_run(store: &dyn RunStore, text: &str, lookup: RunLookup<'_>) -> Result<StoredRun, ControlError> {
    let missing = || Refusal::NotFound { text: text.to_owned() };
    let RunLookup { nights, portfolio, now } = lookup;
    let id = match RunText::read(text) {
        RunText::Id(id) => id,
        RunText::Latest => {
            let view = nights.newest(store, now).await?.ok_or_else(missing)?;
            run_of_night(&view, portfolio).ok_or_else(missing)?
        }
        RunText::Date(as_of) => {
            let view = nights.of_date(store, as_of, None, now).await?.ok_or_else(missing)?;
            run_of_night(&view, portfolio).ok_or_else(missing)?
        }
        RunText::Beginning(beginning) => {
            let page = store.runs(&RunQuery::default()).await?;
            let mut fitting = page.runs.into_iter().filter(|stored| {
                let id = stored.run.batch_run_id.to_string();
                id.starts_with(&beginning) || id.replace('-', "").starts_with(&beginning)
            });
            return match (fitting.next(), fitting.next()) {
                (Some(run), None) => Ok(run),
                (None, _) => Err(missing().into()),
                (Some(_), Some(_)) => Err(Refusal::Ambiguous { text: text.to_owned() }.into()),
            };
        }
    };
    Ok(store.run(id).await?.ok_or_else(missing)?)
}

/// The run that stands for a night, or for a portfolio on it. `None` only where the night has no run.
#[must_use]
pub fn run_of_night(view: &NightView, portfolio: Option<&PortfolioId>) -> Option<RunId> {
    let decides = portfolio.and_then(|id| view.night.outcomes.get(id)).and_then(domain::night::PortfolioOutcome::run);
    decides.or(view.head.full_run).or_else(|| view.night.runs.last().copied())
}
