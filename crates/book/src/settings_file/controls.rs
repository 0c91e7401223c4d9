//! `[controls]` and `[freshness]`: the limits of the controls, and what to do about late prices.

use std::ops::Range;

use domain::night::Control;
use toml::de::DeValue;

use super::values::kind;
use super::walk::{Entry, Key, Walk, entries, key, names_of};
use super::{Draft, Table};
use crate::schedule;
use crate::settings::{ControlKind, ControlRule, OnStale, Settings, Side, kind_of};
use crate::value;

/// The names of the controls, in the order in which messages list them.
pub(super) fn names() -> Vec<&'static str> {
    Control::ALL.iter().map(|control| control.as_str()).collect()
}

/// What the table of one control says.
#[derive(Default)]
struct RuleDraft {
    rule: ControlRule,
    most: f64,
}

const RULE: &[Key<RuleDraft>] = &[
    key("warn", |walk, entry, draft| draft.rule.warn = walk.limit(entry, draft.most).or(draft.rule.warn)),
    key("fail", |walk, entry, draft| draft.rule.fail = walk.limit(entry, draft.most).or(draft.rule.fail)),
];

pub(super) const FRESHNESS: &[Key<Draft>] = &[
    key("on_stale", |walk, entry, draft| {
        if let Some(word) = walk.choice(entry.key, entry.value, &["judge", "wait"]) {
            draft.settings.freshness.on_stale = if word == "wait" { OnStale::Wait } else { OnStale::Judge };
            draft.wrote.wait.get_or_insert(entry.value.span());
        }
    }),
    key("wait_until", |walk, entry, draft| {
        if let Some(time) = walk.time_of_day(entry) {
            draft.settings.freshness.wait_until = time;
            draft.wrote.wait = Some(entry.value.span());
        }
    }),
    key("lag", |walk, entry, draft| walk.lags(entry, draft)),
];

impl Walk<'_> {
    /// Reads `[controls]`.
    pub(super) fn controls(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let Some(table) = self.section_table(entry) else { return };
        for entry in entries(table) {
            let Some(control) = Control::ALL.iter().copied().find(|control| control.as_str() == entry.key) else {
                self.unknown_key("controls", &entry, &names());
                continue;
            };
            let kind = kind_of(control);
            if let Some(rule) = self.control_rule(&entry, &kind) {
                draft.settings.controls.set(control, rule);
                if control == Control::Limits && rule.fail.is_some() {
                    self.warn(
                        &entry.key_span,
                        "`fail` has no effect: a limit of [[limits]] fails where it is breached",
                    );
                }
                if !kind.evaluated {
                    self.warn(&entry.key_span, format!("this release does not evaluate the control `{control}` yet"));
                }
            }
        }
    }

    fn control_rule(&mut self, entry: &Entry<'_, '_>, known: &ControlKind) -> Option<ControlRule> {
        let span = entry.value.span();
        let unit = if known.unit.is_empty() { String::new() } else { format!(" ({})", known.unit) };
        let wanted = format!("`{}` must be \"off\", or its limits as  {{ warn = x, fail = y }}{unit}", entry.key);
        match entry.value.get_ref() {
            DeValue::String(word) if word.trim() == "off" => Some(ControlRule { off: true, ..ControlRule::default() }),
            DeValue::Table(table) => self.control_limits(entry, table, known),
            DeValue::String(_) => {
                self.error(&span, wanted);
                None
            }
            other => {
                let found = kind(other);
                self.error(&span, format!("{wanted}, not {found}"));
                None
            }
        }
    }

    fn control_limits(&mut self, entry: &Entry<'_, '_>, table: &Table<'_>, known: &ControlKind) -> Option<ControlRule> {
        let span = entry.value.span();
        let mut draft = RuleDraft { most: known.most, ..RuleDraft::default() };
        self.keys(&format!("controls.{}", entry.key), table, RULE, &mut draft);
        let rule = draft.rule;
        if table.is_empty() {
            self.error(&span, format!("`{}` has no limit; allowed are {}", entry.key, names_of(RULE).join(", ")));
            return None;
        }
        let (warn, fail) = (rule.warn.or(known.limits.warn), rule.fail.or(known.limits.fail));
        let (Some(warn), Some(fail), true) = (warn, fail, known.comparable) else { return Some(rule) };
        let (wrong, where_to) = match known.limits.side {
            Side::Above => (warn > fail, "up to"),
            Side::Below => (warn < fail, "from"),
        };
        if wrong {
            let message = format!(
                "`{}` fails at {fail} before it warns at {warn}; `warn` must be {where_to} {fail}, the limit of a failure",
                entry.key
            );
            self.error(&span, message);
            return None;
        }
        Some(rule)
    }

    fn limit(&mut self, entry: &Entry<'_, '_>, most: f64) -> Option<f64> {
        let mut limit = f64::NAN;
        self.number(entry.key, entry.value, 0.0..=most, &mut limit);
        limit.is_finite().then_some(limit)
    }

    /// `[freshness.lag]`, whose keys are symbols.
    fn lags(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let DeValue::Table(table) = entry.value.get_ref() else {
            let found = kind(entry.value.get_ref());
            self.error(&entry.value.span(), format!("`lag` must be a table of symbols and sessions, not {found}"));
            return;
        };
        for symbol in entries(table) {
            if value::parse_symbol(symbol.key.as_bytes()).is_none() {
                self.error(&symbol.key_span, format!("not a symbol; allowed are {}", value::SYMBOL_ALLOWED));
            } else if let Some(sessions) = self.whole_number(symbol.key, symbol.value, &(0..=250)) {
                draft.settings.freshness.lag.insert(symbol.key.to_owned(), sessions);
            }
        }
    }

    /// A slot can wait only for a time that lies after it.
    pub(super) fn wait_after_slot(&mut self, span: &Range<usize>, settings: &Settings) {
        let (schedule, until) = (&settings.schedule, settings.freshness.wait_until);
        if settings.freshness.on_stale != OnStale::Wait {
            return;
        }
        let mut after = super::schedule::probe_start();
        for _ in 0..200 {
            let Some(slot) = schedule::next_slot(schedule, after) else { break };
            let local = slot.with_timezone(&schedule.timezone).time();
            if until <= local {
                let message = format!(
                    "`wait_until` is {} and a slot comes at {}; it must be later on the same day, in {}",
                    until.format("%H:%M"),
                    local.format("%H:%M"),
                    schedule.timezone
                );
                self.error(span, message);
                return;
            }
            after = slot;
        }
        self.warn(span, "this release does not wait yet: a slot runs at its time, and the controls judge its prices");
    }
}

