//! From which date retention counts back: one that no clock can move.

use chrono::NaiveDate;

use super::{Control, Level, NightHead};
use crate::ports::{NightQuery, RunStore, StoreError};

/// Newest nights of a series among which the date is looked for.
const NIGHTS_PER_READ: usize = 30;

/// The newest close that a night had, over all series. A night without a close of its own date does not count: its date
/// may come from a wrong clock. `None` where no night counts; then nothing is old.
///
/// # Errors
/// The store.
pub async fn retention_date(store: &dyn RunStore) -> Result<Option<NaiveDate>, StoreError> {
    let mut newest = None;
    for series in store.night_series().await? {
        let mut query = NightQuery { series, from: None, to: None, limit: NIGHTS_PER_READ };
        loop {
            let heads = store.nights(&query).await?;
            if let Some(found) = heads.iter().find_map(close_of) {
                newest = newest.max(Some(found));
                break;
            }
            match heads.last().and_then(|head| head.as_of.pred_opt()) {
                Some(before) if heads.len() == NIGHTS_PER_READ => query.to = Some(before),
                _ => break,
            }
        }
    }
    Ok(newest)
}

/// The newest close of a night, unless its control says that it is older than the night.
fn close_of(head: &NightHead) -> Option<NaiveDate> {
    let failed = head
        .controls
        .iter()
        .any(|control| control.result.control == Control::NewestClose && control.result.level == Level::Failure);
    head.newest_close.filter(|close| !failed && *close <= head.as_of)
}
