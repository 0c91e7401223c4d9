//! The book as data: portfolios and their lots.

use chrono::NaiveDate;
use domain::ids::{ContentHash, PortfolioId};
use serde::{Deserialize, Serialize};

use crate::equity::{EquityRow, UnusableEquity};
use crate::files::FileFacts;
use crate::issue::Issue;
use crate::prices::Prices;
use crate::settings::Settings;

/// Everything a run reads: settings, portfolios with their positions, prices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// `nightbook.toml`, with defaults for what it does not say.
    pub settings: Settings,
    /// All portfolios, sorted by id.
    pub portfolios: Vec<Portfolio>,
    /// All closes.
    pub prices: Prices,
    /// Identifies the content of all files of the book; see [`crate::read`].
    pub content_hash: ContentHash,
    /// What the files look like beyond their usable rows.
    #[serde(default)]
    pub files: FileFacts,
}

impl Book {
    /// The portfolio of this id.
    #[must_use]
    pub fn portfolio(&self, id: &PortfolioId) -> Option<&Portfolio> {
        self.portfolios.binary_search_by(|portfolio| portfolio.id.cmp(id)).ok().map(|at| &self.portfolios[at])
    }
}

/// One portfolio and its positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Portfolio {
    /// `portfolio_id`
    pub id: PortfolioId,
    /// `name`; the id if that is blank.
    pub name: String,
    /// `currency`: three capital letters, USD if blank.
    pub currency: String,
    /// `equity`: the net asset value of no stated date. It may be missing, zero or negative; the jobs that need it fail
    /// then. A row of `equity.csv` counts before it.
    pub equity: Option<f64>,
    /// `owner`
    pub owner: Option<String>,
    /// `tags`, separated by `;`, `|` or `,`
    pub tags: Vec<String>,
    /// `runbook_url`: begins with `https://` or `http://`.
    pub runbook_url: Option<String>,
    /// `closed_on`: the first trading date on which the portfolio is closed. It is not run from then on.
    pub closed_on: Option<NaiveDate>,
    /// The usable rows of `positions.csv`, in their order there.
    pub positions: Vec<Lot>,
    /// The unusable rows of `positions.csv`; if there is one, the portfolio cannot be processed. At most 20, then a count.
    #[serde(with = "crate::issue::scoped")]
    pub issues: Vec<Issue>,
    /// The usable rows of `equity.csv`, by date, each date once.
    #[serde(default)]
    pub equity_rows: Vec<EquityRow>,
    /// The unusable rows of `equity.csv`, by date, at most 20. The portfolio cannot be processed on a date that sees one.
    #[serde(default)]
    pub unusable_equity: Vec<UnusableEquity>,
}

impl Portfolio {
    /// Whether the portfolio is declared closed on this date.
    #[must_use]
    pub fn is_closed(&self, as_of: NaiveDate) -> bool {
        self.closed_on.is_some_and(|date| date <= as_of)
    }
}

/// One row of `positions.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lot {
    /// `symbol`
    pub symbol: String,
    /// `quantity`: negative for a short position, never 0.
    pub quantity: f64,
    /// `entry_price`: 0 or more.
    pub entry_price: f64,
    /// `entry_date`
    pub entry_date: NaiveDate,
    /// `exit_date`: not before `entry_date`.
    pub exit_date: Option<NaiveDate>,
    /// `class`
    pub class: Class,
    /// The terms of an option; present exactly if `class` is [`Class::Option`].
    pub option: Option<OptionTerms>,
    /// `multiplier`: above 0; 100 for an option and 1 for the rest unless the row says otherwise.
    pub multiplier: f64,
    /// `implied_vol`: above 0, as a fraction (0.25 is 25 %).
    pub implied_vol: Option<f64>,
    /// `mark`: a price for what has no market price, 0 or more.
    pub mark: Option<f64>,
    /// `sector`
    pub sector: Option<String>,
}

impl Lot {
    /// Whether the lot is held on this date: entered on it or before, and not exited on it or before.
    #[must_use]
    pub fn is_active(&self, as_of: NaiveDate) -> bool {
        self.entry_date <= as_of && self.exit_date.is_none_or(|exit| exit > as_of)
    }
}

/// What a position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Has market prices.
    Public,
    /// An option on something that has market prices.
    Option,
    /// Has no market price: valued at its mark.
    Private,
    /// Money and its equivalents.
    Cash,
}

impl Class {
    /// The class as the files spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Option => "option",
            Self::Private => "private",
            Self::Cash => "cash",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The right that an option gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// To buy.
    Call,
    /// To sell.
    Put,
}

impl Right {
    /// The right as the files spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Put => "put",
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an option is on, and when and at what it can be exercised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionTerms {
    /// The symbol that the option is on.
    pub underlying: String,
    /// Call or put.
    pub right: Right,
    /// The strike, above 0.
    pub strike: f64,
    /// The last day.
    pub expiry: NaiveDate,
}
