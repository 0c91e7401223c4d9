//! The parts of a site that has no notes or alerts.

use async_trait::async_trait;
use domain::alert_book::AlertBook;
use domain::ids::{RunId, ScheduleName};
use domain::note::{Note, RunNotes};
use domain::ports::{AlertBooks, StoreError};

/// No alerts, and none are taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAlerts;

#[async_trait]
impl AlertBooks for NoAlerts {
    async fn alert_book(&self, schedule: &ScheduleName) -> Result<AlertBook, StoreError> {
        Ok(AlertBook::empty(schedule.clone()))
    }

    async fn put_alert_book(&self, _book: &AlertBook) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn alert_schedules(&self) -> Result<Vec<ScheduleName>, StoreError> {
        Ok(Vec::new())
    }
}

/// No notes, and none are taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNotes;

#[async_trait]
impl RunNotes for NoNotes {
    async fn add_note(&self, _note: &Note) -> Result<(), StoreError> {
        Err(StoreError::NotFound { what: "store for notes".to_owned() })
    }

    async fn notes(&self, _run: RunId) -> Result<Vec<Note>, StoreError> {
        Ok(Vec::new())
    }
}
