//! The set agile: boards and sprints.

use domain::Toolset;
use serde_json::{Value, json};

use super::super::table::{Described, Does, Entry};
use super::{answer, dry_run, limit, once, pages, rows, texts};

pub(in super::super) const LIST_BOARDS: &str = "jira_list_boards";
pub(in super::super) const LIST_SPRINTS: &str = "jira_list_sprints";
pub(in super::super) const SET_ISSUE_SPRINT: &str = "jira_set_issue_sprint";
pub(in super::super) const WRITE_SPRINT: &str = "jira_write_sprint";

/// <https://developer.atlassian.com/cloud/jira/software/rest/api-group-board/>
pub(in super::super) const BOARD_TYPES: [&str; 3] = ["scrum", "kanban", "simple"];
/// In place of a sprint's id.
pub(in super::super) const BACKLOG: &str = "backlog";
/// Issues of one call; Jira moves no more at once.
pub(in super::super) const MOST_ISSUES: usize = 50;

pub(in super::super) const TOOLS: [Entry; 4] = [
    of(LIST_BOARDS, Does::Reads, false, list_boards),
    of(LIST_SPRINTS, Does::Reads, false, list_sprints),
    of(SET_ISSUE_SPRINT, Does::Changes, false, set_issue_sprint),
    of(WRITE_SPRINT, Does::Adds, true, write_sprint),
];

const fn of(name: &'static str, does: Does, takes_key: bool, described: fn() -> Described) -> Entry {
    Entry { name, set: Toolset::JiraAgile, does, takes_key, described }
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn list_boards() -> Described {
    Described {
        words: "Boards of the projects you may read.",
        properties: json!({
            "project": text("Its key."),
            "name": text("A part of it."),
            "type": {"type": "string", "enum": BOARD_TYPES},
            "limit": limit(),
            "cursor": {"type": "string"},
        }),
        required: &[],
        output: pages(json!({"boards": rows(&["id", "name", "type"])}), &["boards"]),
    }
}

fn list_sprints() -> Described {
    Described {
        words: "Sprints of a board, by default those that are not closed.",
        properties: json!({
            "board": text("Its id."),
            "state": {"type": "string", "enum": domain::SprintState::ALL.iter().map(|state| state.as_str()).collect::<Vec<_>>()},
            "limit": limit(),
            "cursor": {"type": "string"},
        }),
        required: &["board"],
        output: pages(json!({"sprints": rows(&["id", "name", "state"])}), &["sprints"]),
    }
}

fn set_issue_sprint() -> Described {
    Described {
        words: "Puts up to 50 issues into a sprint that is not closed, or into the backlog. Tells the outcome of each; what \
                is there already stays.",
        properties: json!({
            "keys": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_ISSUES},
            "sprint": text("Its id, or backlog."),
        }),
        required: &["keys", "sprint"],
        output: answer(
            json!({
                "results": {"type": "array", "items": {"type": "object", "required": ["key", "ok"], "properties": {
                    "key": {"type": "string"}, "ok": {"type": "boolean"}, "changed": {"type": "boolean"},
                    "error": {"type": "object"},
                }}},
                "done": {"type": "integer"}, "failed": {"type": "integer"},
            }),
            &["results", "done", "failed"],
        ),
    }
}

fn write_sprint() -> Described {
    Described {
        words: "Makes a sprint on a board, or with its id changes, starts or closes one. Only what you give changes.",
        properties: json!({
            "board": text("Its id; for a new sprint."),
            "sprint": text("The id of the one to change."),
            "name": {"type": "string"},
            "start": text("Time or day, ISO 8601."),
            "end": text("Time or day."),
            "goal": {"type": "string"},
            "state": {"type": "string", "enum": ["active", "closed"],
                "description": "active starts a future sprint, closed ends an active one."},
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &[],
        output: answer(
            json!({
                "sprint_id": {"type": "string"}, "url": {"type": "string"}, "changed": rows(&["field"]),
                "dry_run": {"type": "boolean"}, "replayed": {"type": "boolean"}, "warnings": texts(),
            }),
            &["changed"],
        ),
    }
}
