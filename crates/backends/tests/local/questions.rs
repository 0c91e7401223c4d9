//! Each question to the store is answered by an index.

use super::filled;

/// The shapes of the questions, as `runs.rs` asks them.
const QUESTIONS: &[&str] = &[
    "SELECT run FROM runs WHERE batch_run_id = ?1",
    "SELECT run FROM runs WHERE phase NOT IN ('closed', 'missed') ORDER BY started_at",
    "SELECT run FROM runs WHERE phase IN ('closed', 'missed') AND delivered = 0 ORDER BY started_at",
    "SELECT run FROM runs ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?1",
    "SELECT run FROM runs WHERE (scheduled_for, started_at, batch_run_id) < (?1, ?2, ?3)
     ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?4",
    "SELECT run FROM runs WHERE status = ?1 ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?2",
    "SELECT run FROM runs WHERE month = ?1 ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?2",
    "SELECT run FROM runs WHERE as_of = ?1 ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?2",
    "SELECT run FROM runs WHERE rerun_of = ?1 ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?2",
    "SELECT portfolios FROM manifests WHERE batch_run_id = ?1 AND epoch = ?2 AND bucket = ?3",
    "SELECT item FROM work_items WHERE batch_run_id = ?1 AND portfolio_id = ?2",
    "SELECT item FROM work_items WHERE batch_run_id = ?1 AND bucket = ?2 ORDER BY place",
    "SELECT portfolio_id FROM work_items WHERE batch_run_id = ?1 AND state = 'working'",
    "SELECT record FROM job_records WHERE batch_run_id = ?1 AND bucket = ?2 AND place = ?3 ORDER BY job_order",
    "SELECT record FROM job_records WHERE batch_run_id = ?1 ORDER BY bucket, place, job_order",
    "SELECT record FROM job_records WHERE batch_run_id = ?1 AND status = ?2 ORDER BY bucket, place, job_order",
    "SELECT fold FROM folds WHERE batch_run_id = ?1 ORDER BY bucket",
    "SELECT COUNT(*) FROM folds WHERE batch_run_id = ?1 AND is_full = 1",
    "SELECT w.item, r.as_of FROM work_items w JOIN runs r USING (batch_run_id) WHERE w.portfolio_id = ?1
     ORDER BY w.scheduled_for DESC, w.started_at DESC, w.batch_run_id DESC LIMIT ?2",
    "SELECT line FROM job_runs WHERE job_name = ?1 ORDER BY scheduled_for DESC, started_at DESC, batch_run_id DESC LIMIT ?2",
    "SELECT record FROM job_records WHERE job_name = ?1 AND portfolio_id = ?2 AND status = 'success'
     ORDER BY as_of DESC, run_started_at DESC",
    "SELECT record FROM job_records WHERE job_name = ?1 AND ?2 IS NULL AND status = 'success'
     ORDER BY as_of DESC, run_started_at DESC",
    "SELECT EXISTS (SELECT 1 FROM job_records WHERE portfolio_id = ?1 AND job_name = ?2 AND as_of = ?3
     AND run_started_at > ?4 AND status <> 'success')",
    "SELECT batch_run_id FROM failures WHERE fingerprint = ?1 ORDER BY started_at, batch_run_id LIMIT 1",
    "SELECT offset FROM results WHERE batch_run_id = ?1 AND portfolio_id = ?2 AND content_hash = ?3",
];

/// Those whose answers are few, so that sorting them costs nothing.
const SORTED: &[&str] = &[
    "SELECT message FROM failures WHERE fingerprint = ?2 AND started_at >= ?1 ORDER BY started_at DESC, fingerprint",
    "SELECT message FROM failures WHERE ?2 IS NULL AND started_at >= ?1 ORDER BY started_at DESC, fingerprint",
    "SELECT record FROM job_records WHERE batch_run_id = ?1 AND job_name = ?2 ORDER BY bucket, place, job_order",
    "SELECT record FROM job_records WHERE batch_run_id = ?1 AND portfolio_id = ?2 ORDER BY bucket, place, job_order",
];

#[test]
fn every_question_is_answered_by_an_index() {
    let (folder, _store, _) = filled();
    let connection = rusqlite::Connection::open(folder.path().join("records.sqlite")).unwrap();
    for question in QUESTIONS.iter().chain(SORTED) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
        // The values that it would be asked with say nothing about the plan.
        let values = vec![rusqlite::types::Null; statement.parameter_count()];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(values), |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for step in &plan {
            let whole_table = step.starts_with("SCAN") && step != "SCAN CONSTANT ROW" && !step.contains("INDEX");
            assert!(!whole_table, "{question}\nreads the whole table: {plan:?}");
            let sorts = step.contains("TEMP B-TREE") && !SORTED.contains(question);
            assert!(!sorts, "{question}\nsorts what it found: {plan:?}");
        }
    }
}
