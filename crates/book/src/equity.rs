//! `equity.csv`: the equity of portfolios by date, and money that flowed in or out. A wrong row fails the portfolio it
//! belongs to, on the dates that can see the row.

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::ids::PortfolioId;
use serde::{Deserialize, Serialize};

use crate::issue::{Findings, Issue, Scope, shown};
use crate::model::Portfolio;
use crate::portfolios::Portfolios;
use crate::positions::unknown_message;
use crate::source::BookError;
use crate::table::{Columns, Row, Table};
use crate::value;

pub(crate) const COLUMNS: Columns = Columns { required: &["date", "portfolio_id", "equity"], optional: &["flow"] };

/// A book may have this many rows of equity: 10,000 portfolios over four years.
const MAX_ROWS: usize = 10_000_000;

/// Rows with issues that a portfolio keeps, the earliest ones.
const KEPT: usize = 20;

/// What `equity.csv` says about a portfolio on one date, in the currency of the portfolio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EquityRow {
    /// `date`
    pub date: NaiveDate,
    /// `equity`: the net asset value at the end of the date; `None` in a row that only has a flow.
    pub equity: Option<f64>,
    /// `flow`: money that came in (positive) or went out (negative) on the date; 0 if blank.
    pub flow: f64,
}

/// An unusable row of `equity.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnusableEquity {
    /// The date of the row; `None` if it cannot be read: then every date sees the row.
    pub date: Option<NaiveDate>,
    /// What is wrong with the row.
    #[serde(with = "crate::issue::scoped")]
    pub issues: Vec<Issue>,
}

impl Portfolio {
    /// The newest equity of `equity.csv` that is not after a date, with its own date.
    #[must_use]
    pub fn dated_equity(&self, as_of: NaiveDate) -> Option<(NaiveDate, f64)> {
        let until = self.equity_rows.partition_point(|row| row.date <= as_of);
        self.equity_rows[..until].iter().rev().find_map(|row| Some((row.date, row.equity?)))
    }

    /// The sum of the flows of `equity.csv` after one date, up to and including another.
    #[must_use]
    pub fn flows(&self, after: NaiveDate, until: NaiveDate) -> f64 {
        let from = self.equity_rows.partition_point(|row| row.date <= after);
        self.equity_rows[from..].iter().take_while(|row| row.date <= until).map(|row| row.flow).sum()
    }

    /// What is wrong with the rows of this portfolio that a date sees. If there is anything, the portfolio cannot be
    /// processed.
    pub fn issues_as_of(&self, as_of: NaiveDate) -> impl Iterator<Item = &Issue> {
        let seen = self.unusable_equity.iter().filter(move |row| row.date.is_none_or(|date| date <= as_of));
        self.issues.iter().chain(seen.flat_map(|row| &row.issues))
    }
}

/// Where each column stands.
struct Places {
    date: Option<usize>,
    portfolio_id: Option<usize>,
    equity: Option<usize>,
    flow: Option<usize>,
}

