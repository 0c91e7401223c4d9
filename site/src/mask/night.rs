//! Nights, masked: ids are hashed on a redacted site, messages of errors are templates, and other messages, symbols, figures
//! and names of people are withheld.

use std::collections::{BTreeMap, BTreeSet};

use domain::ids::PortfolioId;
use domain::night::editions::{Edition, Why};
use domain::night::{
    Acceptance, ControlResult, ControlValue, Failure, Night, NightCause, NightControl, NightHead, PortfolioOutcome,
};

use super::Mask;
use crate::text::visible;

impl Mask {
    /// A whole night.
    pub(crate) fn night(&self, night: Night) -> Night {
        let ids = |ids: BTreeSet<PortfolioId>| ids.iter().map(|id| self.id(id)).collect();
        Night {
            outcomes: night.outcomes.into_iter().map(|(id, one)| (self.id(&id), self.outcome(one))).collect(),
            absent: ids(night.absent),
            closed: night.closed.into_iter().map(|(id, date)| (self.id(&id), date)).collect::<BTreeMap<_, _>>(),
            causes: night.causes.into_iter().map(|cause| self.cause(cause)).collect(),
            controls: night.controls.into_iter().map(|control| self.control(control)).collect(),
            editions: night.editions.into_iter().map(|edition| self.edition(edition)).collect(),
            ..night
        }
    }

    /// The head of a night.
    pub(crate) fn night_head(&self, mut head: NightHead) -> NightHead {
        head.absent = self.ids(&head.absent);
        head.causes = head.causes.into_iter().map(|cause| self.cause(cause)).collect();
        head.controls = head.controls.into_iter().map(|control| self.control(control)).collect();
        head.editions = head.editions.into_iter().map(|edition| self.edition(edition)).collect();
        head.acceptances = head.acceptances.into_iter().map(|acceptance| self.acceptance(acceptance)).collect();
        head
    }

    fn ids(&self, ids: &[PortfolioId]) -> Vec<PortfolioId> {
        let mut masked: Vec<PortfolioId> = ids.iter().map(|id| self.id(id)).collect();
        masked.sort();
        masked
    }

    fn outcome(&self, mut outcome: PortfolioOutcome) -> PortfolioOutcome {
        for failure in outcome.jobs.iter_mut().filter_map(|job| job.failure.as_mut()) {
            self.failure(failure);
        }
        outcome
    }

    fn failure(&self, failure: &mut Failure) {
        let known = if self.redacted { &failure.masked } else { &failure.message };
        failure.message = self.message(known, &[]);
        failure.masked = self.message(&failure.masked, &[]);
    }

    fn cause(&self, mut cause: NightCause) -> NightCause {
        cause.message = self.cause_message(&cause.message, &cause.portfolios);
        cause.portfolios = self.ids(&cause.portfolios);
        if self.redacted {
            cause.locations.clear();
        }
        cause
    }

    /// A control result of a night or of a run. A date that it saw tells nothing; a number may be an amount, and a text a
    /// symbol.
    pub(super) fn control_result(&self, result: &mut ControlResult) {
        result.message = self.text(&result.message);
        result.portfolio_id = result.portfolio_id.as_ref().map(|id| self.id(id));
        result.symbol = result.symbol.take().filter(|_| !self.redacted).map(|symbol| self.text(&symbol));
        for value in [&mut result.observed, &mut result.limit] {
            *value = match value.take() {
                Some(ControlValue::Date(date)) => Some(ControlValue::Date(date)),
                Some(_) if self.redacted => None,
                Some(ControlValue::Text(text)) => Some(ControlValue::Text(self.text(&text))),
                other => other,
            };
        }
    }

    fn control(&self, mut control: NightControl) -> NightControl {
        self.control_result(&mut control.result);
        if let Some(accepted) = &mut control.accepted {
            accepted.author = self.text(&accepted.author);
            accepted.note = self.text(&accepted.note);
        }
        control
    }

    /// An edition. Its figures, closes, lots and equities are what a redacted site withholds.
    fn edition(&self, mut edition: Edition) -> Edition {
        edition.portfolios = self.ids(&edition.portfolios);
        if self.redacted {
            edition.changed.clear();
            edition.why = Why::UNKNOWN;
            return edition;
        }
        for figure in &mut edition.changed {
            figure.figure = visible(&figure.figure);
        }
        if let Why::Changes(changes) = &mut edition.why {
            let symbols = changes.closes.iter_mut().map(|close| &mut close.symbol);
            let symbols = symbols.chain(changes.lots.iter_mut().map(|lots| &mut lots.symbol));
            for text in symbols.chain(&mut changes.settings) {
                *text = visible(text);
            }
        }
        edition
    }

    fn acceptance(&self, mut acceptance: Acceptance) -> Acceptance {
        acceptance.portfolio = acceptance.portfolio.as_ref().map(|id| self.id(id));
        acceptance.author = self.text(&acceptance.author);
        acceptance.note = self.text(&acceptance.note);
        acceptance
    }
}
