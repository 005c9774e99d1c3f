//! The tools as they are listed. The list is part of every conversation, so it is short
//! (docs/adr/0006-short-lists-of-tools.md); schemas have no unions and no references, because some model vendors refuse
//! those.

mod writing;

use std::borrow::Cow;
use std::sync::Arc;

use application::ports::{LiveActivityKind, LiveSection};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

pub(super) const ADD_COMMENT: &str = "jira_add_comment";
pub(super) const CREATE_ISSUE: &str = "jira_create_issue";
pub(super) const DESCRIBE_FIELDS: &str = "jira_describe_fields";
pub(super) const FIND_USERS: &str = "jira_find_users";
pub(super) const GET_CONTEXT: &str = "jira_get_context";
pub(super) const GET_ISSUE: &str = "jira_get_issue";
pub(super) const LINK_ISSUES: &str = "jira_link_issues";
pub(super) const LIST_ACTIVITY: &str = "jira_list_issue_activity";
pub(super) const LIST_PROJECTS: &str = "jira_list_projects";
pub(super) const SEARCH_ISSUES: &str = "jira_search_issues";
pub(super) const TRANSITION_ISSUE: &str = "jira_transition_issue";
pub(super) const UPDATE_ISSUE: &str = "jira_update_issue";

/// By name, as they are listed.
pub(super) const ALL: [&str; 12] = [
    ADD_COMMENT,
    CREATE_ISSUE,
    DESCRIBE_FIELDS,
    FIND_USERS,
    GET_CONTEXT,
    GET_ISSUE,
    LINK_ISSUES,
    LIST_ACTIVITY,
    LIST_PROJECTS,
    SEARCH_ISSUES,
    TRANSITION_ISSUE,
    UPDATE_ISSUE,
];
/// Those that change something.
const WRITING: [&str; 5] = [ADD_COMMENT, CREATE_ISSUE, LINK_ISSUES, TRANSITION_ISSUE, UPDATE_ISSUE];

pub(super) const VIEWS: [&str; 3] = ["key", "summary", "full"];
pub(super) const PURPOSES: [&str; 3] = ["create", "edit", "search"];
pub(super) const FORMATS: [&str; 2] = ["markdown", "adf"];
pub(super) const VISIBILITIES: [&str; 2] = ["public", "internal"];

/// Whether a tool takes an idempotency key. A link is there or not, however often it is asked for.
pub(super) fn takes_key(name: &str) -> bool {
    writes(name) && name != LINK_ISSUES
}

/// Whether a tool changes something.
pub(super) fn writes(name: &str) -> bool {
    WRITING.contains(&name)
}

/// The list for a caller. With one instance nobody needs to name it, and who may not write is shown no tool that does.
pub(super) fn tools(several_instances: bool, may_write: bool) -> Vec<Tool> {
    let all = [
        writing::add_comment(),
        writing::create_issue(),
        describe_fields(),
        find_users(),
        get_context(),
        get_issue(),
        writing::link_issues(),
        list_activity(),
        list_projects(),
        search_issues(),
        writing::transition_issue(),
        writing::update_issue(),
    ];
    all.into_iter()
        .filter(|tool| may_write || !writes(tool.name))
        .map(|tool| tool.listed(several_instances))
        .collect()
}

struct Described {
    name: &'static str,
    words: &'static str,
    properties: Value,
    required: &'static [&'static str],
    output: Value,
}

impl Described {
    fn listed(self, several_instances: bool) -> Tool {
        let mut properties = self.properties;
        if several_instances && self.name != GET_CONTEXT {
            properties["instance"] =
                json!({"type": "string", "description": "Instance slug.", "x-mcp-header": "Instance"});
        }
        let mut input = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !self.required.is_empty() {
            input["required"] = json!(self.required);
        }
        // Nothing that was there is lost for good by any but a link that is taken away; Jira keeps the history.
        let annotations = match self.name {
            ADD_COMMENT | CREATE_ISSUE => ToolAnnotations::new().read_only(false).destructive(false),
            LINK_ISSUES => ToolAnnotations::new().read_only(false).destructive(true).idempotent(true),
            TRANSITION_ISSUE | UPDATE_ISSUE => {
                ToolAnnotations::new().read_only(false).destructive(false).idempotent(true)
            }
            _ => ToolAnnotations::new().read_only(true),
        };
        Tool::new_with_raw(self.name, Some(Cow::Borrowed(self.words)), Arc::new(into_object(input)))
            .with_raw_output_schema(Arc::new(into_object(self.output)))
            .with_annotations(annotations)
    }
}

fn into_object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        // Every schema here is written as an object.
        _ => JsonObject::new(),
    }
}

/// An answer that has at least these properties, and tells where it comes from.
fn answer(mut properties: Value, required: &[&str]) -> Value {
    properties["cut"] = texts();
    let mut all = required.to_vec();
    all.extend(["source", "at", "instance"]);
    json!({"type": "object", "properties": properties, "required": all})
}

