//! What stores and queues hand back: messages, records, documents, pinned inputs, files of the site.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Component, Path};
use std::sync::Arc;

use backends::memory::{MemorySite, MemoryStore};
use chrono::{DateTime, Utc};
use domain::alert::AlertState;
use domain::fold::{Fold, FoldEntry, portfolio_quality};
use domain::ports::{Cell, Clock, PortfolioRun, SiteFile, SiteStore as _, WorkMessage, WriteIf};
use domain::record::JobRecord;
use domain::run::{PlannedPortfolio, Run, RunEvent};
use domain::summary::{RunSummary, complete_records, disagreement, summarise};
use domain::work_item::WorkItem;
use futures::executor::block_on;
use jobs::Snapshot;
use jobs::shared::Shared;
use serde::Serialize;
use serde::de::DeserializeOwned;
use site::{NoAlerts, NoNotes, SiteOptions, SiteParts, SitePublisher, Spread};

/// The value of these bytes, if they are one; written and read again it is the same.
fn parsed<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(data).ok()?;
    let json = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&json).expect("what was written can be read");
    assert_eq!(again, value, "written and read again it is another");
    Some(value)
}

/// The body of a message: whoever it is from, it names an item whose pages and keys stay in their places.
pub(super) fn message(data: &[u8]) {
    if let Some(message) = parsed::<WorkMessage>(data) {
        let id = message.key.portfolio.to_string();
        let parts: Vec<Component<'_>> = Path::new(&id).components().collect();
        assert!(matches!(parts[..], [Component::Normal(_)]), "{id:?} is no name of a file");
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')));
    }
}

/// Items as the stores decode them, and what the domain makes of them.
pub(super) fn stored(data: &[u8]) {
    let _ = is_an_item(data);
}

/// Whether the bytes are any of the items that are stored.
fn is_an_item(data: &[u8]) -> bool {
    let mut is_one = parsed::<JobRecord>(data).is_some()
        | parsed::<PlannedPortfolio>(data).is_some()
        | parsed::<Vec<PlannedPortfolio>>(data).is_some()
        | parsed::<Vec<Cell>>(data).is_some()
        | parsed::<PortfolioRun>(data).is_some()
        | parsed::<AlertState>(data).is_some();
    if let Some(mut fold) = parsed::<Fold>(data) {
        is_one = true;
        let before = fold.jobs;
        let entry = FoldEntry { index: 7, jobs: before, processed: true, quality: None };
        let new = !fold.done.contains(&7);
        assert_eq!(fold.count(&entry), new);
        assert!(!fold.count(&entry), "an item was counted twice");
        let _ = fold.jobs.total();
    }
    if let Some(summary) = parsed::<RunSummary>(data) {
        is_one = true;
        let _ = (summary.verdict(), disagreement(&summary, &[]));
    }
    if let Some(item) = parsed::<WorkItem>(data) {
        is_one = true;
        let _ = (FoldEntry::of(&item, 9), portfolio_quality(&item), complete_records(&item, &[]));
    }
    if let Some(run) = parsed::<Run>(data) {
        is_one = true;
        let event = RunEvent::Cancel { now: now() };
        let _ = (run.gives_up_at(), run.is_closed(), run.next(&event));
        let summary = summarise(&run, &[], &BTreeMap::new());
        let _ = (summary.verdict(), run.plan.as_ref().map(domain::run::SealedPlan::total_jobs));
    }
    is_one
}

/// Pinned inputs: as they are stored, or the plain `MessagePack` inside, so that changes get past the decompression.
pub(super) fn snapshot(data: &[u8]) {
    const HEADER: &[u8] = b"nightbook-snapshot\x001";
    let packed = if data.starts_with(HEADER) {
        data.to_vec()
    } else {
        [HEADER, &zstd::bulk::compress(data, 1).expect("memory takes everything")].concat()
    };
    let Ok(snapshot) = Snapshot::decode(&packed) else { return };
    let bytes = snapshot.encode().expect("what was read can be written");
    let again = Snapshot::decode(&bytes).expect("what was written can be read");
    assert!(again.encode().expect("what was read can be written") == bytes, "written and read again it is another");
    let _ = Shared::new(snapshot);
}

/// A document of results, as `show` opens it.
pub(super) fn results(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    let shown = jobs::expand(value);
    assert_eq!(jobs::expand(shown.clone()), shown, "opened twice it is another");
}

/// `status.json` of a site that somebody else wrote: publishing neither stops nor leaves half a site.
pub(super) fn status(data: &[u8]) {
    let site = MemorySite::default();
    let body = data.to_vec();
    let old = SiteFile { path: "status.json".into(), content_type: "application/json", body };
    block_on(site.write(&old, &WriteIf::Always)).expect("memory takes everything");
    let clock: Arc<dyn Clock> = Arc::new(Still);
    let (store, files) = (Arc::new(MemoryStore::default()), Arc::new(site.clone()));
    let (alerts, notes) = (Arc::new(NoAlerts), Arc::new(NoNotes));
    let parts = SiteParts { store, alerts, notes, site: files, clock, spread: Spread::Never };
    let publisher = SitePublisher::new(parts, SiteOptions::default());
    block_on(publisher.refresh_index()).expect("an index is written, or left as it is");
    let left = site.files()["status.json"] == data;
    assert!(left || is_status(&site.files()["status.json"]), "neither the old status nor a new one");
    block_on(publisher.rebuild()).expect("a site can be made anew");
    assert!(is_status(&site.files()["status.json"]), "made anew, the site has no status");
    assert!(site.files().contains_key("index.html"));
}

fn is_status(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|status| status["schema"] == 1)
}

fn now() -> DateTime<Utc> {
    "2026-11-24T23:30:00Z".parse().expect("an instant")
}

struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_item_of_the_corpus_is_one() {
        for (file, input) in crate::corpus(crate::find("stored").unwrap()).unwrap() {
            assert!(is_an_item(&input), "{} is no stored item any more: write it anew", file.display());
        }
        assert!(!is_an_item(b"{}"));
    }
}
