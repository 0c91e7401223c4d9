//! A night as it is stored, or folded in memory where it never was: this reader writes nothing to the store.

use domain::expected_items::all_expected_items;
use domain::night::stored::night_run;
use domain::night::{HeadFacts, Night, NightBasis, NightHead, NightKey, NightMembers, NightRun};
use domain::ports::{RunQuery, RunStore, StoreError};

/// The night with its head; `None` where the date has neither a run nor a recorded missed slot.
pub(super) async fn stored(store: &dyn RunStore, key: &NightKey) -> Result<Option<(NightHead, Night)>, StoreError> {
    if let Some(head) = store.night(key).await?
        && let Some(bytes) = store.night_document(&head.document).await?
    {
        return Ok(Some((head, read(&bytes)?)));
    }
    let query = RunQuery { as_of: Some(key.as_of), ..RunQuery::default() };
    let mut runs: Vec<NightRun> = Vec::new();
    let mut schedule = key.series.clone();
    let mut sealed_any = false;
    for one in store.runs(&query).await?.runs.into_iter().filter(|one| *one.run.night_series() == key.series) {
        let sealed = one.run.plan.as_ref().and_then(|plan| plan.night.as_ref());
        sealed_any |= sealed.is_some();
        let members = match sealed {
            Some(sealed) => store.night_document(&sealed.members).await?,
            None => None,
        };
        let members = members.as_deref().map(read::<NightMembers>).transpose()?;
        schedule = one.run.schedule.clone();
        runs.push(night_run(&one, &all_expected_items(store, &one.run).await?, members.as_ref()));
    }
    let Some(night) = Night::of(&key.series, key.as_of, &runs, &[]) else { return Ok(None) };
    let newest = runs.iter().max_by_key(|run| run.order()).map(|run| run.started_at);
    let facts = HeadFacts {
        version: 0,
        schedule,
        full_run: runs
            .iter()
            .filter(|run| run.is_full() && run.counts())
            .max_by_key(|run| run.order())
            .map(|run| run.id),
        acceptances: Vec::new(),
        basis: if sealed_any { NightBasis::Plans } else { NightBasis::Runs },
        document: domain::ids::ContentHash::of(&serde_json::to_vec(&night).unwrap_or_default()),
        folded_at: newest.unwrap_or_default(),
    };
    Ok(Some((NightHead::of(&night, facts), night)))
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        what: "the document of a night".into(),
        detail: error.to_string(),
    };
    serde_json::from_slice(bytes).map_err(damaged)
}
