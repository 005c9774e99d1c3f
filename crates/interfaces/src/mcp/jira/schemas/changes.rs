//! The set changes: what changed in the synced copy.

use domain::Toolset;
use serde_json::json;

use super::super::table::{Described, Does, Entry};
use super::{limit, pages, rows, texts};

pub(in super::super) const LIST_CHANGES: &str = "jira_list_changes";

pub(in super::super) const TOOLS: [Entry; 1] = [Entry {
    name: LIST_CHANGES,
    set: Toolset::JiraChanges,
    does: Does::Reads,
    takes_key: false,
    described: list_changes,
}];

fn list_changes() -> Described {
    Described {
        words: "Issues that changed since your last call, as webhooks and syncs told, oldest first: keep next_cursor and \
                give it as since. The first call, without since, only gives the cursor.",
        properties: json!({
            "since": {"type": "string", "description": "next_cursor of your last call."},
            "projects": texts(),
            "limit": limit(),
        }),
        required: &[],
        output: pages(json!({"changes": rows(&["key", "kind", "at"])}), &["changes", "next_cursor"]),
    }
}
