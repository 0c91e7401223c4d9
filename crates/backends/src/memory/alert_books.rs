//! The alert books in memory.

use async_trait::async_trait;
use domain::alert_book::AlertBook;
use domain::ids::ScheduleName;
use domain::ports::{AlertBooks, StoreError};

use super::MemoryStore;

#[async_trait]
impl AlertBooks for MemoryStore {
    async fn alert_book(&self, schedule: &ScheduleName) -> Result<AlertBook, StoreError> {
        let stored = self.state().alert_books.get(schedule).cloned();
        Ok(stored.unwrap_or_else(|| AlertBook::empty(schedule.clone())))
    }

    async fn put_alert_book(&self, book: &AlertBook) -> Result<bool, StoreError> {
        let mut state = self.state();
        let version = state.alert_books.get(&book.schedule).map_or(0, |stored| stored.version);
        if version != book.version {
            return Ok(false);
        }
        let next = AlertBook { version: version + 1, ..book.clone() };
        state.alert_books.insert(book.schedule.clone(), next);
        Ok(true)
    }

    async fn alert_schedules(&self) -> Result<Vec<ScheduleName>, StoreError> {
        Ok(self.state().alert_books.keys().cloned().collect())
    }
}
