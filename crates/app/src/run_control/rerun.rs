//! The decision on a rerun.

use std::collections::BTreeSet;

use domain::identity;
use domain::ids::{CauseId, PortfolioId, RunId};
use domain::night::read_night;
use domain::ports::{Documents, RunStore, StoreError, StoredRun};
use domain::run::{DEFAULT_DEADLINE_MINUTES, Run, RunPhase};
use domain::start_run::StartRun;

use super::{Decided, Inputs, RunControl, Starts, Work, outcome};
use crate::error::{ControlError, Refusal};
use crate::records::{not_successful, with_cause};
use crate::requests::{Accepted, RerunRequest};
use crate::start_requests::started_as;

impl RunControl {
    /// Records a rerun and has it begun; an interrupted rerun of the same run continues.
    ///
    /// # Errors
    /// [`ControlError`]; then nothing is recorded.
    pub async fn rerun(&self, request: &RerunRequest) -> Result<Accepted, ControlError> {
        if let Starts::Elsewhere(elsewhere) = &self.starts {
            return Ok(self.recorded_elsewhere(elsewhere.rerun(request).await?).await);
        }
        let _only = self.one_at_a_time.lock().await;
        match self.decide_rerun(request).await? {
            Decided::Run(work) => self.record(&work).await,
            Decided::NothingToRepeat(run) => Ok(Accepted::NothingToRepeat(run)),
        }
    }

    /// Decides on a rerun, for a caller that works on it itself. Records nothing.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn decide_rerun(&self, request: &RerunRequest) -> Result<Decided, ControlError> {
        let Starts::Here { documents, .. } = &self.starts else {
            return Err(Refusal::BookUnusable("pinned inputs are read by another process".to_owned()).into());
        };
        let RerunRequest { run, cause, .. } = request.clone();
        // Both are counted apart from reruns of the whole run.
        let failed_only = request.failed_only || cause.is_some();
        let original = self.stored(run).await?;
        if let (Some(of), false) = (original.run.rerun_of, original.run.has_ended()) {
            // The same command again, once its own rerun is what `latest` names.
            return self.continued(original.run, of, documents.as_ref()).await;
        }
        refuse_open(&original.run)?;
        refuse_without_inputs(&original.run, documents.as_ref()).await?;
        let store = self.store.as_ref();
        let (start, accepted) = match newest_open(store, run, failed_only).await? {
            Newest::Open(rerun) => (started_as(&rerun), outcome(Some(&rerun), rerun.batch_run_id)),
            Newest::Repeat(repeat) => {
                let portfolios = match &cause {
                    Some(cause) => of_cause(store, &original, cause).await?,
                    None => portfolios(store, &original, failed_only).await?,
                };
                let Some(portfolios) = portfolios else {
                    return Ok(Decided::NothingToRepeat(run));
                };
                let start = repeat_of(&original.run, failed_only, repeat, portfolios);
                let accepted = Accepted::Begun(start.id);
                (start, accepted)
            }
        };
        let inputs = Inputs::PinnedBy(Box::new(original.run));
        Ok(Decided::Run(Box::new(Work { accepted, start, inputs })))
    }

    /// An interrupted rerun, continued under its own name.
    async fn continued(&self, rerun: Run, of: RunId, documents: &dyn Documents) -> Result<Decided, ControlError> {
        let original = self.stored(of).await?.run;
        refuse_without_inputs(&original, documents).await?;
        let (accepted, start) = (outcome(Some(&rerun), rerun.batch_run_id), started_as(&rerun));
        Ok(Decided::Run(Box::new(Work { accepted, start, inputs: Inputs::PinnedBy(Box::new(original)) })))
    }
}

/// Only a closed run can be repeated.
fn refuse_open(run: &Run) -> Result<(), Refusal> {
    match run.phase {
        RunPhase::Closed => Ok(()),
        RunPhase::Missed => Err(Refusal::Missed { run: run.batch_run_id, as_of: run.as_of }),
        RunPhase::Planning { .. } | RunPhase::Running | RunPhase::Closing { .. } => {
            Err(Refusal::StillOpen { run: run.batch_run_id })
        }
    }
}

/// A rerun without inputs could never be planned.
async fn refuse_without_inputs(run: &Run, documents: &dyn Documents) -> Result<(), ControlError> {
    let (id, as_of) = (run.batch_run_id, run.as_of);
    let Some(plan) = &run.plan else { return Err(Refusal::NeverPinned { run: id, as_of }.into()) };
    match documents.snapshot(&plan.snapshot).await {
        Ok(_) => Ok(()),
        Err(StoreError::NotFound { .. }) => Err(Refusal::InputsRetired { run: id, as_of }.into()),
        Err(error) => Err(error.into()),
    }
}

/// The reruns of a run so far.
enum Newest {
    /// This is the newest that is still open.
    Open(Box<Run>),
    /// None is open; the next has this number.
    Repeat(u32),
}

async fn newest_open(store: &dyn RunStore, of: RunId, failed_only: bool) -> Result<Newest, StoreError> {
    let (mut open, mut repeat) = (None, 1);
    while let Some(stored) = store.run(identity::rerun(of, failed_only, repeat)).await? {
        if !stored.run.has_ended() {
            open = Some(Box::new(stored.run));
        }
        repeat += 1;
    }
    Ok(open.map_or(Newest::Repeat(repeat), Newest::Open))
}

/// The portfolios of a rerun (empty: all of the original); `None` where there is nothing to repeat.
async fn portfolios(
    store: &dyn RunStore,
    original: &StoredRun,
    failed_only: bool,
) -> Result<Option<Vec<PortfolioId>>, StoreError> {
    if !failed_only {
        return Ok(Some(original.run.filter.clone()));
    }
    let portfolios = not_successful(store, original).await?;
    Ok((!portfolios.is_empty()).then_some(portfolios))
}

/// The portfolios with a cause that have not succeeded since; `None` where all of them have.
async fn of_cause(
    store: &dyn RunStore,
    original: &StoredRun,
    cause: &CauseId,
) -> Result<Option<Vec<PortfolioId>>, ControlError> {
    let mut portfolios = with_cause(store, original, cause).await?;
    if portfolios.is_empty() {
        let run = original.run.batch_run_id;
        return Err(Refusal::UnknownCause { run, cause: cause.clone() }.into());
    }
    if let Some(view) = read_night(store, &original.run.night(), original.run.started_at).await? {
        let open: BTreeSet<&PortfolioId> = view.night.not_succeeded().map(|(id, _)| id).collect();
        portfolios.retain(|id| open.contains(id));
    }
    Ok((!portfolios.is_empty()).then_some(portfolios))
}

fn repeat_of(original: &Run, failed_only: bool, repeat: u32, portfolios: Vec<PortfolioId>) -> StartRun {
    let of = original.batch_run_id;
    StartRun {
        id: identity::rerun(of, failed_only, repeat),
        night_series: original.night_series().clone(),
        schedule: original.schedule.clone(),
        trigger: "rerun".to_owned(),
        as_of: original.as_of,
        scheduled_for: original.scheduled_for,
        rerun_of: Some(of),
        repeat,
        filter: portfolios,
        deadline_minutes: DEFAULT_DEADLINE_MINUTES,
    }
}
