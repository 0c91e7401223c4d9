//! The decision on a run by hand.

use book::Book;
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::PortfolioId;

use super::{Inputs, RunControl, Starts, Work, outcome};
use crate::dates::{Dates, allowed_dates};
use crate::error::{ControlError, Refusal};
use crate::needed::{Lookup, Wanted};
use crate::requests::{Accepted, StartRequest};
use crate::start_requests::by_hand;
use crate::texts;

/// The longest name of what started a run, in characters.
const TRIGGER_CHARS: usize = 64;

/// Portfolios that a refusal names.
const NAMED: usize = 10;

impl RunControl {
    /// Records a run by hand and has it begun; the same run again continues, or is shown as finished.
    ///
    /// # Errors
    /// [`ControlError`]; then nothing is recorded.
    pub async fn start(&self, request: &StartRequest) -> Result<Accepted, ControlError> {
        if let Starts::Elsewhere(elsewhere) = &self.starts {
            return Ok(self.recorded_elsewhere(elsewhere.start(request).await?).await);
        }
        let _only = self.one_at_a_time.lock().await;
        let work = self.decide_start(request).await?;
        self.record(&work).await
    }

    /// Decides on a run by hand, for a caller that works on it itself. Records nothing.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn decide_start(&self, request: &StartRequest) -> Result<Work, ControlError> {
        let Starts::Here { book, documents } = &self.starts else {
            return Err(Refusal::BookUnusable("the book is read by another process".to_owned()).into());
        };
        let book = book.usable().await?;
        let dates = startable(&book, Dates::One(request.as_of), &request.portfolios, self.clock.now())?;
        let Some(as_of) = dates.first().copied() else {
            return Err(Refusal::BookUnusable("the calendar of the book has no session".to_owned()).into());
        };
        let trigger = texts::trigger(&request.trigger, TRIGGER_CHARS)?;
        let store = self.store.as_ref();
        let lookup = Lookup { store, documents: documents.as_ref(), book: &book, now: self.clock.now() };
        let wanted = Wanted { portfolios: &request.portfolios, trigger: &trigger, again: request.again };
        let start = by_hand(lookup, as_of, wanted).await?;
        let there = store.run(start.id).await?;
        let accepted = outcome(there.as_ref().map(|stored| &stored.run), start.id);
        Ok(Work { accepted, start, inputs: Inputs::Book(book) })
    }

    /// The dates of a request that may be run now, oldest first. Records nothing.
    ///
    /// # Errors
    /// The book cannot be used, or [`startable`] refuses.
    pub async fn dates(&self, dates: Dates, portfolios: &[PortfolioId]) -> Result<Vec<NaiveDate>, ControlError> {
        let Starts::Here { book, .. } = &self.starts else {
            return Err(Refusal::BookUnusable("the book is read by another process".to_owned()).into());
        };
        Ok(startable(book.usable().await?.as_ref(), dates, portfolios, self.clock.now())?)
    }
}

/// The dates for which these portfolios of a book (empty: all) may be run now, oldest first.
///
/// # Errors
/// [`Refusal::NoSession`], [`Refusal::DateNotAllowed`], [`Refusal::SpanReversed`], [`Refusal::UnknownPortfolio`] and
/// [`Refusal::PortfolioClosed`].
pub fn startable(
    book: &Book,
    dates: Dates,
    portfolios: &[PortfolioId],
    now: DateTime<Utc>,
) -> Result<Vec<NaiveDate>, Refusal> {
    let dates = allowed_dates(&book.settings.schedule, dates, now)?;
    refuse_unknown(book, portfolios)?;
    refuse_closed(book, portfolios, &dates)?;
    Ok(dates)
}

/// A portfolio cannot be asked for on a date on which it is closed.
fn refuse_closed(book: &Book, asked: &[PortfolioId], dates: &[NaiveDate]) -> Result<(), Refusal> {
    let Some(last) = dates.last() else { return Ok(()) };
    let closed = asked.iter().filter_map(|id| book.portfolio(id)).find(|portfolio| portfolio.is_closed(*last));
    match closed.and_then(|portfolio| Some((portfolio.id.clone(), portfolio.closed_on?))) {
        Some((id, closed_on)) => Err(Refusal::PortfolioClosed { id, closed_on }),
        None => Ok(()),
    }
}

/// Only portfolios of the book can be run.
fn refuse_unknown(book: &Book, asked: &[PortfolioId]) -> Result<(), Refusal> {
    let is_known = |id: &&PortfolioId| book.portfolios.iter().any(|portfolio| portfolio.id == **id);
    match asked.iter().find(|id| !is_known(id)) {
        Some(id) => Err(Refusal::UnknownPortfolio { id: id.clone(), known: known(book) }),
        None => Ok(()),
    }
}

fn known(book: &Book) -> String {
    let ids: Vec<&str> = book.portfolios.iter().take(NAMED).map(|portfolio| portfolio.id.as_str()).collect();
    let more = book.portfolios.len().saturating_sub(ids.len());
    match (ids.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => ids.join(", "),
        (false, more) => format!("{} and {more} more", ids.join(", ")),
    }
}
