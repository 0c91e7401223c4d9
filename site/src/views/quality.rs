//! `quality/index.html`: how good the data under the newest results was.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::PortfolioId;
use domain::words::QualityFlag;
use serde::Serialize;

use super::Stamp;
use crate::gather::{RunData, RunHead};

/// Lines of each list, at most.
const MOST: usize = 200;

/// A symbol without data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SymbolLine {
    pub(crate) symbol: String,
    pub(crate) count: u64,
    pub(crate) portfolios: Vec<Named>,
}

/// A portfolio, and whether its page is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) link: bool,
}

/// A portfolio whose data is not full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QualityLine {
    #[serde(flatten)]
    pub(crate) portfolio: Named,
    pub(crate) flag: QualityFlag,
    pub(crate) days: String,
    pub(crate) positions: String,
    pub(crate) notes: Vec<String>,
}

/// The quality of one run, for the trend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QualityRun {
    pub(crate) as_of: String,
    pub(crate) link: Option<String>,
    pub(crate) full: u64,
    pub(crate) limited: u64,
    pub(crate) failed: u64,
    pub(crate) average_days: String,
}

/// The page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QualityView {
    pub(crate) as_of: Option<String>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) full: u64,
    pub(crate) limited: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
    pub(crate) symbols: Vec<SymbolLine>,
    pub(crate) lines: Vec<QualityLine>,
    pub(crate) more: u64,
    pub(crate) runs: Vec<QualityRun>,
}

/// The page of the newest trading date, over the latest state of each portfolio. `runs` are newest first.
pub(crate) fn build(latest: &[RunData], runs: &[RunHead], with_page: &BTreeSet<PortfolioId>) -> QualityView {
    let mut symbols: BTreeMap<String, BTreeSet<Named>> = BTreeMap::new();
    let mut lines = Vec::new();
    let (mut full, mut unknown) = (0, 0);
    let (mut limited, mut failed) = (0, 0);
    for (id, (_, cells)) in super::index::resolve(latest) {
        let named = Named { id: id.to_string(), link: with_page.contains(&id) };
        let all: Vec<_> = cells.values().filter_map(|(record, _)| record.quality.as_ref()).collect();
        for symbol in all.iter().flat_map(|quality| &quality.symbols_missing) {
            symbols.entry(symbol.clone()).or_default().insert(named.clone());
        }
        let Some(flag) = all.iter().map(|quality| quality.flag).max() else {
            unknown += 1;
            continue;
        };
        match flag {
            QualityFlag::Full => full += 1,
            QualityFlag::Limited => limited += 1,
            QualityFlag::Failed => failed += 1,
        }
        if flag == QualityFlag::Full {
            continue;
        }
        let most = all.iter().max_by_key(|quality| (quality.positions_processed, quality.required_days));
        let notes: BTreeSet<&String> = all.iter().flat_map(|quality| &quality.notes).collect();
        lines.push(QualityLine {
            portfolio: named,
            flag,
            days: most.map_or_else(String::new, |q| format!("{} of {}", q.data_days, q.required_days)),
            positions: most.map_or_else(String::new, |q| format!("{} of {}", q.positions_processed, q.positions_total)),
            notes: notes.into_iter().take(20).cloned().collect(),
        });
    }
    lines.sort_by(|a, b| b.flag.cmp(&a.flag).then_with(|| a.portfolio.cmp(&b.portfolio)));
    let more = lines.len().saturating_sub(MOST) as u64;
    lines.truncate(MOST);
    let mut symbols: Vec<SymbolLine> = symbols
        .into_iter()
        .map(|(symbol, portfolios)| SymbolLine {
            symbol,
            count: portfolios.len() as u64,
            portfolios: portfolios.into_iter().take(12).collect(),
        })
        .collect();
    symbols.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.symbol.cmp(&b.symbol)));
    symbols.truncate(MOST);
    let closed = runs.iter().filter(|head| head.summary.closed_at.is_some());
    QualityView {
        as_of: latest.first().map(|data| data.head.run.as_of.to_string()),
        stamp: latest.iter().filter_map(|data| data.head.summary.closed_at).max().map(Stamp::of),
        full,
        limited,
        failed,
        unknown,
        symbols,
        lines,
        more,
        runs: closed
            .take(30)
            .map(|head| {
                let quality = head.summary.data_quality;
                QualityRun {
                    as_of: head.run.as_of.to_string(),
                    link: head.linkable.then(|| format!("runs/{}/index.html", head.run.batch_run_id)),
                    full: quality.full,
                    limited: quality.limited,
                    failed: quality.failed,
                    average_days: quality.average_data_days.map_or_else(|| "–".to_owned(), |days| format!("{days:.1}")),
                }
            })
            .collect(),
    }
}
