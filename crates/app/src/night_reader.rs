//! Nights as readers ask for them: the newest one, the one of a date, and a report with the sentences.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;

use async_trait::async_trait;
use book::{ScheduleSettings, next_due_slot};
use chrono::{DateTime, NaiveDate, Utc};
use domain::ids::{CauseId, ScheduleName};
use domain::night::dates::{NIGHTS_BACK, missed_nights};
use domain::night::history::{CauseStanding, standing};
use domain::night::next_step::CommandTarget;
use domain::night::report::NightReport;
use domain::night::{Night, NightKey, NightView, Verdict, newest_night, read_night, recent_nights};
use domain::ports::{NightQuery, RunQuery, RunStore, StoreError, StoredRun};

use crate::due_slots::grace;
use crate::error::Refusal;

/// Newest runs among which those of the due slots are looked for.
const RUNS_OF_SLOTS: usize = 20;

/// Slots that may be due: one in its grace, and the next ones.
const DUE_SLOTS: usize = 3;

/// Nights before one over which its causes are followed.
const FOLLOWED: usize = 30;

/// Reads nights for one surface. Nothing is written.
#[derive(Debug, Clone)]
pub struct NightReader {
    /// The schedule in force: it names the series, and decides which dates may have a night.
    pub schedule: ScheduleSettings,
    /// Where the commands of a report point.
    pub target: CommandTarget,
}

/// The settings in force, for surfaces that outlive a change of them.
#[async_trait]
pub trait NightSettings: Send + Sync {
    /// A reader by the settings in force now.
    ///
    /// # Errors
    /// The settings cannot be read.
    async fn reader(&self) -> Result<NightReader, StoreError>;
}

#[async_trait]
impl NightSettings for NightReader {
    async fn reader(&self) -> Result<Self, StoreError> {
        Ok(self.clone())
    }
}

impl Default for NightReader {
    /// By the default schedule, with placeholders in commands.
    fn default() -> Self {
        let target = CommandTarget::Folder { book: None, data: "DATA".to_owned() };
        Self { schedule: ScheduleSettings::default(), target }
    }
}

impl NightReader {
    /// The night series of the schedule in force.
    #[must_use]
    pub fn series(&self) -> &ScheduleName {
        self.schedule.night_series()
    }

    /// The series to look in: that of the schedule in force first, then others with nights on record.
    async fn all_series(&self, store: &dyn RunStore) -> Result<Vec<ScheduleName>, StoreError> {
        let own = self.series();
        let mut all = vec![own.clone()];
        all.extend(store.night_series().await?.into_iter().filter(|series| series != own));
        Ok(all)
    }

    /// The newest night up to the last date that may be run: of the series in force, or of another one where that has
    /// none.
    ///
    /// # Errors
    /// The store.
    pub async fn newest(&self, store: &dyn RunStore, now: DateTime<Utc>) -> Result<Option<NightView>, StoreError> {
        let last = self.schedule.last_allowed(now);
        for series in self.all_series(store).await? {
            if let Some(view) = newest_night(store, &series, last, now).await? {
                return Ok(Some(view));
            }
        }
        Ok(None)
    }

    /// The night of a date: of `series`, or of the first series that has one.
    ///
    /// # Errors
    /// The store.
    pub async fn of_date(
        &self,
        store: &dyn RunStore,
        as_of: NaiveDate,
        series: Option<&ScheduleName>,
        now: DateTime<Utc>,
    ) -> Result<Option<NightView>, StoreError> {
        let all = match series {
            Some(series) => vec![series.clone()],
            None => self.all_series(store).await?,
        };
        for series in all {
            if let Some(view) = read_night(store, &NightKey { series, as_of }, now).await? {
                return Ok(Some(view));
            }
        }
        Ok(None)
    }

    /// Refuses a date that cannot have a night: one without a session, or one that is later than any date that may be
    /// run. A record of such a later date decides nothing.
    ///
    /// # Errors
    /// [`Refusal::NoSession`] and [`Refusal::DateNotAllowed`].
    pub fn require_date(&self, as_of: NaiveDate, now: DateTime<Utc>) -> Result<(), Refusal> {
        crate::dates::allowed_dates(&self.schedule, crate::dates::Dates::One(Some(as_of)), now).map(drop)
    }

