//! The list of tools, and the schemas that clients and models take.

use super::*;

#[tokio::test]
async fn the_list_of_tools_is_ordered_private_and_small() {
    let server = Server::new();
    let answer = server.rpc("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "cycle_time_percentiles",
            "find_work_items",
            "get_project_metrics",
            "search_issues_by_project",
            "sql_explain_template",
            "sql_get_dictionary",
            "sql_get_freshness",
            "sql_list_templates",
            "sql_run_template",
        ]
    );
    let bytes = answer.to_string().len();
    println!("the list of tools has {bytes} bytes");
    assert!(bytes <= 15_000, "{bytes}");
}

/// Everything some vendor's client or model is known to refuse.
fn lint(schema: &Value, path: &str, findings: &mut Vec<String>) {
    let Value::Object(object) = schema else { return };
    for word in ["anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "patternProperties"] {
        if object.contains_key(word) {
            findings.push(format!("{path} uses {word}"));
        }
    }
    match &object.get("type") {
        Some(Value::Array(_)) => findings.push(format!("{path} is a union")),
        Some(Value::String(kind)) if kind == "array" && !object.contains_key("items") => {
            findings.push(format!("{path} has no items"));
        }
        Some(Value::String(kind))
            if kind == "object"
                && path.contains("inputSchema")
                && object.contains_key("properties")
                && object.get("additionalProperties") != Some(&json!(false)) =>
        {
            findings.push(format!("{path} is open"));
        }
        _ => {}
    }
    for (name, inner) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if name == "properties" || name.len() > 64 {
            findings.push(format!("{path} has the property {name}"));
        }
        lint(inner, &format!("{path}/{name}"), findings);
    }
    if let Some(items) = object.get("items") {
        lint(items, &format!("{path}[]"), findings);
    }
}

#[tokio::test]
async fn every_schema_is_one_that_all_clients_and_models_take() {
    let mut findings = Vec::new();
    for tool in Server::new().tools().await {
        let name = tool["name"].as_str().unwrap();
        let snake = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if name.len() > 32 || !snake || tool["description"].as_str().is_none_or(str::is_empty) {
            findings.push(format!("{name} is badly named or not described"));
        }
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{name}");
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object", "{name} {schema}");
            jsonschema::meta::validate(&tool[schema])
                .unwrap_or_else(|error| panic!("{name} {schema}: {error}"));
            lint(&tool[schema], &format!("{name} {schema}"), &mut findings);
        }
    }
    assert!(findings.is_empty(), "{findings:#?}");
}

#[tokio::test]
async fn every_answer_fits_its_output_schema() {
    let server = Server::new();
    let tools = server.tools().await;
    for (name, arguments) in [
        ("cycle_time_percentiles", json!({"project": "a/b"})),
        ("find_work_items", json!({"query": "x"})),
        ("get_project_metrics", json!({"project": "a/b"})),
        ("search_issues_by_project", json!({"project": "a/b"})),
        ("sql_get_freshness", json!({})),
        ("sql_get_freshness", json!({"instance": "web"})),
        ("sql_list_templates", json!({"query": "project", "limit": 1})),
        ("sql_list_templates", json!({"cursor": "find_work_items"})),
        ("sql_run_template", json!({"name": "find_work_items", "arguments": {"query": "x"}})),
        (
            "sql_run_template",
            json!({"name": "find_work_items", "arguments": {"query": "x"}, "format": "csv", "limit": 2}),
        ),
        ("find_work_items", json!({"query": "x", "limit": 2})),
        ("sql_explain_template", json!({"name": "find_work_items", "arguments": {"query": "x"}})),
        ("sql_get_dictionary", json!({})),
        ("sql_get_dictionary", json!({"table": "work_items", "query": "priority"})),
    ] {
        let answer = server.call(name, arguments).await;
        assert_ne!(answer["isError"], true, "{name}: {answer}");
        let schema = &tools.iter().find(|tool| tool["name"] == name).unwrap()["outputSchema"];
        if let Err(error) = jsonschema::validate(schema, &answer["structuredContent"]) {
            panic!("{name}: {error} in {answer}");
        }
    }
}
