//! What the reading commands share: the store without a lock, the run that a person means, a summary at any time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use app::{NightReader, NightSettings, RunLookup};
use async_trait::async_trait;
use backends::local::LocalStore;
use backends::system::SystemClock;
use domain::ids::PortfolioId;
use domain::night::next_step::CommandTarget;
use domain::note::RunNotes;
use domain::ports::{Clock as _, Documents, RunStore, StoreError, StoredRun};
use domain::work_item::WorkItem;

use crate::exit::{door, refused};
use crate::live_settings::LiveSettings;
use crate::place;
use crate::site_settings::SiteSettings;

/// The records of a folder or of the cloud, for reading, beside whoever writes them.
pub(crate) struct Records {
    /// Runs and records.
    pub(crate) store: Arc<dyn RunStore>,
    /// Full results and pinned inputs.
    pub(crate) documents: Arc<dyn Documents>,
    /// What people have to say of runs.
    pub(crate) notes: Arc<dyn RunNotes>,
    /// Reads nights, by the settings of the book that was run last.
    pub(crate) nights: NightReader,
}

/// Opens the records for reading.
pub(crate) async fn open(data: &Path) -> anyhow::Result<Records> {
    #[cfg(feature = "aws")]
    if let Some(table) = place::table(data) {
        let cloud = crate::cloud::Cloud::connect(table).await?;
        let (ports, nights) = (cloud.ports()?, cloud.nights(table).await?);
        return Ok(Records { store: ports.store, documents: ports.documents, notes: cloud.notes(), nights });
    }
    let store = open_folder(data)?;
    let nights = nights_of(data, &SiteSettings::kept(data));
    Ok(Records { store: Arc::new(store.clone()), documents: Arc::new(store.clone()), notes: Arc::new(store), nights })
}

/// Opens the records of a folder for reading.
pub(crate) fn open_folder(data: &Path) -> anyhow::Result<LocalStore> {
    place::folder(data)?;
    Ok(LocalStore::open_read_only(data)?)
}

/// Reads the nights of a data folder by these settings; commands name the whole paths.
pub(crate) fn nights_of(data: &Path, settings: &SiteSettings) -> NightReader {
    let whole = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
    let book = settings.book_dir().map(|book| book.display().to_string());
    let target = CommandTarget::Folder { book, data: whole.display().to_string() };
    NightReader { schedule: settings.settings().schedule.clone(), target }
}

/// Reads the nights of a data folder by the settings in force.
#[derive(Debug)]
pub(crate) struct LiveNights {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The settings in force.
    pub(crate) settings: Arc<LiveSettings>,
}

#[async_trait]
impl NightSettings for LiveNights {
    async fn reader(&self) -> Result<NightReader, StoreError> {
        Ok(nights_of(&self.data, &self.settings.current().settings))
    }
}

/// The run that a person means: an id, the beginning of one, a trading date, or "latest".
pub(crate) async fn find(
    store: &dyn RunStore,
    nights: &NightReader,
    data: &Path,
    text: &str,
    portfolio: Option<&PortfolioId>,
) -> anyhow::Result<StoredRun> {
    let lookup = RunLookup { nights, portfolio, now: SystemClock.now() };
    app::find_run(store, text, lookup).await.map_err(|error| refused(error, &door(data, None)))
}

/// All touched items of a run.
pub(crate) async fn items(store: &dyn RunStore, stored: &StoredRun) -> anyhow::Result<Vec<WorkItem>> {
    let mut items = Vec::new();
    for bucket in 0..stored.run.plan.as_ref().map_or(0, domain::run::SealedPlan::buckets) {
        items.extend(store.items(stored.run.batch_run_id, bucket).await?);
    }
    Ok(items)
}
