//! The description says what there is.

use api::Access;
use serde_json::Value;

use crate::night::{api, get, id, keep_nights, one_again, three};

#[tokio::test]
async fn every_address_of_the_description_answers_and_all_that_is_used_is_defined() {
    let (api, _) = api(&three(), Access::Loopback);
    let document = get(&api, "/api/v1/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 20, "{:?}", paths.keys());
    for (path, item) in paths {
        let (run, of_run) = (id(1).to_string(), path.contains("/runs/"));
        let path = path.replace("{id}", if of_run { &run } else { "p1" }).replace("{job}", "factor_analysis");
        let path = path.replace("{as_of}", "2026-11-04");
        if item["get"].is_object() && !path.ends_with("/notes") {
            assert_eq!(get(&api, &path).await.status, 200, "{path}");
        }
        for operation in item.as_object().unwrap().values() {
            assert!(operation["responses"]["401"].is_object(), "{path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {operation}");
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut used = Vec::new();
    references(&document, &mut used);
    assert!(used.len() > 30, "{used:?}");
    for name in used {
        assert!(schemas.contains_key(&name), "{name} is used and not defined");
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if let (true, Some(target)) = (name == "$ref", value.as_str()) {
                    found.push(target.rsplit('/').next().unwrap().to_owned());
                }
                references(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// Checks an answer against a definition of `docs/nights.schema.json`, which must name each of its fields.
fn assert_described(answer: &Value, name: &str) {
    let schema: Value = serde_json::from_str(include_str!("../../../../docs/nights.schema.json")).unwrap();
    let mut root = schema.clone();
    root["$ref"] = format!("#/$defs/{name}").into();
    let validator = jsonschema::validator_for(&root).unwrap();
    let errors: Vec<String> = validator.iter_errors(answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:?}\n{answer:#}");
    for key in answer.as_object().unwrap().keys() {
        assert!(schema["$defs"][name]["properties"][key].is_object(), "{name}: {key} is not in the schema");
    }
}

#[tokio::test]
async fn what_the_api_says_about_nights_is_as_its_schema_says() {
    let store = three();
    one_again(&store, 2);
    keep_nights(&store, 0..3).await;
    let (api, _) = api(&store, Access::Loopback);
    for (path, name) in [
        ("/api/v1/batch/nights", "nights"),
        ("/api/v1/batch/nights/2026-11-03", "night"),
        ("/api/v1/batch/nights/2026-11-04/editions", "editions"),
        ("/api/v1/batch/last-run", "last_run"),
    ] {
        let answer = get(&api, path).await.json();
        assert_described(&answer, name);
        let mut without = answer.clone();
        without.as_object_mut().unwrap().remove(if name == "last_run" { "night" } else { "as_of" });
        without.as_object_mut().unwrap().remove("nights");
        let accepted = std::panic::catch_unwind(|| assert_described(&without, name)).is_ok();
        assert!(!accepted, "{name}: a field that is missing is an error");
    }
    let empty = self::api(&backends::memory::MemoryStore::default(), Access::Loopback).0;
    assert_described(&get(&empty, "/api/v1/batch/last-run").await.json(), "last_run");
}

/// The schema of the body of an acceptance names the fields that the description of the API names, and no other.
#[tokio::test]
async fn an_acceptance_is_described_alike_by_both_descriptions() {
    let (api, _) = api(&three(), Access::Loopback);
    let document = get(&api, "/api/v1/openapi.json").await.json();
    let schema: Value = serde_json::from_str(include_str!("../../../../docs/nights.schema.json")).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let of_api = &document["components"]["schemas"]["AcceptBody"];
    assert_eq!(keys(&of_api["properties"]), keys(&schema["$defs"]["accept"]["properties"]));
    assert_eq!(of_api["required"], schema["$defs"]["accept"]["required"]);
}
