//! One issue or pull request with all that hangs on it.

use serde_json::{Map, Value, json};

use super::fragments::Fragments;
use crate::timestamp::{iso, parse_iso};

/// Keys that only `GET /pulls/{n}` answers, not the list of pull requests.
/// <https://docs.github.com/rest/pulls/pulls>: schema `pull-request` beside `pull-request-simple`.
const PULL_DETAILS: [&str; 12] = [
    "merged",
    "mergeable",
    "rebaseable",
    "mergeable_state",
    "merged_by",
    "comments",
    "review_comments",
    "maintainer_can_modify",
    "commits",
    "additions",
    "deletions",
    "changed_files",
];

/// Keys that the issue form and the pull request form of one item share.
const SHARED: [&str; 11] = [
    "title",
    "body",
    "state",
    "labels",
    "assignee",
    "assignees",
    "milestone",
    "locked",
    "active_lock_reason",
    "updated_at",
    "closed_at",
];

/// An issue or pull request: JSON text and the fields lists ask for.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) number: u64,
    pub(crate) id: u64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) open: bool,
    pub(crate) labels: Vec<Box<str>>,
    pub(crate) assignees: Vec<Box<str>>,
    pub(crate) milestone: Option<u64>,
    pub(crate) creator: Box<str>,
    pub(crate) comment_count: u64,
    pub(crate) issue: Box<str>,
    pub(crate) pull: Option<Pull>,
    pub(crate) comments: Vec<Row>,
    pub(crate) review_comments: Vec<Row>,
    pub(crate) reviews: Vec<Row>,
    pub(crate) timeline: Vec<Row>,
}

/// The pull request form of an item.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) id: u64,
    pub(crate) head: Box<str>,
    pub(crate) base: Box<str>,
    /// What lists show.
    pub(crate) brief: Box<str>,
    /// The rest that the pull request alone shows, as an object.
    pub(crate) details: Box<str>,
}

/// A comment, review or event of an item.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    /// Name of the event; empty for what is not one.
    pub(crate) event: Box<str>,
    pub(crate) text: Box<str>,
}

impl Item {
    /// An item from its issue form, without comments and history.
    pub(crate) fn new(fragments: &Fragments, issue: &Value) -> Self {
        let mut item = Self {
            number: issue["number"].as_u64().unwrap_or_default(),
            id: issue["id"].as_u64().unwrap_or_default(),
            created_at: time(issue, "created_at"),
            updated_at: 0,
            open: true,
            labels: Vec::new(),
            assignees: Vec::new(),
            milestone: None,
            creator: lower(&issue["user"]["login"]),
            comment_count: 0,
            issue: Box::default(),
            pull: None,
            comments: Vec::new(),
            review_comments: Vec::new(),
            reviews: Vec::new(),
            timeline: Vec::new(),
        };
        item.set_issue(fragments, issue);
        item
    }

    fn set_issue(&mut self, fragments: &Fragments, issue: &Value) {
        self.updated_at = time(issue, "updated_at");
        self.open = issue["state"] == "open";
        self.labels = lowers(&issue["labels"], "name");
        self.assignees = lowers(&issue["assignees"], "login");
        self.milestone = issue["milestone"]["number"].as_u64();
        self.comment_count = issue["comments"].as_u64().unwrap_or_default();
        self.issue = fragments.compact(&issue.to_string()).into();
    }

    /// Gives the item its pull request form.
    pub(crate) fn set_pull(&mut self, fragments: &Fragments, pull: &Value) {
        let (details, brief): (Map<_, _>, Map<_, _>) = pull
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .partition(|(key, _)| PULL_DETAILS.contains(&key.as_str()));
        self.pull = Some(Pull {
            id: pull["id"].as_u64().unwrap_or_default(),
            head: text(&pull["head"]["label"]),
            base: text(&pull["base"]["ref"]),
            brief: fragments.compact(&Value::Object(brief).to_string()).into(),
            details: fragments.compact(&Value::Object(details).to_string()).into(),
        });
    }

    pub(super) fn edit(&mut self, fragments: &Fragments, at: i64, change: impl FnOnce(&mut Value)) {
        let Ok(mut issue) = serde_json::from_str::<Value>(&fragments.expand(&self.issue)) else { return };
        change(&mut issue);
        issue["updated_at"] = json!(iso(at));
        self.set_issue(fragments, &issue);
        let Some(pull) = &self.pull else { return };
        let Ok(mut form) = serde_json::from_str::<Value>(&fragments.expand(&pull.full())) else { return };
        for key in SHARED {
            form[key] = issue[key].clone();
        }
        form["comments"] = issue["comments"].clone();
        self.set_pull(fragments, &form);
    }
}

impl Pull {
    /// Both parts as one object.
    pub(crate) fn full(&self) -> String {
        if &*self.details == "{}" {
            return self.brief.to_string();
        }
        let brief = self.brief.strip_suffix('}').unwrap_or(&self.brief);
        let details = self.details.strip_prefix('{').unwrap_or(&self.details);
        format!("{brief},{details}")
    }
}

impl Row {
    /// A row from its object; an event's time may stand in `submitted_at` or in the commit's author.
    pub(crate) fn new(fragments: &Fragments, object: &Value) -> Self {
        let created_at = ["created_at", "submitted_at", "updated_at"]
            .iter()
            .map(|key| &object[*key])
            .chain([&object["committer"]["date"]])
            .find_map(|value| value.as_str().and_then(parse_iso))
            .unwrap_or_default();
        Self {
            id: object["id"].as_u64().unwrap_or_default(),
            created_at,
            updated_at: object["updated_at"].as_str().and_then(parse_iso).unwrap_or(created_at),
            event: text(&object["event"]),
            text: fragments.compact(&object.to_string()).into(),
        }
    }
}

fn time(object: &Value, key: &str) -> i64 {
    object[key].as_str().and_then(parse_iso).unwrap_or_default()
}

fn text(value: &Value) -> Box<str> {
    value.as_str().unwrap_or_default().into()
}

fn lower(value: &Value) -> Box<str> {
    value.as_str().unwrap_or_default().to_lowercase().into()
}

fn lowers(list: &Value, key: &str) -> Vec<Box<str>> {
    list.as_array().into_iter().flatten().map(|entry| lower(&entry[key])).collect()
}
