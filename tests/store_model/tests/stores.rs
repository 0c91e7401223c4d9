//! Every backend that is here, against the model.

use backends::local::LocalStore;
use backends::memory::MemoryStore;
use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;
use store_model::Backend;
use store_model::harness::StoreTest;

#[derive(Debug)]
struct Memory(MemoryStore);

impl Backend for Memory {
    type Store = MemoryStore;

    fn new() -> Self {
        Self(MemoryStore::default())
    }

    fn store(&self) -> &MemoryStore {
        &self.0
    }

    fn reopen(self) -> Self {
        self
    }
}

#[derive(Debug)]
struct Local {
    store: LocalStore,
    folder: tempfile::TempDir,
}

impl Backend for Local {
    type Store = LocalStore;

    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { store: LocalStore::open(folder.path()).expect("a new store"), folder }
    }

    fn store(&self) -> &LocalStore {
        &self.store
    }

    fn reopen(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        Self { store: LocalStore::open(folder.path()).expect("the store of before"), folder }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_as_the_model(sequential 1..60 => StoreTest<Memory>);
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn local_is_as_the_model(sequential 1..60 => StoreTest<Local>);
}
