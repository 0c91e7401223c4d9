//! `feed.xml`: an Atom feed of the nights.

use chrono::DateTime;
use domain::ids::ContentHash;
use domain::night::Edition;
use serde::Serialize;

use super::editions::changed_texts;
use super::machine::ChainEnd;
use crate::days::{TradingDay, incidents};
use crate::options::SiteOptions;
use crate::text::{count, machine};

/// Entries of the feed, at most.
const MOST_ENTRIES: usize = 30;

/// Changed figures that an entry names.
const RESTATED: usize = 5;

/// An entry of the feed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FeedEntry {
    /// A permanent URN.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) published: String,
    pub(crate) updated: String,
    pub(crate) category: &'static str,
    pub(crate) link: Option<String>,
    pub(crate) summary: String,
}

/// `feed.xml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FeedView {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) updated: String,
    pub(crate) own: Option<String>,
    pub(crate) home: String,
    pub(crate) entries: Vec<FeedEntry>,
    /// The newest link of the chain of closed runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newest_link: Option<ChainEnd>,
}

/// The feed of these nights, newest first.
///
/// A run that changed recorded figures has an entry. Every night is in one entry: a good one in an entry of its own, which a later run of the night updates; the others in
/// the incident that they are part of, which is updated with each of them and when it is over. `more_before`: whether
/// there are older nights.
pub(crate) fn feed(days: &[TradingDay], options: &SiteOptions, more_before: bool) -> FeedView {
    let base = options.base_url.as_ref().map(|base| format!("{}/", base.trim_end_matches('/')));
    let at = |path: &str| format!("{}{path}", base.as_deref().unwrap_or_default());
    let link = |day: &TradingDay| day.link.as_deref().map(at);
    // An acceptance changes what a night comes to, as a run does.
    let moment = |day: &TradingDay| {
        let accepted = day.acceptances.iter().map(|acceptance| acceptance.at);
        accepted.chain(day.closed_at).max().unwrap_or(day.began)
    };
    let told = |day: &TradingDay| format!("{}: {}, {}", day.as_of, day.verdict, day.sentence());
    let mut entries: Vec<FeedEntry> = days
        .iter()
        .filter(|day| day.is_good())
        .filter_map(|day| {
            Some(FeedEntry {
                id: format!("urn:uuid:{}", day.runs.first()?),
                title: told(day),
                published: machine(day.began),
                updated: machine(moment(day)),
                category: "run",
                link: link(day),
                summary: day.sentence(),
            })
        })
        .collect();
    for incident in incidents(days, more_before) {
        let (Some(first), Some(last)) = (incident.days.first(), incident.days.last()) else { continue };
        let Some(first_run) = first.runs.first() else { continue };
        let dates = count(incident.days.len() as u64, "trading date");
        let (title, updated) = match incident.recovered {
            Some(day) => (format!("Recovered on {}: not well since {}, {dates}", day.as_of, first.as_of), moment(day)),
            None => (format!("Not well since {}: {}", first.as_of, told(last)), moment(last)),
        };
        let nights = incident.days.iter().rev().take(5).map(|day| told(day));
        entries.push(FeedEntry {
            id: urn(&format!("nightbook incident {first_run}")),
            title,
            published: machine(moment(first)),
            updated: machine(updated),
            category: "incident",
            link: link(incident.recovered.unwrap_or(last)),
            summary: nights.chain(last.causes.iter().take(5).cloned()).collect::<Vec<_>>().join("\n"),
        });
    }
    let restated = days.iter().flat_map(|day| day.newest_editions.iter().map(move |edition| (day, edition)));
    entries.extend(restated.map(|(day, edition)| restatement(day, edition, link(day))));
    entries.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| a.id.cmp(&b.id)));
    entries.truncate(MOST_ENTRIES);
    FeedView {
        id: urn(&format!("nightbook feed {}", options.base_url.as_deref().unwrap_or(&options.title))),
        title: options.title.clone(),
        updated: entries.first().map_or_else(|| machine(DateTime::UNIX_EPOCH), |entry| entry.updated.clone()),
        own: base.as_ref().map(|_| at("feed.xml")),
        home: at("index.html"),
        entries,
        newest_link: None,
    }
}

