//! Reads the real Jira data that the developers share (`shared/data/jira`).

mod csv;
mod devlake;
mod titanium;

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::issue::{Entry, Issue};
use super::site::JiraSite;

pub use devlake::devlake;
pub use titanium::titanium;

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The issue of a recorded object: its comments and worklogs taken out of its fields.
fn issue_of(site: &mut JiraSite, mut object: Value) -> anyhow::Result<Issue> {
    let id: u64 = object["id"].as_str().and_then(|id| id.parse().ok()).context("an issue without number")?;
    let key = object["key"].as_str().context("an issue without key")?.to_owned();
    let mut fields = match object["fields"].take() {
        Value::Object(fields) => fields,
        _ => anyhow::bail!("{key} has no fields"),
    };
    let mut entries = |field: &str, list: &str| -> Vec<Entry> {
        let rows = fields.remove(field).and_then(|mut page| match page[list].take() {
            Value::Array(rows) => Some(rows),
            _ => None,
        });
        rows.unwrap_or_default().into_iter().filter_map(Entry::new).collect()
    };
    let comments = entries("comment", "comments");
    let worklogs = entries("worklog", "worklogs");
    for (field, value) in &fields {
        let kind = if matches!(field.as_str(), "assignee" | "reporter" | "creator") { "user" } else { field };
        site.catalog.collect(kind, value);
    }
    for link in fields.get("issuelinks").and_then(Value::as_array).into_iter().flatten() {
        site.catalog.collect("linktype", &link["type"]);
    }
    for entry in comments.iter().chain(&worklogs) {
        site.catalog.collect("user", &entry.value["author"]);
    }
    let mut issue = Issue::new(id, &key, fields);
    issue.comments = comments;
    issue.worklogs = worklogs;
    Ok(issue)
}
