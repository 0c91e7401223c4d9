//! The heads of the nights: one item each, written over the version that was read.

use async_trait::async_trait;
use domain::ids::{ContentHash, ScheduleName};
use domain::night::{NightHead, NightKey};
use domain::ports::{Keep, NightQuery, Nights, StoreError};

use super::super::unavailable;
use super::DynamoStore;
use super::document::{EXPIRES_AT, ITEM_LIMIT, Item, PARTS, belongs, fill, hash_of, number, number_of, open, text_of};
use super::keys::{self, PK, SK};
use super::table::{Pages, Range, Written, is_by, new_writer, sign};

fn head_of(item: &Item) -> Result<NightHead, StoreError> {
    let what = || format!("the night of {}", text_of(item, SK).unwrap_or("a date"));
    let head: NightHead = open(item, what)?;
    let key = keys::night(&head.key());
    belongs(item, text_of(item, PK) == Some(&key.pk) && text_of(item, SK) == Some(&key.sk), what)?;
    Ok(head)
}

/// A document that would expire earlier than it should by less than this is left as it is.
const EARLY_SECONDS: i64 = 86_400;

impl DynamoStore {
    /// Removes the document that the head before named, once the new head is stored. The document of a night with an
    /// open run expires, so it is left alone.
    ///
    /// A night only gains runs and acceptances, so no later head names the document again. A writer that dies before
    /// this leaves an item that nothing names. An item that expires at once replaces the document, because not every
    /// role that writes nights may delete.
    async fn replaced(&self, before: &NightHead, next: &NightHead) -> Result<(), StoreError> {
        if !before.in_progress.is_empty() || before.document == next.document {
            return Ok(());
        }
        let doing = || "remove the replaced document of a night".to_owned();
        let key = keys::night_document(&before.document);
        let Some(item) = self.table.get(&key, doing).await? else { return Ok(()) };
        let parts = (0..number_of::<usize>(&item, PARTS).unwrap_or(0)).map(|n| keys::part(&key, &hash_of(&item), n));
        for key in std::iter::once(key.clone()).chain(parts) {
            let mut gone = key.attributes();
            gone.insert(EXPIRES_AT.to_owned(), number(self.table.now().timestamp()));
            self.table.put(gone, doing).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Nights for DynamoStore {
    async fn night(&self, key: &NightKey) -> Result<Option<NightHead>, StoreError> {
        let item = self.table.get(&keys::night(key), || format!("read the night of {}", key.as_of)).await?;
        item.as_ref().map(head_of).transpose()
    }

    async fn put_night(&self, head: &NightHead) -> Result<bool, StoreError> {
        let next = NightHead { version: head.version + 1, ..head.clone() };
        let writer = new_writer();
        let doing = || format!("write the night of {}", head.as_of);
        if head.version == 0 {
            // So that the series can be listed. The same again is harmless.
            let mut item = Item::new();
            sign(&mut item, 1, &writer);
            let parts = fill(&mut item, &keys::night_series(&head.night_series), &head.night_series, ITEM_LIMIT)?;
            self.table.put_if(item, parts, self.table.absent(), doing).await?;
        }
        let mut item = Item::new();
        sign(&mut item, next.version, &writer);
        let parts = fill(&mut item, &keys::night(&head.key()), &next, ITEM_LIMIT)?;
        let before = if head.version == 0 { None } else { self.night(&head.key()).await? };
        Ok(match self.table.put_if(item, parts, self.table.unchanged_since(head.version), doing).await? {
            Written::Done(_) => {
                if let Some(before) = before.filter(|before| before.version == head.version) {
                    self.replaced(&before, &next).await?;
                }
                true
            }
            Written::Refused(there) => is_by(there.as_ref(), &writer),
        })
    }

    async fn nights(&self, query: &NightQuery) -> Result<Vec<NightHead>, StoreError> {
        let doing = || "read the nights".to_owned();
        let range = query.to.map_or(Range::All, |to| Range::UpTo(to.to_string()));
        let mut pages = Pages::of(keys::night_partition(&query.series), range).newest_first(query.limit);
        let mut heads = Vec::new();
        while !pages.ended() {
            for row in self.table.page(&mut pages, doing).await? {
                let head = head_of(&row)?;
                if query.from.is_some_and(|from| head.as_of < from) {
                    return Ok(heads);
                }
                heads.push(head);
                if query.limit > 0 && heads.len() == query.limit {
                    return Ok(heads);
                }
            }
        }
        Ok(heads)
    }

    async fn night_series(&self) -> Result<Vec<ScheduleName>, StoreError> {
        let doing = || "read which night series there are".to_owned();
        let rows = self.table.all(Pages::of(keys::NIGHT_SERIES, Range::All), doing).await?;
        let mut names: Vec<ScheduleName> =
            rows.iter().filter_map(|row| ScheduleName::new(text_of(row, SK)?).ok()).collect();
        names.sort();
        Ok(names)
    }

    async fn put_night_document(&self, bytes: Vec<u8>, keep: Keep) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        let doing = || "write the document of a night".to_owned();
        let text = String::from_utf8(bytes).map_err(|error| unavailable(doing(), error))?;
        let expires_at = (keep == Keep::AsRecords).then(|| self.expires_at());
        let writer = new_writer();
        let mut item = Item::new();
        sign(&mut item, 1, &writer);
        item.extend(expires_at.map(|at| (EXPIRES_AT.to_owned(), number(at))));
        let parts = fill(&mut item, &keys::night_document(&hash), &text, ITEM_LIMIT)?;
        // The key is the hash: who wrote it before wrote the same. It may expire too early.
        let written = self.table.put_if(item.clone(), parts.clone(), self.table.absent(), doing).await?;
        if let Written::Refused(Some(there)) = written
            && let Some(earlier) = number_of::<i64>(&there, EXPIRES_AT)
            && expires_at.is_none_or(|at| earlier + EARLY_SECONDS < at)
        {
            for item in parts.into_iter().chain([item]) {
                self.table.put(item, doing).await?;
            }
        }
        Ok(hash)
    }

    async fn night_document(&self, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        let what = || format!("the document {} of a night", hash.short());
        let Some(item) = self.table.get(&keys::night_document(hash), || format!("read {}", what())).await? else {
            return Ok(None);
        };
        let bytes = open::<String>(&item, what)?.into_bytes();
        if ContentHash::of(&bytes) == *hash {
            Ok(Some(bytes))
        } else {
            Err(StoreError::Damaged { what: what(), detail: "its content does not fit its hash".into() })
        }
    }
}
