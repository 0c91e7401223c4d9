//! Every backend obeys every rule of the store: one test for each rule and backend.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![allow(missing_docs, reason = "the tests are named by the rules, which have their own documentation")]

use std::future::Future;

use domain::conformance::StoreWithNotes;
use domain::ports::{AlertBooks, Documents, RunStore, SiteStore};
use domain::{
    alert_book_rules, chain_rules, conformance, document_rules, history_rules, night_rules, note_rules, run_rules,
    site_rules, tally_rules, work_item_rules,
};

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

macro_rules! tests {
    ($($rule:ident)*) => {
        $(#[test] fn $rule() { on(|store| wait(conformance::$rule(store, 1))); })*
    };
}

/// Other seeds, all in one place: rules must not disturb each other, as in a store that is used for years.
macro_rules! together {
    ($($rule:ident)*) => {
        #[test]
        fn all_of_them_in_one_place() {
            on(|store| {
                let mut seed = 1_000;
                $(seed += 1; wait(conformance::$rule(store, seed));)*
                assert!(seed > 1_000);
            });
        }
    };
}

macro_rules! suite {
    ($name:ident, $rules:ident, $($on:tt)*) => {
        mod $name {
            use super::*;
            $($on)*
            $rules!(tests);
            $rules!(together);
        }
    };
}

suite!(
    memory_runs,
    run_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_work_items,
    work_item_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_tallies,
    tally_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_history,
    history_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_nights,
    night_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_chain,
    chain_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_alert_books,
    alert_book_rules,
    fn on(rule: impl FnOnce(&dyn AlertBooks)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_notes,
    note_rules,
    fn on(rule: impl FnOnce(&dyn StoreWithNotes)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_documents,
    document_rules,
    fn on(rule: impl FnOnce(&dyn Documents)) {
        rule(&backends::memory::MemoryStore::default());
    }
);
suite!(
    memory_site,
    site_rules,
    fn on(rule: impl FnOnce(&dyn SiteStore)) {
        rule(&backends::memory::MemorySite::default());
    }
);

#[cfg(feature = "local")]
suite!(
    local_runs,
    run_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_work_items,
    work_item_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_tallies,
    tally_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_history,
    history_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_nights,
    night_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_chain,
    chain_rules,
    fn on(rule: impl FnOnce(&dyn RunStore)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_alert_books,
    alert_book_rules,
    fn on(rule: impl FnOnce(&dyn AlertBooks)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_notes,
    note_rules,
    fn on(rule: impl FnOnce(&dyn StoreWithNotes)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_documents,
    document_rules,
    fn on(rule: impl FnOnce(&dyn Documents)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::LocalStore::open(folder.path()).unwrap());
    }
);
#[cfg(feature = "local")]
suite!(
    local_site,
    site_rules,
    fn on(rule: impl FnOnce(&dyn SiteStore)) {
        let folder = tempfile::tempdir().unwrap();
        rule(&backends::local::FolderSite::new(&folder.path().join("site")).unwrap());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["site"], "a page was written outside of the site");
    }
);
