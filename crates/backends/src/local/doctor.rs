//! `doctor`: verifies everything that is stored, and names what is not in order.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId};
use domain::ports::{History as _, Runs as _, StoreError};
use domain::readable_json::{DOCUMENT_NESTING, check_readable};
use domain::run::Run;
use domain::summary::RunSummary;
use domain::work_item::ItemKey;
use rusqlite::{OptionalExtension as _, params};

use super::mirror::{Mirror, damaged_marks, rows_without_run};
use super::open::LocalStore;
use super::rows::time_text;
use super::schema::CHAIN_BEGAN;
use super::upkeep::{INPUTS_RETIRED, RECORDS_RETIRED, RESULTS_RETIRED};
use crate::examine::{DoctorReport, Examination, Kept, LooksForResults};

/// What the summaries say must be in the tables that are derived from them.
#[derive(Default)]
struct Derived {
    job_runs: BTreeSet<(JobName, RunId)>,
    failures: BTreeSet<(Fingerprint, RunId)>,
}

impl Derived {
    fn add(&mut self, summary: &RunSummary) {
        let id = summary.batch_run_id;
        self.job_runs.extend(summary.job_summary.iter().map(|line| (line.job.clone(), id)));
        self.failures.extend(summary.failures.iter().map(|cause| (cause.fingerprint.clone(), id)));
    }
}

