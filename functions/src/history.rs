//! `history`: questions over HTTP, answered from the same records.

use domain::ports::{RunQuery, RunStore};
use domain::redact::redact;
use domain::run::SealedPlan;
use domain::summary::{RunSummary, summarise};
use serde_json::{Value, json};

/// Answers a request: a status of HTTP, and a JSON document.
pub async fn answer(store: &dyn RunStore, method: &str, path: &str) -> (u16, Value) {
    match (method, path) {
        ("GET", "/healthz") => (200, json!({ "status": "ok" })),
        ("GET", "/api/v1/batch/last-run") => match last_run(store).await {
            Ok(Some(summary)) => (200, json!(summary)),
            Ok(None) => (404, json!({ "error": "there is no run yet" })),
            Err(error) => {
                let text = redact(&format!("{error:#}"));
                tracing::error!(error = %text, event = "history.failed", "a question could not be answered");
                (503, json!({ "error": "the records cannot be read at the moment; try again" }))
            }
        },
        _ => (404, json!({ "error": "there is nothing at this address" })),
    }
}

/// The summary of the newest run, or how it stands.
async fn last_run(store: &dyn RunStore) -> anyhow::Result<Option<RunSummary>> {
    let page = store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await?;
    let Some(stored) = page.runs.into_iter().next() else { return Ok(None) };
    if let Some(summary) = stored.summary {
        return Ok(Some(summary));
    }
    let mut items = Vec::new();
    for bucket in 0..stored.run.plan.as_ref().map_or(0, SealedPlan::buckets) {
        items.extend(store.items(stored.run.batch_run_id, bucket).await?);
    }
    let summary = summarise(&stored.run, &items, &std::collections::BTreeMap::new());
    Ok(Some(RunSummary { publication: stored.run.publication.clone(), ..summary }))
}
