//! The completion tallies on `DynamoDB`, one item for each bucket, and the set of the full ones. An entry is counted by one conditional change
//! that adds its place to the set and its numbers to the sums.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::fold::{Fold, FoldEntry, JobCounts};
use domain::ids::RunId;
use domain::ports::{StoreError, Tallies};
use domain::words::QualityFlag;

use super::DynamoStore;
use super::document::{EXPIRES_AT, Item, number, number_of};
use super::keys;
use super::table::{Expression, Rounds, Written};

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

/// Counts that a fold adds up: its attributes, with what an entry adds to each.
const SUMS: [(&str, &str, &str); 8] = [
    ("#success", "success", ":success"),
    ("#failed", "failed", ":failed"),
    ("#skipped", "skipped", ":skipped"),
    ("#missing", "missing", ":missing"),
    ("#processed", "processed", ":processed"),
    ("#full", "quality_full", ":full"),
    ("#limited", "quality_limited", ":limited"),
    ("#unusable", "quality_failed", ":unusable"),
];

/// The change that counts an entry: T1 of the protocol. `afresh`: as the first, in place of all that is there.
fn count(bucket: u32, entry: &FoldEntry, expires_at: i64, afresh: bool) -> Expression {
    let jobs = &entry.jobs;
    let quality = |flag| u64::from(entry.quality == Some(flag));
    let numbers = [
        jobs.success,
        jobs.failed,
        jobs.skipped,
        jobs.missing,
        u64::from(entry.processed),
        quality(QualityFlag::Full),
        quality(QualityFlag::Limited),
        quality(QualityFlag::Failed),
    ];
    let bad = jobs.failed > 0 || jobs.skipped > 0 || jobs.missing > 0;
    let mut names = vec![("#bucket", "bucket"), ("#expires_at", EXPIRES_AT), ("#done", DONE)];
    let mut values =
        vec![(":bucket", number(bucket)), (":expires_at", number(expires_at)), (":place", one(entry.index))];
    let mut added = vec![("#done", ":place")];
    for ((name, attribute, value), amount) in SUMS.into_iter().zip(numbers) {
        names.push((name, attribute));
        values.push((value, number(amount)));
        added.push((name, value));
    }
    if bad {
        added.push(("#not_all_good", ":place"));
    }
    if bad || afresh {
        names.push(("#not_all_good", NOT_ALL_GOOD));
    }
    let set = "SET #bucket = :bucket, #expires_at = :expires_at";
    let each = |between: &str| added.iter().map(|(name, value)| format!("{name}{between}{value}")).collect::<Vec<_>>();
    let text = match afresh {
        false => format!("{set} ADD {}", each(" ").join(", ")),
        true if bad => format!("{set}, {}", each(" = ").join(", ")),
        true => format!("{set}, {} REMOVE #not_all_good", each(" = ").join(", ")),
    };
    Expression { text, names, values }
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

#[async_trait]
impl Tallies for DynamoStore {
    async fn fold(&self, run: RunId, bucket: u32, entry: &FoldEntry) -> Result<Fold, StoreError> {
        let doing = || format!("count a portfolio in bucket {bucket} of run {run}");
        let key = keys::fold(run, bucket);
        let mut rounds = Rounds::default();
        loop {
            let mut change = count(bucket, entry, self.expires_at(), false);
            change.values.extend([(":n", number(entry.index)), (":now", self.table.now_value())]);
            let condition = "NOT contains(#done, :n) AND NOT (#expires_at <= :now)";
            match self.table.update(&key, change, Some(condition), doing).await? {
                Written::Done(item) | Written::Refused(Some(item)) => return fold_of(&item, run),
                Written::Refused(None) => {}
            }
            // What was counted has expired, and must not be added to.
            let mut change = count(bucket, entry, self.expires_at(), true);
            change.values.push((":now", self.table.now_value()));
            if let Written::Done(item) = self.table.update(&key, change, Some("#expires_at <= :now"), doing).await? {
                return fold_of(&item, run);
            }
            rounds.another(doing).await?;
        }
    }

    async fn folds(&self, run: RunId) -> Result<Vec<Fold>, StoreError> {
        let Some(meta) = self.meta(run).await? else { return Ok(Vec::new()) };
        let keys = self.buckets(&meta.run).await?.into_iter().map(|bucket| keys::fold(run, bucket));
        let items = self.table.get_many(keys, || format!("read the counts of run {run}")).await?;
        let mut folds = items.iter().map(|item| fold_of(item, run)).collect::<Result<Vec<_>, _>>()?;
        folds.sort_by_key(|fold| fold.bucket);
        Ok(folds)
    }

    async fn mark_full(&self, run: RunId, bucket: u32) -> Result<u32, StoreError> {
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

impl DynamoStore {
    /// Places of a bucket that were counted and of which every job succeeded.
    pub(super) async fn all_good(&self, run: RunId, bucket: u32) -> Result<BTreeSet<u32>, StoreError> {
        let doing = || format!("read the count of bucket {bucket} of run {run}");
        let Some(item) = self.table.get(&keys::fold(run, bucket), doing).await? else { return Ok(BTreeSet::new()) };
        let bad = set_of(&item, NOT_ALL_GOOD);
        Ok(set_of(&item, DONE).into_iter().filter(|place| !bad.contains(place)).collect())
    }
}
