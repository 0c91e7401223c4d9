//! What the reading commands share: the store without a lock, the run that a person means, a summary at any time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use backends::local::LocalStore;
use domain::note::RunNotes;
use domain::ports::{Documents, RunStore, StoredRun};
use domain::summary::{RunSummary, summarise};
use domain::work_item::WorkItem;

use crate::exit::{door, refused};
use crate::place;

/// The records of a folder or of the cloud, for reading, beside whoever writes them.
pub(crate) struct Records {
    /// Runs and records.
    pub(crate) store: Arc<dyn RunStore>,
    /// Full results and pinned inputs.
    pub(crate) documents: Arc<dyn Documents>,
    /// What people have to say of runs.
    pub(crate) notes: Arc<dyn RunNotes>,
}

/// Opens the records for reading.
pub(crate) async fn open(data: &Path) -> anyhow::Result<Records> {
    #[cfg(feature = "aws")]
    if let Some(table) = place::table(data) {
        let cloud = crate::cloud::Cloud::connect(table).await?;
        let ports = cloud.ports()?;
        return Ok(Records { store: ports.store, documents: ports.documents, notes: cloud.notes() });
    }
    let store = open_folder(data)?;
    Ok(Records { store: Arc::new(store.clone()), documents: Arc::new(store.clone()), notes: Arc::new(store) })
}

/// Opens the records of a folder for reading.
pub(crate) fn open_folder(data: &Path) -> anyhow::Result<LocalStore> {
    place::folder(data)?;
    Ok(LocalStore::open_read_only(data)?)
}

/// The run that a person means: an id, the beginning of one, or "latest".
pub(crate) async fn find(store: &dyn RunStore, data: &Path, text: &str) -> anyhow::Result<StoredRun> {
    app::find_run(store, text).await.map_err(|error| refused(error, &door(data, None)))
}

/// All touched items of a run.
pub(crate) async fn items(store: &dyn RunStore, stored: &StoredRun) -> anyhow::Result<Vec<WorkItem>> {
    let mut items = Vec::new();
    for bucket in 0..stored.run.plan.as_ref().map_or(0, domain::run::SealedPlan::buckets) {
        items.extend(store.items(stored.run.batch_run_id, bucket).await?);
    }
    Ok(items)
}

/// The summary of a run: the stored one, or how it stands now.
pub(crate) async fn summary(store: &dyn RunStore, stored: &StoredRun) -> anyhow::Result<RunSummary> {
    match &stored.summary {
        Some(summary) => Ok(summary.clone()),
        None => Ok(RunSummary {
            publication: stored.run.publication.clone(),
            ..summarise(&stored.run, &items(store, stored).await?, &BTreeMap::new())
        }),
    }
}
