//! Pages, each written over the version that was there before its records were read.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use domain::guards::{self, Guard};
use domain::ids::{ContentHash, JobName, RunId};
use domain::ports::{PublishError, SiteFile, StoreError, WriteIf, Written};

use super::SitePublisher;
use super::index::Overview;
use super::nights::ids_of;
use crate::gather::{RunData, RunHead};
use crate::pages;
use crate::views;
use crate::views::commands::Commands;
use crate::views::history::{HistoryInput, MOST_NIGHTS};
use crate::views::machine::{Badge, JobsFile, summary_file};
use crate::views::quality::QualityInput;
use crate::views::run::RunInput;

/// Tries to write the index before somebody else does.
pub(super) const MOST_TRIES: u32 = 5;
/// Pages that no single run owns, without the index.
const SHARED: [&str; 4] = ["quality/index.html", "jobs/index.html", "history/index.html", "404.html"];

/// What becomes of a page between reading and writing it: its hash as it was read, none where there was none.
pub(super) type Tag = Option<ContentHash>;

impl SitePublisher {
    pub(super) async fn tag(&self, path: &str) -> Result<Tag, PublishError> {
        let there = self.site.read(path).await.map_err(|error| page_error(path, error))?;
        Ok(there.as_deref().map(ContentHash::of))
    }

    pub(super) async fn write_over(&self, file: &SiteFile, tag: Tag) -> Result<Written, PublishError> {
        let condition = if guards::on(Guard::IndexVersion) { WriteIf::Unchanged(tag) } else { WriteIf::Always };
        self.site.write(file, &condition).await.map_err(|error| page_error(&file.path, error))
    }

    pub(super) async fn write_always(&self, file: &SiteFile) -> Result<u64, PublishError> {
        let one = self.site.write(file, &WriteIf::Always).await;
        Ok(count(one.map_err(|error| page_error(&file.path, error))?))
    }

    /// Writes the page of a run and its files: first what its page leads to.
    pub(super) async fn write_run(&self, data: &mut RunData) -> Result<u64, PublishError> {
        let folder = format!("runs/{}", data.head.run.batch_run_id);
        for _ in 0..MOST_TRIES {
            let tag = self.tag(&format!("{folder}/index.html")).await?;
            let mut list_tags = Vec::new();
            for path in views::run::list_paths(data) {
                list_tags.push(self.tag(&path).await?);
            }
            let reader = self.reader();
            reader.again(data).await?;
            let mut mentioned: Vec<RunId> =
                data.head.summary.failures.iter().map(|cluster| cluster.first_seen_run).collect();
            mentioned.extend(data.head.run.rerun_of);
            let (facts, past, cards) =
                (reader.facts(&mentioned).await?, reader.past(&data.head).await?, reader.cards());
            let notes = self.notes(data.head.run.batch_run_id).await?;
            let commands = &Commands::of(&self.options);
            let input = RunInput { data, others: &facts, past: &past, cards: &cards, notes: &notes, commands };
            // These are of the run alone, and so the same whoever writes them.
            let path = format!("{folder}/summary.json");
            let summary = summary_file(&data.head.summary)
                .map_err(|error| PublishError::Page { path: path.clone(), source: Box::new(error) })?;
            let mut files = vec![pages::json(path, &summary)?];
            files.push(pages::json(format!("{folder}/jobs.json"), &JobsFile::of(data))?);
            if data.head.summary.successful_jobs < data.head.summary.total_jobs {
                files.push(pages::text(format!("{folder}/retry-failed.txt"), views::run::retry_list(data)));
            }
            let mut written = 0;
            for file in files {
                written += self.write_always(&file).await?;
            }
            let mut refused = false;
            for (list, tag) in views::run::lists(&input).zip(list_tags) {
                let one = self.write_over(&pages::run_list(&list, &self.options)?, tag).await?;
                written += count(one);
                refused |= one == Written::Refused;
            }
            if refused {
                continue;
            }
            let page = pages::run(&views::run::build(&input), &self.options)?;
            match self.write_over(&page, tag).await? {
                Written::Refused => {}
                one => return Ok(written + count(one)),
            }
        }
        Err(busy(&format!("{folder}/index.html")))
    }

    pub(super) async fn write_job(&self, job: &JobName) -> Result<u64, PublishError> {
        let path = pages::job_path(job.as_str());
        let folder = format!("jobs/{job}");
        for _ in 0..MOST_TRIES {
            // The badges first: the page leads to them.
            let mut tags = Vec::new();
            for file in [&format!("{folder}/badge.svg"), &format!("{folder}/badge.json"), &path] {
                tags.push(self.tag(file).await?);
            }
            let data = self.reader().job(job).await?;
            let [drawn, told] = badges(&folder, &Badge::of_job(&data))?;
            let page = pages::job(&views::job::build(&data), &self.options)?;
            let (mut written, mut refused) = (0, false);
            for (file, tag) in [drawn, told, page].iter().zip(tags) {
                let one = self.write_over(file, tag).await?;
                written += count(one);
                refused |= one == Written::Refused;
            }
            if !refused {
                return Ok(written);
            }
        }
        Err(busy(&path))
    }

    /// Writes what no single run owns, without the index.
    pub(super) async fn write_shared(&self) -> Result<u64, PublishError> {
        let mut written = 0;
        for _ in 0..MOST_TRIES {
            let mut tags = Vec::new();
            for path in SHARED {
                tags.push(self.tag(path).await?);
            }
            let reader = self.reader();
            let months = self.listed_months().await?.0;
            let overview = self.overview(&reader).await?;
            let listed: BTreeSet<NaiveDate> = overview.days.iter().take(MOST_NIGHTS).map(|day| day.as_of).collect();
            let on_list: Vec<RunHead> =
                overview.runs.iter().filter(|head| listed.contains(&head.run.as_of)).cloned().collect();
            let notes = self.notes_of(&ids_of(&on_list)).await?;
            let Overview { runs, days, later, night, planned, latest, jobs, with_page, .. } = &overview;
            let quality = QualityInput { night: planned.as_ref(), newest: night.as_ref(), latest, runs, with_page };
            let history = HistoryInput { months: &months, days, later, runs, notes: &notes };
            let files = [
                pages::quality(&views::quality::build(&quality), &self.options)?,
                pages::jobs(&views::jobs::build(jobs), &self.options)?,
                pages::history(&views::history::index(&history), &self.options)?,
                pages::lost(&self.options)?,
            ];
            let mut refused = false;
            for (file, tag) in files.iter().zip(tags) {
                let one = self.write_over(file, tag).await?;
                written += count(one);
                refused |= one == Written::Refused;
            }
            if !refused {
                return Ok(written);
            }
        }
        Err(busy(SHARED[0]))
    }
}

/// A badge as a drawing and as data, in this folder.
pub(super) fn badges(folder: &str, badge: &Badge) -> Result<[SiteFile; 2], PublishError> {
    let at = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    Ok([pages::badge(at("badge.svg"), badge)?, pages::json(at("badge.json"), badge)?])
}

pub(super) const fn count(written: Written) -> u64 {
    match written {
        Written::Written => 1,
        Written::Unchanged | Written::Refused => 0,
    }
}

pub(super) fn page_error(path: &str, source: StoreError) -> PublishError {
    PublishError::Page { path: path.to_owned(), source: Box::new(source) }
}

pub(super) fn busy(path: &str) -> PublishError {
    let source = std::io::Error::other(format!("somebody else wrote it each of {MOST_TRIES} times"));
    PublishError::Page { path: path.to_owned(), source: Box::new(source) }
}
