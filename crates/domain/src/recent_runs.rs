//! The runs of the last days, counted back from the newest one, so that a store that has rested for a month still has
//! an answer.

use chrono::{DateTime, Duration, Utc};

use crate::ports::{RunPage, RunQuery, RunStore, StoreError, StoredRun};

/// Runs of the newest slots, among which the one that began last is looked for: a slot may be run late.
const NEWEST: usize = 60;

/// Runs of a window, at most.
const MOST: usize = 1_000;

/// Runs that began within a span of time.
#[derive(Debug, Clone, PartialEq)]
pub struct RecentRuns {
    /// The beginning of the span; `None` without a run.
    pub since: Option<DateTime<Utc>>,
    /// The start of the newest run.
    pub until: Option<DateTime<Utc>>,
    /// The runs, newest slot first, at most 1,000.
    pub runs: Vec<StoredRun>,
}

/// When the newest run began; `None` without a run. One read.
///
/// # Errors
/// The store.
pub async fn newest_start(store: &dyn RunStore) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(began_last(&newest(store).await?))
}

/// The runs that began at most this long before the newest one: one read, or two where there are more than 60 runs.
///
/// # Errors
/// The store.
pub async fn recent_runs(store: &dyn RunStore, span: Duration) -> Result<RecentRuns, StoreError> {
    let page = newest(store).await?;
    let until = began_last(&page);
    let since = until.map(|until| until - span);
    let runs = if page.next.is_none() {
        page.runs.into_iter().filter(|stored| since.is_none_or(|since| stored.run.started_at >= since)).collect()
    } else {
        store.runs(&RunQuery { started_since: since, limit: MOST, ..RunQuery::default() }).await?.runs
    };
    Ok(RecentRuns { since, until, runs })
}

async fn newest(store: &dyn RunStore) -> Result<RunPage, StoreError> {
    store.runs(&RunQuery { limit: NEWEST, ..RunQuery::default() }).await
}

fn began_last(page: &RunPage) -> Option<DateTime<Utc>> {
    page.runs.iter().map(|stored| stored.run.started_at).max()
}
