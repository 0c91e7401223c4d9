//! The jobs of a run come page by page, and a page reads no more than it holds.

use api::Access;
use serde_json::{Value, json};

use crate::night::{api, get, id, open, three};

#[tokio::test]
async fn pages_of_any_size_hold_every_job_once_and_in_order() {
    let store = three();
    open(&store, 3).await;
    let (api, _) = api(&store, Access::Loopback);
    // Complete, with a failure, without a record, open.
    for run in (0..4).map(id) {
        for filter in
            ["", "&job_type=market_data", "&job=factor_analysis", "&status=success", "&status=failed", "&portfolio=p1"]
        {
            let whole = get(&api, &format!("/api/v1/batch/runs/{run}/jobs?limit=10000{filter}")).await.json();
            let jobs = whole["jobs"].as_array().unwrap();
            assert_eq!((&whole["total_jobs"], &whole["next"]), (&json!(jobs.len()), &Value::Null), "{run} {filter}");
            for limit in [1, 2, 4, 5] {
                let address = format!("/api/v1/batch/runs/{run}/jobs?limit={limit}{filter}");
                let (mut path, mut seen) = (address.clone(), Vec::new());
                // One page more than there can be.
                for _ in 0..=jobs.len() {
                    let page = get(&api, &path).await.json();
                    assert_eq!(page["total_jobs"], whole["total_jobs"], "{path}");
                    let on_page = page["jobs"].as_array().unwrap();
                    assert!(on_page.len() <= limit, "{path}");
                    seen.extend(on_page.iter().cloned());
                    let Some(next) = page["next"].as_str() else { break };
                    path = format!("{address}&cursor={next}");
                }
                assert_eq!(&seen, jobs, "{address}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_reads_the_records_that_it_holds_and_no_more() {
    let (api, counting) = api(&three(), Access::Loopback);
    let path = format!("/api/v1/batch/runs/{}/jobs?limit=2", id(1));
    let first = get(&api, &path).await.json();
    assert_eq!((&first["total_jobs"], counting.records_read()), (&json!(6), 2), "{first}");
    let second = get(&api, &format!("{path}&cursor={}", first["next"].as_str().unwrap())).await.json();
    assert_eq!((&second["total_jobs"], counting.records_read()), (&json!(6), 4), "{second}");
    // The newest jobs over the runs: none is read that is not listed.
    let status = get(&api, "/api/v1/batch/jobs/status?days_back=90&status=success").await.json();
    assert_eq!(counting.records_read() - 4, status["jobs"].as_array().unwrap().len(), "{status}");
}

#[tokio::test]
async fn a_cursor_of_an_earlier_release_is_refused_with_the_reason() {
    let (api, counting) = api(&three(), Access::Loopback);
    // `j2`: two records were read.
    let answer = get(&api, &format!("/api/v1/batch/runs/{}/jobs?cursor=ajI", id(1))).await;
    let problem = answer.problem(400, "bad-request");
    assert!(problem["detail"].as_str().unwrap().contains("earlier release"), "{problem}");
    assert!(counting.take().is_empty());
}
