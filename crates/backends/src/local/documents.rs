//! The documents: full results in one pack a run, pinned inputs by the hash of their content.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use async_trait::async_trait;
use domain::ids::ContentHash;
use domain::ports::{Documents, StoreError};
use domain::work_item::ItemKey;
use rusqlite::{OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use super::folder::replace;
use super::open::LocalStore;
use super::writer::OpError;

/// Results: written once and read seldom, by the thousand a night. For these documents the first level packs as well as
/// the third, in less time.
pub(super) const RESULTS_LEVEL: i32 = 1;

/// Inputs: one file a night.
const SNAPSHOT_LEVEL: i32 = 3;

/// Until this size a document may expand as much as it likes.
const FREE_EXPANSION: u64 = 64 << 20;

/// Beyond it, by no more than this factor: the hash is checked on the whole, so the whole must not fill the memory.
const MAX_EXPANSION: u64 = 200;

/// What a packed document begins with; then the SHA-256 of its frame of zstd, then the frame. A frame has bits that
/// decoders ignore, so that the hash of the content alone does not see every change.
const TAG: &[u8; 4] = b"NB1:";

/// What the documents of the first version began with: the magic number of zstd.
const BARE_FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compresses a document for storing.
pub(super) fn pack(document: &[u8], level: i32) -> std::io::Result<Vec<u8>> {
    let frame = zstd::bulk::compress(document, level)?;
    let mut packed = Vec::with_capacity(TAG.len() + 32 + frame.len());
    packed.extend_from_slice(TAG);
    packed.extend_from_slice(&Sha256::digest(&frame));
    packed.extend_from_slice(&frame);
    Ok(packed)
}

/// Decompresses a stored document.
pub(super) fn unpacked(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let wrong = |message: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, message);
    let frame = match packed.strip_prefix(TAG).and_then(|rest| rest.split_at_checked(32)) {
        Some((hash, frame)) if Sha256::digest(frame)[..] == *hash => frame,
        Some(_) => return Err(wrong("its bytes do not fit their hash")),
        None if packed.starts_with(&BARE_FRAME) => packed,
        None => return Err(wrong("it does not begin as a document does")),
    };
    let limit = FREE_EXPANSION.max((packed.len() as u64).saturating_mul(MAX_EXPANSION));
    let mut document = Vec::new();
    zstd::stream::read::Decoder::new(frame)?.take(limit + 1).read_to_end(&mut document)?;
    if document.len() as u64 > limit {
        let message = format!("it expands more than {MAX_EXPANSION}-fold, which no document does");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
    }
    Ok(document)
}

#[async_trait]
impl Documents for LocalStore {
    async fn put_results(&self, key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError> {
        let key = key.clone();
        let hash = ContentHash::of(&json);
        let packed = pack(&json, RESULTS_LEVEL)
            .map_err(|error| OpError::Io(error).told("compress the results of a portfolio"))?;
        self.write("write the results of a portfolio", move |writing| {
            let there: bool = writing
                .connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM results WHERE batch_run_id = ?1 AND portfolio_id = ?2 AND content_hash = ?3)")?
                .query_row(params![key.run.to_string(), key.portfolio.as_str(), hash.as_str()], |row| row.get(0))?;
            if !there {
                let (offset, length) = writing.append(key.run, &packed)?;
                writing
                    .connection
                    .prepare_cached("INSERT INTO results VALUES (?1,?2,?3,?4,?5)")?
                    .execute(params![key.run.to_string(), key.portfolio.as_str(), hash.as_str(), offset as i64, length as i64])?;
            }
            Ok(hash)
        })
        .await
    }