#[cfg(test)]
mod tests {
    use domain::night::Control;

    use super::super::tests::parse;
    use crate::settings::OnStale;

    #[test]
    fn limits_and_off_are_read() {
        let (settings, errors, warnings) = parse(
            "[controls]\nfreshness = { warn = 0.95, fail = 0.5 }\norphans = \"off\"\nequity = { fail = 1 }\n\
             [freshness]\non_stale = \"wait\"\nwait_until = \"22:15\"\n[freshness.lag]\nVFIAX = 2\n\"VOD.L\" = 0\n",
        );
        assert_eq!(errors, Vec::<String>::new());
        assert!(warnings[0].contains("this release does not wait yet"), "{warnings:?}");
        let freshness = settings.controls.limits(Control::Freshness).unwrap();
        assert_eq!((freshness.warn, freshness.fail), (Some(0.95), Some(0.5)));
        assert_eq!(settings.controls.limits(Control::Orphans), None);
        assert_eq!(settings.controls.limits(Control::Equity).unwrap().warn, Some(0.05));
        assert_eq!(settings.freshness.on_stale, OnStale::Wait);
        assert_eq!(settings.freshness.wait_until.to_string(), "22:15:00");
        assert_eq!(settings.freshness.lag.values().copied().collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn all_errors_come_at_once_each_with_its_place() {
        let (_, errors, _) = parse(
            "[controls]\nfreshnes = \"off\"\nfreshness = { warn = 0.5 }\nunchanged = \"on\"\npositions = 3\n\
             orphans = {}\nequity = { warn = -1, limit = 2 }\nunchanged2 = \"off\"\n[freshness]\non_stale = \"weit\"\n\
             wait_until = \"9 pm\"\n[freshness.lag]\nVFIAX = 1.5\n",
        );
        for (at, wanted) in [
            "2:1: freshnes: unknown key `controls.freshnes`; did you mean `freshness`?",
            "3:13: { warn = 0.5 }: `freshness` fails at 0.9 before it warns at 0.5; `warn` must be from 0.9",
            "4:13: \"on\": `unchanged` must be \"off\", or its limits as  { warn = x, fail = y } (a share of value)",
            "5:13: 3: `positions` must be \"off\", or its limits as  { warn = x, fail = y } (a share of rows), not a whole number",
            "6:11: {}: `orphans` has no limit; allowed are warn, fail",
            "7:19: -1: `warn` must be a number from 0 to 100",
            "7:23: limit: unknown key `controls.equity.limit`",
            "8:1: unchanged2: unknown key `controls.unchanged2`; did you mean `unchanged`?",
            "10:12: \"weit\": `on_stale` must be one of judge, wait",
            "11:14: \"9 pm\":",
            "13:9: 1.5: `VFIAX` must be a whole number from 0 to 250",
        ]
        .iter()
        .enumerate()
        {
            assert!(errors.get(at).is_some_and(|error| error.starts_with(wanted)), "wanted {wanted}\n{errors:#?}");
        }
        assert_eq!(errors.len(), 11, "{errors:#?}");
    }

    #[test]
    fn a_control_of_a_later_release_is_read_with_a_warning() {
        let (settings, errors, warnings) = parse("[controls]\nmark_age = { warn = 30 }\n");
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(settings.controls.limits(Control::MarkAge).unwrap().warn, Some(30.0));
        assert!(warnings[0].starts_with("2:1: mark_age: this release does not evaluate"), "{warnings:?}");
    }

    #[test]
    fn a_slot_cannot_wait_for_a_time_before_it() {
        let errors = |until: &str, stale: &str| {
            parse(&format!(
                "[schedule]\ncron = \"30 20 * * 1-5\"\n[freshness]\non_stale = \"{stale}\"\nwait_until = \"{until}\"\n"
            ))
            .1
        };
        assert_eq!(errors("20:31", "wait"), Vec::<String>::new());
        let error = errors("20:30", "wait");
        assert!(error[0].starts_with("5:14: \"20:30\": `wait_until` is 20:30 and a slot comes at 20:30;"), "{error:?}");
        assert_eq!(errors("20:30", "judge"), Vec::<String>::new());
        let (_, late, _) = parse("[schedule]\ncron = \"0 22 * * 1-5\"\n[freshness]\non_stale = \"wait\"\n");
        assert!(late[0].starts_with("4:12: \"wait\": `wait_until` is 21:00 and a slot comes at 22:00;"), "{late:?}");
    }
}
