//! The tools as they are listed: names, words, and schemas without unions, references or open objects, because some
//! model vendors refuse those.

use std::borrow::Cow;
use std::sync::Arc;

use domain::Scope;
use domain::template::{MAX_CURSOR, Template};
use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

pub(super) const LIST_TEMPLATES: &str = "sql_list_templates";
pub(super) const RUN_TEMPLATE: &str = "sql_run_template";
pub(super) const GET_FRESHNESS: &str = "sql_get_freshness";
pub(super) const EXPLAIN_TEMPLATE: &str = "sql_explain_template";
pub(super) const GET_DICTIONARY: &str = "sql_get_dictionary";

/// The fixed tools.
pub(super) const FIXED: [&str; 5] =
    [EXPLAIN_TEMPLATE, GET_DICTIONARY, GET_FRESHNESS, LIST_TEMPLATES, RUN_TEMPLATE];

/// What `sql_explain_template` thinks of a cost.
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

fn tool(name: &str, title: &str, description: &str, input: Value, output: Value) -> Tool {
    let annotations =
        ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(false);
    Tool::new_with_raw(
        name.to_owned(),
        Some(Cow::Owned(description.to_owned())),
        Arc::new(into_object(input)),
    )
    .with_title(title)
    .with_raw_output_schema(Arc::new(into_object(output)))
    .with_annotations(annotations)
    .with_meta(required_scope())
}

/// Says which scope a tool needs, as the routes of the admin API do.
fn required_scope() -> MetaObject {
    let mut meta = JsonObject::new();
    meta.insert("patchbay/required-scope".into(), Scope::McpSql.as_str().into());
    MetaObject(meta)
}

fn into_object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        // Every schema here is written as an object.
        _ => JsonObject::new(),
    }
}

