//! The one place through which texts of others come in: withheld on a redacted site, made visible on any other.

mod night;

use std::sync::Arc;

use domain::ids::{ContentHash, PortfolioId};
use domain::ports::{DATA_DAYS, FailureSighting, PortfolioRun};
use domain::record::{JobRecord, Quality, RecordedError};
use domain::run::{AbandonReason, Abandoned, Publication, Run};
use domain::summary::RunSummary;
use domain::template::template;
use domain::work_item::WorkItem;

use crate::options::Card;
use crate::text::visible;

/// What stands in place of a text that is withheld.
pub(crate) const WITHHELD: &str = "(withheld)";

/// How texts come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mask {
    /// Whether names, ids, money and messages are withheld.
    pub(crate) redacted: bool,
    /// What ids are hashed with.
    pub(crate) key: Arc<str>,
}

/// Results in brief that are counts of things, and so tell no money.
const COUNTS: [&str; 6] = [
    "without_price",
    "stale_prices",
    "positions_left_out",
    "run_symbols",
    "run_symbols_without_prices",
    "not_computed",
];
/// Texts among the results in brief that pages show.
const WORDS: [&str; 1] = ["worst_case_scenario"];
/// Triggers that tell nothing.
const TRIGGERS: [&str; 5] = ["schedule", "manual", "cli", "rerun", "demo"];

impl Mask {
    /// A text that may name a portfolio, a symbol or money.
    pub(crate) fn text(&self, text: &str) -> String {
        if self.redacted { WITHHELD.to_owned() } else { visible(text) }
    }

    /// The message of an error. On a redacted site only its template; `known` are names and ids that may be in it.
    fn message(&self, message: &str, known: &[&str]) -> String {
        if self.redacted { template(message, known) } else { visible(message) }
    }

    /// The message of a cause, in which the ids of its portfolios may stand.
    fn cause_message(&self, message: &str, portfolios: &[PortfolioId]) -> String {
        self.message(message, &portfolios.iter().map(PortfolioId::as_str).collect::<Vec<_>>())
    }

    /// The id as pages and paths show it.
    pub(crate) fn id(&self, id: &PortfolioId) -> PortfolioId {
        if !self.redacted {
            return id.clone();
        }
        let hash = ContentHash::of(format!("portfolio {} {id}", self.key).as_bytes());
        PortfolioId::new(format!("p-{}", hash.short())).unwrap_or_else(|_| unreachable!("hex digits are an id"))
    }

    /// The name beside an id.
    pub(crate) fn name(&self, id: &PortfolioId, name: &str) -> String {
        if self.redacted { self.id(id).to_string() } else { visible(name) }
    }

    /// What started a run: a name given by hand may be that of somebody.
    fn trigger(&self, text: &str) -> String {
        if self.redacted && !TRIGGERS.contains(&text) { "by hand".to_owned() } else { visible(text) }
    }

    /// What the book says of a portfolio.
    pub(crate) fn card(&self, card: &Card) -> Card {
        if self.redacted {
            return Card::default();
        }
        Card {
            currency: visible(&card.currency),
            owner: card.owner.as_deref().map(visible),
            tags: card.tags.iter().map(|tag| visible(tag)).collect(),
            runbook_url: card.runbook().map(visible),
        }
    }

    /// A cause in a run.
    pub(crate) fn sighting(&self, mut sighting: FailureSighting) -> FailureSighting {
        sighting.message = self.cause_message(&sighting.message, &sighting.portfolios);
        for id in &mut sighting.portfolios {
            *id = self.id(id);
        }
        sighting
    }

    fn error(&self, error: &mut RecordedError) {
        // The ids of the portfolio are known where the error was recorded, and masked there already.
        let recorded = if self.redacted { error.masked() } else { error.message.clone() };
        error.message = self.message(&recorded, &[]);
        // It groups failures and is for no reader.
        error.masked = None;
        error.chain = if self.redacted { Vec::new() } else { error.chain.iter().map(|c| visible(c)).collect() };
    }

    fn quality(&self, quality: &mut Quality) {
        if self.redacted {
            quality.symbols_missing.clear();
            quality.notes.clear();
        }
        for text in quality.symbols_missing.iter_mut().chain(quality.notes.iter_mut()) {
            *text = visible(text);
        }
    }

    pub(crate) fn record(&self, mut record: JobRecord) -> JobRecord {
        record.portfolio_name = self.name(&record.portfolio_id, &record.portfolio_name);
        record.portfolio_id = self.id(&record.portfolio_id);
        record.job_metadata.retain(|name, value| {
            let told = COUNTS.contains(&name.as_str());
            match value {
                serde_json::Value::Number(_) => told || !self.redacted,
                serde_json::Value::String(text) if WORDS.contains(&name.as_str()) => {
                    *text = visible(text);
                    !self.redacted
                }
                _ => false,
            }
        });
        if let Some(progress) = &mut record.progress {
            progress.item = self.text(&progress.item);
        }
        if let Some(error) = &mut record.error {
            self.error(error);
        }
        if let Some(because) = &mut record.skipped_because {
            because.reason =
                if self.redacted { format!("{} did not succeed", because.job) } else { visible(&because.reason) };
        }
        if let Some(quality) = &mut record.quality {
            self.quality(quality);
        }
        record
    }

    pub(crate) fn item(&self, mut item: WorkItem) -> WorkItem {
        item.portfolio_name = self.name(&item.key.portfolio, &item.portfolio_name);
        item.key.portfolio = self.id(&item.key.portfolio);
        if let Some(progress) = item.in_hand.as_mut().and_then(|hand| hand.progress.as_mut()) {
            progress.item = self.text(&progress.item);
        }
        item.records = item.records.into_iter().map(|record| self.record(record)).collect();
        item
    }

    pub(crate) fn run(&self, mut run: Run) -> Run {
        run.trigger = self.trigger(&run.trigger);
        for id in &mut run.filter {
            *id = self.id(id);
        }
        if let Some(plan) = &mut run.plan {
            plan.market_data.metadata.clear();
            if let Some(error) = &mut plan.market_data.error {
                self.error(error);
            }
            if let Some(quality) = &mut plan.market_data.quality {
                self.quality(quality);
            }
        }
        self.abandoned(run.abandoned.as_mut());
        if let Some(error) = &mut run.planning_error {
            self.error(error);
        }
        // How the site stands is no part of the site: else a page would change by being published.
        run.publication = Publication::Pending;
        run
    }

    fn abandoned(&self, abandoned: Option<&mut Abandoned>) {
        if let Some(Abandoned { reason: AbandonReason::Inputs { error }, .. }) = abandoned {
            self.error(error);
        }
    }

    pub(crate) fn summary(&self, mut summary: RunSummary) -> RunSummary {
        summary.trigger = self.trigger(&summary.trigger);
        summary.publication = Publication::Pending;
        self.abandoned(summary.abandoned.as_mut());
        for cluster in &mut summary.failures {
            cluster.message = self.cause_message(&cluster.message, &cluster.portfolios);
            for id in &mut cluster.portfolios {
                *id = self.id(id);
            }
            cluster.portfolios.sort();
        }
        for result in &mut summary.controls {
            self.control_result(result);
        }
        summary
    }

    pub(crate) fn portfolio_run(&self, id: &PortfolioId, mut run: PortfolioRun) -> PortfolioRun {
        run.portfolio_name = self.name(id, &run.portfolio_name);
        if self.redacted {
            for cell in &mut run.cells {
                cell.figures.retain(|name, _| DATA_DAYS.contains(&name.as_str()));
            }
        }
        run
    }
}
