//! The history on `SQLite`: one indexed read for each question.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::ids::{ContentHash, Fingerprint, JobName, PortfolioId, RunId};
use domain::ports::{
    FailureSighting, History, JobRun, PortfolioRun, RecordCursor, RecordPage, RecordQuery, StoreError,
};
use domain::record::JobRecord;
use domain::summary::RunSummary;
use domain::words::JobStatus;
use domain::work_item::{Place, WorkItem};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Statement, params, params_from_iter};

use super::open::LocalStore;
use super::rows::{check_row, damaged, parsed, row_hash, time_text};
use super::work_items::record_of;
use super::writer::OpError;

/// Writes the rows of a summary that the questions about jobs and causes read.
pub(super) fn write_history(connection: &Connection, summary: &RunSummary) -> Result<(), OpError> {
    let id = summary.batch_run_id.to_string();
    let (scheduled_for, started_at) = (time_text(summary.scheduled_for), time_text(summary.started_at));
    for line in &summary.job_summary {
        let (as_of, json) = (summary.as_of.to_string(), serde_json::to_string(line)?);
        let columns = [line.job.as_str(), &scheduled_for, &started_at, &id, &as_of, &json];
        connection
            .prepare_cached("INSERT OR REPLACE INTO job_runs VALUES (?1,?2,?3,?4,?5,?6,?7)")?
            .execute(params_from_iter(columns.into_iter().chain([row_hash(&columns).as_str()])))?;
    }
    for cause in &summary.failures {
        let (as_of, count) = (summary.as_of.to_string(), cause.count.to_string());
        let portfolios = serde_json::to_string(&cause.portfolios)?;
        let (job, category) = (cause.job.as_str(), cause.category.as_str());
        let columns =
            [cause.fingerprint.as_str(), &started_at, &id, &as_of, job, category, &count, &cause.message, &portfolios];
        // The column of the count is a number, whatever it is written from.
        connection
            .prepare_cached("INSERT OR REPLACE INTO failures VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)")?
            .execute(params_from_iter(columns.into_iter().chain([row_hash(&columns).as_str()])))?;
    }
    Ok(())
}

/// The statement that reads a page of records, with its values.
fn records_page_sql(
    run: RunId,
    query: &RecordQuery,
    after: Option<RecordCursor>,
    limit: usize,
) -> (String, Vec<Value>) {
    let mut clause = "batch_run_id = ?1".to_owned();
    let mut values = vec![Value::Text(run.to_string())];
    let mut add = |column: &str, value: String| {
        values.push(Value::Text(value));
        clause.push_str(&format!(" AND {column} = ?{}", values.len()));
    };
    if let Some(job) = &query.job {
        add("job_name", job.to_string());
    }
    if let Some(family) = query.job_type {
        add("job_type", family.to_string());
    }
    if let Some(status) = query.status {
        add("status", status.to_string());
    }
    let few = query.status.is_some_and(|status| status != JobStatus::Success);
    if few {
        // The condition of the partial index of the records that did not succeed.
        clause.push_str(" AND status <> 'success'");
    }
    if let Some(portfolio) = &query.portfolio {
        // By place, which the records of a run are sorted by.
        values.push(Value::Text(portfolio.to_string()));
        clause.push_str(&format!(
            " AND (bucket, place) = (SELECT bucket, place FROM work_items WHERE batch_run_id = ?1 AND portfolio_id = ?{})",
            values.len()
        ));
    }
    if let Some(RecordCursor { place, order }) = after {
        let at = values.len();
        values.extend([place.bucket, place.index, order].map(|part| Value::Integer(part.into())));
        clause.push_str(&format!(" AND (bucket, place, job_order) > (?{}, ?{}, ?{})", at + 1, at + 2, at + 3));
    }
    // One more than asked for says whether another page follows.
    let limit = if limit == 0 { -1 } else { i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX) };
    values.push(Value::Integer(limit));
    // Without a hint, SQLite scans the whole run to get the order, which these indexes have as well.
    let by = match query {
        RecordQuery { portfolio: Some(_), .. } => "",
        _ if few => "INDEXED BY job_records_not_success",
        RecordQuery { job: Some(_), .. } => "INDEXED BY job_records_by_job",
        _ => "",
    };
    let sql = format!(
        "SELECT record, content_hash, bucket, place, job_order FROM job_records {by} WHERE {clause}
         ORDER BY bucket, place, job_order LIMIT ?{}",
        values.len()
    );
    (sql, values)
}