    /// A night with its sentences. The newest night names the missed nights of its series, too.
    ///
    /// # Errors
    /// The store.
    pub async fn report(
        &self,
        store: &dyn RunStore,
        view: &NightView,
        now: DateTime<Utc>,
    ) -> Result<NightReport, StoreError> {
        let missed = self.missed(store, &view.night, now).await?;
        let due_at = self.due_at(store, now).await?;
        let own = view.night.night_series == *self.series();
        let schedule = if own { &self.schedule.name } else { &view.head.schedule };
        Ok(NightReport::of(&view.night, schedule, due_at, &missed, &self.target))
    }

    /// The dates with a missed slot and no run, for the newest night of its series.
    async fn missed(
        &self,
        store: &dyn RunStore,
        night: &Night,
        now: DateTime<Utc>,
    ) -> Result<Vec<NaiveDate>, StoreError> {
        let to = Some(self.schedule.last_allowed(now));
        let query = NightQuery { series: night.night_series.clone(), from: None, to, limit: NIGHTS_BACK };
        let heads = recent_nights(store, &query, now).await?;
        if heads.first().is_none_or(|newest| newest.as_of > night.as_of) {
            return Ok(Vec::new());
        }
        Ok(missed_nights(&heads))
    }

    /// When the next run of the schedule is due: its first slot without a run, from the one that is in its grace on.
    ///
    /// # Errors
    /// The store.
    pub async fn due_at(&self, store: &dyn RunStore, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let schedule = &self.schedule;
        let not_overdue = now.checked_sub_signed(grace(schedule)).unwrap_or(now);
        let slots = successors(next_due_slot(schedule, not_overdue), |slot| next_due_slot(schedule, *slot));
        let page = store.runs(&RunQuery { limit: RUNS_OF_SLOTS, ..RunQuery::default() }).await?;
        let has_run = |slot: DateTime<Utc>| {
            page.runs.iter().map(|stored| &stored.run).any(|run| {
                let of_slot = run.scheduled_for == slot && (run.trigger == "schedule" || run.started_at >= slot);
                of_slot && run.filter.is_empty()
            })
        };
        Ok(slots.take(DUE_SLOTS).find(|slot| !has_run(*slot)))
    }

    /// How long each cause of a night lasts, in the order of its causes.
    ///
    /// # Errors
    /// The store.
    pub async fn standings(
        &self,
        store: &dyn RunStore,
        night: &Night,
        now: DateTime<Utc>,
    ) -> Result<Vec<(CauseId, CauseStanding)>, StoreError> {
        let Some(before) = night.as_of.pred_opt().filter(|_| !night.causes.is_empty()) else { return Ok(Vec::new()) };
        let series = night.night_series.clone();
        let query = NightQuery { series: series.clone(), from: None, to: Some(before), limit: FOLLOWED };
        let heads = recent_nights(store, &query, now).await?;
        let seen = |id: &CauseId| night.causes.iter().any(|cause| cause.cause == *id);
        // Nights before the first one with one of the causes say nothing about them.
        let oldest = heads.iter().rposition(|head| head.causes.iter().any(|cause| seen(&cause.cause)));
        let mut nights = vec![night.clone()];
        for head in heads.into_iter().take(oldest.map_or(0, |at| at + 1)) {
            nights.extend(domain::night::reading::night_of_head(store, head, now).await?.map(|view| view.night));
        }
        let of = |id: &CauseId| Some((id.clone(), standing(&nights, id)?));
        Ok(night.causes.iter().filter_map(|cause| of(&cause.cause)).collect())
    }
}

/// The verdicts of the nights of these runs, one read for each night series.
///
/// # Errors
/// The store.
pub async fn verdicts_of(
    store: &dyn RunStore,
    runs: &[StoredRun],
    now: DateTime<Utc>,
) -> Result<BTreeMap<NightKey, Verdict>, StoreError> {
    let mut dates: BTreeMap<&ScheduleName, BTreeSet<NaiveDate>> = BTreeMap::new();
    for stored in runs {
        dates.entry(stored.run.night_series()).or_default().insert(stored.run.as_of);
    }
    let mut verdicts = BTreeMap::new();
    for (series, dates) in dates {
        let (from, to) = (dates.first().copied(), dates.last().copied());
        let heads = recent_nights(store, &NightQuery { series: series.clone(), from, to, limit: 0 }, now).await?;
        let wanted = heads.into_iter().filter(|head| dates.contains(&head.as_of));
        verdicts.extend(wanted.map(|head| (head.key(), head.verdict)));
    }
    Ok(verdicts)
}
