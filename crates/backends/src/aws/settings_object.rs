//! The stored settings in the bucket of the records.

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use domain::ports::{SettingsFile, StoreError};

use super::unavailable;

/// Beside the pinned inputs, which whoever starts runs may write and all others read.
const KEY: &str = "snapshots/settings.json";

/// The object that holds the stored settings.
#[derive(Debug, Clone)]
pub struct SettingsObject {
    s3: aws_sdk_s3::Client,
    bucket: String,
}

impl SettingsObject {
    pub(super) const fn new(s3: aws_sdk_s3::Client, bucket: String) -> Self {
        Self { s3, bucket }
    }
}

#[async_trait]
impl SettingsFile for SettingsObject {
    async fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let doing = || format!("read the stored settings {KEY}");
        let object = match self.s3.get_object().bucket(&self.bucket).key(KEY).send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(unavailable(doing(), error)),
        };
        let bytes = object.body.collect().await.map_err(|error| unavailable(doing(), error))?;
        Ok(Some(bytes.to_vec()))
    }

    async fn write(&self, json: Vec<u8>) -> Result<(), StoreError> {
        let request = self.s3.put_object().bucket(&self.bucket).key(KEY).content_type("application/json");
        let reply = request.body(ByteStream::from(json)).send().await;
        reply.map(|_| ()).map_err(|error| unavailable(format!("write the stored settings {KEY}"), error))
    }
}
