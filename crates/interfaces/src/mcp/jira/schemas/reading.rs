//! The core set: the tools that read.

use application::ports::{LiveActivityKind, LiveSection};
use domain::Toolset;
use serde_json::json;

use super::super::table::{Described, Does, Entry};
use super::{FORMATS, answer, limit, pages, rows, texts};

pub(in super::super) const DESCRIBE_FIELDS: &str = "jira_describe_fields";
pub(in super::super) const FIND_USERS: &str = "jira_find_users";
pub(in super::super) const GET_CONTEXT: &str = "jira_get_context";
pub(in super::super) const GET_ISSUE: &str = "jira_get_issue";
pub(in super::super) const LIST_ACTIVITY: &str = "jira_list_issue_activity";
pub(in super::super) const LIST_PROJECTS: &str = "jira_list_projects";
pub(in super::super) const SEARCH_ISSUES: &str = "jira_search_issues";

pub(in super::super) const VIEWS: [&str; 3] = ["key", "summary", "full"];
pub(in super::super) const PURPOSES: [&str; 3] = ["create", "edit", "search"];

pub(in super::super) const TOOLS: [Entry; 7] = [
    reading(DESCRIBE_FIELDS, describe_fields),
    reading(FIND_USERS, find_users),
    reading(GET_CONTEXT, get_context),
    reading(GET_ISSUE, get_issue),
    reading(LIST_ACTIVITY, list_activity),
    reading(LIST_PROJECTS, list_projects),
    reading(SEARCH_ISSUES, search_issues),
];

const fn reading(name: &'static str, described: fn() -> Described) -> Entry {
    Entry { name, set: Toolset::JiraCore, does: Does::Reads, takes_key: false, described }
}

fn get_context() -> Described {
    Described {
        words: "Who you are here, which Jira instances and projects you may read and write, whether they answer, and your limits.",
        properties: json!({}),
        required: &[],
        output: json!({"type": "object", "required": ["user", "instances", "toolsets", "limits", "source", "at"],
        "properties": {
            "user": {"type": "object", "required": ["kind", "name"]},
            "instances": rows(&["slug", "url", "can_write", "health"]),
            "toolsets": rows(&["name", "open"]),
            "limits": {"type": "object"},
        }}),
    }
}

fn search_issues() -> Described {
    Described {
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
        words: "The projects you may read, with their types of issue.",
        properties: json!({"query": {"type": "string"}, "limit": limit(), "cursor": {"type": "string"}}),
        required: &[],
        output: pages(json!({"projects": rows(&["key", "name", "issue_types"])}), &["projects"]),
    }
}

fn describe_fields() -> Described {
    Described {
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
        words: "People by a part of their name; with project, who its issues can be assigned to.",
        properties: json!({"query": {"type": "string"}, "project": {"type": "string"}, "limit": limit()}),
        required: &["query"],
        output: answer(json!({"users": rows(&["id", "name", "active"])}), &["users"]),
    }
}
