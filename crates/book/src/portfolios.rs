//! `portfolios.csv`: every error in it stops the run, because it says what the run is about.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::ids::PortfolioId;

use crate::issue::{Findings, Scope};
use crate::memory::Memory;
use crate::model::Portfolio;
use crate::table::{Columns, Row, Table};
use crate::value;

pub(crate) const COLUMNS: Columns = Columns {
    required: &["portfolio_id", "name", "equity"],
    optional: &["currency", "owner", "tags", "runbook_url", "closed_on"],
};

/// What `portfolios.csv` says.
#[derive(Default)]
pub(crate) struct Portfolios {
    /// In the order of the file.
    pub(crate) list: Vec<Portfolio>,
    /// Where each is in `list`.
    pub(crate) places: HashMap<Vec<u8>, usize>,
    /// Ids of rows that could not be used: positions of theirs are no news.
    pub(crate) spoilt: HashSet<Vec<u8>>,
    /// Whether the rows could be read at all; if not, nothing is known about which portfolios there are.
    pub(crate) known: bool,
    /// The open portfolios without a usable equity: where each is in `list`, its line, and the cell.
    pub(crate) without_equity: Vec<(usize, u64, Vec<u8>)>,
}

/// Which jobs fail without equity, for the warning.
const NEEDS_EQUITY: &str = "factor_analysis and portfolio_snapshot will fail, and what needs them is skipped";

pub(crate) fn read(
    table: &mut Table,
    memory: &mut Memory,
    errors: &mut Findings,
    warnings: &mut Findings,
) -> Result<Portfolios, crate::source::BookError> {
    let places = Places::of(table);
    let mut found = Portfolios { known: table.was_open(), ..Portfolios::default() };
    let mut lines: Vec<u64> = Vec::new();
    let mut folded: HashMap<String, (u64, String)> = HashMap::new();
    let mut row = Row::default();
    while table.next(&mut row, errors)? {
        let line = row.line;
        if let Some(message) = memory.portfolio() {
            errors.push(line, "", &[], message, Scope::Book);
            found.known = false;
            break;
        }
        let id_text = row.field(places.id).to_vec();
        if row.len() != table.width() {
            errors.push(line, "", row.raw(), table.width_complaint(&row), Scope::Book);
            found.spoilt.insert(id_text);
            continue;
        }
        let mut complaints = Complaints { errors: &mut *errors, line, any: false };
        let id = PortfolioId::new(String::from_utf8_lossy(&id_text)).ok();
        if id.is_none() {
            complaints.error(
                "portfolio_id",
                &id_text,
                format!("not a portfolio id; allowed are {}", PortfolioId::ALLOWED),
            );
        } else if let Some(first) = found.places.get(&id_text) {
            let message = format!("portfolio ids must be unique; line {} has this one already", lines[*first]);
            complaints.error("portfolio_id", &id_text, message);
        }
        let Some(portfolio) = portfolio_of(&row, &places, id, &mut complaints) else {
            found.spoilt.insert(id_text);
            continue;
        };
        let id = &portfolio.id;
        if let Some((first, other)) = folded.get(&id.as_str().to_ascii_lowercase()) {
            let message = format!(
                "differs from {other} on line {first} in capitals only; some file systems cannot tell their pages apart"
            );
            warnings.push(line, "portfolio_id", &id_text, message, Scope::Orphan);
        }
        folded.insert(id.as_str().to_ascii_lowercase(), (line, id.to_string()));
        if portfolio.closed_on.is_none() && portfolio.equity.is_none_or(|equity| equity <= 0.0) {
            found.without_equity.push((found.list.len(), line, row.field(places.equity).to_vec()));
        }
        found.places.insert(id_text, found.list.len());
        lines.push(line);
        found.list.push(portfolio);
    }
    // A duplicate has a usable first row: its positions belong there.
    found.spoilt.retain(|id| !found.places.contains_key(id));
    warn_about_currencies(&found.list, &lines, warnings);
    if found.known && found.list.is_empty() && !errors.stops_the_book() {
        warnings.push(0, "", &[], "no portfolios: a run has nothing to do and counts as failed", Scope::Orphan);
    }
    Ok(found)
}

/// Where the columns stand.
struct Places {
    id: Option<usize>,
    name: Option<usize>,
    equity: Option<usize>,
    currency: Option<usize>,
    owner: Option<usize>,
    tags: Option<usize>,
    runbook_url: Option<usize>,
    closed_on: Option<usize>,
}

impl Places {
    fn of(table: &Table) -> Self {
        let places: Vec<Option<usize>> =
            (0..COLUMNS.required.len() + COLUMNS.optional.len()).map(|at| table.place(at)).collect();
        let [id, name, equity, currency, owner, tags, runbook_url, closed_on] = places[..] else {
            unreachable!("eight columns")
        };
        Self { id, name, equity, currency, owner, tags, runbook_url, closed_on }
    }
}

