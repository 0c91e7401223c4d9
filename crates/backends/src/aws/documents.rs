//! Results documents and pinned inputs in S3: compressed, named by the hash of their content, checked when read.

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use domain::ids::ContentHash;
use domain::ports::{Documents, StoreError};
use domain::work_item::ItemKey;

use super::packed::{pack, unpack};
use super::unavailable;

/// The bucket of the records.
#[derive(Debug, Clone)]
pub(super) struct S3Documents {
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) bucket: String,
}

fn results_name(key: &ItemKey, hash: &ContentHash) -> String {
    format!("results/{}/{}/{hash}.json.gz", key.run, key.portfolio)
}

fn snapshot_name(hash: &ContentHash) -> String {
    format!("snapshots/{hash}.gz")
}

impl S3Documents {
    /// The name carries the hash of the content: writing the same again changes nothing.
    async fn put(&self, name: String, content_type: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let packed = pack(bytes).map_err(|error| unavailable(format!("compress {name}"), error))?;
        let request = self.s3.put_object().bucket(&self.bucket).key(&name).content_type(content_type);
        let reply = request.body(ByteStream::from(packed)).send().await;
        reply.map(|_| ()).map_err(|error| unavailable(format!("write {name}"), error))
    }

    async fn get(&self, name: &str, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        let damaged = |detail: String| StoreError::Damaged { what: name.to_owned(), detail };
        let object = match self.s3.get_object().bucket(&self.bucket).key(name).send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(unavailable(format!("read {name}"), error)),
        };
        let packed = object.body.collect().await.map_err(|error| unavailable(format!("read {name}"), error))?;
        let bytes = unpack(&packed.into_bytes()).map_err(|error| damaged(format!("it cannot be unpacked: {error}")))?;
        if ContentHash::of(&bytes) == *hash {
            Ok(Some(bytes))
        } else {
            Err(damaged("its content does not fit its hash".into()))
        }
    }
}

#[async_trait]
impl Documents for S3Documents {
    async fn put_results(&self, key: &ItemKey, json: Vec<u8>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&json);
        self.put(results_name(key, &hash), "application/gzip", &json).await?;
        Ok(hash)
    }

    async fn results(&self, key: &ItemKey, hash: &ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(&results_name(key, hash), hash).await
    }

    async fn put_snapshot(&self, bytes: Vec<u8>) -> Result<ContentHash, StoreError> {
        let hash = ContentHash::of(&bytes);
        self.put(snapshot_name(&hash), "application/gzip", &bytes).await?;
        Ok(hash)
    }

    async fn snapshot(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        let found = self.get(&snapshot_name(hash), hash).await?;
        found.ok_or_else(|| StoreError::NotFound { what: format!("file of the pinned inputs {}", hash.short()) })
    }
}
