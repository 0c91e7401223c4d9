//! The tables of the records, and their migrations.
//!
//! Every table keeps the whole content as JSON beside the columns that questions need, with the SHA-256 of that JSON
//! in `content_hash`. Times are UTC, as `2026-11-24T23:30:00.000000Z`, so that they sort as text.

use rusqlite::{Connection, OptionalExtension as _, params};

/// The schema that this release writes.
pub(crate) const SCHEMA_VERSION: i64 = 6;

/// In `meta`: runs that are closed at this instant or later have a link in the chain.
pub(crate) const CHAIN_BEGAN: &str = "chain_began_at";

/// The steps from one version to the next: the first makes version 1 of an empty file.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [V1, V2, V3, V4, V5, V6];

const V1: &str = r"
CREATE TABLE runs (                    -- one row a run: one pass over all portfolios
  batch_run_id   TEXT PRIMARY KEY,     -- UUID
  schedule       TEXT NOT NULL,
  trigger_name   TEXT NOT NULL,        -- schedule, or the name given by hand
  as_of          TEXT NOT NULL,        -- trading date
  month          TEXT NOT NULL,        -- yyyy-mm of as_of
  scheduled_for  TEXT NOT NULL,
  started_at     TEXT NOT NULL,
  closed_at      TEXT,
  phase          TEXT NOT NULL,        -- planning, running, closing, closed, missed
  status         TEXT NOT NULL,        -- running, success, partial, failed, missed
  rerun_of       TEXT,
  run            TEXT NOT NULL,        -- the whole run, JSON
  run_hash       TEXT NOT NULL,
  summary        TEXT,                 -- the run summary, JSON
  summary_hash   TEXT,
  alert          TEXT NOT NULL         -- the outbox of its alert, JSON
) WITHOUT ROWID;
CREATE INDEX runs_newest    ON runs (scheduled_for, started_at, batch_run_id);
CREATE INDEX runs_by_status ON runs (status, scheduled_for, started_at, batch_run_id);
CREATE INDEX runs_by_month  ON runs (month, scheduled_for, started_at, batch_run_id);
CREATE INDEX runs_by_as_of  ON runs (as_of, scheduled_for, started_at, batch_run_id);
CREATE INDEX runs_by_origin ON runs (rerun_of, scheduled_for, started_at, batch_run_id) WHERE rerun_of IS NOT NULL;
CREATE INDEX runs_open      ON runs (started_at) WHERE phase <> 'closed';

CREATE TABLE manifests (               -- the portfolios of a run, in buckets of 100
  batch_run_id   TEXT NOT NULL,
  epoch          INTEGER NOT NULL,     -- of the planner; only that of the sealed plan counts
  bucket         INTEGER NOT NULL,
  portfolios     TEXT NOT NULL,        -- JSON
  content_hash   TEXT NOT NULL,
  PRIMARY KEY (batch_run_id, epoch, bucket)
) WITHOUT ROWID;

CREATE TABLE work_items (              -- one portfolio in one run
  batch_run_id   TEXT NOT NULL,
  portfolio_id   TEXT NOT NULL,
  bucket         INTEGER NOT NULL,
  place          INTEGER NOT NULL,     -- in the bucket
  state          TEXT NOT NULL,        -- pending, working, done, lost, timed_out, cancelled
  attempt        INTEGER NOT NULL,     -- claims so far
  heartbeat      TEXT,                 -- last sign of life
  scheduled_for  TEXT NOT NULL,        -- of the run
  started_at     TEXT NOT NULL,        -- of the run
  item           TEXT NOT NULL,        -- the whole item without its records once it has ended, JSON
  cells          TEXT NOT NULL,        -- status, attempt, duration, quality and cause of each job, JSON
  content_hash   TEXT NOT NULL,        -- of item and cells
  PRIMARY KEY (batch_run_id, portfolio_id)
) WITHOUT ROWID;
CREATE INDEX work_items_by_place     ON work_items (batch_run_id, bucket, place);
CREATE INDEX work_items_by_portfolio ON work_items (portfolio_id, scheduled_for, started_at);
CREATE INDEX work_items_in_hand      ON work_items (batch_run_id) WHERE state = 'working';