impl LocalStore {
    /// Verifies everything that is stored.
    ///
    /// # Errors
    /// Only where the store cannot be read at all; what is damaged is in the report.
    pub async fn doctor(&self) -> Result<DoctorReport, StoreError> {
        let mut report = DoctorReport::default();
        let integrity = self.read("check the file of the records", |connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check")?;
            let lines: Vec<String> =
                statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<_, _>>()?;
            Ok(lines)
        });
        let integrity = integrity.await?;
        report
            .problems
            .extend(integrity.into_iter().filter(|line| line != "ok").map(|line| format!("records.sqlite: {line}")));
        let ids = self.read("list the runs", |connection| {
            let mut statement = connection.prepare("SELECT batch_run_id FROM runs ORDER BY scheduled_for")?;
            let ids: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(ids)
        });
        let strangers = self.read("look for rows without a run", rows_without_run).await;
        let marks = self.read("read the marks of the retention", damaged_marks).await;
        for problems in [strangers, marks] {
            let problems = report.note(problems).unwrap_or_default();
            report.problems.extend(problems);
        }
        let mirror = Mirror::new().map_err(|error| error.told("make a copy of the tables in memory"))?;
        let mut derived = Derived::default();
        let examination = Examination::new(self, self, self, self);
        for id in ids.await? {
            match id.parse::<RunId>() {
                Ok(id) => self.examine(id, &examination, &mirror, &mut derived, &mut report).await?,
                Err(error) => report.problems.push(format!("a run has the id {id:?}: {error}")),
            }
        }
        self.examine_derived(&derived, &mut report).await?;
        let began = self.chain_began().await?;
        examination.chain(began, &mut report).await;
        Examination::books(self, &mut report).await;
        let retired = self.mark(RECORDS_RETIRED).await?;
        let is_kept = |run: &Run| retired.as_ref().is_none_or(|retired| time_text(run.started_at) >= *retired);
        Examination::nights(self, is_kept, &mut report).await;
        Ok(report)
    }

    async fn examine(
        &self,
        id: RunId,
        examination: &Examination<'_>,
        mirror: &Mirror,
        derived: &mut Derived,
        report: &mut DoctorReport,
    ) -> Result<(), StoreError> {
        report.count("runs", 1);
        let Some(Some(stored)) = report.note(self.run(id).await) else { return Ok(()) };
        if let Some(summary) = &stored.summary {
            derived.add(summary);
        }
        let kept = self.kept(&stored.run).await?;
        report.add(examination.run(&stored, kept).await);
        let differences = report.note(self.examine_columns(id, mirror, kept.records).await);
        report.problems.extend(differences.unwrap_or_default());
        self.examine_results(id, report).await
    }

    /// What has to be there of a run; the rest was retired.
    async fn kept(&self, run: &Run) -> Result<Kept, StoreError> {
        let began = run.is_closed().then(|| time_text(run.started_at));
        let retired = |mark: &Option<String>| began.is_some() && began < *mark;
        let records = !retired(&self.mark(RECORDS_RETIRED).await?);
        let results = self.mark(RESULTS_RETIRED).await?;
        let results_since = if retired(&results) { DateTime::<Utc>::MAX_UTC } else { DateTime::<Utc>::MIN_UTC };
        // An earlier release deleted the inputs of a run with its results.
        let inputs = !retired(&self.mark(INPUTS_RETIRED).await?.or(results));
        Ok(Kept { records, counts: true, results_since, inputs })
    }

    /// Up to which start of a run something was retired.
    async fn mark(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.read_short("read what was retired", move |connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
            Ok(statement.query_row(params![name], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Since when every closed run has a link in the chain; `None` in a folder that this release has not opened for writing.
    async fn chain_began(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let text = self.mark(CHAIN_BEGAN).await?;
        text.map(|text| text.parse()).transpose().map_err(|error: chrono::ParseError| StoreError::Damaged {
            what: format!("the entry {CHAIN_BEGAN} of the table meta"),
            detail: error.to_string(),
        })
    }

    async fn examine_results(&self, id: RunId, report: &mut DoctorReport) -> Result<(), StoreError> {
        let places = self.read("list the results", move |connection| {
            let mut statement = connection
                .prepare("SELECT portfolio_id, content_hash, offset, length FROM results WHERE batch_run_id = ?1")?;
            let places: Vec<(String, String, i64, i64)> = statement
                .query_map(params![id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect::<Result<_, _>>()?;
            Ok(places)
        });
        for (portfolio, hash, offset, length) in places.await? {
            match (PortfolioId::new(portfolio.as_str()), ContentHash::new(hash)) {
                (Ok(portfolio), Ok(hash)) => {
                    let key = ItemKey { run: id, portfolio };
                    let Some(json) = report.note(self.unpack(&key, &hash, offset, length)) else { continue };
                    if let Err(error) = check_readable(&json, DOCUMENT_NESTING) {
                        let portfolio = &key.portfolio;
                        let problem =
                            format!("the results of portfolio {portfolio} in run {id} cannot be read: {error}");
                        report.problems.push(problem);
                    }
                }
                (Err(error), _) | (_, Err(error)) => report.problems.push(format!("results of run {id}: {error}")),
            }
        }
        Ok(())
    }

    /// Every column of the rows of a run is what its content says.
    async fn examine_columns(&self, id: RunId, mirror: &Mirror, records: bool) -> Result<Vec<String>, StoreError> {
        let mirror = mirror.clone();
        self.read("compare the columns of a run", move |connection| mirror.differences(connection, id, records)).await
    }

    /// The lines of jobs and the causes of failures are those of the summaries.
    async fn examine_derived(&self, derived: &Derived, report: &mut DoctorReport) -> Result<(), StoreError> {
        let jobs: BTreeSet<&JobName> = derived.job_runs.iter().map(|(job, _)| job).collect();
        let mut lines = BTreeSet::new();
        for job in jobs {
            if let Some(runs) = report.note(self.job_runs(job, i64::MAX as usize).await) {
                lines.extend(runs.into_iter().map(|run| (job.clone(), run.batch_run_id)));
            } else {
                // Which of them is damaged has been said.
                lines.extend(derived.job_runs.iter().filter(|(name, _)| name == job).cloned());
            }
        }
        for (job, run) in derived.job_runs.symmetric_difference(&lines) {
            report.problems.push(format!("the line of {job} in run {run} is not what the summary says"));
        }
        if let Some(found) = report.note(self.failures(None, None).await) {
            let found: BTreeSet<_> = found.into_iter().map(|cause| (cause.fingerprint, cause.batch_run_id)).collect();
            for (cause, run) in derived.failures.symmetric_difference(&found) {
                report.problems.push(format!("the cause {cause} in run {run} is not what the summary says"));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl LooksForResults for LocalStore {
    /// Whether they have a place in a pack; what is in the packs is verified by itself.
    async fn has_results(&self, key: &ItemKey, hash: &ContentHash) -> Result<bool, StoreError> {
        let (key, hash) = (key.clone(), hash.clone());
        self.read_short("look for results", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT length FROM results WHERE batch_run_id = ?1 AND portfolio_id = ?2 AND content_hash = ?3",
            )?;
            let place = params![key.run.to_string(), key.portfolio.as_str(), hash.as_str()];
            Ok(statement.query_row(place, |row| row.get::<_, i64>(0)).optional()?.is_some())
        })
        .await
    }
}
