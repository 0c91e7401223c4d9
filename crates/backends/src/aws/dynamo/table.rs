//! The table: reading, and writing under conditions. Every read is consistent, and no request scans or asks an index.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, Utc};
use domain::ports::{Clock, Randomness as _, StoreError};

use super::super::unavailable;
use super::document::{DOC, EXPIRES_AT, Item, PARTS, bytes_of, hash_of, number, number_of, text, text_of};
use super::keys::{self, Key, PK, SK};
use crate::system::SystemRandomness;

/// Keys that one request may name.
const BATCH: usize = 100;

/// How often what the service put off, or what somebody else changed in between, is tried again.
const ROUNDS: u32 = 40;

/// Counts the writes of an item: the fence of every change.
pub(super) const VERSION: &str = "ver";
/// Who wrote this version: by it a writer whose reply was lost recognises its own write.
pub(super) const BY: &str = "by";

/// What is being done, for an error.
pub(super) trait Doing: Fn() -> String + Send + Sync {}

impl<T: Fn() -> String + Send + Sync> Doing for T {}

/// Somebody else changed the item each time.
#[derive(Debug, thiserror::Error)]
#[error("it was put off {ROUNDS} times in a row: too much else was written at the same time")]
struct PutOff;

/// Counts tries, with a pause that grows and differs between writers.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    made: u32,
}

impl Rounds {
    pub(super) async fn another(&mut self, doing: impl Doing) -> Result<(), StoreError> {
        self.made += 1;
        if self.made == ROUNDS {
            return Err(unavailable(doing(), PutOff));
        }
        let most = f64::from(self.made.min(20)) * 0.01;
        tokio::time::sleep(Duration::from_secs_f64(most * SystemRandomness.jitter())).await;
        Ok(())
    }
}

/// What became of a write under a condition.
#[derive(Debug)]
pub(super) enum Written {
    /// It is written; for an update, the item then.
    Done(Item),
    /// The condition does not hold of what is there.
    Refused(Option<Item>),
}

/// A condition, or a change, with the names and values that it uses.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    pub(super) text: String,
    pub(super) names: Vec<(&'static str, &'static str)>,
    pub(super) values: Vec<(&'static str, AttributeValue)>,
}

/// The clock by which items expire.
#[derive(Clone)]
pub(super) struct Time(pub(super) Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// Which sort keys of a partition.
#[derive(Debug, Clone)]
pub(super) enum Range {
    All,
    Prefix(String),
    From(String),
    UpTo(String),
}

/// A query of one partition, page by page.
#[derive(Debug)]
pub(super) struct Pages {
    pk: String,
    range: Range,
    newest_first: bool,
    size: Option<i32>,
    start: Option<Item>,
    ended: bool,
}

impl Pages {
    /// All of a range, the smallest sort key first.
    pub(super) fn of(pk: impl Into<String>, range: Range) -> Self {
        Self { pk: pk.into(), range, newest_first: false, size: None, start: None, ended: false }
    }

    /// The largest sort key first, at most so many in a page.
    pub(super) fn newest_first(self, size: usize) -> Self {
        Self { newest_first: true, size: i32::try_from(size).ok().filter(|size| *size > 0), ..self }
    }

    /// The smallest alone.
    pub(super) fn one(self) -> Self {
        Self { size: Some(1), ..self }
    }

    /// Whether there is no further page.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }
}

/// The table of the records.
///
/// The service removes an item some time after its `expires_at`, up to two days later, and until then every reply has
/// it. So what has expired is not there, for all that goes through this type: no read gives it, and every condition that
/// nothing is there holds of it. Whoever writes finds what they would find two days later.
///
/// Why that is safe: only what belongs to one run expires (manifests, work items, counts), and the id of a run is never
/// used for another, so nothing is ever taken for what it replaces. A work item that is begun anew after its time has
/// version 1 again, and a write that was decided on the old version 1 would pass as one on the new. It would have to be on
/// its way in the second in which the item expires; but nobody works on a run that is closed, a run closes by its
/// deadline, which is a week away at most, and an item is kept for two weeks at least.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) client: aws_sdk_dynamodb::Client,
    pub(super) name: String,
    pub(super) time: Time,
}

