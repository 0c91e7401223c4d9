//! The item of a run with its alert, and the lists that name runs.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use domain::alert::{AlertState, is_delivered};
use domain::ids::RunId;
use domain::ports::{Change, StoreError, StoredRun};
use domain::run::{Run, RunPhase};
use domain::summary::RunSummary;
use serde::{Deserialize, Serialize};

use super::dictionary;
use super::document::{ITEM_LIMIT, Item, belongs, fill, open, text, text_of};
use super::keys::{self, Key, PK, SK, time_text};
use super::table::{Pages, Range, Rounds, Written, is_by, new_writer, sign, version_of};
use super::{DynamoStore, Facts};

/// A run and its alert: one item, so that one condition guards both and whether anything is left to be delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) run: Run,
    pub(super) alert: AlertState,
}

impl Meta {
    /// Whether nothing is left to be done.
    pub(super) fn is_through(&self) -> bool {
        self.run.has_ended() && is_delivered(&self.run, self.alert)
    }

    /// What stands beside the document.
    pub(super) fn attributes(&self) -> Item {
        Item::from([
            ("phase".to_owned(), text(self.run.phase.as_str())),
            ("slot".to_owned(), text(time_text(self.run.scheduled_for))),
            ("as_of".to_owned(), text(self.run.as_of.to_string())),
            ("schedule".to_owned(), text(self.run.schedule.as_str())),
        ])
    }

    /// The item, with the items for what does not fit into it.
    pub(super) fn items(&self, version: u64, writer: &Blob) -> Result<(Item, Vec<Item>), StoreError> {
        let mut item = self.attributes();
        sign(&mut item, version, writer);
        let parts = fill(&mut item, &keys::meta(self.run.batch_run_id), self, ITEM_LIMIT)?;
        Ok((item, parts))
    }
}

/// The run of an item.
pub(super) fn meta_of(item: &Item) -> Result<Meta, StoreError> {
    let what = || format!("the item {}", text_of(item, PK).unwrap_or("of a run"));
    let meta: Meta = open(item, what)?;
    belongs(item, text_of(item, PK) == Some(&keys::run_partition(meta.run.batch_run_id)), what)?;
    Ok(meta)
}

impl DynamoStore {
    pub(super) async fn meta(&self, id: RunId) -> Result<Option<Meta>, StoreError> {
        let item = self.table.get(&keys::meta(id), || format!("read run {id}")).await?;
        let Some(meta) = item.as_ref().map(meta_of).transpose()? else { return Ok(None) };
        self.remember(&meta.run);
        Ok(Some(meta))
    }

    pub(super) async fn need_meta(&self, id: RunId) -> Result<Meta, StoreError> {
        self.meta(id).await?.ok_or_else(|| StoreError::NotFound { what: format!("run {id}") })
    }

    pub(super) fn remember(&self, run: &Run) {
        self.remembered(|memory| memory.know_run(run.batch_run_id, Facts::of(run)));
    }

    /// What is fixed of a run; none where there is no run.
    pub(super) async fn facts(&self, id: RunId) -> Result<Option<Facts>, StoreError> {
        if let Some(facts) = self.remembered(|memory| memory.runs.get(&id).copied()) {
            return Ok(Some(facts));
        }
        Ok(self.meta(id).await?.map(|meta| Facts::of(&meta.run)))
    }

    /// The lists that name a run for ever.
    pub(super) fn rows_of(run: &Run) -> Vec<Key> {
        let id = run.batch_run_id;
        let mut rows = vec![
            keys::listed(run.scheduled_for, id),
            keys::of_month(run.as_of, run.scheduled_for, id),
            keys::started(run.started_at, id),
        ];
        rows.extend(run.rerun_of.map(|origin| keys::rerun(origin, run.scheduled_for, id)));
        rows
    }

    /// Keeps the dictionary of the records beside them.
    pub(super) async fn keep_dictionary(&self) -> Result<(), StoreError> {
        let key = keys::dictionary(dictionary::NUMBER);
        if self.table.get(&key, || "read the dictionary of the records".to_owned()).await?.is_some() {
            return Ok(());
        }
        let mut item = key.attributes();
        item.insert(dictionary::ATTRIBUTE.to_owned(), text(dictionary::TEXT));
        self.table.put(item, || "write the dictionary of the records".to_owned()).await
    }

