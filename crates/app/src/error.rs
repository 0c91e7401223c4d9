//! Why a request was refused.

use chrono::NaiveDate;
use domain::ids::{CauseId, PortfolioId, RunId};
use domain::ports::StoreError;
use serde::{Deserialize, Serialize};

/// Why a request failed: it was refused, or the store could not be reached or written.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The request was refused and nothing was recorded.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store, or a service that the request needs.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a request was refused. The text says what is in the way; [`Refusal::message`] adds what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "refused", content = "detail", rename_all = "snake_case")]
pub enum Refusal {
    /// The date has no session.
    #[error("as_of: {date} is not a session: {why}")]
    NoSession {
        /// The date.
        date: NaiveDate,
        /// `Saturday`, or the name of the holiday.
        why: String,
        /// The first session after it.
        next: NaiveDate,
    },
    /// The date is later than any date that may be run now.
    #[error("as_of: {date} cannot be run yet: the last allowed date is {last_allowed}")]
    DateNotAllowed {
        /// The date, or the last date of a span.
        date: NaiveDate,
        /// The newest date that may be run.
        last_allowed: NaiveDate,
    },
    /// The first date of a span is later than its last.
    #[error("the span begins on {from}, after its end on {to}")]
    SpanReversed {
        /// The first date.
        from: NaiveDate,
        /// The last date.
        to: NaiveDate,
    },
    /// The book has no such portfolio.
    #[error("portfolio_ids: the book has no portfolio {id}: it has {known}")]
    UnknownPortfolio {
        /// The portfolio.
        id: PortfolioId,
        /// The first portfolios of the book, and how many more it has.
        known: String,
    },
    /// The portfolio is declared closed on the date.
    #[error("portfolio_ids: {id} is closed from {closed_on} on, by `closed_on` in portfolios.csv")]
    PortfolioClosed {
        /// The portfolio.
        id: PortfolioId,
        /// The first date on which it is closed.
        closed_on: NaiveDate,
    },
    /// The book cannot be read or run.
    #[error("{0}")]
    BookUnusable(String),
    /// Another run is active, and this door starts one run at a time.
    #[error("run {run} is active")]
    Active {
        /// The active run.
        run: RunId,
    },
    /// The run has no portfolio with this cause.
    #[error("run {run} has no portfolio with the cause {cause}")]
    UnknownCause {
        /// The run.
        run: RunId,
        /// The cause.
        cause: CauseId,
    },
    /// Only a closed run can be repeated.
    #[error("run {run} is still open")]
    StillOpen {
        /// The open run.
        run: RunId,
    },
    /// The slot has no run, so there is nothing to repeat or cancel.
    #[error("{run} is a missed slot: it has no run")]
    Missed {
        /// The id of the slot.
        run: RunId,
        /// The trading date of the slot.
        as_of: NaiveDate,
    },
    /// The pinned inputs of the run are no longer stored.
    #[error("the pinned inputs of run {run} are no longer stored")]
    InputsRetired {
        /// The run.
        run: RunId,
        /// Its trading date.
        as_of: NaiveDate,
    },
    /// The run ended before its inputs were pinned.
    #[error("run {run} ended before its inputs were pinned")]
    NeverPinned {
        /// The run.
        run: RunId,
        /// Its trading date.
        as_of: NaiveDate,
    },
    /// The run is closed, or its last step is under way.
    #[error("run {run} has ended: there is nothing to cancel")]
    AlreadyEnded {
        /// The run.
        run: RunId,
    },
    /// No run has this id, or begins with it.
    #[error("there is no run {text}")]
    NotFound {
        /// What was looked for.
        text: String,
    },
    /// More than one run begins with this text.
    #[error("more than one run begins with {text}")]
    Ambiguous {
        /// What was looked for.
        text: String,
    },
    /// A text is empty, too long, or has characters that are not displayed as they are.
    #[error("{name}: {why}")]
    Text {
        /// The member of the request.
        name: String,
        /// What is allowed.
        why: String,
    },
    /// The run has as many notes as a run may have.
    #[error("run {run} has {most} notes already")]
    TooManyNotes {
        /// The run.
        run: RunId,
        /// The limit.
        most: usize,
    },
    /// The date has neither a run nor a recorded missed slot.
    #[error("there is no night of {as_of} on record")]
    NoNight {
        /// The date.
        as_of: NaiveDate,
    },
    /// The night has no such control result.
    #[error("the night of {as_of} has no result of control {what} to accept: {there}")]
    NothingToAccept {
        /// The date.
        as_of: NaiveDate,
        /// The control, with the portfolio where one was given.
        what: String,
        /// What may be accepted.
        there: String,
    },
    /// The night has as many acceptances as a night may have.
    #[error("the night of {as_of} has {most} acceptances already")]
    TooManyAcceptances {
        /// The date.
        as_of: NaiveDate,
        /// The limit.
        most: usize,
    },
    /// The mute is not allowed, for example because it ends in the past.
    #[error("the mute was refused: {why}")]
    Mute {
        /// Why.
        why: String,
    },
    /// No schedule has alerts on record.
    #[error("no run has ended yet, so there are no alerts to mute")]
    NothingToMute,
}