/// What is wrong with a row: column, text, message.
type Complaints = Vec<(&'static str, Vec<u8>, String)>;

/// The rows of one portfolio, with the lines of the usable ones.
#[derive(Default)]
struct Found {
    rows: Vec<(EquityRow, u32)>,
    unusable: Vec<UnusableEquity>,
}

/// Reads all rows into their portfolios.
pub(crate) fn read(table: &mut Table, portfolios: &mut Portfolios, errors: &mut Findings) -> Result<(), BookError> {
    let places =
        Places { date: table.place(0), portfolio_id: table.place(1), equity: table.place(2), flow: table.place(3) };
    let file = table.name().to_owned();
    let mut found: HashMap<usize, Found> = HashMap::new();
    let mut unknown: HashMap<Vec<u8>, String> = HashMap::new();
    let mut rows = 0;
    let mut row = Row::default();
    while table.next(&mut row, errors)? {
        if rows == MAX_ROWS {
            let message = format!("a book may have {} rows of equity at most", value::grouped(MAX_ROWS as u64));
            errors.push(row.line, "", &[], message, Scope::Book);
            break;
        }
        rows += 1;
        let id_text = row.field(places.portfolio_id);
        let owner = portfolios.places.get(id_text).copied();
        let mut complaints = Complaints::new();
        if owner.is_none() && portfolios.known && !portfolios.spoilt.contains(id_text) {
            complaints.push(("portfolio_id", id_text.to_vec(), unknown_message(&mut unknown, id_text, portfolios)));
        }
        let date = value::parse_date(row.field(places.date));
        let read = read_row(table, &row, &places, date, &mut complaints);
        let line = u32::try_from(row.line).unwrap_or(u32::MAX);
        if let (Some(at), Some(read)) = (owner, read) {
            found.entry(at).or_default().rows.push((read, line));
        }
        let scope = owner.map_or(Scope::Orphan, |at| Scope::Portfolio(portfolios.list[at].id.clone()));
        let issues: Vec<Issue> = complaints
            .into_iter()
            .map(|(column, text, message)| issue(&file, row.line, column, &text, message, scope.clone()))
            .collect();
        issues.iter().for_each(|issue| errors.add(issue.clone()));
        if let (Some(at), false) = (owner, issues.is_empty()) {
            found.entry(at).or_default().unusable.push(UnusableEquity { date, issues });
        }
    }
    for (at, found) in found {
        let portfolio = &mut portfolios.list[at];
        let id = portfolio.id.clone();
        (portfolio.equity_rows, portfolio.unusable_equity) = found.finish(&file, &id, errors);
    }
    Ok(())
}

/// One row; `None` if it has a complaint.
fn read_row(
    table: &Table,
    row: &Row,
    places: &Places,
    date: Option<NaiveDate>,
    complaints: &mut Complaints,
) -> Option<EquityRow> {
    let before = complaints.len();
    if row.len() != table.width() {
        complaints.push(("", row.raw().to_vec(), table.width_complaint(row)));
        return None;
    }
    let date_text = row.field(places.date);
    if date.is_none() {
        complaints.push(("date", date_text.to_vec(), value::date_complaint(date_text)));
    }
    let mut number = |column: &'static str, at: Option<usize>, wanted: &str| {
        let text = row.field(at);
        let number = value::parse_number(text);
        if number.is_none() && !text.is_empty() {
            complaints.push((column, text.to_vec(), value::number_complaint(text, wanted)));
        }
        number
    };
    let equity = number("equity", places.equity, "the net asset value, or blank beside a flow");
    let flow = number("flow", places.flow, "blank or the money that came in, negative if it went out");
    if [places.equity, places.flow].into_iter().all(|at| row.field(at).is_empty()) {
        let message = "missing; allowed is the net asset value, or blank beside a flow".to_owned();
        complaints.push(("equity", Vec::new(), message));
    }
    let date = date.filter(|_| complaints.len() == before)?;
    Some(EquityRow { date, equity, flow: flow.unwrap_or(0.0) })
}

fn issue(file: &str, line: u64, column: &str, text: &[u8], message: String, scope: Scope) -> Issue {
    Issue { file: file.to_owned(), line, column: column.to_owned(), text: shown(text), message, scope }
}

