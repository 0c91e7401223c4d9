//! What to do about a refusal, in the words of the door that a person uses.

use domain::ids::RunId;
use domain::shell::command_line;

use crate::error::Refusal;

/// Where a request comes from: it decides which commands a message can advise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// The command line, with the location of the data and, where it is known, the folder of the book.
    CommandLine {
        /// What `--data` names.
        data: String,
        /// What `--book` names.
        book: Option<String>,
    },
    /// The history API.
    Http,
    /// A direct call of `start-run`.
    Function,
}

impl Door {
    fn cancel(&self, run: RunId) -> String {
        match self {
            Self::CommandLine { data, .. } => {
                command_line(["nightbook", "cancel", run.to_string().as_str(), "--data", data.as_str()])
            }
            Self::Http => format!("POST /api/v1/batch/runs/{run}/cancel"),
            Self::Function => format!("{{\"cancel\": \"{run}\"}}"),
        }
    }

    fn start(&self, as_of: chrono::NaiveDate) -> String {
        match self {
            Self::CommandLine { data, book } => {
                let (book, as_of) = (book.as_deref().unwrap_or("DIR"), as_of.to_string());
                command_line(["nightbook", "run", "--book", book, "--as-of", as_of.as_str(), "--data", data.as_str()])
            }
            Self::Http => format!("POST /api/v1/batch/runs {{\"as_of\": \"{as_of}\"}}"),
            Self::Function => format!("{{\"as_of\": \"{as_of}\"}}"),
        }
    }

    fn list(&self) -> String {
        match self {
            Self::CommandLine { data, .. } => command_line(["nightbook", "history", "--data", data.as_str()]),
            Self::Http => "GET /api/v1/batch/runs".to_owned(),
            Self::Function => "nightbook history".to_owned(),
        }
    }
}

impl Refusal {
    /// What happened, to what, and what to do: one line, except for a list of errors in the book.
    #[must_use]
    pub fn message(&self, door: &Door) -> String {
        let advice = match self {
            Self::NoSession { next, .. } => format!("the next session is {next}"),
            Self::DateNotAllowed { last_allowed, .. } => {
                format!("give an earlier date, for example: {}", door.start(*last_allowed))
            }
            Self::SpanReversed { .. } => "give the earlier date first".to_owned(),
            Self::PortfolioClosed { .. } => "give an earlier date, or leave the portfolio out".to_owned(),
            Self::UnknownPortfolio { .. }
            | Self::BookUnusable(_)
            | Self::AlreadyEnded { .. }
            | Self::Text { .. }
            | Self::TooManyNotes { .. }
            | Self::NothingToAccept { .. }
            | Self::TooManyAcceptances { .. }
            | Self::Mute { .. }
            | Self::NothingToMute => {
                return self.to_string();
            }
            Self::Active { run } => format!("wait until it ends, or cancel it: {}", door.cancel(*run)),
            Self::StillOpen { run } => {
                format!("only a closed run can be repeated; wait, or cancel it: {}", door.cancel(*run))
            }
            Self::UnknownCause { .. } => "leave --cause out to run all of its portfolios again".to_owned(),
            Self::Missed { as_of, .. } => format!("to run its date late: {}", door.start(*as_of)),
            Self::InputsRetired { as_of, .. } | Self::NeverPinned { as_of, .. } => {
                format!("to run its date on the book as it is now: {}", door.start(*as_of))
            }
            Self::NoNight { .. } => format!("list the runs: {}", door.list()),
            Self::NotFound { .. } => format!("list the runs: {}", door.list()),
            Self::Ambiguous { .. } => format!("give more of its id; list the runs: {}", door.list()),
        };
        format!("{self}; {advice}")
    }
}
