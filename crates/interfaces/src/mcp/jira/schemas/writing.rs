//! The tools that write.

use serde_json::{Value, json};

use super::{
    ADD_COMMENT, CREATE_ISSUE, Described, LINK_ISSUES, TRANSITION_ISSUE, UPDATE_ISSUE, VISIBILITIES, answer,
    rows, texts,
};

fn key() -> Value {
    json!({"type": "string", "description": "ENG-123"})
}

fn once() -> Value {
    json!({"type": "string", "description": "A name of yours for this call: sent again under it, it is done once."})
}

fn dry_run() -> Value {
    json!({"type": "boolean", "description": "Only tell what would change."})
}

fn fields(description: &str) -> Value {
    json!({"type": "object", "description": description})
}

fn unchanged() -> Value {
    json!({"type": "string", "description": "The `updated` you have seen: refused when changed after it."})
}

/// What all of them tell; a dry run of a new issue has no key yet.
fn written() -> Value {
    answer(
        json!({
            "key": {"type": "string"}, "url": {"type": "string"}, "changed": rows(&["field"]),
            "updated": {"type": "string"}, "dry_run": {"type": "boolean"}, "replayed": {"type": "boolean"},
            "warnings": texts(),
        }),
        &["changed"],
    )
}

pub(super) fn create_issue() -> Described {
    Described {
        name: CREATE_ISSUE,
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
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["project", "issue_type", "summary"],
        output: written(),
    }
}

pub(super) fn update_issue() -> Described {
    Described {
        name: UPDATE_ISSUE,
        words: "Changes fields of an issue and nothing else. Its status is changed by jira_transition_issue.",
        properties: json!({
            "key": key(),
            "fields": fields(
                "By name or id; null empties. Texts in Markdown. Labels: a list, or {\"add\": [], \"remove\": []}."),
            "if_unchanged_since": unchanged(),
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["key", "fields"],
        output: written(),
    }
}

pub(super) fn transition_issue() -> Described {
    Described {
        name: TRANSITION_ISSUE,
        words: "Takes an issue to another status. When it cannot get there, the error names the statuses that it can.",
        properties: json!({
            "key": key(),
            "to": {"type": "string", "description": "The status, or a transition by name."},
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

pub(super) fn add_comment() -> Described {
    Described {
        name: ADD_COMMENT,
        words: "Adds a comment to an issue. Everybody who sees the issue can read it, unless it is internal.",
        properties: json!({
            "key": key(),
            "body": {"type": "string", "description": "Markdown."},
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

pub(super) fn link_issues() -> Described {
    Described {
        name: LINK_ISSUES,
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
