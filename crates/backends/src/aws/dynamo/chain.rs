//! The chain of closed runs: one item for each link, and one for each run with the number of its link.
//!
//! The item of the run is written first. It may name a number that another run took, or one that is not written yet:
//! then the link of that number decides. It moves to another number only once its own is taken, so that a run never has
//! two links, whoever dies in between.

use async_trait::async_trait;
use domain::chain::{Appended, Link};
use domain::ids::RunId;
use domain::ports::{Chain, StoreError};

use super::DynamoStore;
use super::document::{ITEM_LIMIT, Item, belongs, fill, open, text_of};
use super::keys::{self, PK, SK};
use super::table::{Pages, Range, Written, is_by, new_writer, sign, version_of};

fn read_link(item: &Item) -> Result<Link, StoreError> {
    let what = || format!("link {} of the chain", text_of(item, SK).unwrap_or("?"));
    let link: Link = open(item, what)?;
    let key = keys::link(link.number);
    belongs(item, text_of(item, PK) == Some(&key.pk) && text_of(item, SK) == Some(&key.sk), what)?;
    Ok(link)
}

impl DynamoStore {
    async fn link(&self, number: u64) -> Result<Option<Link>, StoreError> {
        let item = self.table.get(&keys::link(number), || format!("read link {number} of the chain")).await?;
        item.as_ref().map(read_link).transpose()
    }

    /// Reserves the number of a link for its run. `Some` is why it cannot be appended.
    async fn reserve(&self, run: RunId, number: u64) -> Result<Option<Appended>, StoreError> {
        let key = keys::link_of_run(run);
        let doing = || format!("reserve a link of the chain for run {run}");
        let stored = self.table.get(&key, doing).await?;
        let version = match &stored {
            None => 0,
            Some(item) => {
                let what = || format!("the number of the link of run {run}");
                let reserved: u64 = open(item, what)?;
                match self.link(reserved).await? {
                    Some(link) if link.batch_run_id == Some(run) => return Ok(Some(Appended::RunHasLink(link))),
                    None if reserved == number => return Ok(None),
                    // The chain ends before the reserved number, so the caller has read an older end.
                    None => return Ok(Some(Appended::NumberTaken)),
                    Some(_) => version_of(item, what)?,
                }
            }
        };
        let writer = new_writer();
        let mut item = Item::new();
        sign(&mut item, version + 1, &writer);
        let parts = fill(&mut item, &key, &number, ITEM_LIMIT)?;
        match self.table.put_if(item, parts, self.table.unchanged_since(version), doing).await? {
            Written::Done(_) => Ok(None),
            Written::Refused(there) if is_by(there.as_ref(), &writer) => Ok(None),
            Written::Refused(_) => Ok(Some(Appended::NumberTaken)),
        }
    }
}

#[async_trait]
impl Chain for DynamoStore {
    async fn newest_link(&self) -> Result<Option<Link>, StoreError> {
        let mut pages = Pages::of(keys::CHAIN, Range::All).newest_first(1);
        let items = self.table.page(&mut pages, || "read the newest link of the chain".to_owned()).await?;
        items.first().map(read_link).transpose()
    }

    async fn link_of(&self, run: RunId) -> Result<Option<Link>, StoreError> {
        let item = self.table.get(&keys::link_of_run(run), || format!("read the link of run {run}")).await?;
        let Some(item) = item else { return Ok(None) };
        let number = open(&item, || format!("the number of the link of run {run}"))?;
        Ok(self.link(number).await?.filter(|link| link.batch_run_id == Some(run)))
    }

    async fn append_link(&self, link: &Link) -> Result<Appended, StoreError> {
        if let Some(run) = link.batch_run_id
            && let Some(refused) = self.reserve(run, link.number).await?
        {
            return Ok(refused);
        }
        let writer = new_writer();
        let mut item = Item::new();
        sign(&mut item, 1, &writer);
        let parts = fill(&mut item, &keys::link(link.number), link, ITEM_LIMIT)?;
        let doing = || format!("append link {} to the chain", link.number);
        match self.table.put_if(item, parts, self.table.absent(), doing).await? {
            Written::Done(_) => Ok(Appended::Appended),
            Written::Refused(there) if is_by(there.as_ref(), &writer) => Ok(Appended::Appended),
            Written::Refused(there) => {
                let there = there.as_ref().map(read_link).transpose()?;
                let own = there.filter(|there| there.batch_run_id.is_some() && there.batch_run_id == link.batch_run_id);
                Ok(own.map_or(Appended::NumberTaken, Appended::RunHasLink))
            }
        }
    }

    async fn links(&self, after: u64, limit: usize) -> Result<Vec<Link>, StoreError> {
        let doing = || "read the chain".to_owned();
        let mut pages = Pages::of(keys::CHAIN, Range::From(keys::link(after + 1).sk));
        let mut links = Vec::new();
        while !pages.ended() && links.len() < limit {
            for item in self.table.page(&mut pages, doing).await? {
                links.push(read_link(&item)?);
            }
        }
        links.truncate(limit);
        Ok(links)
    }
}
