//! The work items on `DynamoDB`, with the records of their jobs: one item each, keyed by portfolio.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::ids::{PortfolioId, RunId};
use domain::ports::{Change, StoreError, WorkItems};
use domain::run::Run;
use domain::work_item::{ItemEvent, ItemKey, ItemRefusal, Place, WorkItem};
use serde_json::Value;

use super::super::unavailable;
use super::document::{EXPIRES_AT, Item, belongs, fill_record, number, open, text, text_of};
use super::keys::{self, PK, SK};
use super::table::{Pages, Range, Rounds, Written, is_by, new_writer, sign, version_of};
use super::{DynamoStore, Facts};

/// Bytes of a work item with its records; what does not fit is in an item beside it.
const RECORD_LIMIT: usize = 2_048;

/// What a record says as its work item does already, and what the work item calls it.
const SAID_ONCE: [(&str, &str); 3] =
    [("batch_run_id", "/key/run"), ("portfolio_id", "/key/portfolio"), ("portfolio_name", "/portfolio_name")];

/// A work item without what can be left out: nulls, and what each record says again. Every hundred bytes count.
fn shortened(item: &WorkItem) -> Result<Value, serde_json::Error> {
    let mut whole = serde_json::to_value(item)?;
    let said = SAID_ONCE.map(|(name, of)| (name, whole.pointer(of).cloned()));
    let records = whole.get_mut("records").and_then(Value::as_array_mut);
    for record in records.into_iter().flatten().filter_map(Value::as_object_mut) {
        record.retain(|name, value| {
            !value.is_null() && !said.iter().any(|(once, as_said)| once == name && as_said.as_ref() == Some(value))
        });
    }
    if let Some(fields) = whole.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    Ok(whole)
}

/// The whole work item again.
fn restored(mut short: Value) -> Result<WorkItem, serde_json::Error> {
    let said = SAID_ONCE.map(|(name, of)| (name, short.pointer(of).cloned()));
    let records = short.get_mut("records").and_then(Value::as_array_mut);
    for record in records.into_iter().flatten().filter_map(Value::as_object_mut) {
        for (name, value) in &said {
            if let Some(value) = value {
                record.entry(*name).or_insert_with(|| value.clone());
            }
        }
    }
    serde_json::from_value(short)
}

/// What stands beside the document of a work item.
fn beside(item: &WorkItem) -> Item {
    let (state, attempt) = (text(item.state.as_str()), number(item.attempt));
    Item::from([("state".to_owned(), state), ("attempt".to_owned(), attempt)])
}

/// The work item of an item of the table.
pub(super) fn item_of(item: &Item) -> Result<WorkItem, StoreError> {
    let field = |name| text_of(item, name).unwrap_or("?").to_owned();
    let what = || format!("the work item {} {}", field(PK), field(SK));
    let work = restored(open(item, what)?);
    let work = work.map_err(|error| StoreError::Damaged { what: what(), detail: error.to_string() })?;
    let fits = text_of(item, PK) == Some(&keys::portfolio_partition(&work.key.portfolio))
        && text_of(item, SK).is_some_and(|sk| sk.ends_with(&format!("#{}", work.key.run)));
    belongs(item, fits, what)?;
    if let Some((name, _)) = beside(&work).iter().find(|(name, told)| item.get(*name) != Some(told)) {
        let detail = format!("what stands beside its document differs from it in {name}");
        return Err(StoreError::Damaged { what: what(), detail });
    }
    Ok(work)
}

#[async_trait]
impl WorkItems for DynamoStore {
    async fn apply_item(
        &self,
        key: &ItemKey,
        name: &str,
        place: Place,
        event: &ItemEvent,
    ) -> Result<Change<WorkItem, ItemRefusal>, StoreError> {
        let doing = || format!("write the work item of portfolio {} in run {}", key.portfolio, key.run);
        let facts = self.facts(key.run).await?;
        let facts = facts.ok_or_else(|| StoreError::NotFound { what: format!("run {}", key.run) })?;
        let at = keys::record(key, facts.scheduled_for);
        let mut read = self.table.get(&at, doing).await?;
        let mut rounds = Rounds::default();
        loop {
            let (item, version) = match &read {
                Some(stored) => (item_of(stored)?, version_of(stored, doing)?),
                None => (WorkItem::untouched(key.clone(), name.to_owned(), place), 0),
            };
            let next = match item.next(event) {
                Ok(next) => next,
                // The reply was lost, and the request came again.
                Err(_) if item.is_result_of(event) => return Ok(Change::Applied(item)),
                Err(refusal) => return Ok(Change::Refused(item, refusal)),
            };
            if read.is_none() {
                self.list_stray(&next, facts).await?;
            }
            let mut record = beside(&next);
            record.insert(EXPIRES_AT.to_owned(), number(self.expires_at()));
            let writer = new_writer();
            sign(&mut record, version + 1, &writer);
            let short = shortened(&next).map_err(|error| unavailable(doing(), error))?;
            let parts = fill_record(&mut record, &at, &short, RECORD_LIMIT)?;
            match self.table.put_if(record, parts, self.table.unchanged_since(version), doing).await? {
                Written::Refused(there) if !is_by(there.as_ref(), &writer) => {
                    read = there;
                    rounds.another(doing).await?;
                }
                Written::Done(_) | Written::Refused(_) => return Ok(Change::Applied(next)),
            }
        }
    }

