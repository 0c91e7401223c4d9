//! Names that people give: whether anything on record has them, and which known names resemble an unknown one.
//!
//! A question about an unknown name has no answer. "It has never succeeded" would be a false one, so every surface asks
//! here before it says that there is nothing.

use std::collections::BTreeSet;
use std::fmt;

use chrono::Duration;

use crate::expected_items::with_untouched;
use crate::ids::{Fingerprint, JobName, PortfolioId, RunId};
use crate::job::BUILT_IN;
use crate::ports::{RunQuery, RunStore, StoreError, StoredRun};
use crate::recent_runs::newest_start;
use crate::run::Run;
use crate::work_item::{ItemKey, WorkItem};

/// Runs in whose job lists a job is looked for, the newest.
const NEWEST_RUNS: usize = 60;

/// Buckets of the newest run in which portfolios with similar names are looked for.
const SUGGESTED_BUCKETS: u32 = 32;

/// Days before the newest run in which similar fingerprints are looked for.
const SUGGESTED_DAYS: i64 = 90;

/// The longest text in bytes for which similar names are looked for.
const LONGEST_WORD: usize = 100;

/// Similar names that a message gives, at most.
const SUGGESTIONS: usize = 3;

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A job.
    Job,
    /// A portfolio.
    Portfolio,
    /// A cause of failures, by its fingerprint.
    Cause,
}

impl NameKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Portfolio => "portfolio",
            Self::Cause => "failure with the fingerprint",
        }
    }
}

/// A name that nothing on record has. Its text says so, with the names that it may stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    /// What it is of.
    pub kind: NameKind,
    /// The name as it was given.
    pub name: String,
    /// The run in which it was looked for; none: all runs on record.
    pub run: Option<RunId>,
    /// Known names that resemble it, the most similar first.
    pub near: Vec<String>,
    /// All known names, where they are few.
    pub known: Vec<String>,
}

impl UnknownName {
    fn job(job: &JobName, run: Option<RunId>, known: Vec<String>) -> Self {
        let near = near(job.as_str(), known.iter().map(String::as_str)).into_iter().map(str::to_owned).collect();
        Self { kind: NameKind::Job, name: job.to_string(), run, near, known }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.run {
            Some(run) => write!(f, "run {run} has no {} {}", self.kind.as_str(), self.name)?,
            None => write!(f, "no run on record has a {} {}", self.kind.as_str(), self.name)?,
        }
        match (self.near.as_slice(), self.known.as_slice()) {
            ([], []) => Ok(()),
            ([], known) => write!(f, "; the known ones are: {}", known.join(", ")),
            (near, _) => write!(f, "; did you mean {}?", near.join(" or ")),
        }
    }
}

impl std::error::Error for UnknownName {}

/// Why it is not known whether there is something of this name.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// There is nothing of this name.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// The store could not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The candidates that someone who wrote `word` most likely meant, the most similar first, at most three.
///
/// They have at most one typing error in every three letters. A swap of neighbors is one error; case and signs do not
/// count.
pub fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    if word.is_empty() || word.len() > LONGEST_WORD {
        return Vec::new();
    }
    let plain =
        |text: &str| -> String { text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    let word = plain(word);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let wanted = plain(candidate);
            let errors = strsim::osa_distance(&word, &wanted);
            (errors <= (wanted.chars().count() / 3).clamp(1, 3)).then_some((errors, candidate))
        })
        .collect();
    found.sort_by_key(|(errors, _)| *errors);
    found.into_iter().take(SUGGESTIONS).map(|(_, candidate)| candidate).collect()
}

/// Whether there is such a job: a built-in one, or one of a run on record.
///
/// At most two reads.
///
/// # Errors
/// [`UnknownName`], with the jobs of the newest runs; the store.
pub async fn require_job(store: &dyn RunStore, job: &JobName) -> Result<(), NameError> {
    if BUILT_IN.contains(&job.as_str()) || !store.job_runs(job, 1).await?.is_empty() {
        return Ok(());
    }
    let newest = store.runs(&RunQuery { limit: NEWEST_RUNS, ..RunQuery::default() }).await?;
    let plans = newest.runs.iter().filter_map(|stored| stored.run.plan.as_ref());
    let listed = plans.flat_map(|plan| plan.jobs.iter().map(|spec| spec.name.to_string()));
    let known: BTreeSet<String> = listed.chain(BUILT_IN.map(str::to_owned)).collect();
    if known.contains(job.as_str()) {
        return Ok(());
    }
    Err(UnknownName::job(job, None, known.into_iter().collect()).into())
}

/// Whether a run has such a job; a run whose job list is not known yet may have any.
///
/// # Errors
/// [`UnknownName`], with the jobs of the run.
pub fn require_job_of(run: &Run, job: &JobName) -> Result<(), UnknownName> {
    match &run.plan {
        Some(plan) if plan.jobs.iter().all(|spec| spec.name != *job) => {
            let known = plan.jobs.iter().map(|spec| spec.name.to_string()).collect();
            Err(UnknownName::job(job, Some(run.batch_run_id), known))
        }
        _ => Ok(()),
    }
}

