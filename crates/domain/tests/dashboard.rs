//! The dashboard and the alarms name only metrics that exist.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::BTreeSet;
use std::path::Path;

use domain::metrics::{CloudMetric, NAMESPACE, PROMETHEUS};
use regex::Regex;
use serde_json::Value;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

/// The names under which a metric is asked for, with its labels.
fn names() -> BTreeSet<String> {
    let of = |name: &str, kind: &str| match kind {
        "summary" => vec![format!("{name}_sum"), format!("{name}_count")],
        _ => vec![name.to_owned()],
    };
    PROMETHEUS.iter().flat_map(|metric| of(metric.name, metric.kind)).collect()
}

#[test]
fn the_dashboard_names_only_metrics_and_labels_that_exist() {
    let dashboard: Value = serde_json::from_str(&file("infra/grafana-dashboard.json")).unwrap();
    let (known, cloud) = (names(), CloudMetric::ALL.map(CloudMetric::name));
    let labels: BTreeSet<&str> = PROMETHEUS.iter().flat_map(|metric| metric.labels).copied().collect();
    let (name, label) =
        (Regex::new(r"nightbook_[a-z0-9_]+").unwrap(), Regex::new(r"[{,]\s*([a-z_]+)\s*(?:=|!)").unwrap());
    let by = Regex::new(r"by \(([a-z_, ]+)\)").unwrap();
    let (mut asked, mut asked_of_cloud) = (BTreeSet::new(), BTreeSet::new());
    for target in
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array()).flatten()
    {
        if let Some(metric) = target["metricName"].as_str() {
            assert_eq!(target["namespace"], NAMESPACE, "{target}");
            assert!(cloud.contains(&metric), "{metric} is no metric of the functions");
            assert_eq!(target["dimensions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["Service"], "{target}");
            asked_of_cloud.insert(metric.to_owned());
            continue;
        }
        let asks = target["expr"].as_str().unwrap();
        for found in name.find_iter(asks) {
            assert!(known.contains(found.as_str()), "{} is no metric of serve: {asks}", found.as_str());
            asked.insert(found.as_str().to_owned());
        }
        let grouped =
            by.captures_iter(asks).flat_map(|found| found[1].split(", ").map(str::to_owned).collect::<Vec<_>>());
        let chosen = label.captures_iter(asks).map(|found| found[1].to_owned());
        for label in grouped.chain(chosen) {
            assert!(labels.contains(&*label), "{label} is no label: {asks}");
        }
        let legend = target["legendFormat"].as_str().unwrap();
        let shown = legend.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        assert!(shown.is_none_or(|label| labels.contains(label)), "{legend} is no label");
    }
    assert!(asked.len() >= 14 && asked_of_cloud.len() == cloud.len(), "{asked:?} {asked_of_cloud:?}");
}

#[test]
fn the_alarms_name_only_metrics_that_exist() {
    let template = file("infra/template.yaml");
    let named = Regex::new(r"Namespace: Nightbook(?:,|\n\s+)\s*MetricName: (\w+)").unwrap();
    let found: BTreeSet<&str> = named.captures_iter(&template).map(|found| found.extract::<1>().1[0]).collect();
    let cloud = CloudMetric::ALL.map(CloudMetric::name);
    assert!(found.len() >= 3, "{found:?}");
    for metric in found {
        assert!(cloud.contains(&metric), "{metric} is no metric of the functions");
    }
}