/// The errors of one row.
struct Complaints<'e> {
    errors: &'e mut Findings,
    line: u64,
    any: bool,
}

impl Complaints<'_> {
    fn error(&mut self, column: &str, text: &[u8], message: String) {
        self.any = true;
        self.errors.push(self.line, column, text, message, Scope::Book);
    }
}

/// The portfolio of a row; none where the row, or its id, is wrong.
fn portfolio_of(
    row: &Row,
    places: &Places,
    id: Option<PortfolioId>,
    complaints: &mut Complaints<'_>,
) -> Option<Portfolio> {
    let text = |at: Option<usize>| -> Option<String> {
        let text = String::from_utf8_lossy(row.field(at)).into_owned();
        (!text.is_empty()).then_some(text)
    };
    let closed_text = row.field(places.closed_on);
    let closed_on = value::parse_date(closed_text);
    if closed_on.is_none() && !closed_text.is_empty() {
        let message = format!("{}; blank: the portfolio is open", value::date_complaint(closed_text));
        complaints.error("closed_on", closed_text, message);
    }
    let equity_text = row.field(places.equity);
    let equity = value::parse_number(equity_text);
    if equity.is_none() && !equity_text.is_empty() {
        complaints.error("equity", equity_text, value::number_complaint(equity_text, "blank or the net asset value"));
    }
    let currency = text(places.currency).unwrap_or_else(|| "USD".to_owned());
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        let message = "not a currency; allowed is blank (USD) or three capital letters such as EUR".to_owned();
        complaints.error("currency", currency.as_bytes(), message);
    }
    let runbook_url = text(places.runbook_url);
    if let Some(url) = runbook_url.as_deref().filter(|url| !is_web_address(url)) {
        let message =
            "not a web address; it must begin with https:// or http:// and have no spaces, user or password".to_owned();
        complaints.error("runbook_url", url.as_bytes(), message);
    }
    for (column, at, limit) in [("name", places.name, 200), ("owner", places.owner, 200), ("tags", places.tags, 1_000)]
    {
        let text = String::from_utf8_lossy(row.field(at));
        if text.chars().count() > limit || text.chars().any(char::is_control) {
            let message = format!("allowed are at most {limit} characters, none of them a control character");
            complaints.error(column, text.as_bytes(), message);
        }
    }
    let id = id.filter(|_| !complaints.any)?;
    let tags = String::from_utf8_lossy(row.field(places.tags))
        .split([';', '|', ','])
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect();
    Some(Portfolio {
        name: text(places.name).unwrap_or_else(|| id.to_string()),
        id,
        currency,
        equity,
        owner: text(places.owner),
        tags,
        runbook_url,
        closed_on,
        positions: Vec::new(),
        issues: Vec::new(),
        equity_rows: Vec::new(),
        unusable_equity: Vec::new(),
    })
}

/// Warns of portfolios whose newest equity cannot be used. `equity.csv` was read by then.
pub(crate) fn warn_about_equity(found: &Portfolios, warnings: &mut Findings) {
    for (at, line, text) in &found.without_equity {
        let dated = found.list[*at].dated_equity(chrono::NaiveDate::MAX);
        if dated.is_some_and(|(_, equity)| equity > 0.0) {
            continue;
        }
        let what = if dated.is_none() && text.is_empty() { "no equity" } else { "equity is not above 0" };
        warnings.push(*line, "equity", text, format!("{what}: {NEEDS_EQUITY}"), Scope::Orphan);
    }
}

/// Results are in each portfolio's own currency and prices have one; a stray currency is most likely a slip.
fn warn_about_currencies(portfolios: &[Portfolio], lines: &[u64], warnings: &mut Findings) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for portfolio in portfolios {
        *counts.entry(&portfolio.currency).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    let Some(usual) = portfolios.iter().map(|p| p.currency.as_str()).find(|currency| counts[currency] == most) else {
        return;
    };
    for (portfolio, line) in portfolios.iter().zip(lines).filter(|(portfolio, _)| portfolio.currency != usual) {
        let message = format!(
            "most portfolios are in {usual}; prices are taken to be in the portfolio's own currency and nothing is converted"
        );
        warnings.push(*line, "currency", portfolio.currency.as_bytes(), message, Scope::Orphan);
    }
}

/// Only what is safe as a link on a page, and has no user or password in it: pages, alerts and logs show it.
pub(crate) fn is_web_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let unfit = |c: char| {
        c.is_whitespace() || crate::issue::is_unprintable(c) || matches!(c, '"' | '\'' | '<' | '>' | '\\' | '`')
    };
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains('@') && text.len() <= 2_000 && !text.contains(unfit)
    })
}
