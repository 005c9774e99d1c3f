//! The set `work`: time booked, and who watches.

use domain::Toolset;
use serde_json::json;

use super::super::table::{Described, Does, Entry};
use super::writing::{key, written};
use super::{dry_run, once};

pub(in super::super) const ADD_WORKLOG: &str = "jira_add_worklog";
pub(in super::super) const SET_WATCHER: &str = "jira_set_watcher";

pub(in super::super) const TOOLS: [Entry; 2] = [
    Entry {
        name: ADD_WORKLOG,
        set: Toolset::JiraWork,
        does: Does::Adds,
        takes_key: true,
        described: add_worklog,
    },
    // Who watches does so however often it is asked for.
    Entry {
        name: SET_WATCHER,
        set: Toolset::JiraWork,
        does: Does::Changes,
        takes_key: false,
        described: set_watcher,
    },
];

fn add_worklog() -> Described {
    let mut output = written();
    output["properties"]["worklog_id"] = json!({"type": "string"});
    Described {
        words: "Books time spent on an issue, in the name of the account that Jira is connected with.",
        properties: json!({
            "key": key(),
            "time_spent": {"type": "string", "description": "Weeks, days, hours, minutes: 1h 30m."},
            "started": {"type": "string", "description": "When the work began, ISO 8601; now by default."},
            "comment": {"type": "string", "description": "Markdown."},
            "idempotency_key": once(),
            "dry_run": dry_run(),
        }),
        required: &["key", "time_spent"],
        output,
    }
}

fn set_watcher() -> Described {
    Described {
        words: "Has somebody watch an issue, so that Jira tells them of its changes, or no longer.",
        properties: json!({
            "key": key(),
            "user": {"type": "string", "description": "Name, e-mail or id."},
            "watching": {"type": "boolean", "default": true, "description": "false: no longer."},
            "dry_run": dry_run(),
        }),
        required: &["key", "user"],
        output: written(),
    }
}
