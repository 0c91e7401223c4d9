//! The sections that only the calculations read: `[rates]`, `[factor_analysis]`, `[correlations]`, `[snapshot]`,
//! `[greeks]` and `[market_risk]`.

use toml::de::DeValue;

use super::Draft;
use super::values::float;
use super::walk::{Entry, Key, Walk, key};
use crate::value;

pub(super) const RATES: &[Key<Draft>] = &[
    key("factor", |walk, entry, draft| {
        if let Some((text, span)) = walk.text(entry.key, entry.value) {
            draft.wrote.rates_factor = Some(span);
            draft.settings.rates.factor = text;
        }
    }),
    key("duration", |walk, entry, draft| {
        walk.number(entry.key, entry.value, 0.0..=100.0, &mut draft.settings.rates.duration);
    }),
];

pub(super) const FACTOR_ANALYSIS: &[Key<Draft>] = &[
    key("window", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 3..=5_000, &mut draft.settings.factor_analysis.window);
        draft.wrote.factor_window.get_or_insert(entry.value.span());
    }),
    key("min_observations", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 3..=5_000, &mut draft.settings.factor_analysis.min_observations);
        draft.wrote.factor_window = Some(entry.value.span());
    }),
    key("beta_cap", |walk, entry, draft| {
        let target = &mut draft.settings.factor_analysis.beta_cap;
        walk.number(entry.key, entry.value, f64::MIN_POSITIVE..=1_000.0, target);
    }),
];

pub(super) const CORRELATIONS: &[Key<Draft>] = &[
    key("window", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 3..=5_000, &mut draft.settings.correlations.window);
        draft.wrote.correlation_window.get_or_insert(entry.value.span());
    }),
    key("min_overlap", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 3..=5_000, &mut draft.settings.correlations.min_overlap);
        draft.wrote.correlation_window = Some(entry.value.span());
    }),
    key("min_position_value", |walk, entry, draft| {
        let target = &mut draft.settings.correlations.min_position_value;
        walk.number(entry.key, entry.value, 0.0..=value::MAX_NUMBER, target);
    }),
    key("min_weight", |walk, entry, draft| {
        walk.number(entry.key, entry.value, 0.0..=1.0, &mut draft.settings.correlations.min_weight);
    }),
    key("cluster_threshold", |walk, entry, draft| {
        walk.number(entry.key, entry.value, 0.0..=1.0, &mut draft.settings.correlations.cluster_threshold);
    }),
];

pub(super) const SNAPSHOT: &[Key<Draft>] = &[key("risk_window", |walk, entry, draft| {
    walk.whole(entry.key, entry.value, 2..=5_000, &mut draft.settings.snapshot.risk_window);
})];

pub(super) const GREEKS: &[Key<Draft>] = &[
    key("rate", |walk, entry, draft| {
        walk.number(entry.key, entry.value, -0.5..=1.0, &mut draft.settings.greeks.rate);
    }),
    key("default_volatility", |walk, entry, draft| {
        walk.number(entry.key, entry.value, 0.0001..=10.0, &mut draft.settings.greeks.default_volatility);
    }),
    key("dividend_yield", |walk, entry, draft| {
        walk.number(entry.key, entry.value, -0.5..=1.0, &mut draft.settings.greeks.dividend_yield);
    }),
];

pub(super) const MARKET_RISK: &[Key<Draft>] = &[key("moves", |walk, entry, draft| walk.moves(entry, draft))];

impl Walk<'_> {
    fn moves(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let value = entry.value;
        let wanted =
            "`moves` must be a list of 1 to 50 different fractions above -1 and up to 10, none of them 0; 0.05 is 5 %";
        let DeValue::Array(list) = value.get_ref() else {
            self.error(&value.span(), wanted);
            return;
        };
        let mut moves: Vec<f64> = Vec::new();
        for item in list {
            match float(item.get_ref()) {
                Some(change) if change > -1.0 && change <= 10.0 && change != 0.0 && !moves.contains(&change) => {
                    moves.push(change);
                }
                _ => self.error(&item.span(), wanted),
            }
        }
        if list.is_empty() || list.len() > 50 {
            self.error(&value.span(), wanted);
        } else {
            draft.settings.market_risk.moves = moves;
        }
    }
}
