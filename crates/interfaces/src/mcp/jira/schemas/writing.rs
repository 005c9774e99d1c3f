//! The core set: the tools that write.

use domain::Toolset;
use serde_json::{Value, json};

use super::super::table::{Described, Does, Entry};
use super::{FORMATS, answer, dry_run, once, rows, texts};

pub(in super::super) const ADD_COMMENT: &str = "jira_add_comment";
pub(in super::super) const CREATE_ISSUE: &str = "jira_create_issue";
pub(in super::super) const LINK_ISSUES: &str = "jira_link_issues";
pub(in super::super) const TRANSITION_ISSUE: &str = "jira_transition_issue";
pub(in super::super) const UPDATE_ISSUE: &str = "jira_update_issue";

pub(in super::super) const VISIBILITIES: [&str; 2] = ["public", "internal"];

pub(in super::super) const TOOLS: [Entry; 5] = [
    writing(ADD_COMMENT, Does::Adds, true, add_comment),
    writing(CREATE_ISSUE, Does::Adds, true, create_issue),
    // A link is there or not, however often it is asked for. Nothing but one that is taken away is lost for good.
    writing(LINK_ISSUES, Does::Removes, false, link_issues),
    writing(TRANSITION_ISSUE, Does::Changes, true, transition_issue),
    writing(UPDATE_ISSUE, Does::Changes, true, update_issue),
];

const fn writing(name: &'static str, does: Does, takes_key: bool, described: fn() -> Described) -> Entry {
    Entry { name, set: Toolset::JiraCore, does, takes_key, described }
}

pub(super) fn key() -> Value {
    json!({"type": "string", "description": "ENG-123"})
}

fn fields(description: &str) -> Value {
    json!({"type": "object", "description": description})
}

/// With `adf`, texts are Atlassian's documents, as JSON.
fn format() -> Value {
    json!({"type": "string", "enum": FORMATS, "default": "markdown"})
}

fn unchanged() -> Value {
    json!({"type": "string", "description": "The `updated` you have seen: refused when changed after it."})
}

/// What all of them tell; a dry run of a new issue has no key yet.
pub(super) fn written() -> Value {
    answer(
        json!({
            "key": {"type": "string"}, "url": {"type": "string"}, "changed": rows(&["field"]),
            "updated": {"type": "string"}, "dry_run": {"type": "boolean"}, "replayed": {"type": "boolean"},
            "warnings": texts(),
        }),
        &["changed"],
    )
}

fn create_issue() -> Described {
    Described {
        words: "Makes an issue. jira_describe_fields names types, required fields and their values.",
        properties: json!({
            "project": {"type": "string", "description": "Its key."},
            "issue_type": {"type": "string"},
            "summary": {"type": "string"},
            "description": {"type": "string", "description": "Markdown."},
            "assignee": {"type": "string", "description": "Name, e-mail or id."},
            "parent": {"type": "string", "description": "Key of the epic or parent."},
            "labels": texts(),
            "fields": fields("Further fields by name or id, such as {\"Story Points\": 3}."),
            "text_format": format(),
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["project", "issue_type", "summary"],
        output: written(),
    }
}

fn update_issue() -> Described {
    Described {
        words: "Changes fields of an issue and nothing else. Its status is changed by jira_transition_issue.",
        properties: json!({
            "key": key(),
            "fields": fields(
                "By name or id; null empties. Texts in Markdown. Labels: a list, or {\"add\": [], \"remove\": []}."),
            "text_format": format(),
            "if_unchanged_since": unchanged(),
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["key", "fields"],
        output: written(),
    }
}

fn transition_issue() -> Described {
    Described {
        words: "Takes an issue to another status. When it cannot get there, the error names the statuses that it can.",
        properties: json!({
            "key": key(),
            "to": {"type": "string", "description": "The status, or a transition by name or id."},
            "fields": fields("What the transition asks for, such as {\"Resolution\": \"Done\"}."),
            "comment": {"type": "string", "description": "Markdown."},
            "if_unchanged_since": unchanged(),
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["key", "to"],
        output: written(),
    }
}

fn add_comment() -> Described {
    Described {
        words: "Adds a comment to an issue. Everybody who sees the issue can read it, unless it is internal.",
        properties: json!({
            "key": key(),
            "body": {"type": "string", "description": "Markdown."},
            "text_format": format(),
            "visibility": {"type": "string", "enum": VISIBILITIES, "default": "public",
                "description": "internal: only agents of a service desk."},
            "idempotency_key": once(),
        }),
        required: &["key", "body"],
        output: answer(
            json!({
                "key": {"type": "string"}, "url": {"type": "string"}, "comment_id": {"type": "string"},
                "visibility_applied": {"type": "string"}, "replayed": {"type": "boolean"}, "warnings": texts(),
            }),
            &["key", "url", "visibility_applied"],
        ),
    }
}

fn link_issues() -> Described {
    Described {
        words: "Links an issue to another, or takes the link away.",
        properties: json!({
            "from": key(),
            "to": {"type": "string"},
            "type": {"type": "string", "description": "What `from` is to `to`: blocks, is blocked by, relates to."},
            "remove": {"type": "boolean"},
        }),
        required: &["from", "to", "type"],
        output: written(),
    }
}
