//! Appends the link of a closed run.

use chrono::{DateTime, Utc};

use super::{Appended, Link, RunRoots, genesis_root, summary_root};
use crate::ids::RunId;
use crate::ports::{RunQuery, RunStore, StoreError};
use crate::run::Run;
use crate::summary::RunSummary;
use crate::work_item::WorkItem;

/// How often another closer may be faster before this one gives up; the next closer goes on.
const MOST_RACES: usize = 64;

/// Runs that one read of the genesis link takes.
const RUNS_PER_READ: usize = 500;

/// Appends the link of a run unless it has one. To be called after the summary is stored and before anything is published.
/// `now` is when the chain begins, if this is its first run.
///
/// # Errors
/// The store, or a summary that has no JSON.
pub async fn append_run(
    store: &dyn RunStore,
    now: DateTime<Utc>,
    run: &Run,
    summary: &RunSummary,
    items: &[WorkItem],
) -> Result<(), StoreError> {
    let id = run.batch_run_id;
    let roots = RunRoots::of(run, summary, items).map_err(|error| no_json(id, &error))?;
    let at = summary.closed_at.unwrap_or(run.started_at);
    for _ in 0..MOST_RACES {
        let newest = match store.newest_link().await? {
            Some(newest) => newest,
            None => match begin(store, now).await? {
                Some(genesis) => genesis,
                None => continue,
            },
        };
        match store.append_link(&newest.followed_by(id, at, roots.clone())).await? {
            Appended::Appended | Appended::RunHasLink(_) => return Ok(()),
            Appended::NumberTaken => {}
        }
    }
    Err(StoreError::Unavailable {
        doing: format!("append run {id} to the chain of closed runs"),
        source: format!("other closers were faster {MOST_RACES} times in a row").into(),
    })
}

/// Writes the genesis link over the summaries of all closed runs; `None` if somebody else wrote one meanwhile.
async fn begin(store: &dyn RunStore, now: DateTime<Utc>) -> Result<Option<Link>, StoreError> {
    let mut summaries = Vec::new();
    let mut query = RunQuery { limit: RUNS_PER_READ, ..RunQuery::default() };
    loop {
        let page = store.runs(&query).await?;
        for stored in page.runs {
            // A run that is being closed now gets a link of its own.
            if let (true, Some(summary)) = (stored.run.is_closed(), &stored.summary) {
                let id = stored.run.batch_run_id;
                summaries.push((id, summary_root(summary).map_err(|error| no_json(id, &error))?));
            }
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    let genesis = Link::genesis(now, genesis_root(summaries));
    let appended = store.append_link(&genesis).await?;
    Ok((appended == Appended::Appended).then_some(genesis))
}

fn no_json(run: RunId, error: &serde_json::Error) -> StoreError {
    StoreError::Damaged { what: format!("the summary or a record of run {run}"), detail: error.to_string() }
}