fn pages(mut properties: Value, required: &[&str]) -> Value {
    properties["has_more"] = json!({"type": "boolean"});
    properties["next_cursor"] = json!({"type": "string"});
    let mut all = required.to_vec();
    all.push("has_more");
    answer(properties, &all)
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn rows(required: &[&str]) -> Value {
    json!({"type": "array", "items": {"type": "object", "required": required}})
}

fn limit() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 25})
}

fn get_context() -> Described {
    Described {
        name: GET_CONTEXT,
        words: "Who you are here, which Jira instances and projects you may read and write, whether they answer, and your limits.",
        properties: json!({}),
        required: &[],
        output: json!({"type": "object", "required": ["user", "instances", "toolsets", "limits", "source", "at"],
        "properties": {
            "user": {"type": "object", "required": ["kind", "name"]},
            "instances": rows(&["slug", "url", "can_write", "health"]),
            "toolsets": texts(),
            "limits": {"type": "object"},
        }}),
    }
}

fn search_issues() -> Described {
    Described {
        name: SEARCH_ISSUES,
        words: "Finds issues by JQL, only within the projects you may read. Fields go by id or by the name people see.",
        properties: json!({
            "jql": {"type": "string", "description": "May be empty: all issues, latest first."},
            "view": {"type": "string", "enum": VIEWS, "default": "summary"},
            "fields": {"type": "array", "items": {"type": "string"}, "description": "Further fields."},
            "limit": limit(),
            "cursor": {"type": "string"},
        }),
        required: &["jql"],
        output: pages(
            json!({
                "issues": {"type": "array", "items": {"type": "object", "required": ["key"], "properties": {
                    "key": {"type": "string"}, "summary": {"type": "string"}, "type": {"type": "string"},
                    "status": {"type": "string"}, "status_category": {"type": "string"},
                    "assignee": {"type": "string"}, "priority": {"type": "string"},
                    "updated": {"type": "string"}, "fields": {"type": "object"},
                }}},
                "approx_total": {"type": "integer"},
                "url_template": {"type": "string"},
            }),
            &["issues"],
        ),
    }
}

fn get_issue() -> Described {
    let sections = LiveSection::ALL.map(LiveSection::as_str);
    Described {
        name: GET_ISSUE,
        words: "One issue with the parts you name under include; by default its description, links and subtasks.",
        properties: json!({
            "key": {"type": "string", "description": "ENG-123"},
            "include": {"type": "array", "items": {"type": "string", "enum": sections}},
            "fields": {"type": "array", "items": {"type": "string"}, "description": "Further fields; *all for all that have a value."},
            "text_format": {"type": "string", "enum": FORMATS, "default": "markdown"},
            "max_chars": {"type": "integer", "minimum": 1000, "maximum": 100_000, "default": 20_000},
        }),
        required: &["key"],
        output: answer(
            json!({
                "key": {"type": "string"}, "url": {"type": "string"}, "summary": {"type": "string"},
                "status": {"type": "string"}, "updated": {"type": "string"}, "fields": {"type": "object"},
                "comments": rows(&["id", "at"]), "links": rows(&["type", "key"]), "transitions": rows(&["id", "name"]),
            }),
            &["key", "url"],
        ),
    }
}

fn list_activity() -> Described {
    Described {
        name: LIST_ACTIVITY,
        words: "What happened to an issue, latest first: comments, changes of fields, time booked.",
        properties: json!({
            "key": {"type": "string"},
            "kinds": {"type": "array", "items": {"type": "string", "enum": LiveActivityKind::ALL.map(LiveActivityKind::as_str)}},
            "since": {"type": "string", "description": "Time or day, ISO 8601."},
            "limit": limit(),
            "cursor": {"type": "string"},
        }),
        required: &["key"],
        output: pages(
            json!({"key": {"type": "string"}, "entries": rows(&["id", "kind", "at"])}),
            &["key", "entries"],
        ),
    }
}

fn list_projects() -> Described {
    Described {
        name: LIST_PROJECTS,
        words: "The projects you may read, with their types of issue.",
        properties: json!({"query": {"type": "string"}, "limit": limit(), "cursor": {"type": "string"}}),
        required: &[],
        output: pages(json!({"projects": rows(&["key", "name", "issue_types"])}), &["projects"]),
    }
}

fn describe_fields() -> Described {
    Described {
        name: DESCRIBE_FIELDS,
        words: "Fields of a project with their types and allowed values: for making or editing issues, or for searches.",
        properties: json!({
            "project": {"type": "string", "description": "Its key."},
            "issue_type": {"type": "string"},
            "query": {"type": "string"},
            "for": {"type": "string", "enum": PURPOSES, "default": "create"},
        }),
        required: &["project"],
        output: answer(
            json!({"fields": {"type": "array", "items": {"type": "object", "required": ["id", "name", "type", "required"],
                "properties": {"allowed": texts(), "allowed_more": {"type": "integer"}}}}}),
            &["fields"],
        ),
    }
}

fn find_users() -> Described {
    Described {
        name: FIND_USERS,
        words: "People by a part of their name; with project, who its issues can be assigned to.",
        properties: json!({"query": {"type": "string"}, "project": {"type": "string"}, "limit": limit()}),
        required: &["query"],
        output: answer(json!({"users": rows(&["id", "name", "active"])}), &["users"]),
    }
}