/// Whether a run on record has such a portfolio.
///
/// One read where there is one; else those of the lists of portfolios of the open runs and of the newest one.
///
/// # Errors
/// [`UnknownName`], with similar portfolios of the newest run; the store.
pub async fn require_portfolio(store: &dyn RunStore, portfolio: &PortfolioId) -> Result<(), NameError> {
    if !store.portfolio_runs(portfolio, 1).await?.is_empty() {
        return Ok(());
    }
    for run in store.open_runs().await? {
        if planned(store, &run, portfolio).await?.is_some() {
            return Ok(());
        }
    }
    let newest = store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await?;
    let near = match newest.runs.first() {
        Some(stored) => near_portfolios(store, &stored.run, portfolio).await?,
        None => Vec::new(),
    };
    Err(unknown_portfolio(portfolio, None, near).into())
}

/// The work item of a portfolio in a run: as it is stored, or untouched where the portfolio is only planned.
///
/// One read where there is one, or where every job of the run has a record.
///
/// # Errors
/// The store.
pub async fn find_item(
    store: &dyn RunStore,
    stored: &StoredRun,
    portfolio: &PortfolioId,
) -> Result<Option<WorkItem>, StoreError> {
    let key = ItemKey { run: stored.run.batch_run_id, portfolio: portfolio.clone() };
    if let Some(item) = store.item(&key).await? {
        return Ok(Some(item));
    }
    let complete = stored.summary.as_ref().is_some_and(|summary| summary.missing_jobs == 0);
    if complete { Ok(None) } else { planned(store, &stored.run, portfolio).await }
}

/// As [`find_item`], for a portfolio that the run must have.
///
/// # Errors
/// [`UnknownName`], with similar portfolios of the run; the store.
pub async fn item_of(store: &dyn RunStore, stored: &StoredRun, portfolio: &PortfolioId) -> Result<WorkItem, NameError> {
    if let Some(item) = find_item(store, stored, portfolio).await? {
        return Ok(item);
    }
    let near = near_portfolios(store, &stored.run, portfolio).await?;
    Err(unknown_portfolio(portfolio, Some(stored.run.batch_run_id), near).into())
}

/// Whether a run on record has a failure with this fingerprint.
///
/// # Errors
/// [`UnknownName`], with similar fingerprints; the store.
pub async fn require_cause(store: &dyn RunStore, cause: &Fingerprint) -> Result<(), NameError> {
    if !store.failures(None, Some(cause)).await?.is_empty() {
        return Ok(());
    }
    let since = newest_start(store).await?.map(|newest| newest - Duration::days(SUGGESTED_DAYS));
    let seen = store.failures(since, None).await?;
    let seen: BTreeSet<&str> = seen.iter().map(|sighting| sighting.fingerprint.as_str()).collect();
    let near = near(cause.as_str(), seen).into_iter().map(str::to_owned).collect();
    Err(UnknownName { kind: NameKind::Cause, name: cause.to_string(), run: None, near, known: Vec::new() }.into())
}

fn unknown_portfolio(portfolio: &PortfolioId, run: Option<RunId>, near: Vec<String>) -> UnknownName {
    UnknownName { kind: NameKind::Portfolio, name: portfolio.to_string(), run, near, known: Vec::new() }
}

/// The untouched item of a portfolio that is in the list of a run.
async fn planned(store: &dyn RunStore, run: &Run, portfolio: &PortfolioId) -> Result<Option<WorkItem>, StoreError> {
    let Some(plan) = &run.plan else { return Ok(None) };
    for bucket in 0..plan.buckets() {
        let chunk = store.manifest(run.batch_run_id, plan.epoch, bucket).await?;
        let mut items = with_untouched(run.batch_run_id, bucket, chunk, Vec::new()).into_iter();
        if let Some(item) = items.find(|item| item.key.portfolio == *portfolio) {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

/// Portfolios of a run whose ids resemble this one.
async fn near_portfolios(store: &dyn RunStore, run: &Run, portfolio: &PortfolioId) -> Result<Vec<String>, StoreError> {
    let Some(plan) = &run.plan else { return Ok(Vec::new()) };
    let mut similar = Vec::new();
    for bucket in 0..plan.buckets().min(SUGGESTED_BUCKETS) {
        let chunk = store.manifest(run.batch_run_id, plan.epoch, bucket).await?;
        let ids = chunk.iter().map(|planned| planned.id.as_str());
        similar.extend(near(portfolio.as_str(), ids).into_iter().map(str::to_owned));
    }
    let nearest = near(portfolio.as_str(), similar.iter().map(String::as_str));
    Ok(nearest.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognized() {
        let jobs = ["factor_analysis", "stress_testing", "portfolio_snapshot", "portfolio_aggregation"];
        assert_eq!(near("factor_analysi", jobs), ["factor_analysis"]);
        assert_eq!(near("Factor_Analysis", jobs), ["factor_analysis"]);
        assert_eq!(near("stres_testign", jobs), ["stress_testing"]);
        assert!(near("liquidity", jobs).is_empty());
        assert!(near("", jobs).is_empty());
        assert_eq!(near("p1", ["p1", "p2", "p3", "p4"]), ["p1", "p2", "p3"]);
    }

    #[test]
    fn the_message_names_what_is_similar_or_what_there_is() {
        let job = JobName::new("factor_analysi").unwrap();
        let known = || vec!["factor_analysis".to_owned(), "stress_testing".to_owned()];
        assert_eq!(
            UnknownName::job(&job, None, known()).to_string(),
            "no run on record has a job factor_analysi; did you mean factor_analysis?"
        );
        let other = JobName::new("liquidity").unwrap();
        assert_eq!(
            UnknownName::job(&other, None, known()).to_string(),
            "no run on record has a job liquidity; the known ones are: factor_analysis, stress_testing"
        );
    }
}
