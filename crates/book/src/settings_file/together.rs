//! What settings must be to each other, once all of the file is read.

use std::ops::Range;

use chrono::NaiveDate;

use super::Draft;
use super::walk::Walk;
use crate::settings::{Scenario, Settings};
use crate::value;

/// Where settings stand that are checked against others.
#[derive(Default)]
pub(super) struct Wrote {
    pub(super) cron: Option<Range<usize>>,
    pub(super) close: Option<Range<usize>>,
    pub(super) closed: Vec<(NaiveDate, Range<usize>)>,
    pub(super) open: Vec<(NaiveDate, Range<usize>)>,
    pub(super) rates_factor: Option<Range<usize>>,
    pub(super) factor_window: Option<Range<usize>>,
    pub(super) correlation_window: Option<Range<usize>>,
    pub(super) factors: Option<Range<usize>>,
    pub(super) scenarios: bool,
    pub(super) shocks: Vec<(String, Range<usize>)>,
    pub(super) wait: Option<Range<usize>>,
    pub(super) limits: Vec<(String, Range<usize>)>,
}

impl Walk<'_> {
    /// Checks the settings against each other.
    pub(super) fn together(&mut self, draft: &Draft) {
        let Draft { settings, wrote, .. } = draft;
        self.windows(settings, wrote);
        self.factors_named(settings, wrote);
        self.figures_recorded(settings, &wrote.limits);
        self.sessions_together(wrote, &settings.schedule);
        if let Some(span) = &wrote.cron {
            self.night_hours(span, &settings.schedule);
        }
        if let Some(span) = &wrote.wait {
            self.wait_after_slot(span, settings);
        }
    }

    fn windows(&mut self, settings: &Settings, wrote: &Wrote) {
        let (window, least) = (settings.factor_analysis.window, settings.factor_analysis.min_observations);
        if let Some(span) = wrote.factor_window.as_ref().filter(|_| least > window) {
            self.error(
                span,
                format!("min_observations is {least} and window {window}; no window could ever have enough"),
            );
        }
        let (window, least) = (settings.correlations.window, settings.correlations.min_overlap);
        if let Some(span) = wrote.correlation_window.as_ref().filter(|_| least > window) {
            self.error(span, format!("min_overlap is {least} and window {window}; no window could ever have enough"));
        }
    }

    /// Scenarios, rates and market risk name factors.
    fn factors_named(&mut self, settings: &Settings, wrote: &Wrote) {
        let has = |name: &str| settings.factors.iter().any(|factor| factor.name == name);
        let names: Vec<&str> = settings.factors.iter().map(|factor| factor.name.as_str()).collect();
        for (factor, span) in &wrote.shocks {
            if !has(factor) {
                let near = value::hint(factor, names.iter().copied());
                self.warn(span, format!("the book has no such factor{near}; this scenario is not computed"));
            }
        }
        if !wrote.scenarios {
            let lost = |scenario: &&Scenario| scenario.shocks.iter().any(|shock| !has(&shock.factor));
            let count = settings.scenarios.iter().filter(lost).count();
            if count > 0 {
                let all = settings.scenarios.len();
                self.warn_file(format!(
                    "{count} of the {all} scenarios built in shock factors that [factors] does not name; they are not computed"
                ));
            }
        }
        if let Some(span) = wrote.rates_factor.as_ref().filter(|_| !has(&settings.rates.factor)) {
            let near = value::hint(&settings.rates.factor, names.iter().copied());
            self.warn(span, format!("the book has no such factor{near}; no shock is taken for a change of yield"));
        }
        if let Some(span) = wrote.factors.as_ref().filter(|_| !has("Market")) {
            self.warn(span, "no factor named `Market`: market_risk_scenarios has nothing to move");
        }
    }
}
