//! How a value becomes attributes: compressed JSON in `doc`, its SHA-256 in `hash`, what does not fit in items beside it.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ids::ContentHash;
use domain::ports::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::packed::{pack, unpack};
use super::super::unavailable;
use super::dictionary;
use super::keys::{self, Key, PK, SK};

/// An item of the table.
pub(super) type Item = HashMap<String, AttributeValue>;

/// JSON, compressed.
pub(super) const DOC: &str = "doc";
/// SHA-256 of the JSON, 32 bytes.
pub(super) const HASH: &str = "hash";
/// How many items beside this one hold the rest of `doc`; not there: none.
pub(super) const PARTS: &str = "parts";
/// The dictionary against which `doc` is compressed; not there: it is gzip.
pub(super) const DICTIONARY: &str = "dict";
/// When the service may remove the item, in seconds since 1970.
pub(super) const EXPIRES_AT: &str = "expires_at";

/// Bytes of an item at most, with room below the 400 KB of the service.
pub(super) const ITEM_LIMIT: usize = 390 << 10;

/// Bytes of a document in one of the items beside.
const PART_BYTES: usize = 380 << 10;

/// Text.
pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number.
pub(super) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Bytes of a number, as the service counts.
fn number_size(digits: &str) -> usize {
    digits.len().div_ceil(2) + 1
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => number_size(digits),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|digits| number_size(digits)).sum(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        _ => 1,
    }
}

/// Bytes of an item, as the service counts.
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

/// Puts a value into an item, of which at most `limit` bytes may be there then; gives the items for the rest, to be
/// written first. They are named by the hash, so that nothing that is read is ever overwritten.
pub(super) fn fill(item: &mut Item, key: &Key, value: &impl Serialize, limit: usize) -> Result<Vec<Item>, StoreError> {
    fill_by(pack, item, key, value, limit)
}

/// The same, compressed against the dictionary.
pub(super) fn fill_record(
    item: &mut Item,
    key: &Key,
    value: &impl Serialize,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    item.insert(DICTIONARY.to_owned(), number(dictionary::NUMBER));
    fill_by(dictionary::pack, item, key, value, limit)
}

fn fill_by(
    pack: fn(&[u8]) -> std::io::Result<Vec<u8>>,
    item: &mut Item,
    key: &Key,
    value: &impl Serialize,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    let doing = || format!("compress {} {}", key.pk, key.sk);
    let json = serde_json::to_vec(value).map_err(|error| unavailable(doing(), error))?;
    let packed = pack(&json).map_err(|error| unavailable(doing(), error))?;
    let hash = ContentHash::of(&json);
    item.insert(PK.to_owned(), text(&key.pk));
    item.insert(SK.to_owned(), text(&key.sk));
    item.insert(HASH.to_owned(), binary_of(&hash));
    let without = size(item) + DOC.len();
    if without + packed.len() <= limit {
        item.insert(DOC.to_owned(), AttributeValue::B(Blob::new(packed)));
        return Ok(Vec::new());
    }
    // Four bytes for the number of parts.
    let here = limit.saturating_sub(without + PARTS.len() + 4).min(packed.len());
    let (first, rest) = packed.split_at(here);
    let mut parts = Vec::new();
    for (n, chunk) in rest.chunks(PART_BYTES).enumerate() {
        let mut part = keys::part(key, hash.as_str(), n).attributes();
        part.insert(DOC.to_owned(), AttributeValue::B(Blob::new(chunk)));
        if let Some(expires_at) = item.get(EXPIRES_AT) {
            part.insert(EXPIRES_AT.to_owned(), expires_at.clone());
        }
        parts.push(part);
    }
    item.insert(DOC.to_owned(), AttributeValue::B(Blob::new(first)));
    item.insert(PARTS.to_owned(), number(parts.len()));
    Ok(parts)
}

