//! The site in S3.
//!
//! Texts are stored compressed. A change is conditional on the `ETag` that was read with the content, so that nobody
//! overwrites what they have not seen.

use async_trait::async_trait;
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use domain::ids::ContentHash;
use domain::ports::{SiteFile, SiteStore, StoreError, WriteIf, Written};

use super::packed::{pack, unpack};
use super::unavailable;

/// Rounds for a write that met another at the same moment (409) or was overtaken by one (412).
const ROUNDS: u32 = 8;

/// Why a write was given up.
#[derive(Debug, thiserror::Error)]
#[error("others wrote at the same moment {ROUNDS} times in a row; try again")]
struct Contended;

/// The path would leave the site.
#[derive(Debug, thiserror::Error)]
#[error("it would lie outside of the site")]
struct Outside;

/// The bucket of the site.
#[derive(Debug, Clone)]
pub(super) struct S3Site {
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) bucket: String,
}

/// A file as it is there.
struct There {
    body: Vec<u8>,
    etag: String,
}

fn inside(path: &str) -> Result<(), StoreError> {
    if path.split('/').all(|part| !part.is_empty() && part != "." && part != "..") {
        return Ok(());
    }
    Err(unavailable(format!("use the page {path:?}"), Outside))
}

impl S3Site {
    async fn there(&self, path: &str) -> Result<Option<There>, StoreError> {
        let doing = || format!("read the page {path}");
        let object = match self.s3.get_object().bucket(&self.bucket).key(path).send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(unavailable(doing(), error)),
        };
        let etag = object.e_tag().unwrap_or_default().to_owned();
        let packed = object.content_encoding() == Some("gzip");
        let body = object.body.collect().await.map_err(|error| unavailable(doing(), error))?.to_vec();
        let body = if packed { unpack(&body).map_err(|error| unavailable(doing(), error))? } else { body };
        Ok(Some(There { body, etag }))
    }
}

#[async_trait]
impl SiteStore for S3Site {
    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        inside(path)?;
        Ok(self.there(path).await?.map(|there| there.body))
    }

    async fn write(&self, file: &SiteFile, condition: &WriteIf) -> Result<Written, StoreError> {
        inside(&file.path)?;
        let doing = || format!("write the page {}", file.path);
        let body = if file.is_text() {
            pack(&file.body).map_err(|error| unavailable(doing(), error))?
        } else {
            file.body.clone()
        };
        for round in 0..ROUNDS {
            let there = self.there(&file.path).await?;
            if round > 0 && there.as_ref().is_some_and(|there| there.body == file.body) {
                // A try of this request landed and its reply was lost, or somebody wrote the very same.
                return Ok(Written::Written);
            }
            if let WriteIf::Unchanged(expected) = condition
                && there.as_ref().map(|there| ContentHash::of(&there.body)) != *expected
            {
                return Ok(Written::Refused);
            }
            if there.as_ref().is_some_and(|there| there.body == file.body) {
                return Ok(Written::Unchanged);
            }
            let mut request = self
                .s3
                .put_object()
                .bucket(&self.bucket)
                .key(&file.path)
                .content_type(file.content_type)
                .cache_control(file.cache_control());
            if file.is_text() {
                request = request.content_encoding("gzip");
            }
            request = match &there {
                Some(there) => request.if_match(&there.etag),
                None => request.if_none_match("*"),
            };
            match request.body(ByteStream::from(body.clone())).send().await {
                Ok(_) => return Ok(Written::Written),
                // Somebody else was quicker, or an earlier try of this request: look again.
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(unavailable(doing(), error)),
            }
        }
        Err(unavailable(doing(), Contended))
    }

    async fn list(&self) -> Result<Vec<String>, StoreError> {
        let mut pages = self.s3.list_objects_v2().bucket(&self.bucket).into_paginator().send();
        let mut paths = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| unavailable("list the pages".to_owned(), error))?;
            paths.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        }
        Ok(paths)
    }

    async fn damaged(&self) -> Result<Vec<String>, StoreError> {
        // What the service acknowledged is durable.
        Ok(Vec::new())
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        inside(path)?;
        let removed = self.s3.delete_object().bucket(&self.bucket).key(path).send().await;
        removed.map(drop).map_err(|error| unavailable(format!("remove the page {path}"), error))
    }

    /// What the service acknowledged is durable.
    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn is_conflict(error: &SdkError<aws_sdk_s3::operation::put_object::PutObjectError>) -> bool {
    // A file that was read and is gone since answers with NoSuchKey.
    matches!(error.code(), Some("PreconditionFailed" | "ConditionalRequestConflict" | "NoSuchKey"))
}
