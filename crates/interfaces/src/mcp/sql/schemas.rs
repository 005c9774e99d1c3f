//! The tools as they are listed: names, words, and schemas without unions or references, because some model vendors
//! refuse those.
//!
//! The list is part of every conversation, so it is short (docs/adr/0006-short-lists-of-tools.md): no titles, which
//! `sql_list_templates` has; no hints that mean nothing of a tool that only reads; of `mcp:sql` no word, as without it
//! there is no list. What can be null has no type in an output schema: `["string", "null"]` is a union.

use std::borrow::Cow;
use std::sync::Arc;

use domain::template::Template;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

pub(super) const LIST_TEMPLATES: &str = "sql_list_templates";
pub(super) const RUN_TEMPLATE: &str = "sql_run_template";
pub(super) const GET_FRESHNESS: &str = "sql_get_freshness";
pub(super) const EXPLAIN_TEMPLATE: &str = "sql_explain_template";
pub(super) const GET_DICTIONARY: &str = "sql_get_dictionary";

/// The fixed tools.
pub(super) const FIXED: [&str; 5] =
    [EXPLAIN_TEMPLATE, GET_DICTIONARY, GET_FRESHNESS, LIST_TEMPLATES, RUN_TEMPLATE];

/// The words under `verdict` of an estimate: below the guard, and beyond.
pub(super) const VERDICTS: [&str; 2] = ["within_guard", "too_expensive"];

/// The words under `state` of freshness.
pub(super) const FRESHNESS_STATES: [&str; 4] = ["current", "backfilling", "failing", "never_synced"];

/// All tools for these templates, by name.
pub(super) fn tools(templates: &[Arc<Template>]) -> Vec<Tool> {
    let mut tools: Vec<Tool> = templates.iter().map(|template| template_tool(template)).collect();
    tools.extend([explain_template(), get_dictionary(), get_freshness(), list_templates(), run_template()]);
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    tools
}

fn tool(name: &str, description: &str, input: Value, output: Value) -> Tool {
    Tool::new_with_raw(
        name.to_owned(),
        Some(Cow::Owned(description.to_owned())),
        Arc::new(into_object(input)),
    )
    .with_raw_output_schema(Arc::new(into_object(output)))
    .with_annotations(ToolAnnotations::new().read_only(true))
}

fn into_object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        // Every schema here is written as an object.
        _ => JsonObject::new(),
    }
}

/// Arguments of exactly these names.
fn arguments(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// An answer, or a part of one, that has at least these properties: there may come more.
fn answer(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// Says only what differs from tool to tool, the columns. What all answers have in common stands at `sql_run_template`.
fn template_tool(template: &Template) -> Tool {
    let columns: Vec<&str> = template.columns.iter().map(|column| column.name.as_str()).collect();
    let rows =
        json!({"type": "array", "description": columns.join(", "), "items": {"type": "array", "items": {}}});
    let output = json!({"type": "object", "properties": {"rows": rows}});
    tool(&template.name, &template.description, Value::Object(template.input_schema()), output)
}

fn get_freshness() -> Tool {
    let entry = answer(
        &json!({"state": {"type": "string", "enum": FRESHNESS_STATES}}),
        &["instance", "state", "synced_at", "lag_s", "backfilled_at", "last_error", "items", "dead_letters"],
    );
    tool(
        GET_FRESHNESS,
        "Up to when the changes of each connected tracker are here, and whether a sync is failing.",
        arguments(&json!({"instance": {"type": "string", "description": "Instance slug."}})),
        answer(&json!({"instances": {"type": "array", "items": entry}}), &["instances"]),
    )
}

fn list_templates() -> Tool {
    let parts = ["name", "title", "description", "tags", "parameters", "columns", "version"];
    let template = json!({"type": "object", "required": parts});
    tool(
        LIST_TEMPLATES,
        "Finds templates, the ready-made queries, with their parameters and columns.",
        arguments(&json!({
            "query": {"type": "string"},
            "tag": {"type": "string"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            "cursor": {"type": "string"},
        })),
        answer(&json!({"templates": {"type": "array", "items": template}}), &["templates", "next_cursor"]),
    )
}

fn run_template() -> Tool {
    let column = json!({"type": "object", "required": ["name", "type"]});
    let mut input = arguments(&json!({
        "name": {"type": "string"},
        "arguments": {"type": "object", "description": "Its parameters."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
        "cursor": {"type": "string"},
        "format": {"type": "string", "enum": ["rows", "csv"], "default": "rows"},
    }));
    input["required"] = json!(["name"]);
    tool(
        RUN_TEMPLATE,
        "Runs a template by name, as its own tool does, with rows as arrays or CSV.",
        input,
        answer(
            &json!({
                "columns": {"type": "array", "items": column},
                "rows": {"type": "array", "items": {"type": "array", "items": {}}},
                "csv": {"type": "string"},
                "truncated": {"type": "boolean"},
                "next_cursor": {"type": "string"},
            }),
            &["columns", "row_count", "truncated", "freshness", "warnings", "template_version"],
        ),
    )
}

fn explain_template() -> Tool {
    let mut input = arguments(&json!({
        "name": {"type": "string"},
        "arguments": {"type": "object", "description": "As for a run."},
    }));
    input["required"] = json!(["name"]);
    tool(
        EXPLAIN_TEMPLATE,
        "Estimates what a run would take, without running it.",
        input,
        answer(
            &json!({
                "estimated_rows": {"type": "integer"},
                "estimated_cost": {"type": "integer"},
                "verdict": {"type": "string", "enum": VERDICTS},
            }),
            &["estimated_rows", "estimated_cost", "max_cost", "verdict", "indexes", "whole_tables"],
        ),
    )
}

fn get_dictionary() -> Tool {
    let table = json!({"type": "object", "required": ["name", "purpose", "columns"]});
    tool(
        GET_DICTIONARY,
        "Explains the tables, columns and words of the normalized model that templates read.",
        arguments(&json!({
            "table": {"type": "string"},
            "query": {"type": "string"},
        })),
        answer(&json!({"tables": {"type": "array", "items": table}}), &["tables"]),
    )
}