/// An object of exactly these properties, all of them required but those in `optional`.
fn exactly(properties: Value, optional: &[&str]) -> Value {
    let properties = into_object(properties);
    let required: Vec<&String> =
        properties.keys().filter(|name| !optional.contains(&name.as_str())).collect();
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

fn template_tool(template: &Template) -> Tool {
    let columns: JsonObject =
        template.columns.iter().map(|column| (column.name.clone(), column.kind.json_schema())).collect();
    let mut properties = json!({
        "rows": {"type": "array", "items": exactly(Value::Object(columns), &[])},
        "row_count": {"type": "integer"},
        "truncated": {"type": "boolean"},
        "freshness": freshness(),
        "warnings": texts(),
        "template_version": {"type": "string"},
    });
    // Left out rather than null when there are no more rows: some vendors refuse types with an alternative.
    if template.page.is_some() {
        properties["next_cursor"] = json!({"type": "string"});
    }
    let output = exactly(properties, &["next_cursor"]);
    let input = Value::Object(template.input_schema());
    tool(&template.name, &template.title, &template.description, input, output)
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn freshness() -> Value {
    let entry = exactly(
        json!({
            "instance": {"type": "string"},
            "source": {"type": "string"},
            "state": {"type": "string", "enum": FRESHNESS_STATES},
            "synced_at": {"type": ["string", "null"], "format": "date-time"},
            "lag_s": {"type": ["integer", "null"]},
        }),
        &[],
    );
    json!({"type": "array", "items": entry})
}

fn get_freshness() -> Tool {
    let entry = exactly(
        json!({
            "instance": {"type": "string"},
            "instance_id": {"type": "string"},
            "source": {"type": "string"},
            "state": {"type": "string", "enum": FRESHNESS_STATES},
            "synced_at": {"type": ["string", "null"], "format": "date-time"},
            "lag_s": {"type": ["integer", "null"]},
            "target_s": {"type": ["integer", "null"]},
            "backfilled_at": {"type": ["string", "null"], "format": "date-time"},
            "last_error": {"type": ["string", "null"]},
            "items": {"type": "integer"},
            "dead_letters": {"type": "integer"},
        }),
        &[],
    );
    tool(
        GET_FRESHNESS,
        "Freshness of the data",
        "Says for each connected tracker up to when its changes are here, and whether a sync is failing.",
        exactly(
            json!({"instance": {"type": "string", "maxLength": 63, "description": "Only this instance, by its short name."}}),
            &["instance"],
        ),
        exactly(json!({"instances": {"type": "array", "items": entry}, "warnings": texts()}), &[]),
    )
}

fn list_templates() -> Tool {
    let column = exactly(json!({"name": {"type": "string"}, "type": {"type": "string"}}), &[]);
    let parameter = exactly(
        json!({
            "name": {"type": "string"},
            "type": {"type": "string"},
            "required": {"type": "boolean"},
            "description": {"type": "string"},
            "allowed": {"type": "array", "items": {"type": "string"}},
            "default": {"type": "string"},
            "minimum": {"type": "integer"},
            "maximum": {"type": "integer"},
        }),
        &["allowed", "default", "minimum", "maximum"],
    );
    let template = exactly(
        json!({
            "name": {"type": "string"},
            "title": {"type": "string"},
            "description": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "parameters": {"type": "array", "items": parameter},
            "columns": {"type": "array", "items": column},
            "version": {"type": "string"},
        }),
        &[],
    );
    tool(
        LIST_TEMPLATES,
        "Find query templates",
        "Lists the ready-made queries with their parameters and columns. Run one by its own tool or with sql_run_template.",
        exactly(
            json!({
                "query": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Words of the name, title or description."},
                "tag": {"type": "string", "minLength": 1, "maxLength": 50},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
                "cursor": {"type": "string", "maxLength": 100, "description": "next_cursor of the answer before."},
            }),
            &["query", "tag", "limit", "cursor"],
        ),
        exactly(
            json!({"templates": {"type": "array", "items": template}, "next_cursor": {"type": ["string", "null"]}}),
            &[],
        ),
    )
}

fn run_template() -> Tool {
    let column = exactly(json!({"name": {"type": "string"}, "type": {"type": "string"}}), &[]);
    tool(
        RUN_TEMPLATE,
        "Run a query template",
        "Runs a template by name, with rows as arrays or CSV: shorter than the template's own tool for many rows.",
        exactly(
            json!({
                "name": {"type": "string", "minLength": 1, "maxLength": 32, "description": "As sql_list_templates names it."},
                "arguments": {"type": "object", "description": "Its parameters, as sql_list_templates lists them."},
                "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Most rows; each template has its own bound."},
                "cursor": {"type": "string", "maxLength": MAX_CURSOR, "description": "next_cursor of the answer before; arguments the same."},
                "format": {"type": "string", "enum": ["rows", "csv"], "default": "rows"},
            }),
            &["arguments", "limit", "cursor", "format"],
        ),
        exactly(
            json!({
                "columns": {"type": "array", "items": column},
                "rows": {"type": "array", "items": {"type": "array", "items": {}}},
                "csv": {"type": "string"},
                "row_count": {"type": "integer"},
                "truncated": {"type": "boolean"},
                "next_cursor": {"type": "string"},
                "elapsed_ms": {"type": "integer"},
                "template_version": {"type": "string"},
                "freshness": freshness(),
                "warnings": texts(),
            }),
            &["rows", "csv", "next_cursor"],
        ),
    )
}

fn explain_template() -> Tool {
    tool(
        EXPLAIN_TEMPLATE,
        "Estimate a query template",
        "Says what running a template with these arguments would take, without running it: expected rows and cost, indexes \
         used, tables read whole, and whether the cost is within its guard.",
        exactly(
            json!({
                "name": {"type": "string", "minLength": 1, "maxLength": 32, "description": "As sql_list_templates names it."},
                "arguments": {"type": "object", "description": "Its parameters, as for a run."},
            }),
            &["arguments"],
        ),
        exactly(
            json!({
                "estimated_rows": {"type": "integer"},
                "estimated_cost": {"type": "integer"},
                "max_cost": {"type": "integer"},
                "verdict": {"type": "string", "enum": VERDICTS},
                "indexes": texts(),
                "whole_tables": texts(),
                "timeout_ms": {"type": "integer"},
                "template_version": {"type": "string"},
            }),
            &[],
        ),
    )
}

fn get_dictionary() -> Tool {
    let column = exactly(
        json!({"name": {"type": "string"}, "type": {"type": "string"}, "meaning": {"type": "string"}}),
        &[],
    );
    let table = exactly(
        json!({
            "name": {"type": "string"},
            "purpose": {"type": "string"},
            "columns": {"type": "array", "items": column},
        }),
        &[],
    );
    tool(
        GET_DICTIONARY,
        "Meaning of tables and columns",
        "Explains the normalized model that the templates read: tables, columns, and the words in them.",
        exactly(
            json!({
                "table": {"type": "string", "minLength": 1, "maxLength": 63, "description": "Only this one."},
                "query": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Words to look for."},
            }),
            &["table", "query"],
        ),
        exactly(json!({"tables": {"type": "array", "items": table}}), &[]),
    )
}
