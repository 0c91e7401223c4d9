//! Rules of the site.

use crate::ids::ContentHash;
use crate::ports::{SiteFile, SiteStore, WriteIf, Written};

/// Calls a macro with the names of all rules of a [`SiteStore`](crate::ports::SiteStore).
#[macro_export]
macro_rules! site_rules {
    ($with:ident) => {
        $with! {
            a_page_is_written_only_where_it_changed
            a_page_that_somebody_else_wrote_is_refused
            a_page_outside_of_the_site_is_refused
            a_page_that_is_removed_is_gone
        }
    };
}

fn page(seed: u128, name: &str, body: &str) -> SiteFile {
    SiteFile { path: format!("conformance-{seed}/{name}"), content_type: "text/html; charset=utf-8", body: body.into() }
}

/// A page that is there with the same content is left alone.
pub async fn a_page_is_written_only_where_it_changed(site: &dyn SiteStore, seed: u128) {
    let path = page(seed, "a/index.html", "").path;
    assert_eq!(site.read(&path).await.unwrap(), None);
    for (body, expected) in [("one", Written::Written), ("one", Written::Unchanged), ("two", Written::Written)] {
        let written = site.write(&page(seed, "a/index.html", body), &WriteIf::Always).await.unwrap();
        assert_eq!(written, expected, "{body}");
        assert_eq!(site.read(&path).await.unwrap(), Some(body.into()));
    }
    site.flush().await.unwrap();
    assert_eq!(site.read(&path).await.unwrap(), Some("two".into()));
}

/// A page that somebody else wrote since it was read is not overwritten.
pub async fn a_page_that_somebody_else_wrote_is_refused(site: &dyn SiteStore, seed: u128) {
    let file = |body| page(seed, "index.json", body);
    let expecting = |body: &str| WriteIf::Unchanged(Some(ContentHash::of(body.as_bytes())));
    let write = async |body, condition: WriteIf| site.write(&file(body), &condition).await.unwrap();
    assert_eq!(write("one", expecting("zero")).await, Written::Refused, "it was gone");
    assert_eq!(site.read(&file("").path).await.unwrap(), None, "a refusal wrote");
    assert_eq!(write("one", WriteIf::Unchanged(None)).await, Written::Written);
    assert_eq!(write("two", WriteIf::Unchanged(None)).await, Written::Refused, "somebody else made it");
    assert_eq!(write("two", expecting("zero")).await, Written::Refused, "somebody else changed it");
    assert_eq!(site.read(&file("").path).await.unwrap(), Some("one".into()), "a refusal wrote");
    assert_eq!(write("two", expecting("one")).await, Written::Written);
    assert_eq!(write("two", expecting("two")).await, Written::Unchanged);
}

/// A path that would leave the root of the site is an error, for reading and writing.
pub async fn a_page_outside_of_the_site_is_refused(site: &dyn SiteStore, seed: u128) {
    for path in [
        format!("../escaped-{seed}.html"),
        format!("a/../../escaped-{seed}.html"),
        format!("/escaped-{seed}.html"),
        String::new(),
    ] {
        let file = SiteFile { path: path.clone(), ..page(seed, "x", "escaped") };
        assert!(site.write(&file, &WriteIf::Always).await.is_err(), "{path:?} was written");
        assert!(site.read(&path).await.is_err(), "{path:?} was read");
    }
}

/// The list has every page, and a page that is removed is in it no longer.
pub async fn a_page_that_is_removed_is_gone(site: &dyn SiteStore, seed: u128) {
    let mut pages: Vec<SiteFile> =
        ["removed/a/index.html", "removed/a/b/c.json", "removed/kept.txt"].map(|name| page(seed, name, name)).into();
    for file in &pages {
        site.write(file, &WriteIf::Always).await.unwrap();
    }
    let listed = async || {
        let mut paths = site.list().await.unwrap();
        paths.retain(|path| path.starts_with(&format!("conformance-{seed}/removed/")));
        paths.sort();
        paths
    };
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(listed().await, pages.iter().map(|file| file.path.clone()).collect::<Vec<_>>());
    for file in &pages[..2] {
        site.remove(&file.path).await.unwrap();
        site.remove(&file.path).await.unwrap();
        assert_eq!(site.read(&file.path).await.unwrap(), None);
    }
    assert_eq!(listed().await, [pages[2].path.clone()]);
    assert!(site.remove("../escaped").await.is_err());
}
