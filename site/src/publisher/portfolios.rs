//! The pages of portfolios, bucket by bucket: read together, made in parallel, written one by one.

use domain::ids::PortfolioId;
use domain::ports::{PublishError, SiteFile, Written};
use domain::run::BUCKET_SIZE;
use futures::StreamExt as _;
use rayon::prelude::*;

use super::SitePublisher;
use super::writer::{MOST_TRIES, Tag, badges, busy, count};
use crate::gather::{AT_ONCE, PortfolioData, RunData};
use crate::pages;
use crate::views;
use crate::views::commands::Commands;
use crate::views::machine::{Badge, PortfolioFile};

/// Portfolios whose pages are made one after the other: for fewer than these, more threads are not worth it.
const FEW: usize = 8;

impl SitePublisher {
    /// Writes pages of portfolios, bucket by bucket.
    pub(super) async fn write_portfolios(
        &self,
        ids: &[PortfolioId],
        data: Option<&RunData>,
    ) -> Result<u64, PublishError> {
        let mut written = 0;
        for bucket in ids.chunks(BUCKET_SIZE as usize) {
            let mut left: Vec<PortfolioId> = bucket.to_vec();
            for _ in 0..MOST_TRIES {
                let (count, refused) = self.write_bucket(&left, data).await?;
                written += count;
                left = refused;
                if left.is_empty() {
                    break;
                }
            }
            if let Some(id) = left.first() {
                return Err(busy(&pages::portfolio_folder(id.as_str())));
            }
        }
        Ok(written)
    }

    /// Writes pages of portfolios; gives how many files, and the portfolios whose page somebody else wrote meanwhile.
    async fn write_bucket(
        &self,
        ids: &[PortfolioId],
        data: Option<&RunData>,
    ) -> Result<(u64, Vec<PortfolioId>), PublishError> {
        let mask = &self.mask();
        let reads = ids.iter().map(|id| async move {
            let folder = pages::portfolio_folder(mask.id(id).as_str());
            let page = self.tag(&format!("{folder}/index.html")).await?;
            Ok::<_, PublishError>((id, page, self.tag(&format!("{folder}.json")).await?))
        });
        let reads: Vec<_> = reads.collect();
        let tags: Vec<_> = futures::stream::iter(reads).buffered(AT_ONCE).collect().await;
        let reader = &self.reader();
        let night = &self.newest_night(reader).await?;
        let reads = tags.into_iter().map(|tag| async move {
            let (id, page, json) = tag?;
            Ok::<_, PublishError>((id, reader.portfolio(id, data, night.clone()).await?, [json, page]))
        });
        let reads: Vec<_> = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
        let read: Vec<_> = reads.into_iter().collect::<Result<_, _>>()?;
        let made: Vec<_> = if read.len() < FEW {
            read.iter().map(|(_, data, _)| self.portfolio_files(data)).collect()
        } else {
            read.par_iter().map(|(_, data, _)| self.portfolio_files(data)).collect()
        };
        let mut writes = Vec::with_capacity(ids.len());
        for ((id, _, tags), files) in read.into_iter().zip(made) {
            writes.push(self.write_portfolio(id, files?, tags));
        }
        let (mut written, mut refused) = (0, Vec::new());
        let mut pages = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
        while let Some(one) = pages.next().await {
            match one? {
                (count, None) => written += count,
                (count, Some(id)) => {
                    written += count;
                    refused.push(id);
                }
            }
        }
        refused.sort();
        Ok((written, refused))
    }

    /// The file for machines and the page of a portfolio, then its badges where they are wanted.
    fn portfolio_files(&self, read: &PortfolioData) -> Result<Vec<SiteFile>, PublishError> {
        let view = views::portfolio::build(read, &Commands::of(&self.options));
        let machine = pages::json(format!("portfolios/{}.json", view.id), &PortfolioFile::of(read, &view))?;
        let mut files = vec![machine, pages::portfolio(&view, &self.options)?];
        if self.options.portfolio_badges {
            files.extend(badges(&pages::portfolio_folder(view.id.as_str()), &Badge::of_portfolio(&view))?);
        }
        Ok(files)
    }

    async fn write_portfolio(
        &self,
        id: &PortfolioId,
        files: Vec<SiteFile>,
        tags: [Tag; 2],
    ) -> Result<(u64, Option<PortfolioId>), PublishError> {
        let (mut written, mut refused) = (0, false);
        for (file, tag) in files.iter().zip(tags) {
            let one = self.write_over(file, tag).await?;
            written += count(one);
            refused |= one == Written::Refused;
        }
        // Whoever came in between writes the badges too, of what stands on the page.
        for badge in files.iter().skip(2).filter(|_| !refused) {
            written += self.write_always(badge).await?;
        }
        Ok((written, refused.then(|| id.clone())))
    }
}
