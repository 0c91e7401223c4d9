//! Control results as pages list them.

use std::collections::BTreeSet;

use domain::ids::PortfolioId;
use domain::night::{Control, ControlValue, Level, NightControl};
use serde::Serialize;

use super::{Named, Stamp};
use crate::text::with_decimals;

/// Who accepted a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AcceptedLine {
    pub(crate) author: String,
    pub(crate) note: String,
    pub(crate) at: Stamp,
}

/// One control result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ControlLine {
    pub(crate) control: &'static str,
    pub(crate) level: &'static str,
    pub(crate) class: &'static str,
    pub(crate) glyph: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) portfolio: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) symbol: Option<String>,
    pub(crate) observed: String,
    pub(crate) limit: String,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) accepted: Option<AcceptedLine>,
}

/// Control results with what was cut off.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Controls {
    pub(crate) lines: Vec<ControlLine>,
    pub(crate) more: u64,
    pub(crate) failed: u64,
    pub(crate) warned: u64,
    pub(crate) accepted: u64,
}

impl Controls {
    /// These results, those that count first; at most so many lines.
    pub(crate) fn of<'a>(
        controls: impl IntoIterator<Item = &'a NightControl>,
        with_page: &BTreeSet<PortfolioId>,
        most: usize,
    ) -> Self {
        let mut sorted: Vec<&NightControl> = controls.into_iter().collect();
        // Stable: the worst come first already.
        sorted.sort_by_key(|control| control.accepted.is_some());
        let open = |level| sorted.iter().filter(|c| c.accepted.is_none() && c.result.level == level).count() as u64;
        Self {
            failed: open(Level::Failure),
            warned: open(Level::Warning),
            accepted: sorted.iter().filter(|control| control.accepted.is_some()).count() as u64,
            more: sorted.len().saturating_sub(most) as u64,
            lines: sorted.iter().take(most).map(|control| line(control, with_page)).collect(),
        }
    }

    /// The counts in words: `1 failed, 2 warn, 1 accepted`.
    pub(crate) fn text(&self) -> String {
        let named = |n: u64, word: &str| (n > 0).then(|| format!("{n} {word}"));
        let warn = if self.warned == 1 { "warns" } else { "warn" };
        let all = [named(self.failed, "failed"), named(self.warned, warn), named(self.accepted, "accepted")];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

fn line(control: &NightControl, with_page: &BTreeSet<PortfolioId>) -> ControlLine {
    let result = &control.result;
    let (class, glyph, level) = match (result.level, &control.accepted) {
        (Level::Ok, _) => ("ok", "✓", "ok"),
        (_, Some(_)) => ("none", "✓", "accepted"),
        (Level::Warning, None) => ("warn", "!", "warns"),
        (Level::Failure, None) => ("bad", "✕", "failed"),
    };
    ControlLine {
        control: result.control.as_str(),
        level,
        class,
        glyph,
        portfolio: result.portfolio_id.as_ref().map(|id| Named { id: id.to_string(), link: with_page.contains(id) }),
        symbol: result.symbol.clone().or_else(|| result.figure.clone()),
        observed: result.observed.as_ref().map_or_else(String::new, |seen| value(result.control, seen)),
        limit: result.limit.as_ref().map_or_else(String::new, |limit| value(result.control, limit)),
        message: result.message.clone(),
        accepted: control.accepted.as_ref().map(|accepted| AcceptedLine {
            author: accepted.author.clone(),
            note: accepted.note.clone(),
            at: Stamp::of(accepted.at),
        }),
    }
}

/// A share in per cent, any other number with at most four decimals.
fn value(control: Control, value: &ControlValue) -> String {
    match value {
        ControlValue::Date(date) => date.to_string(),
        ControlValue::Text(text) => text.clone(),
        ControlValue::Number(share) if control.is_share() => format!("{} %", short(share * 100.0, 2)),
        ControlValue::Number(number) => short(*number, 4),
    }
}

/// At most so many decimals, without trailing zeros, with a true minus.
fn short(number: f64, decimals: usize) -> String {
    let text = with_decimals(number, decimals);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
