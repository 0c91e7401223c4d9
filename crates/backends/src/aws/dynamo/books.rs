//! The alert books, one item each, written over the version that was read.

use async_trait::async_trait;
use domain::alert_book::AlertBook;
use domain::ids::ScheduleName;
use domain::ports::{AlertBooks, StoreError};

use super::DynamoStore;
use super::document::{ITEM_LIMIT, Item, fill, open, text_of};
use super::keys::{self, SK};
use super::table::{Pages, Range, Written, is_by, new_writer, sign};

#[async_trait]
impl AlertBooks for DynamoStore {
    async fn alert_book(&self, schedule: &ScheduleName) -> Result<AlertBook, StoreError> {
        let what = || format!("the alert book of {schedule}");
        match self.table.get(&keys::alert_book(schedule), || format!("read {}", what())).await? {
            Some(item) => open(&item, what),
            None => Ok(AlertBook::empty(schedule.clone())),
        }
    }

    async fn put_alert_book(&self, book: &AlertBook) -> Result<bool, StoreError> {
        let read = u64::from(book.version);
        let next = AlertBook { version: book.version + 1, ..book.clone() };
        let writer = new_writer();
        let mut item = Item::new();
        sign(&mut item, read + 1, &writer);
        let parts = fill(&mut item, &keys::alert_book(&book.schedule), &next, ITEM_LIMIT)?;
        let doing = || format!("write the alert book of {}", book.schedule);
        Ok(match self.table.put_if(item, parts, self.table.unchanged_since(read), doing).await? {
            Written::Done(_) => true,
            Written::Refused(there) => is_by(there.as_ref(), &writer),
        })
    }

    async fn alert_schedules(&self) -> Result<Vec<ScheduleName>, StoreError> {
        let doing = || "read whose alert books there are".to_owned();
        let rows = self.table.all(Pages::of(keys::ALERTS, Range::All), doing).await?;
        // Parts of a large book lie in the same partition, and no name has a `#`.
        let mut names: Vec<ScheduleName> =
            rows.iter().filter_map(|row| ScheduleName::new(text_of(row, SK)?).ok()).collect();
        names.sort();
        Ok(names)
    }
}