CREATE TABLE job_records (             -- the outcome of one job of one portfolio in one run
  batch_run_id   TEXT NOT NULL,
  bucket         INTEGER NOT NULL,
  place          INTEGER NOT NULL,
  job_order      INTEGER NOT NULL,
  portfolio_id   TEXT NOT NULL,
  job_name       TEXT NOT NULL,
  job_type       TEXT NOT NULL,
  status         TEXT NOT NULL,        -- success, failed, skipped
  as_of          TEXT NOT NULL,
  run_started_at TEXT NOT NULL,
  attempt        INTEGER NOT NULL,
  started_at     TEXT,
  completed_at   TEXT,
  duration_seconds REAL,
  records_processed INTEGER NOT NULL,
  error_category TEXT,
  error_message  TEXT,
  fingerprint    TEXT,
  skipped_because TEXT,                -- the job that failed
  quality_flag   TEXT,
  record         TEXT NOT NULL,        -- the whole record, JSON
  content_hash   TEXT NOT NULL,
  PRIMARY KEY (batch_run_id, bucket, place, job_order)
) WITHOUT ROWID;
CREATE INDEX job_records_of_portfolio ON job_records (portfolio_id, job_name, as_of, run_started_at, status);
CREATE INDEX job_records_success      ON job_records (job_name, as_of, run_started_at) WHERE status = 'success';
CREATE INDEX job_records_not_success  ON job_records (batch_run_id, status) WHERE status <> 'success';
CREATE INDEX job_records_by_job       ON job_records (batch_run_id, job_name);

CREATE TABLE folds (                   -- which items of a bucket have ended, and what they add up to
  batch_run_id   TEXT NOT NULL,
  bucket         INTEGER NOT NULL,
  fold           TEXT NOT NULL,        -- JSON
  content_hash   TEXT NOT NULL,
  is_full        INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (batch_run_id, bucket)
) WITHOUT ROWID;

CREATE TABLE job_runs (                -- one job in one closed run
  job_name       TEXT NOT NULL,
  scheduled_for  TEXT NOT NULL,
  started_at     TEXT NOT NULL,
  batch_run_id   TEXT NOT NULL,
  as_of          TEXT NOT NULL,
  line           TEXT NOT NULL,        -- its line of the summary, JSON
  PRIMARY KEY (job_name, scheduled_for, started_at, batch_run_id)
) WITHOUT ROWID;

CREATE TABLE failures (                -- one cause in one closed run
  fingerprint    TEXT NOT NULL,
  started_at     TEXT NOT NULL,
  batch_run_id   TEXT NOT NULL,
  as_of          TEXT NOT NULL,
  job_name       TEXT NOT NULL,
  category       TEXT NOT NULL,
  count          INTEGER NOT NULL,
  message        TEXT NOT NULL,
  portfolios     TEXT NOT NULL,        -- JSON
  PRIMARY KEY (fingerprint, started_at, batch_run_id)
) WITHOUT ROWID;
CREATE INDEX failures_newest ON failures (started_at);

CREATE TABLE results (                 -- where the full results of a portfolio are in results/<run>.pack
  batch_run_id   TEXT NOT NULL,
  portfolio_id   TEXT NOT NULL,
  content_hash   TEXT NOT NULL,        -- of the JSON document
  offset         INTEGER NOT NULL,
  length         INTEGER NOT NULL,     -- compressed (zstd)
  PRIMARY KEY (batch_run_id, portfolio_id, content_hash)
) WITHOUT ROWID;
";

/// Missed slots, what is not delivered yet as one indexed question, and hashes where version 1 had none.
const V2: &str = r"
ALTER TABLE runs ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0; -- pages published and alert out of the way
UPDATE runs SET delivered = 1
 WHERE json_extract(run, '$.publication.state') = 'published' AND json_extract(alert, '$.state') = 'sent';