fn read_records(
    connection: &Connection,
    run: RunId,
    query: &RecordQuery,
    after: Option<RecordCursor>,
    limit: usize,
) -> Result<RecordPage, OpError> {
    let (sql, values) = records_page_sql(run, query, after, limit);
    read_page(&mut *connection.prepare_cached(&sql)?, values, limit)
}

fn read_page(statement: &mut Statement<'_>, values: Vec<Value>, limit: usize) -> Result<RecordPage, OpError> {
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = RecordPage::default();
    let mut last = None;
    while let Some(row) = rows.next()? {
        if limit > 0 && page.records.len() == limit {
            page.next = last;
            break;
        }
        page.records.push(record_of(row)?);
        last = Some(RecordCursor { place: Place { bucket: row.get(2)?, index: row.get(3)? }, order: row.get(4)? });
    }
    Ok(page)
}

#[async_trait]
impl History for LocalStore {
    async fn records_page(
        &self,
        run: RunId,
        query: &RecordQuery,
        after: Option<RecordCursor>,
        limit: usize,
    ) -> Result<RecordPage, StoreError> {
        let query = query.clone();
        self.read("read the records", move |connection| read_records(connection, run, &query, after, limit)).await
    }

    async fn portfolio_runs(&self, portfolio: &PortfolioId, limit: usize) -> Result<Vec<PortfolioRun>, StoreError> {
        let portfolio = portfolio.clone();
        self.read("read the runs of a portfolio", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT w.batch_run_id, w.cells, w.item, w.content_hash, r.as_of, r.scheduled_for, r.started_at
                 FROM work_items w JOIN runs r USING (batch_run_id)
                 WHERE w.portfolio_id = ?1 ORDER BY w.scheduled_for DESC, w.started_at DESC, w.batch_run_id DESC LIMIT ?2",
            )?;
            let mut rows = statement.query(params![portfolio.as_str(), limit as i64])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                let what = || format!("the work item of portfolio {portfolio} in run {id}");
                let (cells, item): (String, String) = (row.get(1)?, row.get(2)?);
                if ContentHash::of(format!("{item}\n{cells}").as_bytes()).as_str() != row.get::<_, String>(3)? {
                    return Err(damaged(what(), "its content does not fit its hash"));
                }
                let item: WorkItem = serde_json::from_str(&item).map_err(|error| damaged(what(), error))?;
                runs.push(PortfolioRun {
                    batch_run_id: item.key.run,
                    as_of: parsed(&row.get::<_, String>(4)?, what)?,
                    scheduled_for: parsed(&row.get::<_, String>(5)?, what)?,
                    started_at: parsed(&row.get::<_, String>(6)?, what)?,
                    portfolio_name: item.portfolio_name,
                    place: item.place,
                    cells: serde_json::from_str(&cells).map_err(|error| damaged(what(), error))?,
                });
            }
            Ok(runs)
        })
        .await
    }

    async fn job_runs(&self, job: &JobName, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        let job = job.clone();
        self.read("read the runs of a job", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT batch_run_id, as_of, scheduled_for, started_at, line, content_hash FROM job_runs WHERE job_name = ?1
                 ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?2",
            )?;
            let mut rows = statement.query(params![job.as_str(), limit as i64])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                let what = || format!("the line of {job} in run {id}");
                let [as_of, scheduled_for, started_at, line] = [1, 2, 3, 4].map(|at| row.get::<_, String>(at));
                let (as_of, scheduled_for, started_at, line) = (as_of?, scheduled_for?, started_at?, line?);
                let columns = [job.as_str(), &scheduled_for, &started_at, &id, &as_of, &line];
                check_row(&columns, row.get(5)?, what)?;
                runs.push(JobRun {
                    batch_run_id: parsed(&id, what)?,
                    as_of: parsed(&as_of, what)?,
                    scheduled_for: parsed(&scheduled_for, what)?,
                    started_at: parsed(&started_at, what)?,
                    line: serde_json::from_str(&line).map_err(|error| damaged(what(), error))?,
                });
            }
            Ok(runs)
        })
        .await
    }

    async fn last_success(
        &self,
        job: &JobName,
        portfolio: Option<&PortfolioId>,
    ) -> Result<Option<JobRecord>, StoreError> {
        let (job, portfolio) = (job.clone(), portfolio.cloned());
        self.read("read the last success", move |connection| {
            let of = if portfolio.is_some() { "AND portfolio_id = ?2" } else { "AND ?2 IS NULL" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT record, content_hash, portfolio_id, as_of, run_started_at FROM job_records
                 WHERE job_name = ?1 {of} AND status = 'success' ORDER BY as_of DESC, run_started_at DESC"
            ))?;
            let mut superseded = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM job_records WHERE portfolio_id = ?1 AND job_name = ?2 AND as_of = ?3
                 AND run_started_at > ?4 AND status <> 'success')",
            )?;
            let mut rows = statement.query(params![job.as_str(), portfolio.as_ref().map(PortfolioId::as_str)])?;
            while let Some(row) = rows.next()? {
                let (id, as_of, started): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
                let newer: bool = superseded.query_row(params![id, job.as_str(), as_of, started], |row| row.get(0))?;
                if !newer {
                    return record_of(row).map(Some);
                }
            }
            Ok(None)
        })
        .await
    }

    async fn failures(
        &self,
        since: Option<DateTime<Utc>>,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<Vec<FailureSighting>, StoreError> {
        let fingerprint = fingerprint.cloned();
        self.read("read the failures", move |connection| {
            let clause = if fingerprint.is_some() { "fingerprint = ?2 AND" } else { "?2 IS NULL AND" };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT batch_run_id, as_of, started_at, fingerprint, category, job_name, message, count, portfolios, content_hash
                 FROM failures WHERE {clause} started_at >= ?1 ORDER BY started_at DESC, fingerprint"
            ))?;
            let since = since.map(time_text).unwrap_or_default();
            let mut rows = statement.query(params![since, fingerprint.as_ref().map(Fingerprint::as_str)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                let what = || format!("a cause of failures in run {id}");
                let text = |at: usize| row.get::<_, String>(at);
                let count: i64 = row.get(7)?;
                let columns =
                    [text(3)?, text(2)?, id.clone(), text(1)?, text(5)?, text(4)?, count.to_string(), text(6)?, text(8)?];
                check_row(&columns, row.get(9)?, what)?;
                found.push(FailureSighting {
                    batch_run_id: parsed(&id, what)?,
                    as_of: parsed(&row.get::<_, String>(1)?, what)?,
                    started_at: parsed(&row.get::<_, String>(2)?, what)?,
                    fingerprint: parsed(&row.get::<_, String>(3)?, what)?,
                    category: parsed(&row.get::<_, String>(4)?, what)?,
                    job: parsed(&row.get::<_, String>(5)?, what)?,
                    message: row.get(6)?,
                    count: count.max(0) as u64,
                    portfolios: serde_json::from_str(&row.get::<_, String>(8)?)
                        .map_err(|error| damaged(what(), error))?,
                });
            }
            Ok(found)
        })
        .await
    }

    async fn first_seen(&self, causes: &[Fingerprint]) -> Result<BTreeMap<Fingerprint, RunId>, StoreError> {
        let causes = causes.to_vec();
        self.read("read the causes", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT batch_run_id FROM failures WHERE fingerprint = ?1 ORDER BY started_at, batch_run_id LIMIT 1",
            )?;
            let mut first = BTreeMap::new();
            for cause in &causes {
                let id: Option<String> = statement.query_row(params![cause.as_str()], |row| row.get(0)).optional()?;
                if let Some(id) = id {
                    first.insert(cause.clone(), parsed(&id, || format!("the first run with {cause}"))?);
                }
            }
            Ok(first)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::with_hash;
    use super::super::schema;
    use super::*;
    use domain::job::JobSpec;
    use domain::words::JobType;
    use rusqlite::StatementStatus;

    const JOBS: [&str; 3] = ["first", "second", "third"];

    fn run() -> RunId {
        RunId(uuid::Uuid::from_u128(7))
    }

    /// The records of so many portfolios in one run; the second job failed for every seventh portfolio.
    fn records_of(portfolios: u32) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection, "2026-11-24T23:30:00.000000Z").unwrap().unwrap();
        let transaction = connection.transaction().unwrap();
        for n in 0..portfolios {
            for (order, name) in JOBS.iter().enumerate() {
                let failed = n % 7 == 0 && order == 1;
                let status = if failed { JobStatus::Failed } else { JobStatus::Success };
                let spec = JobSpec {
                    name: JobName::new(*name).unwrap(),
                    job_type: JobType::Valuation,
                    critical: false,
                    needs: Vec::new(),
                    run_level: false,
                    time_limit_seconds: 60,
                };
                let portfolio = PortfolioId::new(format!("p{n}")).unwrap();
                let (json, hash) =
                    with_hash(&domain::record::JobRecord::blank(run(), &portfolio, "A portfolio", &spec, status))
                        .unwrap();
                let mut insert = transaction
                    .prepare_cached(
                        "INSERT INTO job_records (batch_run_id, bucket, place, job_order, portfolio_id, job_name, job_type,
                           status, as_of, run_started_at, attempt, records_processed, record, content_hash)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, '2026-11-24', '2026-11-24', 1, 0, ?9, ?10)",
                    )
                    .unwrap();
                let (bucket, place) = (n / 100, n % 100);
                insert
                    .execute(params![
                        run().to_string(),
                        bucket,
                        place,
                        order as i64,
                        portfolio.as_str(),
                        *name,
                        spec.job_type.as_str(),
                        status.as_str(),
                        json,
                        hash
                    ])
                    .unwrap();
            }
        }
        transaction.commit().unwrap();
        connection
    }

    /// Instructions that `SQLite` executes for each page of a walk through all records.
    fn instructions(connection: &Connection, query: &RecordQuery, limit: usize) -> Vec<i32> {
        let (mut steps, mut after) = (Vec::new(), None);
        loop {
            let (sql, values) = records_page_sql(run(), query, after, limit);
            let mut statement = connection.prepare(&sql).unwrap();
            let page = read_page(&mut statement, values, limit).unwrap();
            steps.push(statement.get_status(StatementStatus::VmStep));
            match page.next {
                Some(next) => after = Some(next),
                None => return steps,
            }
        }
    }

    #[test]
    fn a_page_costs_the_same_anywhere_in_a_run_of_any_size() {
        let (small, large) = (records_of(100), records_of(1_400));
        let second = RecordQuery { job: Some(JobName::new("second").unwrap()), ..RecordQuery::default() };
        let failed = RecordQuery { status: Some(JobStatus::Failed), ..RecordQuery::default() };
        for query in [RecordQuery::default(), second, failed] {
            let most = instructions(&small, &query, 5).into_iter().max().unwrap();
            for (n, steps) in instructions(&large, &query, 5).into_iter().enumerate() {
                assert!(
                    steps <= 2 * most,
                    "page {n} took {steps} instructions, those of a small run {most}: {query:?}"
                );
            }
        }
    }
}
