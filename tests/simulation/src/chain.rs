//! The chain of closed runs behind calls that may go wrong.

use async_trait::async_trait;
use domain::chain::{Appended, Link};
use domain::ids::RunId;
use domain::ports::{Chain, StoreError};

use crate::coverage::Row;
use crate::ports::{Port, now};

#[async_trait]
impl Chain for Port {
    async fn newest_link(&self) -> Result<Option<Link>, StoreError> {
        self.0.call("read the newest link", |h| now(h.world.store.newest_link())).await
    }

    async fn link_of(&self, run: RunId) -> Result<Option<Link>, StoreError> {
        self.0.call("read the link of a run", move |h| now(h.world.store.link_of(run))).await
    }

    async fn append_link(&self, link: &Link) -> Result<Appended, StoreError> {
        let link = link.clone();
        self.0
            .call("append a link", move |h| {
                let reply = now(h.world.store.append_link(&link))?;
                match &reply {
                    Appended::Appended => {}
                    Appended::NumberTaken => h.world.state().coverage.hit(Row::LinkTaken),
                    Appended::RunHasLink(_) => h.world.state().coverage.hit(Row::RunHasLink),
                }
                Ok(reply)
            })
            .await
    }

    async fn links(&self, after: u64, limit: usize) -> Result<Vec<Link>, StoreError> {
        self.0.call("read the chain", move |h| now(h.world.store.links(after, limit))).await
    }
}
