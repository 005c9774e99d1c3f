use std::path::Path;

use patchbay_interfaces::admin::openapi::{description, to_json};
use serde_json::Value;

#[test]
fn the_kept_description_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let generated = to_json(&description());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated,
        "docs/openapi.json is out of date: run `UPDATE_OPENAPI=1 cargo test -p patchbay-interfaces --test integration openapi`"
    );
}

#[test]
fn every_reference_resolves_and_every_operation_tells_how_it_fails() {
    let json = serde_json::to_value(description()).unwrap();
    assert_eq!(json["openapi"], "3.1.0");
    let schemas = json["components"]["schemas"].as_object().unwrap();
    check_references(&json, &|name| assert!(schemas.contains_key(name), "{name} is not described"));
    for (path, item) in json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            if path.starts_with("/api/") {
                let answer = &operation["responses"]["401"]["content"]["application/problem+json"];
                assert_eq!(answer["schema"]["$ref"], "#/components/schemas/Problem", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_post_none_of_whose_fields_has_to_be_given_takes_no_body_at_all() {
    let api = super::Api::new();
    let described = serde_json::to_value(description()).unwrap();
    let (mut without, mut with) = (0, 0);
    for (path, item) in described["paths"].as_object().unwrap() {
        let post = &item["post"];
        if post.is_null() || !path.starts_with("/api/") {
            continue;
        }
        // Nothing has this id, which is found out after the body was read.
        let path = path
            .split('/')
            .map(|part| if part.starts_with('{') { "0198c0de-0000-7000-8000-000000000000" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let (response, body) = api.send(api.request("POST", &path), "").await;
        if post["requestBody"]["required"] == true {
            assert_eq!(response.status(), 415, "{path}: {body}");
            with += 1;
        } else {
            assert_eq!(response.status(), 404, "{path}: {body}");
            let (status, body) = api.post(&path, r#"{"nonsense": 1}"#).await;
            assert_eq!(status, 422, "{path}: {body}");
            let (response, body) = api.send(api.request("POST", &path), r#"{"x": 1}"#).await;
            assert!(matches!(response.status().as_u16(), 415 | 422), "{path}: {body}");
            without += 1;
        }
    }
    assert!(without >= 12 && with >= 4, "{without} without and {with} with a body");
}

#[test]
fn operation_ids_are_unique() {
    let json = serde_json::to_value(description()).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in json["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "{method} {path}: {}",
                operation["operationId"]
            );
        }
    }
}

#[tokio::test]
async fn the_page_for_people_loads_nothing_from_elsewhere() {
    let api = super::Api::new();
    let (response, page) = api.send(http::Request::builder().uri("/docs"), "").await;
    let page = page.as_str().unwrap();
    assert!(page.contains("/api/v1/work-items") && page.contains("WorkItem"));
    assert!(!page.contains("<script") && !page.contains("src="), "the page loads something");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
}

fn check_references(value: &Value, check: &impl Fn(&str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("$ref", Value::String(reference)) => {
                        check(reference.strip_prefix("#/components/schemas/").unwrap_or(reference));
                    }
                    _ => check_references(value, check),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(item, check)),
        _ => {}
    }
}
