//! The description says what there is.

use api::Access;
use serde_json::Value;

use crate::night::{api, get, id, three};

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
