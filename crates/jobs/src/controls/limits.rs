//! `limits`: what a plan seals of `[[limits]]`. [`domain::night::limits`] judges the figures once the jobs have ended.

use std::collections::{BTreeMap, BTreeSet};

use book::{Book, LimitScope, job_of_figure};
use chrono::NaiveDate;
use domain::ids::PortfolioId;
use domain::night::limits::SealedLimit;
use domain::night::{Control, NightBefore};

use crate::job_list::job_name;

/// The limits of a book on a trading date; none where the control is off. A limit for a portfolio or a tag that the book
/// does not have is for nobody.
pub(crate) fn sealed(book: &Book, as_of: NaiveDate) -> Vec<SealedLimit> {
    let Some(defaults) = book.settings.controls.limits(Control::Limits) else { return Vec::new() };
    let open = || book.portfolios.iter().filter(|portfolio| !portfolio.is_closed(as_of));
    let sealed = book.settings.limits.iter().filter_map(|limit| {
        let portfolios: Option<BTreeSet<PortfolioId>> = match &limit.portfolios {
            LimitScope::All => None,
            LimitScope::Portfolio(id) => Some(BTreeSet::from([id.clone()])),
            LimitScope::Tag(tag) => Some(
                open().filter(|portfolio| portfolio.tags.contains(tag)).map(|portfolio| portfolio.id.clone()).collect(),
            ),
        };
        Some(SealedLimit {
            figure: limit.figure.clone(),
            job: job_name(job_of_figure(&limit.figure)?),
            bound: limit.bound,
            limit: limit.limit,
            warn: limit.warn.or(defaults.warn),
            portfolios,
        })
    });
    sealed.collect()
}

/// For each limit that was breached before, for how many sessions in a row it is breached if it is breached now.
pub(crate) fn ages(
    book: &Book,
    before: &NightBefore,
    as_of: NaiveDate,
) -> BTreeMap<PortfolioId, BTreeMap<String, u64>> {
    let schedule = &book.settings.schedule;
    let mut between: BTreeMap<NaiveDate, u64> = BTreeMap::new();
    let mut age = |earlier: &domain::night::Earlier<u64>| {
        let since = *between.entry(earlier.as_of).or_insert_with(|| {
            let first = earlier.as_of.succ_opt().unwrap_or(as_of);
            schedule.sessions(first, as_of).len() as u64
        });
        earlier.value.saturating_add(since.max(1))
    };
    let figures = before.breaches.iter().map(|(id, figures)| {
        let ages = figures.iter().map(|(figure, earlier)| (figure.clone(), age(earlier))).collect();
        (id.clone(), ages)
    });
    figures.collect()
}
