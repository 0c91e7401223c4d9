//! `positions.csv`: a wrong row fails the portfolio it belongs to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::NaiveDate;
use domain::ids::PortfolioId;

use crate::files::FileFacts;
use crate::issue::{Findings, Issue, Scope, shown};
use crate::memory::Memory;
use crate::model::{Class, Lot, OptionTerms, Right};
use crate::occ::OccSymbol;
use crate::portfolios::Portfolios;
use crate::source::BookError;
use crate::table::{Columns, Row, Table};
use crate::value;

pub(crate) const COLUMNS: Columns = Columns {
    required: &["portfolio_id", "symbol", "quantity", "entry_price", "entry_date"],
    optional: &[
        "exit_date",
        "class",
        "underlying",
        "right",
        "strike",
        "expiry",
        "multiplier",
        "implied_vol",
        "mark",
        "sector",
    ],
};

/// How many unusable rows a portfolio keeps.
const KEPT: usize = 20;

/// For so many unknown portfolios a similar name is searched, which takes time where there are many names.
const HINTS: usize = 100;

/// Where each column stands.
struct Places {
    portfolio_id: Option<usize>,
    symbol: Option<usize>,
    quantity: Option<usize>,
    entry_price: Option<usize>,
    entry_date: Option<usize>,
    exit_date: Option<usize>,
    class: Option<usize>,
    underlying: Option<usize>,
    right: Option<usize>,
    strike: Option<usize>,
    expiry: Option<usize>,
    multiplier: Option<usize>,
    implied_vol: Option<usize>,
    mark: Option<usize>,
    sector: Option<usize>,
}

impl Places {
    fn of(table: &Table) -> Self {
        Self {
            portfolio_id: table.place(0),
            symbol: table.place(1),
            quantity: table.place(2),
            entry_price: table.place(3),
            entry_date: table.place(4),
            exit_date: table.place(5),
            class: table.place(6),
            underlying: table.place(7),
            right: table.place(8),
            strike: table.place(9),
            expiry: table.place(10),
            multiplier: table.place(11),
            implied_vol: table.place(12),
            mark: table.place(13),
            sector: table.place(14),
        }
    }
}

/// The first line on which each public symbol is held, for the check against the prices.
pub(crate) type Held = HashMap<String, u64>;

