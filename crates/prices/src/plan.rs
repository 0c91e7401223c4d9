//! What is to be asked: for each symbol the span of the sessions that nobody holds, symbols of one span together.

use std::collections::BTreeMap;

use chrono::NaiveDate;

/// Sessions before the newest of which a close may still come: older ones that were asked for once and did not come are
/// not asked for again.
const STILL_COMING: usize = 5;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The symbols, sorted.
    pub symbols: Vec<String>,
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
}

/// The requests for these symbols.
///
/// `sessions` are those that the run looks at, oldest first. `held` says whether there is a close of a symbol on a day,
/// `asked` which span of days was asked for and answered before. At most `batch` symbols go into one request.
#[must_use]
pub fn plan(
    symbols: &[String],
    sessions: &[NaiveDate],
    batch: usize,
    held: impl Fn(&str, NaiveDate) -> bool,
    asked: impl Fn(&str) -> Option<(NaiveDate, NaiveDate)>,
) -> Vec<Request> {
    let mut spans: BTreeMap<(NaiveDate, NaiveDate), Vec<String>> = BTreeMap::new();
    let recent = sessions.get(sessions.len().saturating_sub(STILL_COMING)).copied();
    for symbol in symbols {
        let before = asked(symbol);
        let open = |day: &&NaiveDate| {
            let settled = before.is_some_and(|(from, to)| from <= **day && **day <= to) && Some(**day) < recent;
            !settled && !held(symbol, **day)
        };
        let mut missing = sessions.iter().filter(open);
        let Some(first) = missing.next().copied() else { continue };
        let last = missing.next_back().copied().unwrap_or(first);
        spans.entry((first, last)).or_default().push(symbol.clone());
    }
    let mut requests = Vec::new();
    for ((from, to), mut symbols) in spans {
        symbols.sort_unstable();
        requests.extend(symbols.chunks(batch.max(1)).map(|symbols| Request { symbols: symbols.to_vec(), from, to }));
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 6, n).unwrap()
    }

    fn sessions() -> Vec<NaiveDate> {
        (1..=12).map(day).collect()
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn only_what_is_missing_is_asked_for_and_equal_spans_go_together() {
        let held = |symbol: &str, date: NaiveDate| symbol == "A" || (symbol == "B" && date != day(12));
        let all = plan(&names(&["A", "B", "C", "D", "E"]), &sessions(), 2, held, |_| None);
        let request = |symbols: &[&str], from, to| Request { symbols: names(symbols), from: day(from), to: day(to) };
        assert_eq!(all, [request(&["C", "D"], 1, 12), request(&["E"], 1, 12), request(&["B"], 12, 12)]);
    }

    #[test]
    fn a_day_that_never_came_is_asked_for_once_unless_it_is_recent() {
        let held = |_: &str, date: NaiveDate| date != day(3) && date != day(11);
        let asked = |_: &str| Some((day(1), day(12)));
        let all = plan(&names(&["A"]), &sessions(), 1, held, asked);
        assert_eq!((all.len(), all[0].from, all[0].to), (1, day(11), day(11)));
        assert_eq!(plan(&names(&["A"]), &sessions(), 1, held, |_| None)[0].from, day(3));
        assert_eq!(plan(&names(&["A"]), &[], 1, held, asked), []);
    }
}
