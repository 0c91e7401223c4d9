//! The night: one schedule and one trading date, with everything known about that date.
//!
//! A run is how a night came about; only the night has a verdict. [`Night::of`] folds the runs of a date, their control
//! results and the acceptances into one answer. The fold is pure, does not depend on the order of its input, and
//! needs nothing from other nights: what a night has to know of the one before was sealed with the plan of its run.
//!
//! 1. [`input`] is what the fold reads of a run.
//! 2. [`expected`] picks the deciding run, the expected portfolios and the absent ones.
//! 3. [`outcomes`] picks the outcome of each job of each expected portfolio.
//! 4. [`causes`] groups what did not succeed; [`history`] follows a cause over several nights.
//! 5. [`controls`] folds the control results; [`limits`] judges recorded figures.
//! 6. [`editions`] finds the runs that changed recorded figures.
//! 7. [`verdict`] is the one rule for the word.
//! 8. [`next_step`] and [`headline`] put it into sentences; [`report`] has the keys that every surface serializes.
//!
//! [`dates`] says which nights nobody ran.
//!
//! [`members`] is what a plan seals for the night, [`stored`] turns runs on record into what the fold reads, [`head`] is
//! the night as it is stored, [`keeping`] writes it, [`reading`] reads it, and [`before`] is what a planner reads.

pub mod before;
pub mod causes;
pub mod controls;
pub mod dates;
pub mod editions;
pub mod expected;
pub(crate) mod folding;
pub mod head;
pub mod headline;
pub mod history;
pub mod input;
pub mod keeping;
pub mod limits;
pub mod lookup;
pub mod members;
pub mod next_step;
pub mod outcomes;
pub mod reading;
mod reasons;
pub mod report;
mod retention;
pub mod stored;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

pub use causes::{InputLocation, NightCause};
pub use controls::{Control, ControlResult, ControlValue, Level, NightControl};
pub use editions::{Edition, RestatedFigure, Why};
pub use folding::{KnownItems, refold, runs_of};
pub use head::{HeadFacts, NightBasis, NightHead, NightKey};
pub use input::{Acceptance, Failure, JobResult, NightJob, NightPlan, NightRun, NightRunState, OpenRun, PortfolioRun};
pub use keeping::keep_night;
pub use lookup::{kept_equity, later_night_on_record, sealed_members};
pub use members::{Earlier, EarlierValues, Member, NightBefore, NightMembers, PinnedNight, SealedNight};
pub use outcomes::{JobOutcome, PortfolioOutcome, Totals};
pub use reading::{NightView, newest_night, read_night, recent_nights};
pub use retention::retention_date;
pub use verdict::Verdict;

use crate::ids::{CauseId, PortfolioId, RunId, ScheduleName};

/// What is known about one trading date of one night series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Night {
    /// The night series: a schedule, under the name that it keeps when it is renamed.
    pub night_series: ScheduleName,
    /// The trading date.
    pub as_of: NaiveDate,
    /// How the night stands.
    pub verdict: Verdict,
    /// The job list of the deciding run.
    pub jobs: Vec<NightJob>,
    /// The outcomes of the expected portfolios, absent ones included.
    pub outcomes: BTreeMap<PortfolioId, PortfolioOutcome>,
    /// Expected portfolios that are in no run of the date.
    pub absent: BTreeSet<PortfolioId>,
    /// Portfolios that are declared closed on this date, with their first closed date.
    pub closed: BTreeMap<PortfolioId, NaiveDate>,
    /// The job counts.
    pub totals: Totals,
    /// What explains the jobs that did not succeed, the largest first.
    pub causes: Vec<NightCause>,
    /// Control results other than `ok`, the worst first.
    pub controls: Vec<NightControl>,
    /// The runs that changed recorded figures, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub editions: Vec<Edition>,
    /// Every run of the date and every recorded missed slot, oldest first.
    pub runs: Vec<RunId>,
    /// The runs that are open.
    pub in_progress: Vec<RunId>,
    /// How the runs that are open were started, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_runs: Vec<OpenRun>,
    /// Whether a full run that counts has ended.
    pub full_run_ended: bool,
    /// The newest date with a close, of the deciding run or of a later filtered one, whichever is older.
    pub newest_close: Option<NaiveDate>,
}