/// Reads all positions into their portfolios.
pub(crate) fn read(
    table: &mut Table,
    portfolios: &mut Portfolios,
    files: &mut FileFacts,
    memory: &mut Memory,
    errors: &mut Findings,
    warnings: &mut Findings,
) -> Result<Held, BookError> {
    let places = Places::of(table);
    let mut held = Held::new();
    let mut seen: HashMap<u128, u64> = HashMap::new();
    let mut unusable: HashMap<usize, Findings> = HashMap::new();
    let mut complaints: Vec<(&'static str, Vec<u8>, String)> = Vec::new();
    let mut unknown: HashMap<Vec<u8>, String> = HashMap::new();
    let file = table.name().to_owned();
    let mut row = Row::default();
    while table.next(&mut row, errors)? {
        let line = row.line;
        if let Some(message) = memory.lot() {
            errors.push(line, "", &[], message, Scope::Book);
            break;
        }
        let id_text = row.field(places.portfolio_id);
        let owner = portfolios.places.get(id_text).copied();
        complaints.clear();
        let mut lot = None;
        if owner.is_none() && portfolios.known && !portfolios.spoilt.contains(id_text) {
            files.orphan(&file, line, id_text);
            let message = unknown_message(&mut unknown, id_text, portfolios);
            complaints.push(("portfolio_id", id_text.to_vec(), message));
        }
        if row.len() != table.width() {
            complaints.push(("", row.raw().to_vec(), table.width_complaint(&row)));
        } else if let Some(first) = repeated(&mut seen, row.raw(), line) {
            let message =
                format!("the same line as line {first}; give each lot its own line, or add up the quantities");
            complaints.push(("", row.raw().to_vec(), message));
        } else {
            let mut warn = |column: &str, text: &[u8], message: String| {
                warnings.push(line, column, text, message, Scope::Orphan);
            };
            lot = read_lot(&row, &places, &mut complaints, &mut warn);
        }
        let scope = match owner {
            Some(at) => Scope::Portfolio(portfolios.list[at].id.clone()),
            None => Scope::Orphan,
        };
        for (column, text, message) in complaints.drain(..) {
            let (file, column, text) = (file.clone(), column.to_owned(), shown(&text));
            let issue = Issue { file, line, column, text, message, scope: scope.clone() };
            if let Some(at) = owner {
                unusable.entry(at).or_insert_with(|| Findings::with_limit(&issue.file, KEPT)).add(issue.clone());
            }
            errors.add(issue);
        }
        if let (Some(at), Some(lot)) = (owner, lot) {
            if lot.class == Class::Public && !held.contains_key(&lot.symbol) {
                held.insert(lot.symbol.clone(), line);
            }
            portfolios.list[at].positions.push(lot);
        }
    }
    for (at, findings) in unusable {
        let portfolio = &mut portfolios.list[at];
        portfolio.issues = findings.finish_as(Scope::Portfolio(portfolio.id.clone()));
    }
    if table.was_open() {
        for portfolio in &portfolios.list {
            if portfolio.positions.is_empty() && portfolio.issues.is_empty() {
                let message = "the portfolio has no positions";
                warnings.push(0, "portfolio_id", portfolio.id.as_str().as_bytes(), message, Scope::Orphan);
            }
        }
    }
    for portfolio in &mut portfolios.list {
        portfolio.positions.shrink_to_fit();
    }
    Ok(held)
}

/// What to say of a portfolio that there is not; the search for a similar name is made for the first few only.
pub(crate) fn unknown_message(known: &mut HashMap<Vec<u8>, String>, id_text: &[u8], portfolios: &Portfolios) -> String {
    if let Some(message) = known.get(id_text) {
        return message.clone();
    }
    let message = unknown_portfolio(id_text, portfolios, known.len() < HINTS);
    if known.len() < HINTS {
        known.insert(id_text.to_vec(), message.clone());
    }
    message
}

fn unknown_portfolio(id_text: &[u8], portfolios: &Portfolios, with_hint: bool) -> String {
    let text = String::from_utf8_lossy(id_text);
    if PortfolioId::new(text.as_ref()).is_err() {
        return format!("not a portfolio id; allowed are {}", PortfolioId::ALLOWED);
    }
    let ids = portfolios.list.iter().take(500).map(|portfolio| portfolio.id.as_str());
    let near = if with_hint { value::hint(&text, ids) } else { String::new() };
    format!("portfolios.csv has no such portfolio{near}")
}

/// The line that has these very bytes already, if there is one. 128 bits of hash stand for the bytes.
fn repeated(seen: &mut HashMap<u128, u64>, raw: &[u8], line: u64) -> Option<u64> {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, raw).hash(&mut hasher);
        hasher.finish()
    };
    match seen.entry(u128::from(half(0)) << 64 | u128::from(half(1))) {
        Entry::Occupied(first) => Some(*first.get()),
        Entry::Vacant(free) => {
            free.insert(line);
            None
        }
    }
}

