//! Rules of the documents.

use super::fixtures::*;
use crate::ids::ContentHash;
use crate::ports::{Documents, StoreError};

/// Calls a macro with the names of all rules of the [`Documents`](crate::ports::Documents).
#[macro_export]
macro_rules! document_rules {
    ($with:ident) => {
        $with! {
            results_come_back_as_they_were
            inputs_come_back_as_they_were
        }
    };
}

/// Results come back byte for byte; the same again is harmless, and what was never stored is none.
pub async fn results_come_back_as_they_were(documents: &dyn Documents, seed: u128) {
    let run = run_on(seed, 1, 0);
    let (first, second) = (key(seed, &run, 0), key(seed, &run, 1));
    let json = format!("{{\"portfolio\":\"ä {seed}\",\"values\":[{}1.5]}}", "0.25,".repeat(5_000)).into_bytes();
    let hash = documents.put_results(&first, json.clone()).await.unwrap();
    assert_eq!(hash, ContentHash::of(&json), "the hash is that of the document");
    assert_eq!(documents.put_results(&first, json.clone()).await.unwrap(), hash, "the same again");
    let other = documents.put_results(&first, b"{}".to_vec()).await.unwrap();
    assert_eq!(documents.results(&first, &hash).await.unwrap(), Some(json), "a later document replaced an earlier");
    assert_eq!(documents.results(&first, &other).await.unwrap(), Some(b"{}".to_vec()));
    assert_eq!(documents.results(&second, &hash).await.unwrap(), None, "results of another portfolio");
    assert_eq!(documents.results(&first, &ContentHash::of(b"nothing")).await.unwrap(), None);
}

/// Pinned inputs come back byte for byte; the same again is harmless, and what was never stored is an error.
pub async fn inputs_come_back_as_they_were(documents: &dyn Documents, seed: u128) {
    let bytes: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(100_000).collect();
    let hash = documents.put_snapshot(bytes.clone()).await.unwrap();
    assert_eq!(hash, ContentHash::of(&bytes), "the hash is that of the content");
    assert_eq!(documents.put_snapshot(bytes.clone()).await.unwrap(), hash, "the same again");
    assert_eq!(documents.snapshot(&hash).await.unwrap(), bytes);
    let unknown = documents.snapshot(&ContentHash::of(format!("nothing {seed}").as_bytes())).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })), "{unknown:?}");
}