    /// Changes a run: reads it, decides, and writes it on the condition that nobody else wrote in between; again where
    /// somebody did.
    pub(super) async fn change<R: Send>(
        &self,
        id: RunId,
        decide: impl Fn(&Meta) -> Result<Meta, R> + Send + Sync,
        shows: impl Fn(&Meta) -> bool + Send + Sync,
    ) -> Result<Change<Meta, R>, StoreError> {
        let doing = || format!("write run {id}");
        let mut read = self.table.get(&keys::meta(id), doing).await?;
        let mut tried = false;
        let mut rounds = Rounds::default();
        loop {
            let stored = read.ok_or_else(|| StoreError::NotFound { what: format!("run {id}") })?;
            let meta = meta_of(&stored)?;
            let version = version_of(&stored, || format!("run {id}"))?;
            let next = match decide(&meta) {
                Ok(next) => next,
                Err(_) if tried && shows(&meta) => return Ok(Change::Applied(meta)),
                Err(refusal) => return Ok(Change::Refused(meta, refusal)),
            };
            self.list_before(&meta, &next, version + 1).await?;
            let writer = new_writer();
            let (item, parts) = next.items(version + 1, &writer)?;
            match self.table.put_if(item, parts, self.table.unchanged_since(version), doing).await? {
                Written::Refused(there) if !is_by(there.as_ref(), &writer) => {
                    tried = true;
                    read = there;
                    rounds.another(doing).await?;
                }
                Written::Done(_) | Written::Refused(_) => {
                    self.remember(&next.run);
                    self.unlist_after(&next, version + 1).await?;
                    return Ok(Change::Applied(next));
                }
            }
        }
    }

    /// Puts a run into the list of what is left to be done, unless a later version of it did already.
    pub(super) async fn list_active(&self, id: RunId, version: u64) -> Result<(), StoreError> {
        let mut item = keys::active(id).attributes();
        sign(&mut item, version, &new_writer());
        let mut condition = self.table.absent();
        condition.text.push_str(" OR #ver < :written");
        condition.names.push(("#ver", super::table::VERSION));
        condition.values.push((":written", super::document::number(version)));
        let doing = || format!("list run {id} as one that is not through");
        self.table.put_if(item, Vec::new(), condition, doing).await.map(|_| ())
    }

    /// Lists a run where its next version has to be found, before it is written.
    async fn list_before(&self, meta: &Meta, next: &Meta, version: u64) -> Result<(), StoreError> {
        let run = &next.run;
        if run.started_at != meta.run.started_at {
            let mut item = keys::started(run.started_at, run.batch_run_id).attributes();
            item.insert("as_of".to_owned(), text(run.as_of.to_string()));
            self.table.put(item, || format!("list run {} by its start", run.batch_run_id)).await?;
        }
        if meta.is_through() && !next.is_through() {
            self.list_active(run.batch_run_id, version).await?;
        }
        Ok(())
    }

    /// Takes a run from the list of what is left to be done, once nothing is; a later version that is listed again stays.
    async fn unlist_after(&self, meta: &Meta, version: u64) -> Result<(), StoreError> {
        let id = meta.run.batch_run_id;
        if !meta.is_through() {
            return Ok(());
        }
        if meta.run.phase != RunPhase::Missed && self.summary(id).await?.is_none() {
            return Ok(());
        }
        let doing = || format!("take run {id} from the list of those that are not through");
        self.table.delete_before(&keys::active(id), version, doing).await
    }

    /// These runs with their summaries, those that are there.
    pub(super) async fn load_runs(
        &self,
        ids: impl IntoIterator<Item = RunId>,
    ) -> Result<BTreeMap<RunId, (StoredRun, AlertState)>, StoreError> {
        let keys: Vec<Key> = ids.into_iter().flat_map(|id| [keys::meta(id), keys::summary(id)]).collect();
        let items = self.table.get_many(keys, || "read the runs".to_owned()).await?;
        let mut runs: BTreeMap<RunId, (Run, AlertState)> = BTreeMap::new();
        let mut summaries: BTreeMap<RunId, RunSummary> = BTreeMap::new();
        for item in &items {
            if text_of(item, SK) == Some(keys::META) {
                let meta = meta_of(item)?;
                runs.insert(meta.run.batch_run_id, (meta.run, meta.alert));
            } else {
                let summary: RunSummary = super::summaries::summary_of(item)?;
                summaries.insert(summary.batch_run_id, summary);
            }
        }
        let stored =
            runs.into_iter().map(|(id, (run, alert))| (id, (StoredRun::new(run, summaries.remove(&id)), alert)));
        Ok(stored.collect())
    }

    /// Runs of which something is left to be done.
    pub(super) async fn active(&self) -> Result<Vec<(StoredRun, AlertState)>, StoreError> {
        let doing = || "read the runs that are not through".to_owned();
        let rows = self.table.all(Pages::of(keys::ACTIVE, Range::All), doing).await?;
        let ids = rows.iter().filter_map(|row| text_of(row, SK)?.parse().ok());
        let mut runs: Vec<_> = self.load_runs(ids.collect::<Vec<RunId>>()).await?.into_values().collect();
        runs.sort_by_key(|(stored, _)| (stored.run.started_at, stored.run.batch_run_id));
        Ok(runs)
    }
}
