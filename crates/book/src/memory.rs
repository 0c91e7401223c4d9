//! The memory that a run of a book takes, estimated while the book is read. A book that is too large for it is refused at
//! the first row that is too many, before the rest is read.

use crate::value::grouped;

// Measured as peaks of `nightbook run`: 246 MB with 2,000 portfolios of 2 rows, 580 MB with 8,000 of them, 350 MB with 3,000
// portfolios of 50 rows, 924 MB with 10,000 portfolios of 75 rows.
/// What a run takes however small its book is, in bytes.
const BASE: u64 = 128 << 20;
/// What a run takes for a portfolio, without its positions: work item, records, messages, pages.
const PORTFOLIO: u64 = 54 << 10;
/// What a run takes for a row of positions: the lot, and its part of the results.
const LOT: u64 = 448;
/// What a run takes for a price row, while the prices are sorted.
const CLOSE: u64 = 28;

/// The memory that a run of the book takes, as far as it is read.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The most that it may take, in MiB.
    limit_mib: u32,
    portfolios: u64,
    lots: u64,
    closes: u64,
    exceeded: bool,
}

impl Memory {
    /// Nothing is read yet; the limit is in MiB.
    pub(crate) const fn new(limit_mib: u32) -> Self {
        Self { limit_mib, portfolios: 0, lots: 0, closes: 0, exceeded: false }
    }

    /// Whether a row was too many: what follows is not read.
    pub(crate) const fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    /// Counts a row of `portfolios.csv`. Says what is wrong if it is too many.
    pub(crate) fn portfolio(&mut self) -> Option<String> {
        self.portfolios += 1;
        self.excess("portfolios", self.portfolios)
    }

    /// Counts a row of `positions.csv`. Says what is wrong if it is too many.
    pub(crate) fn lot(&mut self) -> Option<String> {
        self.lots += 1;
        self.excess("rows of positions", self.lots)
    }

    /// Counts a price row. Says what is wrong if it is too many.
    pub(crate) fn close(&mut self) -> Option<String> {
        self.closes += 1;
        self.excess("price rows", self.closes)
    }

    fn excess(&mut self, what: &str, count: u64) -> Option<String> {
        let bytes = BASE + self.portfolios * PORTFOLIO + self.lots * LOT + self.closes * CLOSE;
        if self.exceeded || bytes >> 20 < u64::from(self.limit_mib) {
            return None;
        }
        self.exceeded = true;
        Some(format!(
            "a run of a book with {} {what} and more would take more than {} MiB of memory; split the book, or raise \
             `memory_limit_mib` of [run] in nightbook.toml if the machine has more",
            grouped(count),
            grouped(u64::from(self.limit_mib))
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_refused_once_at_the_row_that_is_too_many() {
        let mut memory = Memory::new(256);
        let fits = (1..).take_while(|_| memory.portfolio().is_none()).count() as u64;
        assert_eq!(fits, (128 << 20) / PORTFOLIO);
        assert!(memory.is_exceeded());
        assert_eq!(memory.lot(), None, "said once");
        let mut memory = Memory::new(2_048);
        assert!((0..10_000).all(|_| memory.portfolio().is_none()));
        assert!((0..750_000).all(|_| memory.lot().is_none()), "the largest book with a budget");
        assert!((0..2_000 * 504).all(|_| memory.close().is_none()));
    }
}
