//! `market_data_update`: whether the prices of the run are enough for this portfolio. Reading and pinning them is done
//! once per run, in [`crate::inputs`].

use std::collections::BTreeSet;

use book::Class;
use domain::record::{JobError, JobOutput};
use domain::words::{ErrorCategory, JobType};
use serde::Serialize;
use serde_json::json;

use crate::job_list::MARKET_DATA_UPDATE;
use crate::quality::{Findings, brief};
use crate::registry::{About, Input, Job};
use crate::shared::fresh_close;

/// The job.
#[derive(Debug)]
pub struct MarketDataUpdate;

/// Why the prices are not enough.
#[derive(Debug, thiserror::Error)]
pub enum MarketDataError {
    /// Not one public symbol has a price.
    #[error(
        "none of the {symbols} public symbols of portfolio {portfolio} has a close within {sessions} sessions of {as_of} (first: {first}): add newer prices to the book"
    )]
    NoPrices {
        /// Public symbols of the portfolio.
        symbols: usize,
        /// The portfolio.
        portfolio: String,
        /// The first of its symbols.
        first: String,
        /// Sessions that a price may be old.
        sessions: u32,
        /// The trading date.
        as_of: chrono::NaiveDate,
    },
}

impl MarketDataError {
    /// The pinned prices will not change.
    #[must_use]
    pub fn category(&self) -> ErrorCategory {
        match self {
            Self::NoPrices { .. } => ErrorCategory::Permanent,
        }
    }
}

/// What later jobs need of it: nothing but that it succeeded.
#[derive(Debug, Serialize)]
pub struct Checked;

impl Job for MarketDataUpdate {
    const ABOUT: &'static About = &About {
        name: MARKET_DATA_UPDATE,
        job_type: JobType::MarketData,
        critical: true,
        needs: &[],
        run_level: true,
        section: None,
    };
    type Output = Checked;

    fn run(input: &Input<'_>) -> Result<(Checked, JobOutput), JobError> {
        let snapshot = &input.shared.snapshot;
        let window = snapshot.settings.factor_analysis.window;
        let sessions = snapshot.settings.run.price_max_age_sessions;
        let (mut public, mut underlyings, mut private) = (BTreeSet::new(), BTreeSet::new(), false);
        for holding in &input.portfolio.holdings {
            let instrument = &snapshot.instruments[holding.instrument];
            private |= instrument.class == Class::Private;
            if instrument.class == Class::Public {
                public.insert(instrument.symbol.as_str());
            }
            underlyings.extend(instrument.option.as_ref().map(|terms| terms.underlying.as_str()));
        }
        let needed: BTreeSet<&str> = public.union(&underlyings).copied().collect();
        let mut findings = Findings::new(window);
        let mut prices = 0;
        let mut priced_public = 0;
        for (done, symbol) in needed.iter().enumerate() {
            if done % 64 == 0 {
                input.context.progress(done as u64, needed.len() as u64, || {
                    format!("symbol {done}/{} {symbol}", needed.len())
                })?;
            }
            let at = snapshot.symbol(symbol);
            if let Some(at) = at.filter(|at| fresh_close(snapshot, *at).is_some()) {
                findings.used(input.shared.observed[at]);
                priced_public += usize::from(public.contains(symbol));
                prices += snapshot.closes_of(at).iter().filter(|close| close.is_finite()).count();
            } else {
                findings.left_out(symbol);
                findings.note(format!("{symbol} has no close within {sessions} sessions"));
            }
            if let Some(issues) = snapshot.price_issues.get(*symbol) {
                findings.limit(format!("price rows of {symbol} were left out: {}", issues.join("; ")));
            }
        }
        if let Some(first) = public.first().filter(|_| priced_public == 0) {
            let error = MarketDataError::NoPrices {
                symbols: public.len(),
                portfolio: input.portfolio.id.to_string(),
                first: (*first).to_owned(),
                sessions,
                as_of: snapshot.as_of,
            };
            return Err(JobError::from_error(error.category(), &error));
        }
        if needed.is_empty() && private {
            findings.nothing("no position has market prices: there is no measure of its risk");
        }
        for factor in &input.shared.factors_missing {
            findings.limit(format!("the factor {factor} is left out: its proxy has no prices"));
        }
        let missing = findings.missing().len();
        input.context.progress(needed.len() as u64, needed.len() as u64, || "done".to_owned())?;
        let metadata =
            [("symbols", json!(needed.len())), ("symbols_missing", json!(missing)), ("prices", json!(prices))];
        Ok((Checked, brief(needed.len(), findings.finish(), metadata)))
    }
}
