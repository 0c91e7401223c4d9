//! `feed.xml`: an Atom feed of the nights.

use chrono::DateTime;
use domain::ids::ContentHash;
use serde::Serialize;

use super::machine::ChainEnd;
use crate::days::{TradingDay, incidents};
use crate::options::SiteOptions;
use crate::text::{count, machine};

/// Entries of the feed, at most.
const MOST_ENTRIES: usize = 30;

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
/// Every night is in one entry: a good one in an entry of its own, which a later run of the night updates; the others in
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

/// A permanent id of a name: a UUID of version 8, made by a rule of its own.
fn urn(name: &str) -> String {
    let hash = ContentHash::of(name.as_bytes()).to_string();
    format!("urn:uuid:{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}
