//! The months that have a page, and the one file that lists them.

use std::collections::BTreeSet;

use chrono::{Datelike as _, Months, NaiveDate};
use domain::ids::ContentHash;
use domain::ports::{PublishError, RunQuery, Written};

use super::nights::ids_of;
use super::writer::{MOST_TRIES, Tag, busy, count, page_error};
use super::{LOOK_BACK, SitePublisher};
use crate::gather::Nights;
use crate::pages;
use crate::views;
use crate::views::machine::MonthsFile;

/// The months that have a page. A publication reads this one file; without it, it would ask for each month on record.
pub(super) const MONTHS: &str = "history/months.json";
/// Months without a run after which history is taken to begin.
const MONTHS_OF_SILENCE: u32 = 14;

impl SitePublisher {
    /// Writes the page of a month that is not listed, then those before and after it, which now lead to it, and last
    /// the list: whoever is stopped on the way does all of it again.
    pub(super) async fn introduce_month(&self, month: String) -> Result<u64, PublishError> {
        let (mut months, tag) = self.listed_months().await?;
        let Err(at) = months.binary_search_by(|other| month.cmp(other)) else {
            return if tag.is_none() { self.list_months(&months).await } else { Ok(0) };
        };
        months.insert(at, month);
        let mut written = self.write_month(&months[at], &months).await?;
        for beside in [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(|at| months.get(at)) {
            written += self.write_month(beside, &months).await?;
        }
        Ok(written + self.list_months(&months).await?)
    }
    pub(super) async fn write_month(&self, month: &str, months: &[String]) -> Result<u64, PublishError> {
        let path = pages::month_path(month);
        for _ in 0..MOST_TRIES {
            let tag = self.tag(&path).await?;
            let query = RunQuery { month: Some(month.to_owned()), ..RunQuery::default() };
            let reader = self.reader();
            let runs = reader.heads(&query, 0).await?;
            let first = NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d").ok();
            let last =
                first.and_then(|first| first.checked_add_months(Months::new(1))).and_then(|next| next.pred_opt());
            let nights = reader.nights(&self.series(), Nights { from: first, to: last, limit: 0 }, &runs).await?;
            let days = reader.days(&nights, &runs).await?;
            let notes = self.notes_of(&ids_of(&runs)).await?;
            let page = pages::month(&views::history::month(month, &days, &runs, &notes, months), &self.options)?;
            match self.write_over(&page, tag).await? {
                Written::Refused => {}
                one => return Ok(count(one)),
            }
        }
        Err(busy(&path))
    }

    /// Months that have a page, newest first, and the file that says so as it was read. A site without it is new, or of
    /// an older form: then as the records say.
    pub(super) async fn listed_months(&self) -> Result<(Vec<String>, Tag), PublishError> {
        let there = self.site.read(MONTHS).await.map_err(|error| page_error(MONTHS, error))?;
        let listed = there.as_deref().and_then(|bytes| serde_json::from_slice::<MonthsFile>(bytes).ok());
        let months = match listed {
            Some(file) => file.months,
            None => self.months_on_record().await?,
        };
        Ok((months, there.as_deref().map(ContentHash::of)))
    }

    /// Adds months to the list.
    pub(super) async fn list_months(&self, more: &[String]) -> Result<u64, PublishError> {
        for _ in 0..MOST_TRIES {
            let (listed, tag) = self.listed_months().await?;
            let all: BTreeSet<&String> = listed.iter().chain(more).collect();
            if tag.is_some() && all.len() == listed.len() {
                return Ok(0);
            }
            let file = MonthsFile { schema: 1, months: all.into_iter().rev().cloned().collect() };
            match self.write_over(&pages::json(MONTHS.into(), &file)?, tag).await? {
                Written::Refused => {}
                one => return Ok(count(one)),
            }
        }
        Err(busy(MONTHS))
    }

    /// Months with runs that have pages, newest first: one question a month, back to where history begins.
    pub(super) async fn months_on_record(&self) -> Result<Vec<String>, PublishError> {
        let reader = self.reader();
        let newest = reader.heads(&RunQuery::default(), LOOK_BACK).await?;
        let Some(mut date) = newest.iter().map(|head| head.run.as_of).max() else { return Ok(Vec::new()) };
        let (mut months, mut silent) = (Vec::new(), 0);
        while silent < MONTHS_OF_SILENCE {
            let month = month_of(date);
            let known = newest.iter().any(|head| head.linkable && month_of(head.run.as_of) == month);
            let has_page = known || {
                let query = RunQuery { month: Some(month.clone()), ..RunQuery::default() };
                reader.heads(&query, 0).await?.iter().any(|head| head.linkable)
            };
            silent = if has_page { 0 } else { silent + 1 };
            if has_page {
                months.push(month);
            }
            let Some(before) = date.with_day(1).and_then(|first| first.pred_opt()) else { break };
            date = before;
        }
        Ok(months)
    }
}

pub(super) fn month_of(date: NaiveDate) -> String {
    date.format("%Y-%m").to_string()
}