/// A run that changed recorded figures has an entry of its own, beside that of its night.
fn restatement(day: &TradingDay, edition: &Edition, link: Option<String>) -> FeedEntry {
    let figures = count(edition.changed_count, "recorded figure");
    let first = changed_texts(edition, RESTATED);
    let more = edition.changed_count.saturating_sub(first.len() as u64);
    let more = (more > 0 && !first.is_empty()).then(|| count(more, "more changed figure"));
    let why = "The page of the night says what changed in the inputs.".to_owned();
    FeedEntry {
        id: urn(&format!("nightbook edition {}", edition.batch_run_id)),
        title: format!("{} restated: edition {} changes {figures}", day.as_of, edition.number),
        published: machine(edition.at),
        updated: machine(edition.at),
        category: "restatement",
        link,
        summary: first.into_iter().chain(more).chain([why]).collect::<Vec<_>>().join("\n"),
    }
}

/// A permanent id of a name: a UUID of version 8, made by a rule of its own.
fn urn(name: &str) -> String {
    let hash = ContentHash::of(name.as_bytes()).to_string();
    format!("urn:uuid:{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use chrono::NaiveDate;
    use domain::ids::{JobName, PortfolioId, RunId, ScheduleName};
    use domain::night::{HeadFacts, Night, NightBasis, NightHead, NightRun, NightRunState, PortfolioRun};
    use uuid::Uuid;

    use super::*;
    use crate::mask::Mask;

    /// A run that records this P&L for six portfolios.
    fn run(n: u128, pnl: f64) -> NightRun {
        let at = DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(n as i64);
        let figures = BTreeMap::from([("daily_pnl".to_owned(), pnl)]);
        let figures = BTreeMap::from([(JobName::new("portfolio_snapshot").unwrap(), figures)]);
        let portfolio = PortfolioRun { ended_on_its_own: true, jobs: Vec::new(), figures };
        let ids = (0..6).map(|n| PortfolioId::new(format!("p{n}")).unwrap());
        NightRun {
            id: RunId(Uuid::from_u128(n)),
            started_at: at,
            trigger: "cli".to_owned(),
            rerun_of: None,
            filter: Vec::new(),
            state: NightRunState::Ended { at, canceled: false },
            plan: None,
            portfolios: ids.map(|id| (id, portfolio.clone())).collect(),
            controls: Vec::new(),
        }
    }

    fn restated_feed(redacted: bool) -> FeedView {
        let series = ScheduleName::new("nightly").unwrap();
        let as_of = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
        let night = Night::of(&series, as_of, &[run(1, -6_869.0), run(2, -97_887.0)], &[]).unwrap();
        let facts = HeadFacts {
            version: 1,
            schedule: series,
            full_run: None,
            acceptances: Vec::new(),
            basis: NightBasis::Plans,
            document: ContentHash::of(b"night"),
            folded_at: DateTime::UNIX_EPOCH,
        };
        let mask = Mask { redacted, key: Arc::from("key") };
        let day = TradingDay::of(&mask.night_head(NightHead::of(&night, facts)), &[], true);
        feed(&[day], &SiteOptions { redacted, ..SiteOptions::default() }, false)
    }

    #[test]
    fn a_restatement_is_an_entry_with_its_first_figures_and_its_night() {
        let view = restated_feed(false);
        let entry = view.entries.iter().find(|entry| entry.category == "restatement").unwrap();
        assert_eq!(entry.title, "2026-11-24 restated: edition 2 changes 6 recorded figures");
        assert_eq!(entry.link.as_deref(), Some("nights/2026-11-24/index.html"));
        let lines: Vec<&str> = entry.summary.lines().collect();
        assert_eq!(lines[0], "p0: Profit and loss −6,869 → −97,887");
        assert_eq!(lines[5..], ["1 more changed figure", "The page of the night says what changed in the inputs."]);
        assert_eq!(restated_feed(false).entries, view.entries, "the same input gives the same entry");
    }

    #[test]
    fn a_redacted_feed_shows_no_restated_figure() {
        let view = restated_feed(true);
        let entry = view.entries.iter().find(|entry| entry.category == "restatement").unwrap();
        assert_eq!(entry.summary, "The page of the night says what changed in the inputs.");
        assert!(!format!("{view:?}").contains("6,869") && !format!("{view:?}").contains("p0"));
    }
}
