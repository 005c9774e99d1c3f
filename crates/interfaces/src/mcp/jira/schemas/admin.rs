//! The set `admin`: what a company lets few do. Only for keys that name it.

use domain::Toolset;
use serde_json::{Value, json};

use super::super::table::{Described, Does, Entry};
use super::writing::{key, written};
use super::{answer, dry_run, once, rows, texts};

pub(in super::super) const DELETE_ISSUE: &str = "jira_delete_issue";
pub(in super::super) const MOVE_ISSUE: &str = "jira_move_issue";
pub(in super::super) const WRITE_VERSION: &str = "jira_write_version";

pub(in super::super) const TOOLS: [Entry; 3] = [
    of(DELETE_ISSUE, Does::Removes, delete_issue),
    of(MOVE_ISSUE, Does::Changes, move_issue),
    of(WRITE_VERSION, Does::Adds, write_version),
];

const fn of(name: &'static str, does: Does, described: fn() -> Described) -> Entry {
    Entry { name, set: Toolset::JiraAdmin, does, takes_key: true, described }
}

fn delete_issue() -> Described {
    Described {
        words: "Deletes an issue for good. Your client asks a person first; without their yes nothing goes. A dry run tells \
                what would.",
        properties: json!({
            "key": key(),
            "delete_subtasks": {"type": "boolean", "description": "Its subtasks go with it; needed when it has some."},
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["key"],
        output: written(),
    }
}

fn move_issue() -> Described {
    Described {
        words: "Moves an issue with its subtasks to another project of Jira Cloud, where it gets another key.",
        properties: json!({
            "key": key(),
            "project": text("The key of the one to move to."),
            "issue_type": text("By default the one of the same name."),
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["key", "project"],
        output: written(),
    }
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn write_version() -> Described {
    Described {
        words: "Makes a version of a project, or changes, releases or archives the one of that name. Only what you give \
                changes.",
        properties: json!({
            "project": text("Its key."),
            "name": {"type": "string"},
            "create": {"type": "boolean", "description": "It is a new one."},
            "rename_to": {"type": "string"},
            "description": text("Empty takes it away."),
            "start_date": text("2026-01-31"),
            "release_date": text("2026-01-31"),
            "released": {"type": "boolean", "description": "false takes the release back."},
            "archived": {"type": "boolean"},
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["project", "name"],
        output: answer(
            json!({
                "version_id": {"type": "string"}, "url": {"type": "string"}, "changed": rows(&["field"]),
                "dry_run": {"type": "boolean"}, "replayed": {"type": "boolean"}, "warnings": texts(),
            }),
            &["changed"],
        ),
    }
}
