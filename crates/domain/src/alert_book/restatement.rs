//! The message about a run that changed figures which were recorded before.

use chrono::{DateTime, Utc};

use super::AlertBook;
use super::changes::mutes_of;
use super::decide::NightFacts;
use crate::alert_message::{AlertKind, AlertMessage, NAMED_PORTFOLIOS, SCHEMA, dedup_key, plural};
use crate::alert_rules::{AlertRules, Mute, Severity, muted_until};
use crate::ids::CauseId;
use crate::night::NightKey;
use crate::night::editions::{Edition, RestatedFigure, Why};

/// Changed figures, and changed inputs, that a message names.
const MOST_NAMED: usize = 5;

/// The message about the edition that a run made, if it made one. The same run again returns nothing.
///
/// A mute of `restatement`, or of each restated portfolio, suppresses the message for good: the night page and the feed
/// show the edition. `base` is the address of the site.
pub fn decide_restated(
    book: &mut AlertBook,
    facts: &NightFacts<'_>,
    rules: &AlertRules,
    base: &str,
    now: DateTime<Utc>,
) -> Option<AlertMessage> {
    let (summary, night) = (facts.summary, facts.night);
    let run = summary.batch_run_id;
    let edition = night.editions.iter().find(|edition| edition.batch_run_id == run)?;
    let alert_id = format!("{run}/restatement");
    if book.decided.contains(&alert_id) {
        return None;
    }
    book.decided.push(alert_id.clone());
    book.tidy(now);
    let cause = CauseId::named(CauseId::RESTATEMENT);
    let mutes = mutes_of(book, rules, &std::collections::BTreeMap::new());
    let mutes: Vec<&Mute> = mutes.iter().collect();
    if muted_until(&mutes, &cause, &edition.portfolios, now).is_some() {
        return None;
    }
    let key = NightKey { series: night.night_series.clone(), as_of: night.as_of };
    let counted = counted(edition);
    let first = edition.changed.first().map(|first| format!(": {}", change(first))).unwrap_or_default();
    Some(AlertMessage {
        schema: SCHEMA.to_owned(),
        alert_id,
        attempt: 1,
        kind: AlertKind::Restatement,
        severity: Severity::Info,
        created_at: now,
        // It opens nothing, so that nothing has to close its key.
        dedup_key: dedup_key(&book.schedule, [&cause]),
        schedule: summary.schedule.clone(),
        night_series: Some(book.schedule.clone()),
        batch_run_id: run,
        as_of: night.as_of,
        status: night.verdict.status(),
        night_verdict: Some(night.verdict),
        title: format!("{} {} restated, {counted}{first}", summary.schedule, night.as_of),
        verdict: format!("Edition {} of the night of {} changes {counted}.", edition.number, night.as_of),
        top_causes: Vec::new(),
        causes: 0,
        portfolios: edition.portfolios.iter().take(NAMED_PORTFOLIOS).cloned().collect(),
        portfolios_affected: edition.portfolios.len() as u64,
        recovered: Vec::new(),
        notes: notes(edition),
        page: format!("{}/{}", base.trim_end_matches('/'), key.page()),
        rerun: None,
        edition: Some(edition.number),
    })
}

/// "3 recorded figures of 2 portfolios".
fn counted(edition: &Edition) -> String {
    let portfolios = plural(edition.portfolios.len() as u64, "portfolio");
    format!("{} of {portfolios}", plural(edition.changed_count, "recorded figure"))
}

/// The first changed figures, then why.
fn notes(edition: &Edition) -> Vec<String> {
    let mut notes: Vec<String> = edition.changed.iter().take(MOST_NAMED).map(change).collect();
    let more = edition.changed_count.saturating_sub(notes.len() as u64);
    if more > 0 {
        notes.push(plural(more, "more changed figure"));
    }
    notes.extend(why(&edition.why));
    notes
}

fn why(why: &Why) -> Vec<String> {
    let mut lines = why.lines(&|value| digits(value, 10));
    if lines.is_empty() {
        return vec!["Why: unknown; the pinned inputs of the runs could not be compared".to_owned()];
    }
    let more = lines.len().saturating_sub(MOST_NAMED);
    lines.truncate(MOST_NAMED);
    let mut lines: Vec<String> = lines.into_iter().map(|line| format!("Why: {line}")).collect();
    if more > 0 {
        lines.push(format!("Why: {}", plural(more as u64, "more change")));
    }
    lines
}

/// `p1 daily_pnl -6,869 -> -97,887`: as few digits as tell the two apart.
fn change(figure: &RestatedFigure) -> String {
    let pair = |significant: usize| (digits(figure.was, significant), digits(figure.now, significant));
    let (was, now) = (4..=17).map(pair).find(|(was, now)| was != now).unwrap_or_else(|| pair(17));
    format!("{} {} {was} -> {now}", figure.portfolio_id, figure.figure)
}

/// A number with at least this many significant digits, all digits before the point, and thousands separators.
fn digits(value: f64, significant: usize) -> String {
    let before_point = if value == 0.0 { 1 } else { value.abs().log10().floor() as i64 + 1 };
    let decimals = usize::try_from(significant as i64 - before_point).unwrap_or(0).min(17);
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (whole, rest) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let rest = rest.map(|rest| format!(".{rest}")).unwrap_or_default();
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobName, PortfolioId};

    #[test]
    fn a_changed_figure_shows_the_digits_that_tell_its_values_apart() {
        let text = |was, now| {
            change(&RestatedFigure {
                portfolio_id: PortfolioId::new("p1").unwrap(),
                job: JobName::new("portfolio_snapshot").unwrap(),
                figure: "daily_pnl".to_owned(),
                was,
                now,
            })
        };
        assert_eq!(text(-6_869.12, -97_887.4), "p1 daily_pnl -6,869 -> -97,887");
        assert_eq!(text(1_234_567.891, 1_234_567.892), "p1 daily_pnl 1,234,567.891 -> 1,234,567.892");
        assert_eq!(text(0.0, 0.182_345), "p1 daily_pnl 0 -> 0.1823");
        assert_eq!(text(100.0, 1e-9), "p1 daily_pnl 100 -> 0.000000001");
    }
}
