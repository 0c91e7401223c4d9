//! The settings of the book that was run last: whoever publishes and watches needs them, and may not read the book.

use aws_sdk_s3::primitives::ByteStream;
use domain::ports::StoreError;

use super::unavailable;

/// Beside the pinned inputs, which whoever starts runs may write and all others read.
const NAME: &str = "snapshots/settings.json";

/// One file in the bucket of the records.
#[derive(Debug, Clone)]
pub struct KeptFile {
    s3: aws_sdk_s3::Client,
    bucket: String,
}

impl KeptFile {
    pub(super) const fn new(s3: aws_sdk_s3::Client, bucket: String) -> Self {
        Self { s3, bucket }
    }

    /// What it holds; none where it was never written.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let doing = || format!("read the kept settings {NAME}");
        let object = match self.s3.get_object().bucket(&self.bucket).key(NAME).send().await {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(unavailable(doing(), error)),
        };
        let bytes = object.body.collect().await.map_err(|error| unavailable(doing(), error))?;
        Ok(Some(bytes.to_vec()))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    pub async fn write(&self, json: Vec<u8>) -> Result<(), StoreError> {
        let request = self.s3.put_object().bucket(&self.bucket).key(NAME).content_type("application/json");
        let reply = request.body(ByteStream::from(json)).send().await;
        reply.map(|_| ()).map_err(|error| unavailable(format!("write the kept settings {NAME}"), error))
    }
}
