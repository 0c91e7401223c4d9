//! The work items of a run as every surface counts them: one for each planned portfolio, touched or not.

use std::collections::BTreeMap;

use crate::ids::{PortfolioId, RunId};
use crate::ports::{RunStore, StoreError};
use crate::run::{PlannedPortfolio, Run};
use crate::work_item::{ItemKey, Place, WorkItem};

/// The items of one bucket of a run, in the order of the manifest.
///
/// A portfolio that nobody has touched is [`WorkItem::untouched`]. A run without a plan has no items.
///
/// # Errors
/// The store.
pub async fn expected_items(store: &dyn RunStore, run: &Run, bucket: u32) -> Result<Vec<WorkItem>, StoreError> {
    let Some(plan) = &run.plan else { return Ok(Vec::new()) };
    let id = run.batch_run_id;
    let touched = store.items(id, bucket).await?;
    // Items are unique and come from the manifest: a full bucket needs no second read.
    if touched.len() >= plan.bucket_len(bucket) as usize {
        return Ok(touched);
    }
    Ok(with_untouched(id, bucket, store.manifest(id, plan.epoch, bucket).await?, touched))
}

/// The items of all buckets of a run, in the order of the manifest.
///
/// # Errors
/// The store.
pub async fn all_expected_items(store: &dyn RunStore, run: &Run) -> Result<Vec<WorkItem>, StoreError> {
    let mut items = Vec::new();
    for bucket in 0..run.plan.as_ref().map_or(0, crate::run::SealedPlan::buckets) {
        items.extend(expected_items(store, run, bucket).await?);
    }
    Ok(items)
}

/// One item for each portfolio of the manifest of a bucket: the touched one, or an untouched one.
///
/// What was touched and is not in the manifest stays, at the end.
#[must_use]
pub fn with_untouched(
    run: RunId,
    bucket: u32,
    manifest: Vec<PlannedPortfolio>,
    touched: Vec<WorkItem>,
) -> Vec<WorkItem> {
    let mut by_id: BTreeMap<PortfolioId, WorkItem> =
        touched.into_iter().map(|item| (item.key.portfolio.clone(), item)).collect();
    let mut items: Vec<WorkItem> = (0..)
        .zip(manifest)
        .map(|(index, planned)| {
            by_id.remove(&planned.id).unwrap_or_else(|| {
                WorkItem::untouched(ItemKey { run, portfolio: planned.id }, planned.name, Place { bucket, index })
            })
        })
        .collect();
    let mut others: Vec<WorkItem> = by_id.into_values().collect();
    others.sort_unstable_by_key(|item| item.place);
    items.extend(others);
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::samples::planning;
    use crate::work_item::ItemState;
    use crate::work_item::samples::item;

    #[test]
    fn every_planned_portfolio_has_one_item_in_the_order_of_the_manifest() {
        let run = planning(1).batch_run_id;
        let planned = |id: &str| PlannedPortfolio { id: PortfolioId::new(id).unwrap(), name: format!("Name of {id}") };
        let mut touched = item(1, "b", 2, 1);
        touched.state = ItemState::Done;
        let items = with_untouched(run, 2, vec![planned("c"), planned("b"), planned("a")], vec![touched.clone()]);
        let ids: Vec<&str> = items.iter().map(|item| item.key.portfolio.as_str()).collect();
        assert_eq!(ids, ["c", "b", "a"]);
        assert_eq!(items[1], touched);
        assert_eq!((items[2].state, items[2].place), (ItemState::Pending, Place { bucket: 2, index: 2 }));
        assert_eq!(items[2].portfolio_name, "Name of a");
        let without_manifest = with_untouched(run, 2, Vec::new(), vec![touched.clone()]);
        assert_eq!(without_manifest, [touched], "what is on record is never dropped");
    }
}