type Complaints = Vec<(&'static str, Vec<u8>, String)>;

/// A number that may be blank.
fn number(
    column: &'static str,
    text: &[u8],
    allowed: &str,
    fits: impl Fn(f64) -> bool,
    complaints: &mut Complaints,
) -> Option<f64> {
    if text.is_empty() {
        return None;
    }
    match value::parse_number(text) {
        Some(value) if fits(value) => Some(value),
        Some(_) => {
            complaints.push((column, text.to_vec(), format!("out of range; allowed is {allowed}")));
            None
        }
        None => {
            complaints.push((column, text.to_vec(), value::number_complaint(text, allowed)));
            None
        }
    }
}

/// A number that must be there.
fn needed(
    column: &'static str,
    text: &[u8],
    allowed: &str,
    fits: impl Fn(f64) -> bool,
    complaints: &mut Complaints,
) -> Option<f64> {
    if text.is_empty() {
        complaints.push((column, Vec::new(), value::number_complaint(text, allowed)));
    }
    number(column, text, allowed, fits, complaints)
}

/// A date that may be blank.
fn date(column: &'static str, text: &[u8], complaints: &mut Complaints) -> Option<NaiveDate> {
    if text.is_empty() {
        return None;
    }
    let date = value::parse_date(text);
    if date.is_none() {
        complaints.push((column, text.to_vec(), value::date_complaint(text)));
    }
    date
}

/// The class that a row names, or that its symbol stands for.
fn class_of(class_text: &[u8], is_occ: bool, complaints: &mut Complaints) -> Option<Class> {
    match class_text {
        b"public" => Some(Class::Public),
        b"option" => Some(Class::Option),
        b"private" => Some(Class::Private),
        b"cash" => Some(Class::Cash),
        b"" if is_occ => Some(Class::Option),
        b"" => Some(Class::Public),
        _ => {
            let near = value::hint(&String::from_utf8_lossy(class_text), ["public", "option", "private", "cash"]);
            let message =
                format!("not a class; allowed is public, option, private, cash, or blank to go by the symbol{near}");
            complaints.push(("class", class_text.to_vec(), message));
            None
        }
    }
}

/// Entry and exit, which must not lie before it.
fn span_of(row: &Row, places: &Places, complaints: &mut Complaints) -> (Option<NaiveDate>, Option<NaiveDate>) {
    let entry_text = row.field(places.entry_date);
    if entry_text.is_empty() {
        complaints.push(("entry_date", Vec::new(), value::date_complaint(entry_text)));
    }
    let entry_date = date("entry_date", entry_text, complaints);
    let exit_text = row.field(places.exit_date);
    let exit_date = date("exit_date", exit_text, complaints);
    if let (Some(entry), Some(exit)) = (entry_date, exit_date)
        && exit < entry
    {
        let message = format!("before the entry on {entry}; allowed is blank, that day or a later one");
        complaints.push(("exit_date", exit_text.to_vec(), message));
    }
    (entry_date, exit_date)
}

/// One row; `None` if it has a complaint.
fn read_lot(
    row: &Row,
    places: &Places,
    complaints: &mut Complaints,
    warn: &mut dyn FnMut(&str, &[u8], String),
) -> Option<Lot> {
    let before = complaints.len();
    let symbol_text = row.field(places.symbol);
    let symbol = value::parse_symbol(symbol_text);
    if symbol.is_none() {
        let message = format!("not a symbol; allowed are {}", value::SYMBOL_ALLOWED);
        complaints.push(("symbol", symbol_text.to_vec(), message));
    }
    let occ = symbol.and_then(OccSymbol::parse);

    let class = class_of(row.field(places.class), occ.is_some(), complaints);
    let quantity_text = row.field(places.quantity);
    let quantity = needed(
        "quantity",
        quantity_text,
        "a quantity other than 0, negative for a short position",
        |q| q != 0.0,
        complaints,
    );
    let entry_price =
        needed("entry_price", row.field(places.entry_price), "a price of 0 or more", |price| price >= 0.0, complaints);
    let (entry_date, exit_date) = span_of(row, places, complaints);
    let above_zero = |value: f64| value > 0.0;
    let multiplier = number(
        "multiplier",
        row.field(places.multiplier),
        "a multiplier above 0, or blank for 100 (options) or 1 (the rest)",
        above_zero,
        complaints,
    );
    let implied_vol = number(
        "implied_vol",
        row.field(places.implied_vol),
        "blank or a volatility above 0 as a fraction (0.25 is 25 %)",
        above_zero,
        complaints,
    );
    if implied_vol.is_some_and(|volatility| volatility > 5.0) {
        let message = "more than 500 %: volatility is a fraction, 0.25 is 25 %".to_owned();
        warn("implied_vol", row.field(places.implied_vol), message);
    }
    let mark = number("mark", row.field(places.mark), "blank or a price of 0 or more", |mark| mark >= 0.0, complaints);
    let sector = String::from_utf8_lossy(row.field(places.sector)).into_owned();
    if sector.chars().count() > 100 || sector.chars().any(char::is_control) {
        let message = "allowed are at most 100 characters, none of them a control character".to_owned();
        complaints.push(("sector", sector.as_bytes().to_vec(), message));
    }
    let option = read_terms(row, places, class, occ.as_ref(), complaints, warn);

    if complaints.len() > before {
        return None;
    }
    let class = class?;
    Some(Lot {
        symbol: symbol?.to_owned(),
        quantity: quantity?,
        entry_price: entry_price?,
        entry_date: entry_date?,
        exit_date,
        class,
        option,
        multiplier: multiplier.unwrap_or(if class == Class::Option { 100.0 } else { 1.0 }),
        implied_vol,
        mark,
        sector: (!sector.is_empty()).then_some(sector),
    })
}

/// The terms of an option: from its columns, and from its symbol where they are blank.
fn read_terms(
    row: &Row,
    places: &Places,
    class: Option<Class>,
    occ: Option<&OccSymbol>,
    complaints: &mut Complaints,
    warn: &mut dyn FnMut(&str, &[u8], String),
) -> Option<OptionTerms> {
    let columns = [
        ("underlying", row.field(places.underlying)),
        ("right", row.field(places.right)),
        ("strike", row.field(places.strike)),
        ("expiry", row.field(places.expiry)),
    ];
    let class = class?;
    if class != Class::Option {
        if let Some((column, text)) = columns.into_iter().find(|(_, text)| !text.is_empty()) {
            let message = format!("left out, because the class is {class}; write `option` into `class` if this is one");
            warn(column, text, message);
        }
        return None;
    }
    let before = complaints.len();
    let [(_, underlying_text), (_, right_text), (_, strike_text), (_, expiry_text)] = columns;
    let underlying = value::parse_symbol(underlying_text).map(str::to_owned);
    if underlying.is_none() && !underlying_text.is_empty() {
        let message = format!("not a symbol; allowed are {}", value::SYMBOL_ALLOWED);
        complaints.push(("underlying", underlying_text.to_vec(), message));
    }
    let right = match right_text {
        b"call" => Some(Right::Call),
        b"put" => Some(Right::Put),
        b"" => None,
        _ => {
            let near = value::hint(&String::from_utf8_lossy(right_text), ["call", "put"]);
            let message = format!("not a right; allowed is call or put, or blank to take it from an OCC symbol{near}");
            complaints.push(("right", right_text.to_vec(), message));
            None
        }
    };
    let strike = number("strike", strike_text, "a strike above 0", |strike| strike > 0.0, complaints);
    let expiry = date("expiry", expiry_text, complaints);

    if let Some(symbol) = occ {
        let mut contradict = |column, text: &[u8], says: String| {
            let message =
                format!("contradicts the symbol, which says {says}; correct one of them, or leave this blank");
            complaints.push((column, text.to_vec(), message));
        };
        if underlying.as_deref().is_some_and(|underlying| !value::underlying_fits(symbol, underlying)) {
            contradict("underlying", underlying_text, symbol.root.clone());
        }
        if right.is_some_and(|right| right != symbol.right) {
            contradict("right", right_text, symbol.right.to_string());
        }
        if strike.is_some_and(|strike| (strike - symbol.strike).abs() > 1e-9 * symbol.strike) {
            contradict("strike", strike_text, symbol.strike.to_string());
        }
        if expiry.is_some_and(|expiry| expiry != symbol.expiry) {
            contradict("expiry", expiry_text, symbol.expiry.to_string());
        }
    } else {
        for (column, text) in columns {
            if text.is_empty() {
                let message = "missing; an option needs underlying, right, strike and expiry, or an OCC symbol such as \
                               NVDA251017C00800000 that says them";
                complaints.push((column, Vec::new(), message.to_owned()));
            }
        }
    }
    if complaints.len() > before {
        return None;
    }
    Some(OptionTerms {
        underlying: underlying.or_else(|| occ.map(|symbol| symbol.root.clone()))?,
        right: right.or_else(|| occ.map(|symbol| symbol.right))?,
        strike: strike.or_else(|| occ.map(|symbol| symbol.strike))?,
        expiry: expiry.or_else(|| occ.map(|symbol| symbol.expiry))?,
    })
}