    async fn results(&self, key: &ItemKey, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        let (store, key, hash) = (self.clone(), key.clone(), hash.clone());
        self.read("read the results of a portfolio", move |connection| {
            let place: Option<(i64, i64)> = connection
                .prepare_cached("SELECT offset, length FROM results WHERE batch_run_id = ?1 AND portfolio_id = ?2 AND content_hash = ?3")?
                .query_row(params![key.run.to_string(), key.portfolio.as_str(), hash.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            Ok(place.map(|(offset, length)| store.unpack(&key, &hash, offset, length)).transpose()?)
        })
        .await
    }

    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        let path = self.snapshot_path(&hash);
        if path.exists() && self.snapshot(&hash).await.is_ok() {
            return Ok(hash);
        }
        let told = |error| OpError::Io(error).told("write the pinned inputs");
        let packed = pack(&bytes, SNAPSHOT_LEVEL).map_err(told)?;
        let file = replace(&path, &packed).map_err(told)?;
        file.as_file().sync_all().map_err(told)?;
        file.persist(&path).map_err(|error| told(error.error))?;
        File::open(self.folder().join("snapshots")).and_then(|folder| folder.sync_all()).map_err(told)?;
        Ok(hash)
    }

    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        let path = self.snapshot_path(hash);
        let what = || format!("the pinned inputs {}", hash.short());
        let packed = match std::fs::read(&path) {
            Ok(packed) => packed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::NotFound { what: format!("file of {} ({})", what(), path.display()) });
            }
            Err(error) => return Err(OpError::Io(error).told("read the pinned inputs")),
        };
        let bytes =
            unpacked(&packed).map_err(|error| StoreError::Damaged { what: what(), detail: error.to_string() })?;
        if ContentHash::of(&bytes) == *hash {
            Ok(bytes)
        } else {
            Err(StoreError::Damaged { what: what(), detail: "their content does not fit their hash".into() })
        }
    }
}

impl LocalStore {
    pub(crate) fn snapshot_path(&self, hash: &ContentHash) -> std::path::PathBuf {
        self.folder().join("snapshots").join(format!("{hash}.zst"))
    }

    /// Reads a document out of its pack and verifies it.
    pub(crate) fn unpack(
        &self,
        key: &ItemKey,
        hash: &ContentHash,
        offset: i64,
        length: i64,
    ) -> Result<Vec<u8>, StoreError> {
        let what = || format!("the results of portfolio {} in run {}", key.portfolio, key.run);
        let broken = |detail: String| StoreError::Damaged { what: what(), detail };
        let (Ok(offset), Ok(length)) = (u64::try_from(offset), usize::try_from(length)) else {
            return Err(broken("their place in the pack is impossible".into()));
        };
        let path = self.folder().join("results").join(format!("{}.pack", key.run));
        let pack = File::open(&path).map_err(|error| broken(format!("{}: {error}", path.display())))?;
        let size = pack.metadata().map_err(|error| broken(error.to_string()))?.len();
        if offset.saturating_add(length as u64) > size {
            return Err(broken(format!("{} is too short", path.display())));
        }
        let mut packed = vec![0; length];
        pack.read_exact_at(&mut packed, offset).map_err(|error| broken(format!("{}: {error}", path.display())))?;
        let json = unpacked(&packed).map_err(|error| broken(error.to_string()))?;
        if ContentHash::of(&json) == *hash {
            Ok(json)
        } else {
            Err(broken("their content does not fit their hash".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever bit of a stored document changes, it no longer decompresses to the content of its hash.
    #[test]
    fn no_bit_of_a_document_changes_unnoticed() {
        let json =
            format!("{{\"values\":[{}]}}", (0..400).map(|n| (n * n % 977).to_string()).collect::<Vec<_>>().join(","));
        for document in [json.as_bytes(), b"{}", b"", &[b'a'; 5_000]] {
            let hash = ContentHash::of(document);
            let packed = pack(document, RESULTS_LEVEL).unwrap();
            for bit in 0..packed.len() * 8 {
                let mut changed = packed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let noticed = unpacked(&changed).map_or(true, |content| ContentHash::of(&content) != hash);
                assert!(noticed, "bit {bit} of {} bytes", packed.len());
            }
        }
    }

    #[test]
    fn a_document_that_expands_without_end_is_stopped() {
        let document = vec![b' '; 1_000_000];
        let packed = zstd::bulk::compress(&document, RESULTS_LEVEL).unwrap();
        assert_eq!(unpacked(&packed).unwrap(), document);
        let bomb = zstd::stream::encode_all(std::io::repeat(b' ').take(FREE_EXPANSION + 2), 1).unwrap();
        assert!(bomb.len() < 100_000);
        assert!(unpacked(&bomb).unwrap_err().to_string().contains("more than 200-fold"));
        assert!(unpacked(&packed[..packed.len() - 3]).is_err());
    }
}