impl Night {
    /// Folds the runs and recorded missed slots of one date. None where there is neither: such a date has no night.
    ///
    /// The order of `runs` and `acceptances` does not matter. Each run is given once.
    #[must_use]
    pub fn of(
        night_series: &ScheduleName,
        as_of: NaiveDate,
        runs: &[NightRun],
        acceptances: &[Acceptance],
    ) -> Option<Self> {
        let mut ordered: Vec<&NightRun> = runs.iter().collect();
        ordered.sort_unstable_by_key(|run| run.order());
        // A missed slot says nothing where there is a run, whichever is newer.
        let newest = *ordered.iter().rev().find(|run| run.state != NightRunState::Missed).or(ordered.last())?;
        let deciding = expected::deciding_run(&ordered);
        let plan = deciding.map(|(_, plan)| plan);
        let deciding = deciding.map(|(run, _)| run);

        let jobs = plan.map(|plan| plan.jobs.clone()).unwrap_or_default();
        let expected = plan.map(|plan| expected::expected(plan, as_of)).unwrap_or_default();
        let absent = expected::absent(&expected, &ordered, deciding);
        let outcomes = outcomes::outcomes(&expected, &jobs, &ordered);
        let totals = Totals::of(outcomes.values());
        let controls = controls::controls(&ordered, deciding, &outcomes, acceptances);

        let in_progress: Vec<RunId> = ordered.iter().filter(|run| run.is_open()).map(|run| run.id).collect();
        let full_run_ended = ordered.iter().any(|run| run.is_full() && run.counts());
        let only_missed = ordered.iter().all(|run| run.state == NightRunState::Missed);
        let verdict = Verdict::of(&verdict::Facts {
            in_progress: !in_progress.is_empty(),
            full_run_ended,
            only_missed,
            succeeded_wholly: outcomes.values().filter(|outcome| outcome.succeeded_wholly()).count() as u64,
            incomplete: totals.not_succeeded() > 0 || !absent.is_empty(),
            worst_control: controls::worst(&controls),
        });

        let run_order = ordered.iter().enumerate().map(|(at, run)| (run.id, at)).collect();
        let mut causes = causes::causes(&jobs, &outcomes, &absent, &run_order);
        if verdict != Verdict::Running {
            causes.extend(cause_of_night(as_of, deciding, newest, &expected));
        }

        Some(Self {
            night_series: night_series.clone(),
            as_of,
            verdict,
            jobs,
            closed: plan.map(|plan| expected::closed(plan, as_of)).unwrap_or_default(),
            outcomes,
            absent,
            totals,
            causes,
            controls,
            editions: editions::editions(&ordered),
            runs: ordered.iter().map(|run| run.id).collect(),
            in_progress,
            open_runs: ordered.iter().filter(|run| run.is_open()).map(|run| OpenRun::of(run)).collect(),
            full_run_ended,
            newest_close: newest_close(&ordered, deciding),
        })
    }

    /// The number of expected portfolios, absent ones included.
    #[must_use]
    pub fn expected_portfolios(&self) -> u64 {
        self.outcomes.len() as u64
    }

    /// The expected portfolios that did not succeed in every job, absent ones included.
    pub fn not_succeeded(&self) -> impl Iterator<Item = (&PortfolioId, &PortfolioOutcome)> {
        self.outcomes.iter().filter(|(_, outcome)| !outcome.succeeded_wholly())
    }
}

/// The cause of a night on which no portfolio was tried.
fn cause_of_night(
    as_of: NaiveDate,
    deciding: Option<&NightRun>,
    newest: &NightRun,
    expected: &BTreeSet<PortfolioId>,
) -> Option<NightCause> {
    if deciding.is_some() {
        let named = CauseId::named(CauseId::NO_PORTFOLIOS);
        let message = "there was no portfolio to process".to_owned();
        return expected.is_empty().then(|| NightCause::of_night(named, None, message, Some(newest.id)));
    }
    Some(match &newest.state {
        NightRunState::Abandoned { failure, .. } => {
            let cause = causes::cause_of(failure);
            NightCause::of_night(cause, Some(failure), failure.message.clone(), Some(newest.id))
        }
        NightRunState::Missed => {
            let message = format!("no run took place for {as_of}");
            NightCause::of_night(CauseId::named(CauseId::MISSED), None, message, Some(newest.id))
        }
        NightRunState::Open | NightRunState::Ended { .. } => {
            let message = "the run ended before it had a plan".to_owned();
            NightCause::of_night(CauseId::named(CauseId::OTHER), None, message, Some(newest.id))
        }
    })
}

/// The date through which the data reaches. A later filtered run can only make it older.
fn newest_close(ordered: &[&NightRun], deciding: Option<&NightRun>) -> Option<NaiveDate> {
    let deciding = deciding?;
    let later = ordered.iter().filter(|run| run.counts() && !run.is_full() && run.order() > deciding.order());
    // An absent date is older than any other.
    later.chain(std::iter::once(&deciding)).filter_map(|run| run.plan.as_ref()).map(|plan| plan.newest_close).min()?
}

/// "1 portfolio", "2 portfolios".
fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The text with its first letter as a capital.
fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