/// A text attribute.
pub(super) fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// A number attribute.
pub(super) fn number_of<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// A hash as it is stored.
fn binary_of(hash: &ContentHash) -> AttributeValue {
    AttributeValue::B(Blob::new(hex::decode(hash.as_str()).unwrap_or_default()))
}

/// The hash of an item as text; empty where it has none.
pub(super) fn hash_of(item: &Item) -> String {
    item.get(HASH).and_then(|value| value.as_b().ok()).map(|blob| hex::encode(blob.as_ref())).unwrap_or_default()
}

/// The bytes of `doc`.
pub(super) fn bytes_of(item: &Item) -> &[u8] {
    item.get(DOC).and_then(|value| value.as_b().ok()).map_or(&[], |blob| blob.as_ref())
}

/// The value of an item with all its parts, verified.
pub(super) fn open<T: DeserializeOwned>(item: &Item, what: impl Fn() -> String) -> Result<T, StoreError> {
    let damaged = |detail: String| StoreError::Damaged { what: what(), detail };
    let unpacked = match number_of::<u32>(item, DICTIONARY) {
        None => unpack(bytes_of(item)),
        Some(dictionary::NUMBER) => dictionary::unpack(bytes_of(item)),
        Some(newer) => {
            let told = format!("{} was written by a newer release, with dictionary {newer}: install that one", what());
            return Err(StoreError::TooNew(told));
        }
    };
    let json = unpacked.map_err(|error| damaged(format!("it cannot be unpacked: {error}")))?;
    if hash_of(item) != ContentHash::of(&json).as_str() {
        return Err(damaged("its content does not fit its hash".into()));
    }
    serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))
}

/// Refuses a value that lies under the key of another.
pub(super) fn belongs(item: &Item, fits: bool, what: impl Fn() -> String) -> Result<(), StoreError> {
    if fits {
        return Ok(());
    }
    let [pk, sk] = [PK, SK].map(|name| text_of(item, name).unwrap_or("?"));
    Err(StoreError::Damaged { what: what(), detail: format!("the item {pk} {sk} holds what belongs elsewhere") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> String {
        let mut hash = ContentHash::of(b"noise");
        let mut text = String::new();
        while text.len() < bytes {
            hash = ContentHash::of(hash.as_str().as_bytes());
            text.push_str(hash.as_str());
        }
        text
    }

    #[test]
    fn what_does_not_fit_is_beside_and_no_item_is_too_large() {
        let key = Key { pk: "PF#a".into(), sk: "RUN#1".into() };
        for (bytes, limit) in [(10, 2_048), (20_000, 2_048), (3_000_000, 2_048), (3_000_000, ITEM_LIMIT)] {
            let value = noise(bytes);
            let mut item = Item::from([(EXPIRES_AT.to_owned(), number(5))]);
            let parts = fill(&mut item, &key, &value, limit).unwrap();
            assert!(size(&item) <= limit, "{} of {limit}", size(&item));
            assert!(parts.iter().all(|part| size(part) < 400 << 10 && part.contains_key(EXPIRES_AT)));
            assert_eq!(parts.is_empty(), bytes == 10);
            let mut all = bytes_of(&item).to_vec();
            parts.iter().for_each(|part| all.extend_from_slice(bytes_of(part)));
            item.insert(DOC.to_owned(), AttributeValue::B(Blob::new(all)));
            assert_eq!(open::<String>(&item, || "it".into()).unwrap(), value);
        }
    }

    #[test]
    fn what_was_changed_is_told() {
        let key = Key { pk: "PF#a".into(), sk: "RUN#1".into() };
        let mut item = Item::new();
        fill(&mut item, &key, &"one", ITEM_LIMIT).unwrap();
        let mut other = Item::new();
        fill(&mut other, &key, &"two", ITEM_LIMIT).unwrap();
        item.insert(HASH.to_owned(), other[HASH].clone());
        let told = open::<String>(&item, || "the thing".into()).unwrap_err();
        assert_eq!(
            told.to_string(),
            "the thing is damaged: its content does not fit its hash; run `nightbook doctor` for the full list"
        );
    }
}