impl Found {
    /// The rows by date, each date once, and the unusable ones.
    fn finish(mut self, file: &str, id: &PortfolioId, errors: &mut Findings) -> (Vec<EquityRow>, Vec<UnusableEquity>) {
        self.rows.sort_by_key(|(row, line)| (row.date, *line));
        let mut rows: Vec<EquityRow> = Vec::with_capacity(self.rows.len());
        let mut first = 0;
        for (row, line) in self.rows {
            if rows.last().is_some_and(|last| last.date == row.date) {
                let message = format!("date and portfolio_id must be unique; line {first} has them already");
                let text = row.date.to_string();
                let scope = Scope::Portfolio(id.clone());
                let issue = issue(file, u64::from(line), "date", text.as_bytes(), message, scope);
                errors.add(issue.clone());
                self.unusable.push(UnusableEquity { date: Some(row.date), issues: vec![issue] });
                continue;
            }
            first = line;
            rows.push(row);
        }
        // A row without a date is seen by every date, so it comes first.
        self.unusable.sort_by_key(|row| (row.date, row.issues.first().map(|issue| issue.line)));
        self.unusable.truncate(KEPT);
        (rows, self.unusable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MemorySource;
    use crate::{Reading, read};

    const PORTFOLIOS: &str = "portfolio_id,name,equity\na,A,1000\nb,B,\n";

    fn book(equity: &str) -> Reading {
        let mut source = MemorySource::default();
        source.insert("portfolios.csv", PORTFOLIOS);
        source.insert(
            "positions.csv",
            "portfolio_id,symbol,quantity,entry_price,entry_date\na,X,1,1,2026-01-05\nb,X,1,1,2026-01-05\n",
        );
        source.insert("prices.csv", "date,symbol,close\n2026-11-24,X,1\n2026-11-24,SPY,1\n");
        source.insert("nightbook.toml", "[factors]\nMarket = \"SPY\"\n");
        source.insert("equity.csv", equity);
        read(&source).unwrap()
    }

    fn portfolio(reading: &Reading, at: usize) -> &Portfolio {
        &reading.book.as_ref().unwrap().portfolios[at]
    }

    /// File and line of the warnings about equity.
    fn warnings(reading: &Reading) -> Vec<(&str, u64)> {
        let about =
            reading.warnings.iter().filter(|warning| warning.column == "equity" || warning.file == "equity.csv");
        about.map(|warning| (warning.file.as_str(), warning.line)).collect()
    }

    fn date(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
    }

    #[test]
    fn the_newest_row_that_a_date_sees_counts() {
        let rows = "flow,date,portfolio_id,equity\n,2026-11-24,b,300\n-5,2026-11-21,b,\n10,2026-11-20,b,200\n";
        let reading = book(rows);
        assert_eq!(reading.errors, []);
        assert_eq!(warnings(&reading), [], "a dated equity stands for a blank one");
        let b = portfolio(&reading, 1);
        assert_eq!(b.dated_equity(date(19)), None);
        assert_eq!(b.dated_equity(date(20)), Some((date(20), 200.0)));
        assert_eq!(b.dated_equity(date(23)), Some((date(20), 200.0)), "a row with a flow alone is no equity");
        assert_eq!(b.dated_equity(date(30)), Some((date(24), 300.0)));
        assert_eq!(
            (b.flows(date(19), date(21)), b.flows(date(20), date(21)), b.flows(date(21), date(30))),
            (5.0, -5.0, 0.0)
        );
        assert_eq!(portfolio(&reading, 0).dated_equity(date(30)), None);
    }

    #[test]
    fn everything_wrong_is_named_with_its_line_and_column() {
        let reading = book(
            "date,portfolio_id,equity,flow\n\
             2026-11-31,a,1,\n\
             2026-11-20,a,1O0,ten\n\
             2026-11-20,a,,\n\
             2026-11-21,a,5,,\n\
             2026-11-22,a,5,\n\
             2026-11-22,a,6,\n\
             2026-11-22,aa,6,\n",
        );
        let found: Vec<(u64, &str, &str)> = reading
            .errors
            .iter()
            .map(|e| (e.line, e.column.as_str(), e.message.split([';', ':']).next().unwrap()))
            .collect();
        let wanted = [
            (2, "date", "there is no such day"),
            (3, "equity", "not a number"),
            (3, "flow", "not a number"),
            (4, "equity", "missing"),
            (5, "", "the row has 5 fields and the header 4"),
            (7, "date", "date and portfolio_id must be unique"),
            (8, "portfolio_id", "portfolios.csv has no such portfolio"),
        ];
        assert_eq!(found, wanted, "{:#?}", reading.errors);
        assert!(reading.errors.iter().all(|issue| issue.file == "equity.csv"));
        assert!(reading.errors[6].message.contains("did you mean `a`?"), "{}", reading.errors[6]);
        // The run goes on: the rows fail their portfolio, an unknown portfolio nobody.
        let a = portfolio(&reading, 0);
        assert_eq!(a.issues_as_of(date(19)).count(), 1, "every date sees a row without a date");
        assert_eq!(a.issues_as_of(date(20)).count(), 4);
        assert_eq!(a.issues_as_of(date(22)).count(), 6);
        assert_eq!(a.dated_equity(date(30)), Some((date(22), 5.0)));
        assert_eq!(portfolio(&reading, 1).issues_as_of(date(30)).count(), 0);
    }

    #[test]
    fn a_file_that_is_no_table_of_equity_stops_the_book() {
        let reading = book("date,portfolio,equity\n");
        assert!(reading.book.is_none());
        assert_eq!(
            reading.errors[0].to_string().split(';').next(),
            Some("equity.csv:1: portfolio_id \"date,portfolio,equity\": the column `portfolio_id` is missing")
        );
    }

    #[test]
    fn an_equity_that_cannot_be_used_is_warned_of() {
        for rows in ["date,portfolio_id,equity\n2026-11-24,b,0\n", "date,portfolio_id,equity,flow\n2026-11-24,b,,5\n"] {
            let reading = book(rows);
            assert_eq!(warnings(&reading), [("portfolios.csv", 3)], "{:?}", reading.warnings);
        }
    }

    #[test]
    fn a_book_keeps_its_rows_of_equity_when_it_is_stored() {
        let book = book("date,portfolio_id,equity\n2026-11-20,a,1\n2026-11-23,a,x\n").book.unwrap();
        assert_eq!(
            book.portfolios[0].unusable_equity[0].issues[0].scope,
            Scope::Portfolio(book.portfolios[0].id.clone())
        );
        let text = toml::to_string(&book).unwrap();
        assert_eq!(toml::from_str::<crate::Book>(&text).unwrap(), book);
    }
}
