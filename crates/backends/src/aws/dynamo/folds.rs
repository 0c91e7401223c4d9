//! The folds, one item for each bucket, and the set of the full ones. An entry is counted by one conditional change
//! that adds its place to the set and its numbers to the sums.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::fold::{Fold, FoldEntry, JobCounts};
use domain::ids::RunId;
use domain::ports::StoreError;
use domain::words::QualityFlag;

use super::DynamoStore;
use super::document::{EXPIRES_AT, Item, number, number_of};
use super::keys;
use super::table::{Expression, Written};

/// Places that were counted.
const DONE: &str = "done";
/// Places of which not every job succeeded.
const NOT_ALL_GOOD: &str = "not_all_good";
/// Buckets that are full.
const FULL: &str = "full";

fn one(n: u32) -> AttributeValue {
    AttributeValue::Ns(vec![n.to_string()])
}

fn set_of(item: &Item, name: &str) -> BTreeSet<u32> {
    let numbers = item.get(name).and_then(|value| value.as_ns().ok());
    numbers.into_iter().flatten().filter_map(|text| text.parse().ok()).collect()
}

/// The change that counts an entry: T1 of the protocol.
fn count(bucket: u32, entry: &FoldEntry, expires_at: i64) -> Expression {
    let jobs = &entry.jobs;
    let quality = |flag| u32::from(entry.quality == Some(flag));
    let bad = jobs.failed > 0 || jobs.skipped > 0 || jobs.missing > 0;
    let mut change = Expression {
        text: "SET #bucket = :bucket, #expires_at = if_not_exists(#expires_at, :expires_at) \
               ADD #done :place, #success :success, #failed :failed, #skipped :skipped, #missing :missing, \
               #processed :processed, #full :full, #limited :limited, #unusable :unusable"
            .into(),
        names: vec![
            ("#bucket", "bucket"),
            ("#expires_at", EXPIRES_AT),
            ("#done", DONE),
            ("#success", "success"),
            ("#failed", "failed"),
            ("#skipped", "skipped"),
            ("#missing", "missing"),
            ("#processed", "processed"),
            ("#full", "quality_full"),
            ("#limited", "quality_limited"),
            ("#unusable", "quality_failed"),
        ],
        values: vec![
            (":bucket", number(bucket)),
            (":expires_at", number(expires_at)),
            (":place", one(entry.index)),
            (":n", number(entry.index)),
            (":success", number(jobs.success)),
            (":failed", number(jobs.failed)),
            (":skipped", number(jobs.skipped)),
            (":missing", number(jobs.missing)),
            (":processed", number(u32::from(entry.processed))),
            (":full", number(quality(QualityFlag::Full))),
            (":limited", number(quality(QualityFlag::Limited))),
            (":unusable", number(quality(QualityFlag::Failed))),
        ],
    };
    if bad {
        change.text.push_str(", #not_all_good :place");
        change.names.push(("#not_all_good", NOT_ALL_GOOD));
    }
    change
}

/// The fold of an item.
fn fold_of(item: &Item, run: RunId) -> Result<Fold, StoreError> {
    let what = || format!("the count of a bucket of run {run}");
    let need = |name: &'static str| {
        number_of::<u64>(item, name)
            .ok_or_else(|| StoreError::Damaged { what: what(), detail: format!("it has no number {name:?}") })
    };
    let small = |name| need(name).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    Ok(Fold {
        bucket: small("bucket")?,
        done: set_of(item, DONE),
        jobs: JobCounts {
            success: need("success")?,
            failed: need("failed")?,
            skipped: need("skipped")?,
            missing: need("missing")?,
        },
        processed: small("processed")?,
        quality: [small("quality_full")?, small("quality_limited")?, small("quality_failed")?],
    })
}

impl DynamoStore {
    pub(super) async fn count_entry(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError> {
        let doing = || format!("count a portfolio in bucket {bucket} of run {run}");
        let change = count(bucket, entry, self.expires_at());
        match self.table.update(&keys::fold(run, bucket), change, Some("NOT contains(#done, :n)"), doing).await? {
            Written::Done(item) | Written::Refused(Some(item)) => fold_of(&item, run),
            Written::Refused(None) => Err(StoreError::Damaged {
                what: format!("the count of bucket {bucket} of run {run}"),
                detail: "a place is counted in it, and it is not there".into(),
            }),
        }
    }

    pub(super) async fn all_folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError> {
        let Some(meta) = self.meta(run).await? else { return Ok(Vec::new()) };
        let keys = self.buckets(&meta.run).await?.into_iter().map(|bucket| keys::fold(run, bucket));
        let items = self.table.get_many(keys, || format!("read the counts of run {run}")).await?;
        let mut folds = items.iter().map(|item| fold_of(item, run)).collect::<Result<Vec<_>, _>>()?;
        folds.sort_by_key(|fold| fold.bucket);
        Ok(folds)
    }

    /// Places of a bucket that were counted and of which every job succeeded.
    pub(super) async fn all_good(&self, run: RunId, bucket: u32) -> Result<BTreeSet<u32>, StoreError> {
        let doing = || format!("read the count of bucket {bucket} of run {run}");
        let Some(item) = self.table.get(&keys::fold(run, bucket), doing).await? else { return Ok(BTreeSet::new()) };
        let bad = set_of(&item, NOT_ALL_GOOD);
        Ok(set_of(&item, DONE).into_iter().filter(|place| !bad.contains(place)).collect())
    }

    pub(super) async fn mark_bucket(&self, run: RunId, bucket: u32) -> Result<u32, StoreError> {
        let doing = || format!("mark bucket {bucket} of run {run} as full");
        let root = keys::root(run);
        let item = if self.table.get(&keys::fold(run, bucket), doing).await?.is_some() {
            // A set: the same again changes nothing. T2 of the protocol.
            let change = Expression {
                text: "ADD #full :bucket".into(),
                names: vec![("#full", FULL)],
                values: vec![(":bucket", one(bucket))],
            };
            match self.table.update(&root, change, None, doing).await? {
                Written::Done(item) => item,
                Written::Refused(there) => there.unwrap_or_default(),
            }
        } else {
            self.table.get(&root, doing).await?.unwrap_or_default()
        };
        Ok(u32::try_from(set_of(&item, FULL).len()).unwrap_or(u32::MAX))
    }
}
