//! What the files of a book look like beyond their usable rows: what controls judge.

use serde::{Deserialize, Serialize};

use crate::issue::shown;

/// Unknown portfolios that are named.
const NAMED: usize = 5;

/// What the files of a book look like beyond their usable rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileFacts {
    /// The rows of `positions.csv` whose portfolio is not in `portfolios.csv`.
    pub orphan_rows: u64,
    /// The first portfolios of such rows, at most 5, in the order of the file.
    pub orphans: Vec<Orphan>,
    /// The CSV files whose last line has no line end, in the order in which they were read.
    pub without_line_end: Vec<String>,
}

/// A portfolio that has rows of positions and no row of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The text in the column `portfolio_id`, as it can be shown.
    pub portfolio: String,
    /// The file with its first row.
    pub file: String,
    /// The line of its first row, from 1.
    pub line: u64,
}

impl FileFacts {
    pub(crate) fn orphan(&mut self, file: &str, line: u64, portfolio: &[u8]) {
        self.orphan_rows += 1;
        if self.orphans.len() < NAMED {
            let portfolio = shown(portfolio);
            if self.orphans.iter().all(|orphan| orphan.portfolio != portfolio) {
                self.orphans.push(Orphan { portfolio, file: file.to_owned(), line });
            }
        }
    }
}
