//! The set `bulk`: the same change for several issues, planned first and then run.

use domain::Toolset;
use serde_json::json;

use super::super::table::{Described, Does, Entry};
use super::{answer, rows, texts};

pub(in super::super) const PLAN_BULK_CHANGE: &str = "jira_plan_bulk_change";
pub(in super::super) const RUN_BULK_PLAN: &str = "jira_run_bulk_plan";

pub(in super::super) const TOOLS: [Entry; 2] = [
    Entry {
        name: PLAN_BULK_CHANGE,
        set: Toolset::JiraBulk,
        does: Does::Adds,
        takes_key: false,
        described: plan_bulk_change,
    },
    // Each issue's change has a key that is made of the plan.
    Entry {
        name: RUN_BULK_PLAN,
        set: Toolset::JiraBulk,
        does: Does::Changes,
        takes_key: false,
        described: run_bulk_plan,
    },
];

fn plan_bulk_change() -> Described {
    Described {
        words: "Plans one change for up to 200 issues and tells what it would do to some. Nothing is changed before the plan is run.",
        properties: json!({
            "jql": {"type": "string", "description": "Which issues."},
            "change": {"type": "object", "additionalProperties": false, "properties": {
                "fields": {"type": "object", "description": "By name or id; null empties."},
                "add_labels": texts(),
                "remove_labels": texts(),
                "to": {"type": "string", "description": "A status; fields are then the transition's."},
            }},
        }),
        required: &["jql", "change"],
        output: answer(
            json!({
                "plan_token": {"type": "string"}, "count": {"type": "integer"}, "expires_at": {"type": "string"},
                "sample": rows(&["key", "changed"]), "conflicts": rows(&["key", "message"]),
            }),
            &["count", "sample", "conflicts"],
        ),
    }
}

fn run_bulk_plan() -> Described {
    Described {
        words: "Runs a plan within 15 minutes, issue by issue. Issues changed meanwhile are left alone. Run again, it goes on and does nothing twice.",
        properties: json!({"plan_token": {"type": "string"}}),
        required: &["plan_token"],
        output: answer(
            json!({
                "results": rows(&["key", "outcome"]), "counts": {"type": "object"}, "complete": {"type": "boolean"},
                "hint": {"type": "string"}, "retry_after_ms": {"type": "integer"},
            }),
            &["results", "counts", "complete"],
        ),
    }
}
