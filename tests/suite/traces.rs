//! Traces by OTLP: a run is told to a collector when it has ended, where the environment names one.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use e2e::{json, program, text, write_book};
use serde_json::Value;

use crate::http::{Server, reply};

/// A night of three portfolios, told to this address; gives exit code and log.
fn night(dir: &std::path::Path, environment: &[(&str, &str)]) -> (i32, String) {
    let (book, data) = (dir.join("book"), dir.join("data"));
    write_book(&book, 3).unwrap();
    // One of them has no equity, so that some of its jobs fail.
    let file = book.join("portfolios.csv");
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, written.replace("p001,Portfolio 1,1000000", "p001,Portfolio 1,0")).unwrap();
    let out = Command::new(program().unwrap())
        .args(["run", "--book", text(&book), "--data", text(&data), "--as-of", "2026-11-24", "--json"])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
}

fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    let found = span["attributes"].as_array().unwrap().iter().find(|pair| pair["key"] == name);
    found.map_or(&Value::Null, |pair| &pair["value"])
}

#[test]
fn each_portfolio_is_a_trace_linked_to_that_of_its_run() {
    let server = Server::start(|n, _| if n == 0 { reply("503 Busy", &[], b"") } else { reply("200 OK", &[], b"{}") });
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("http://{}/", server.address);
    let (code, log) = night(
        dir.path(),
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=C4nary4242, x-other=2")],
    );
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("\"event\":\"traces.told\"") && !log.contains("C4nary"), "{log}");
    let requests = server.requests();
    assert!(requests.len() > 1 && requests.iter().all(|request| request.target == "/v1/traces"));
    assert!(
        requests.iter().all(|request| request.headers["x-key"] == "C4nary4242" && request.headers["x-other"] == "2")
    );
    let spans: Vec<Value> = requests[1..]
        .iter()
        .flat_map(|request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let resource = &body["resourceSpans"][0];
            assert_eq!(attribute(&resource["resource"], "service.name")["stringValue"], "nightbook");
            resource["scopeSpans"][0]["spans"].as_array().unwrap().clone()
        })
        .collect();
    let data = dir.path().join("data");
    let (summary, _) = json(&["show", "latest", "--data", text(&data), "--json"]).unwrap();
    let id = summary["batch_run_id"].as_str().unwrap();
    let run =
        spans.iter().find(|span| span["traceId"] == id.replace('-', "") && span["parentSpanId"].is_null()).unwrap();
    assert_eq!(run["status"]["code"], 2, "{run}");
    assert_eq!(attribute(run, "failed_jobs")["intValue"], summary["failed_jobs"].to_string());
    let portfolios: Vec<&Value> = spans.iter().filter(|span| span["name"] == "portfolio").collect();
    let traces: BTreeSet<&str> = portfolios.iter().map(|span| span["traceId"].as_str().unwrap()).collect();
    assert_eq!((portfolios.len(), traces.len()), (3, 3), "one trace a portfolio");
    for portfolio in &portfolios {
        assert_eq!(portfolio["links"][0]["spanId"], run["spanId"], "{portfolio}");
        assert_eq!(attribute(portfolio, "batch_run_id")["stringValue"], id);
        let inner: Vec<&Value> = spans.iter().filter(|span| span["parentSpanId"] == portfolio["spanId"]).collect();
        assert!(!inner.is_empty() && inner.iter().all(|span| span["traceId"] == portfolio["traceId"]), "{portfolio}");
        let n = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        for span in inner {
            assert!(n(span, "startTimeUnixNano") >= n(portfolio, "startTimeUnixNano"), "{span}");
            assert!(n(span, "endTimeUnixNano") <= n(portfolio, "endTimeUnixNano"), "{span}");
        }
    }
    // The fields of a failure are those of its record.
    let (failures, _) = json(&["failures", "--data", text(&data), "--json"]).unwrap();
    let causes: BTreeSet<&str> =
        failures["failures"].as_array().unwrap().iter().map(|cause| cause["fingerprint"].as_str().unwrap()).collect();
    let failed: BTreeMap<&str, &Value> =
        spans.iter().filter_map(|span| Some((attribute(span, "fingerprint")["stringValue"].as_str()?, span))).collect();
    assert_eq!(failed.keys().copied().collect::<BTreeSet<_>>(), causes);
    assert!(failed.values().all(|span| span["status"]["code"] == 2 && span["status"]["message"].is_string()));
}

#[test]
fn a_collector_that_is_not_there_changes_no_run_and_none_is_told_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let (code, log) = night(dir.path(), &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")]);
    assert_eq!(code, 1, "the run itself: {log}");
    assert!(log.contains("\"event\":\"traces.failed\""), "{log}");
    let silent = tempfile::tempdir().unwrap();
    let disabled = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_SDK_DISABLED", "true")];
    for environment in [&[][..], &disabled[..]] {
        let (_, log) = night(silent.path(), environment);
        assert!(!log.contains("\"event\":\"traces."), "{log}");
    }
}