impl Table {
    /// The time, by the clock of this table.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.time.0.now()
    }

    /// Whether an item is there: what has expired is not, whether or not the service has removed it.
    fn is_there(&self, item: &Item) -> bool {
        number_of::<i64>(item, EXPIRES_AT).is_none_or(|expires_at| expires_at > self.now().timestamp())
    }

    /// The value of `:now` in a condition.
    pub(super) fn now_value(&self) -> AttributeValue {
        number(self.now().timestamp())
    }

    /// The condition that nothing is there.
    pub(super) fn absent(&self) -> Expression {
        Expression {
            text: "attribute_not_exists(#pk) OR #expires_at <= :now".into(),
            names: vec![("#pk", PK), ("#expires_at", EXPIRES_AT)],
            values: vec![(":now", self.now_value())],
        }
    }

    /// The condition that nobody wrote since this version was read; 0: nothing was there.
    pub(super) fn unchanged_since(&self, version: u64) -> Expression {
        if version == 0 {
            return self.absent();
        }
        let (names, values) = (vec![("#ver", VERSION)], vec![(":read", number(version))]);
        Expression { text: "#ver = :read".into(), names, values }
    }

    /// An item with all its parts.
    pub(super) async fn get(&self, key: &Key, doing: impl Doing) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key.attributes()));
        let reply = request.consistent_read(true).send().await.map_err(|error| unavailable(doing(), error))?;
        match reply.item {
            Some(item) => self.complete(item, &doing).await,
            None => Ok(None),
        }
    }

    /// Those of these items that are there, in no order. What the service puts off is asked for again.
    pub(super) async fn get_many(
        &self,
        keys: impl IntoIterator<Item = Key> + Send,
        doing: impl Doing,
    ) -> Result<Vec<Item>, StoreError> {
        let keys: Vec<Key> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut found = Vec::new();
        for chunk in keys.chunks(BATCH) {
            let mut wanted: Vec<Item> = chunk.iter().map(Key::attributes).collect();
            let mut rounds = Rounds::default();
            while !wanted.is_empty() {
                let asked = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
                let asked = asked.map_err(|error| unavailable(doing(), error))?;
                let request = self.client.batch_get_item().request_items(&self.name, asked);
                let reply = request.send().await.map_err(|error| unavailable(doing(), error))?;
                found.extend(reply.responses.into_iter().flatten().flat_map(|(_, items)| items));
                wanted = reply.unprocessed_keys.into_iter().flatten().flat_map(|(_, rest)| rest.keys).collect();
                if !wanted.is_empty() {
                    rounds.another(&doing).await?;
                }
            }
        }
        let mut complete = Vec::with_capacity(found.len());
        for item in found {
            complete.extend(self.complete(item, &doing).await?);
        }
        Ok(complete)
    }

    /// The next page of a query; empty where there is none.
    pub(super) async fn page(&self, pages: &mut Pages, doing: impl Doing) -> Result<Vec<Item>, StoreError> {
        if pages.ended {
            return Ok(Vec::new());
        }
        let (condition, bound) = match &pages.range {
            Range::All => ("#pk = :pk", None),
            Range::Prefix(start) => ("#pk = :pk AND begins_with(#sk, :sk)", Some(start)),
            Range::From(first) => ("#pk = :pk AND #sk >= :sk", Some(first)),
            Range::UpTo(last) => ("#pk = :pk AND #sk <= :sk", Some(last)),
        };
        let mut request = self
            .client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .scan_index_forward(!pages.newest_first)
            .key_condition_expression(condition)
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":pk", text(&pages.pk))
            .set_limit(pages.size)
            .set_exclusive_start_key(pages.start.take());
        if let Some(bound) = bound {
            request = request.expression_attribute_names("#sk", SK).expression_attribute_values(":sk", text(bound));
        }
        let reply = request.send().await.map_err(|error| unavailable(doing(), error))?;
        pages.start = reply.last_evaluated_key.filter(|key| !key.is_empty());
        pages.ended = pages.start.is_none();
        let mut items = Vec::new();
        for item in reply.items.unwrap_or_default() {
            items.extend(self.complete(item, &doing).await?);
        }
        Ok(items)
    }

    /// Everything that a query finds.
    pub(super) async fn all(&self, mut pages: Pages, doing: impl Doing) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        while !pages.ended {
            items.extend(self.page(&mut pages, &doing).await?);
        }
        Ok(items)
    }

    /// The item with the whole of its document; none where it is not there any more.
    async fn complete(&self, mut item: Item, doing: &impl Doing) -> Result<Option<Item>, StoreError> {
        if !self.is_there(&item) {
            return Ok(None);
        }
        let Some(parts) = number_of::<usize>(&item, PARTS) else { return Ok(Some(item)) };
        let [pk, sk] = [PK, SK].map(|name| text_of(&item, name).unwrap_or_default().to_owned());
        let mut bytes = bytes_of(&item).to_vec();
        let mut start = None;
        let mut found = 0;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.name)
                .consistent_read(true)
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :sk)")
                .expression_attribute_names("#pk", PK)
                .expression_attribute_names("#sk", SK)
                .expression_attribute_values(":pk", text(&pk))
                .expression_attribute_values(":sk", text(keys::parts(&sk, &hash_of(&item))))
                .set_exclusive_start_key(start.take());
            let reply = request.send().await.map_err(|error| unavailable(doing(), error))?;
            for part in reply.items.unwrap_or_default().into_iter().filter(|part| self.is_there(part)) {
                bytes.extend_from_slice(bytes_of(&part));
                found += 1;
            }
            start = reply.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                break;
            }
        }
        if found != parts {
            // Parts expire with their item, which may have been just now.
            if !self.is_there(&item) {
                return Ok(None);
            }
            let detail = format!("{found} of the {parts} items with the rest of it are there");
            return Err(StoreError::Damaged { what: format!("the item {pk} {sk}"), detail });
        }
        item.insert(DOC.to_owned(), AttributeValue::B(Blob::new(bytes)));
        Ok(Some(item))
    }

    /// Writes an item as it is, whatever was there.
    pub(super) async fn put(&self, item: Item, doing: impl Doing) -> Result<(), StoreError> {
        let request = self.client.put_item().table_name(&self.name).set_item(Some(item));
        request.send().await.map(|_| ()).map_err(|error| unavailable(doing(), error))
    }

    /// Writes an item on a condition, after the items that hold the rest of its document.
    pub(super) async fn put_if(
        &self,
        item: Item,
        parts: Vec<Item>,
        condition: Expression,
        doing: impl Doing,
    ) -> Result<Written, StoreError> {
        for part in parts {
            self.put(part, &doing).await?;
        }
        let mut request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(condition.text)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (name, attribute) in condition.names {
            request = request.expression_attribute_names(name, attribute);
        }
        for (name, value) in condition.values {
            request = request.expression_attribute_values(name, value);
        }
        match request.send().await {
            Ok(_) => Ok(Written::Done(Item::new())),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    self.refused(refused.item.clone(), &doing).await
                }
                _ => Err(unavailable(doing(), error)),
            },
        }
    }

    async fn refused(&self, there: Option<Item>, doing: &impl Doing) -> Result<Written, StoreError> {
        match there.filter(|item| !item.is_empty()) {
            Some(item) => Ok(Written::Refused(self.complete(item, doing).await?)),
            None => Ok(Written::Refused(None)),
        }
    }

    /// Changes an item, on a condition if there is one; gives it as it is then.
    pub(super) async fn update(
        &self,
        key: &Key,
        change: Expression,
        condition: Option<&str>,
        doing: impl Doing,
    ) -> Result<Written, StoreError> {
        let mut request = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key.attributes()))
            .update_expression(change.text)
            .set_condition_expression(condition.map(str::to_owned))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (name, attribute) in change.names {
            request = request.expression_attribute_names(name, attribute);
        }
        for (name, value) in change.values {
            request = request.expression_attribute_values(name, value);
        }
        match request.send().await {
            Ok(reply) => Ok(Written::Done(reply.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Written::Refused(refused.item.clone().filter(|item| self.is_there(item))))
                }
                _ => Err(unavailable(doing(), error)),
            },
        }
    }

    /// Removes an item if it was written before this version.
    pub(super) async fn delete_before(&self, key: &Key, version: u64, doing: impl Doing) -> Result<(), StoreError> {
        let request = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key.attributes()))
            .condition_expression("#ver < :written")
            .expression_attribute_names("#ver", VERSION)
            .expression_attribute_values(":written", number(version));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if matches!(error.as_service_error(), Some(DeleteItemError::ConditionalCheckFailedException(_))) =>
            {
                Ok(())
            }
            Err(error) => Err(unavailable(doing(), error)),
        }
    }
}

/// The version of a stored item.
pub(super) fn version_of(item: &Item, what: impl Fn() -> String) -> Result<u64, StoreError> {
    number_of(item, VERSION)
        .ok_or_else(|| StoreError::Damaged { what: what(), detail: format!("it has no number {VERSION:?}") })
}

/// A name for one write, never used again.
pub(super) fn new_writer() -> Blob {
    Blob::new(&SystemRandomness.owner().0.as_bytes()[8..])
}

/// Adds version and writer to an item that is about to be written.
pub(super) fn sign(item: &mut Item, version: u64, writer: &Blob) {
    item.insert(VERSION.to_owned(), number(version));
    item.insert(BY.to_owned(), AttributeValue::B(writer.clone()));
}

/// Whether this writer wrote what is there: the request came through and its reply was lost.
pub(super) fn is_by(there: Option<&Item>, writer: &Blob) -> bool {
    there.and_then(|item| item.get(BY)?.as_b().ok()) == Some(writer)
}
