//! Commands on pages: they can be pasted, with the real book and the real records.

use chrono::NaiveDate;
use domain::ids::{PortfolioId, RunId};
use domain::night::next_step::CommandTarget;
use domain::shell::command_line;

use crate::options::SiteOptions;

/// What the commands of a site point to. On a redacted site, paths are withheld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commands {
    book: String,
    data: String,
    redacted: bool,
    target: CommandTarget,
}

impl Commands {
    pub(crate) fn of(options: &SiteOptions) -> Self {
        let known =
            |value: Option<String>, word: &str| value.filter(|_| !options.redacted).unwrap_or_else(|| word.to_owned());
        Self {
            book: known(options.book.clone(), "BOOK"),
            data: known(options.records.address(), "DATA"),
            redacted: options.redacted,
            target: options.target(),
        }
    }

    /// Where the commands of a next step point.
    pub(crate) const fn target(&self) -> &CommandTarget {
        &self.target
    }

    /// A portfolio as a command names it: the id that a redacted page shows is in no book.
    pub(crate) fn portfolio<'a>(&self, id: &'a PortfolioId) -> &'a str {
        if self.redacted { "PORTFOLIO" } else { id.as_str() }
    }

    /// Runs a trading date; `more` are further words.
    pub(crate) fn run(&self, as_of: NaiveDate, more: &[&str]) -> String {
        let date = as_of.to_string();
        let words = ["nightbook", "run", "--book", &self.book, "--data", &self.data, "--as-of", &date];
        command_line(words.iter().chain(more))
    }

    /// Repeats a run; `more` are further words.
    pub(crate) fn rerun(&self, run: RunId, more: &[&str]) -> String {
        let run = run.to_string();
        command_line(["nightbook", "rerun", &run, "--data", &self.data].iter().chain(more))
    }
}
