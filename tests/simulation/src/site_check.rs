//! What a reader of the site may meet: after every single write, everything that can be reached is there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::ids::RunId;
use domain::ports::{SiteFile, Written};

use crate::coverage::Row;
use crate::ports::now;
use crate::world::{Handle, Promise};
use domain::ports::Runs as _;

/// What is known of the site.
#[derive(Debug, Default)]
pub(crate) struct SiteCheck {
    /// Files that each page leads to.
    links: BTreeMap<String, Vec<String>>,
    /// The newest run that the index has shown.
    newest: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Writes that changed something.
    pub(crate) writes: u64,
}

/// The files that a page leads to, relative to the root. Anchors and other hosts are no files.
fn links_of(path: &str, body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let mut links = BTreeSet::new();
    for part in text.split("href=\"").skip(1) {
        let Some(target) = part.split('"').next() else { continue };
        let file = target.split(['#', '?']).next().unwrap_or_default();
        if file.is_empty() || target.contains(':') || target.starts_with("//") {
            continue;
        }
        let mut parts: Vec<&str> = path.split('/').collect();
        parts.pop();
        if let Some(from_root) = file.strip_prefix('/') {
            parts = Vec::from([from_root]);
        } else {
            for step in file.split('/') {
                match step {
                    "." => {}
                    ".." => {
                        parts.pop();
                    }
                    name => parts.push(name),
                }
            }
        }
        links.insert(parts.join("/"));
    }
    links.into_iter().collect()
}

impl SiteCheck {
    /// A link that leads nowhere and can be reached from the index.
    fn dead_link(&self) -> Option<(String, String)> {
        let mut open = vec!["index.html"];
        let mut seen = BTreeSet::from(["index.html"]);
        while let Some(page) = open.pop() {
            for target in self.links.get(page)? {
                if !self.links.contains_key(target) {
                    return Some((page.to_owned(), target.clone()));
                }
                if seen.insert(target) {
                    open.push(target);
                }
            }
        }
        None
    }
}

impl Handle {
    /// A page was written, or not.
    pub(crate) fn saw_page(&self, file: &SiteFile, written: Written) {
        match written {
            Written::Unchanged => return,
            Written::Refused => {
                self.world.state().coverage.hit(Row::IndexRefused);
                return;
            }
            Written::Written => {}
        }
        let html = file.content_type.starts_with("text/html");
        let links = if html { links_of(&file.path, &file.body) } else { Vec::new() };
        let newest = if file.path == "index.html" { self.newest_of(&links) } else { None };
        let mut guard = self.world.state();
        let state = &mut *guard;
        state.written.insert(file.path.clone());
        state.site.writes += 1;
        state.site.links.insert(file.path.clone(), links);
        let dead = state.site.dead_link();
        let before = state.site.newest;
        if file.path == "index.html" {
            state.site.newest = newest.or(before);
        }
        drop(guard);
        if let Some((page, target)) = dead {
            self.world.violate(
                Promise::Other,
                format!(
                    "after the write of {} by {}, {page} leads to {target}, which is not there",
                    file.path,
                    self.world.name(self.actor)
                ),
            );
        }
        if before > newest && file.path == "index.html" {
            self.world.violate(
                Promise::Other,
                format!(
                    "{} took the index back from a run of {before:?} to one of {newest:?}",
                    self.world.name(self.actor)
                ),
            );
        }
    }

    /// The newest of the runs that a page leads to.
    fn newest_of(&self, links: &[String]) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let runs = links.iter().filter_map(|link| link.strip_prefix("runs/")?.split('/').next()?.parse::<RunId>().ok());
        let ages = runs.filter_map(|id| now(self.world.store.run(id)).ok().flatten());
        ages.map(|stored| (stored.run.scheduled_for, stored.run.started_at)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_and_resolved() {
        let page = br##"<a href="../../index.html">i</a><a href="jobs.json#x">j</a><a href="#a">a</a><a href="https://x/">x</a>"##;
        assert_eq!(links_of("runs/7/index.html", page), ["index.html", "runs/7/jobs.json"]);
    }

    #[test]
    fn a_dead_link_is_found_only_where_it_can_be_reached() {
        let mut site = SiteCheck::default();
        site.links.insert("lonely.html".into(), vec!["gone.html".into()]);
        site.links.insert("index.html".into(), vec!["a.html".into()]);
        site.links.insert("a.html".into(), vec!["index.html".into()]);
        assert_eq!(site.dead_link(), None);
        site.links.insert("a.html".into(), vec!["gone.html".into()]);
        assert_eq!(site.dead_link(), Some(("a.html".into(), "gone.html".into())));
    }
}