ALTER TABLE runs ADD COLUMN alert_hash TEXT;      -- none on rows of version 1 that have not changed since
ALTER TABLE job_runs ADD COLUMN content_hash TEXT; -- of the other columns; none on rows of version 1
ALTER TABLE failures ADD COLUMN content_hash TEXT; -- likewise
DROP INDEX runs_open;
CREATE INDEX runs_open        ON runs (started_at) WHERE phase NOT IN ('closed', 'missed');
CREATE INDEX runs_undelivered ON runs (started_at) WHERE phase IN ('closed', 'missed') AND delivered = 0;
";

/// The alert books.
const V3: &str = r"
CREATE TABLE alert_books (             -- incidents, mutes and messages on their way of one schedule
  schedule       TEXT PRIMARY KEY,
  version        INTEGER NOT NULL,     -- how often it was written
  book           TEXT NOT NULL,        -- JSON
  content_hash   TEXT NOT NULL
) WITHOUT ROWID;
";

/// Notes on runs.
const V4: &str = r"
CREATE TABLE notes (                   -- what people have to say of a run
  batch_run_id   TEXT NOT NULL,
  at             TEXT NOT NULL,
  note_id        TEXT NOT NULL,        -- UUID
  note           TEXT NOT NULL,        -- JSON
  content_hash   TEXT NOT NULL,
  PRIMARY KEY (batch_run_id, at, note_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX notes_by_id ON notes (batch_run_id, note_id);
";

/// The nights.
const V5: &str = r"
CREATE TABLE nights (                  -- one row a night: a night series and a trading date
  night_series   TEXT NOT NULL,        -- the schedule, under the name that it keeps when it is renamed
  as_of          TEXT NOT NULL,        -- trading date
  version        INTEGER NOT NULL,     -- how often it was written
  verdict        TEXT NOT NULL,        -- running, missed, failed, partial, warning, ok
  head           TEXT NOT NULL,        -- JSON
  content_hash   TEXT NOT NULL,
  PRIMARY KEY (night_series, as_of)
) WITHOUT ROWID;

CREATE TABLE night_documents (         -- what a plan seals about the portfolios of its book, and folded nights
  content_hash   TEXT PRIMARY KEY,     -- of the JSON document
  document       BLOB NOT NULL         -- compressed (zstd)
);
";

/// The chain of closed runs, and documents of nights that nothing names.
const V6: &str = r"
CREATE TABLE chain (                   -- one row a closed run: tamper evidence
  number         INTEGER PRIMARY KEY,  -- 1: the genesis link, over the runs closed before the chain began
  batch_run_id   TEXT UNIQUE,          -- none on the genesis link
  link           TEXT NOT NULL,        -- JSON, with the hash of the link before
  link_hash      TEXT NOT NULL
);
UPDATE folds SET is_full = 1 WHERE batch_run_id IN (SELECT batch_run_id FROM runs WHERE closed_at IS NOT NULL);
ALTER TABLE night_documents ADD COLUMN unnamed_since TEXT; -- when the retention found that nothing names it
";

/// Brings the file to the version of this release.
///
/// # Errors
/// `Ok(Err(found))` where the file is of a newer release; nothing is changed then.
pub(crate) fn migrate(connection: &mut Connection, created_at: &str) -> rusqlite::Result<Result<(), i64>> {
    let found = version(connection)?;
    if found > SCHEMA_VERSION {
        return Ok(Err(found));
    }
    let transaction = connection.transaction()?;
    if found == 0 {
        transaction.execute_batch(
            "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
        )?;
        transaction.execute("INSERT OR IGNORE INTO meta VALUES ('created_at', ?1)", params![created_at])?;
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    if found < 6 {
        transaction.execute("INSERT OR IGNORE INTO meta VALUES (?1, ?2)", params![CHAIN_BEGAN, created_at])?;
    }
    transaction.execute(
        "INSERT INTO meta VALUES ('schema_version', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![SCHEMA_VERSION.to_string()],
    )?;
    transaction.commit()?;
    Ok(Ok(()))
}

/// The version of a file; 0 where it has none yet.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let there: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta')",
        [],
        |row| row.get(0),
    )?;
    if !there {
        return Ok(0);
    }
    let text: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE name = 'schema_version'", [], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}