    async fn item(&self, key: &ItemKey) -> Result<Option<WorkItem>, StoreError> {
        let Some(facts) = self.facts(key.run).await? else { return Ok(None) };
        let doing = || format!("read the work item of portfolio {} in run {}", key.portfolio, key.run);
        self.table.get(&keys::record(key, facts.scheduled_for), doing).await?.as_ref().map(item_of).transpose()
    }

    async fn items(&self, run: RunId, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
        let mut facts = self.facts(run).await?;
        if facts.is_some_and(|facts| facts.sealed.is_none()) {
            // It may have been sealed since.
            facts = self.meta(run).await?.map(|meta| Facts::of(&meta.run));
        }
        match facts {
            Some(facts) => self.bucket(run, facts, bucket, false).await,
            None => Ok(Vec::new()),
        }
    }
}

impl DynamoStore {
    /// Lists an item that the sealed manifest does not, so that it is found with those of its bucket. It costs a write
    /// only for messages that nobody planned.
    async fn list_stray(&self, item: &WorkItem, facts: Facts) -> Result<(), StoreError> {
        let run = item.key.run;
        let sealed = match facts.sealed {
            Some(epoch) => Some(epoch),
            None => self.need_meta(run).await?.run.plan.map(|plan| plan.epoch),
        };
        if let Some(epoch) = sealed {
            let listed = self.sealed_manifest(run, epoch, item.place.bucket).await?;
            if listed.get(item.place.index as usize) == Some(&item.key.portfolio) {
                return Ok(());
            }
        }
        let mut row = keys::stray(&item.key, item.place).attributes();
        row.insert(EXPIRES_AT.to_owned(), number(self.expires_at()));
        self.table.put(row, || format!("list portfolio {} of run {run}", item.key.portfolio)).await
    }

    /// Items of a run that no sealed manifest lists, as bucket and portfolio; of one bucket, or of all.
    async fn strays(&self, run: RunId, bucket: Option<u32>) -> Result<BTreeSet<(u32, PortfolioId)>, StoreError> {
        let pages = Pages::of(keys::run_partition(run), Range::Prefix(keys::strays(bucket)));
        let rows = self.table.all(pages, || format!("read the work items of run {run}")).await?;
        let stray = |row: &Item| {
            let mut parts = text_of(row, SK)?.splitn(4, '#').skip(1);
            let (bucket, _place, portfolio) = (parts.next()?, parts.next()?, parts.next()?);
            Some((bucket.parse().ok()?, portfolio.parse().ok()?))
        };
        Ok(rows.iter().filter_map(stray).collect())
    }

    /// The buckets that a run may have items and folds in.
    pub(super) async fn buckets(&self, run: &Run) -> Result<BTreeSet<u32>, StoreError> {
        let mut buckets: BTreeSet<u32> = (0..run.plan.as_ref().map_or(0, |plan| plan.buckets())).collect();
        buckets.extend(self.strays(run.batch_run_id, None).await?.into_iter().map(|(bucket, _)| bucket));
        Ok(buckets)
    }

    /// The touched items of a bucket, by place; without those of which the fold says that every job succeeded, if so
    /// asked.
    pub(super) async fn bucket(
        &self,
        id: RunId,
        facts: Facts,
        bucket: u32,
        not_all_good: bool,
    ) -> Result<Vec<WorkItem>, StoreError> {
        let mut wanted: BTreeSet<PortfolioId> = BTreeSet::new();
        if let Some(epoch) = facts.sealed {
            let listed = self.sealed_manifest(id, epoch, bucket).await?;
            let good = if not_all_good { self.all_good(id, bucket).await? } else { BTreeSet::new() };
            wanted.extend((0..).zip(listed.iter()).filter(|(n, _)| !good.contains(n)).map(|(_, one)| one.clone()));
        }
        wanted.extend(self.strays(id, Some(bucket)).await?.into_iter().map(|(_, portfolio)| portfolio));
        let keys =
            wanted.into_iter().map(|portfolio| keys::record(&ItemKey { run: id, portfolio }, facts.scheduled_for));
        let found = self.table.get_many(keys, || format!("read the work items of run {id}")).await?;
        let mut items = found.iter().map(item_of).collect::<Result<Vec<_>, _>>()?;
        items.retain(|item| item.place.bucket == bucket);
        items.sort_by_key(|item| item.place);
        Ok(items)
    }
}
