//! How far the close of a symbol may lag: funds are priced a day late, and foreign exchanges have their own holidays.

use std::collections::BTreeSet;

use super::Planned;

/// Suffixes of symbols that name an exchange outside the calendar, as price vendors write them. A suffix that is not
/// here (`BRK.B`) is a class of shares.
const EXCHANGES: &[&str] = &[
    "AS", "AX", "BO", "BR", "CO", "DE", "F", "HE", "HK", "IR", "IS", "JK", "JO", "KL", "KQ", "KS", "L", "LS", "MC",
    "MI", "MX", "NE", "NS", "NZ", "OL", "PA", "SA", "SI", "SR", "SS", "ST", "SW", "SZ", "T", "TA", "TO", "TW", "V",
    "VI", "WA",
];

/// Sessions that the close of each symbol may lag.
pub(super) struct AllowedLag<'a> {
    planned: &'a Planned<'a>,
    /// The exchanges with a close of the session anywhere in the book.
    open_exchanges: BTreeSet<&'a str>,
}

impl<'a> AllowedLag<'a> {
    pub(super) fn of(planned: &'a Planned<'a>) -> Self {
        let session = planned.session();
        let has_close = |symbol: &&str| planned.closes(symbol).last().is_some_and(|point| point.date == session);
        let symbols = planned.book.prices.symbols().filter(|symbol| exchange_of(symbol).is_some());
        let open_exchanges = symbols.filter(has_close).filter_map(exchange_of).collect();
        Self { planned, open_exchanges }
    }

    /// Sessions that the close of this symbol may lag.
    ///
    /// `[freshness.lag]` decides where it names the symbol. A fund may lag one session. A foreign listing may lag one
    /// where no listing of its exchange has a close of the session: the exchange was closed that day.
    pub(super) fn of_symbol(&self, symbol: &str) -> u32 {
        if let Some(sessions) = self.planned.book.settings.freshness.lag.get(symbol) {
            return *sessions;
        }
        let abroad = exchange_of(symbol).is_some_and(|exchange| !self.open_exchanges.contains(exchange));
        u32::from(abroad || is_fund(symbol))
    }
}

/// Whether a symbol is that of an open-end fund in the United States: five letters, the last of them X.
pub(super) fn is_fund(symbol: &str) -> bool {
    symbol.len() == 5 && symbol.ends_with('X') && symbol.bytes().all(|b| b.is_ascii_uppercase())
}

/// The exchange that the suffix of a symbol names; `None` for a listing in the United States.
pub(super) fn exchange_of(symbol: &str) -> Option<&str> {
    let (_, suffix) = symbol.rsplit_once('.')?;
    EXCHANGES.contains(&suffix).then_some(suffix)
}
