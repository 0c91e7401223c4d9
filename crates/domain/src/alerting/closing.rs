//! Closes incidents that no further run ends: their control results were accepted, or their schedule is gone.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::{Alerting, change_book, log};
use crate::alert_book::{AlertBook, NightFacts, decide_accepted, decide_unconfigured};
use crate::ids::{CauseId, ScheduleName};
use crate::incident::IncidentKind;
use crate::night::head::{NightHead, NightKey};
use crate::night::reading::night_of_head;
use crate::ports::StoreError;
use crate::summary::summarise;
use crate::words::RunStatus;

impl Alerting {
    /// Ends the incidents whose control results somebody accepted since, and closes those of series that are not in the
    /// settings. Whoever dies between an acceptance and its message is followed by the next call.
    pub(super) async fn close_without_run(&self) -> Result<(), StoreError> {
        for series in self.books.alert_schedules().await? {
            let book = self.books.alert_book(&series).await?;
            if book.incidents.is_empty() {
                continue;
            }
            if self.series.as_ref().is_some_and(|configured| *configured != series) {
                self.close_unconfigured(&book).await?;
            } else {
                self.close_accepted(&book).await?;
            }
        }
        Ok(())
    }

    async fn close_unconfigured(&self, book: &AlertBook) -> Result<(), StoreError> {
        let newest = book.incidents.values().map(|incident| incident.last_night()).max();
        let head = match newest {
            Some(as_of) => self.head_of(&book.schedule, as_of).await?,
            None => None,
        };
        // A night that is not on record any more was not good: it has an open incident.
        let status = head.map_or(RunStatus::Partial, |head| head.verdict.status());
        let (wanted, now) = (self.wanted(), self.clock.now());
        let message = change_book(self.books.as_ref(), &book.schedule, |book| {
            let message = decide_unconfigured(book, status, &self.rules, &self.base, now)?;
            book.enqueue(message.clone(), &wanted, &self.rules);
            Some(message)
        });
        if let Some(message) = message.await? {
            log(&message);
        }
        Ok(())
    }

    async fn close_accepted(&self, book: &AlertBook) -> Result<(), StoreError> {
        let mut controls: BTreeMap<NaiveDate, Vec<&CauseId>> = BTreeMap::new();
        for incident in book.incidents.values().filter(|incident| incident.kind() == IncidentKind::Control) {
            controls.entry(incident.last_night()).or_default().push(&incident.cause);
        }
        for (as_of, causes) in controls {
            let Some(head) = self.head_of(&book.schedule, as_of).await? else { continue };
            let mut accepted = head.acceptances.iter().map(|acceptance| CauseId::of_control(acceptance.control));
            if accepted.any(|cause| causes.contains(&&cause)) {
                self.close_accepted_of(head).await?;
            }
        }
        Ok(())
    }

    async fn close_accepted_of(&self, head: NightHead) -> Result<(), StoreError> {
        let run = head.full_run.or_else(|| head.runs.last().copied());
        let now = self.clock.now();
        let Some(view) = night_of_head(self.store.as_ref(), head, now).await? else { return Ok(()) };
        let stored = match run {
            Some(run) => self.store.run(run).await?,
            None => None,
        };
        let Some(stored) = stored else { return Ok(()) };
        let summary = stored.summary.unwrap_or_else(|| summarise(&stored.run, &[], &BTreeMap::new()));
        let facts = NightFacts {
            summary: &summary,
            night: &view.night,
            later: &[],
            missed: &[],
            notes: Vec::new(),
            target: &self.target,
        };
        let wanted = self.wanted();
        let message = change_book(self.books.as_ref(), &view.night.night_series, |book| {
            let message = decide_accepted(book, &facts, &self.rules, &self.base, now)?;
            book.enqueue(message.clone(), &wanted, &self.rules);
            Some(message)
        });
        if let Some(message) = message.await? {
            log(&message);
        }
        Ok(())
    }

    async fn head_of(&self, series: &ScheduleName, as_of: NaiveDate) -> Result<Option<NightHead>, StoreError> {
        self.store.night(&NightKey { series: series.clone(), as_of }).await
    }
}
