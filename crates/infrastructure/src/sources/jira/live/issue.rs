//! One issue, in one request.

use std::collections::BTreeMap;

use application::ports::{LiveIssue, LiveIssueAsk, LiveSection, SourceError, SourceErrorKind};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::api::{Api, segment};
use super::super::fields::{Fields, Schema, plain};
use super::super::malformed;
use super::super::model::{Attachment, Issue, Part, User};
use super::super::text::{is_document, markdown};
use super::super::time::Time;
use super::activity::{self, History};
use super::fields::{self, Asked};
use super::no_issue;

/// What all issues have.
const BASE: [&str; 14] = [
    "summary",
    "status",
    "issuetype",
    "assignee",
    "reporter",
    "priority",
    "labels",
    "created",
    "updated",
    "duedate",
    "resolution",
    "parent",
    "components",
    "fixVersions",
];
/// Entries of a section; `jira_list_issue_activity` gives all.
const ENTRIES: usize = 20;
/// All fields that have a value.
const EVERYTHING: &str = "*all";

/// What is beside the issue itself.
#[derive(Deserialize)]
struct Beside<'a> {
    #[serde(default)]
    names: BTreeMap<String, String>,
    #[serde(default)]
    schema: BTreeMap<String, Schema>,
    #[serde(default, borrow)]
    transitions: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    to: Option<Shown>,
}

/// Of a status, type, priority or resolution, as much as is shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: Option<String>,
    /// Of a status.
    status_category: Option<ShownCategory>,
}

#[derive(Deserialize)]
struct ShownCategory {
    key: Option<String>,
}

/// Another issue, as an issue shows it.
#[derive(Deserialize)]
struct Other {
    key: Option<String>,
    #[serde(default)]
    fields: OtherFields,
}

#[derive(Default, Deserialize)]
struct OtherFields {
    summary: Option<String>,
    status: Option<Shown>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    #[serde(rename = "type")]
    kind: super::super::model::LinkType,
    inward_issue: Option<Other>,
    outward_issue: Option<Other>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Watches {
    watch_count: Option<i64>,
    is_watching: Option<bool>,
}

/// The issue, or the same error whether it does not exist or may not be seen.
pub(super) async fn read(api: &Api<'_>, ask: &LiveIssueAsk<'_>) -> Result<LiveIssue, SourceError> {
    if !ask.within.allows_issue(ask.key) {
        return Err(no_issue(ask.key));
    }
    let everything = ask.fields.iter().any(|name| name.trim() == EVERYTHING);
    let named: Vec<String> = ask.fields.iter().filter(|name| name.trim() != EVERYTHING).cloned().collect();
    let asked = fields::resolve(api, &named).await?;
    let wants = |section| ask.sections.contains(&section);
    let mut wanted: Vec<&str> = if everything { vec![EVERYTHING] } else { BASE.to_vec() };
    for (section, field) in [
        (LiveSection::Description, "description"),
        (LiveSection::Comments, "comment"),
        (LiveSection::Worklogs, "worklog"),
        (LiveSection::Links, "issuelinks"),
        (LiveSection::Subtasks, "subtasks"),
        (LiveSection::Attachments, "attachment"),
        (LiveSection::Watchers, "watches"),
    ] {
        if wants(section) && !everything {
            wanted.push(field);
        } else if !wants(section) && everything && section != LiveSection::Description {
            wanted.push(match field {
                "comment" => "-comment",
                "worklog" => "-worklog",
                "attachment" => "-attachment",
                _ => continue,
            });
        }
    }
    wanted.extend(asked.iter().map(|field| field.id.as_str()));
    let expand: Vec<&str> = [
        (everything, "names,schema"),
        (wants(LiveSection::Changelog), "changelog"),
        (wants(LiveSection::Transitions), "transitions"),
    ]
    .into_iter()
    .filter_map(|(wanted, name)| wanted.then_some(name))
    .collect();
    let (wanted, expand) = (wanted.join(","), expand.join(","));
    let mut query = vec![("fields", wanted.as_str())];
    if !expand.is_empty() {
        query.push(("expand", &expand));
    }
    let what = format!("the issue {}", ask.key);
    let answer = api.get(&api.rest(&format!("/issue/{}", segment(ask.key))), &query, &what).await;
    let answer = answer.map_err(|error| match error.kind {
        SourceErrorKind::NotFound => no_issue(ask.key),
        _ => error,
    })?;
    let text = answer.text();
    let issue: Issue<'_> = parse(&text, ask.key)?;
    // An issue that moved answers to its old key.
    if !ask.within.allows_issue(&issue.key) {
        return Err(no_issue(ask.key));
    }
    let beside: Beside<'_> = parse(&text, ask.key)?;
    let mut told = core(&issue);
    told.more = properties(api, &issue, ask);
    sections(&issue, &beside, ask, &mut told.more);
    if everything {
        let of_site = Fields::new(beside.names, beside.schema);
        if let Value::Object(values) = fields::shown(of_site.noted(&issue).values(&issue), ask.within) {
            told.fields.extend(values);
        }
    }
    told.fields.extend(values(&issue, &asked, ask));
    Ok(told)
}

fn values(issue: &Issue<'_>, asked: &[Asked], ask: &LiveIssueAsk<'_>) -> Map<String, Value> {
    fields::values(issue, asked, ask.within)
}

pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str, key: &str) -> Result<T, SourceError> {
    serde_json::from_str(text)
        .map_err(|error| malformed(format!("Jira's answer for {key} is no issue ({error})")))
}

fn name_of(shown: Option<Shown>) -> Option<String> {
    shown.and_then(|shown| shown.name)
}

pub(super) fn person(user: Option<User>) -> Option<String> {
    let user = user?;
    user.display_name.or(user.name).or(user.account_id)
}

/// What a list of issues shows.
pub(super) fn core(issue: &Issue<'_>) -> LiveIssue {
    let mut status = issue.get::<Shown>("status");
    let category = status.as_mut().and_then(|status| status.status_category.take());
    LiveIssue {
        key: issue.key.clone(),
        summary: issue.get("summary"),
        issue_type: name_of(issue.get("issuetype")),
        status_category: category.and_then(|category| category.key),
        status: name_of(status),
        assignee: person(issue.get("assignee")),
        priority: name_of(issue.get("priority")),
        updated: issue.get::<Time>("updated").map(|time| time.0),
        more: Map::new(),
        fields: Map::new(),
    }
}

fn properties(api: &Api<'_>, issue: &Issue<'_>, ask: &LiveIssueAsk<'_>) -> Map<String, Value> {
    let mut more = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            more.insert(name.to_owned(), value);
        }
    };
    put("url", Some(api.browse(&issue.key).into()));
    put("reporter", person(issue.get("reporter")).map(Value::from));
    let time = |name: &str| issue.get::<Time>(name).and_then(|time| serde_json::to_value(time.0).ok());
    put("created", time("created"));
    put("due", issue.get("duedate"));
    put("resolution", name_of(issue.get("resolution")).map(Value::from));
    for (name, field) in [("labels", "labels"), ("components", "components"), ("fix_versions", "fixVersions")]
    {
        put(name, issue.get::<Value>(field).map(plain));
    }
    let parent = issue.get::<Other>("parent").and_then(|parent| brief(parent, ask));
    put("parent", parent.map(Value::Object));
    more
}

/// Another issue in short; `None` when it may not be seen.
fn brief(other: Other, ask: &LiveIssueAsk<'_>) -> Option<Map<String, Value>> {
    let key = other.key.filter(|key| ask.within.allows_issue(key))?;
    let mut told = Map::from_iter([("key".to_owned(), Value::from(key))]);
    if let Some(summary) = other.fields.summary {
        told.insert("summary".into(), summary.into());
    }
    if let Some(status) = name_of(other.fields.status) {
        told.insert("status".into(), status.into());
    }
    Some(told)
}

fn sections(issue: &Issue<'_>, beside: &Beside<'_>, ask: &LiveIssueAsk<'_>, more: &mut Map<String, Value>) {
    let mut unread = Vec::new();
    for section in ask.sections {
        let value = match section {
            LiveSection::Description => description(issue, ask.documents),
            LiveSection::Comments | LiveSection::Worklogs => {
                let (kind, name) = match section {
                    LiveSection::Comments => (activity::Listed::Comments, "comment"),
                    _ => (activity::Listed::Worklogs, "worklog"),
                };
                let part = issue.get_part(name);
                let rows = kind.rows(&part);
                let total = usize::try_from(part.total.unwrap_or(0)).unwrap_or(0).max(rows.len());
                let entries = rows.into_iter().filter_map(|raw| kind.entry(raw)).collect();
                newest(entries, total, section.as_str(), &mut unread)
            }
            LiveSection::Changelog => {
                let history = issue.changelog.map(|raw| History::read(raw.get())).unwrap_or_default();
                let total = history.total;
                let entries = history.entries(ask.within);
                newest(entries, total, section.as_str(), &mut unread)
            }
            LiveSection::Links => links(issue, ask),
            LiveSection::Subtasks => {
                let subtasks = issue.get::<Vec<Other>>("subtasks").unwrap_or_default();
                subtasks.into_iter().filter_map(|other| brief(other, ask)).map(Value::Object).collect()
            }
            LiveSection::Attachments => files(issue),
            LiveSection::Transitions => steps(&beside.transitions),
            LiveSection::Watchers => {
                let watches: Option<Watches> = issue.get("watches");
                watches.map_or(
                    Value::Null,
                    |watches| json!({"count": watches.watch_count, "watching": watches.is_watching}),
                )
            }
        };
        if !value.is_null() {
            more.insert(section.as_str().to_owned(), value);
        }
    }
    if !unread.is_empty() {
        more.insert(UNREAD.to_owned(), unread.into());
    }
}

/// Where an issue says what of it was not given; the use case makes `cut` of it.
const UNREAD: &str = "cut";

fn description(issue: &Issue<'_>, documents: bool) -> Value {
    if documents && let Some(document) = issue.get::<Value>("description").filter(is_document) {
        return document;
    }
    markdown(issue.raw("description")).map_or(Value::Null, Value::String)
}

fn newest(
    mut entries: Vec<application::ports::LiveActivity>,
    total: usize,
    section: &str,
    unread: &mut Vec<String>,
) -> Value {
    entries.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
    entries.truncate(ENTRIES);
    if total > entries.len() {
        unread.push(format!(
            "{section}: the newest {} of {total}; jira_list_issue_activity gives the others",
            entries.len()
        ));
    }
    entries.into_iter().filter_map(|entry| activity::in_section(&entry)).collect()
}

fn links(issue: &Issue<'_>, ask: &LiveIssueAsk<'_>) -> Value {
    let links = issue.get::<Vec<Link>>("issuelinks").unwrap_or_default();
    let told = links.into_iter().filter_map(|link| {
        let (says, other) = match (link.outward_issue, link.inward_issue) {
            (Some(other), _) => (link.kind.outward, other),
            (None, Some(other)) => (link.kind.inward, other),
            (None, None) => return None,
        };
        let mut told = brief(other, ask)?;
        told.insert("type".into(), if says.is_empty() { link.kind.name } else { says }.into());
        Some(Value::Object(told))
    });
    told.collect()
}

fn files(issue: &Issue<'_>) -> Value {
    let files = issue.get::<Vec<Attachment>>("attachment").unwrap_or_default();
    let told = files.into_iter().map(|file| {
        json!({"id": file.id, "filename": file.filename, "mime_type": file.mime_type, "size": file.size,
               "created": file.created.map(|time| time.0), "author": person(file.author)})
    });
    told.collect()
}

fn steps(transitions: &[&RawValue]) -> Value {
    let steps = transitions.iter().filter_map(|raw| serde_json::from_str::<Step>(raw.get()).ok());
    steps.map(|step| json!({"id": step.id, "name": step.name, "to": name_of(step.to)})).collect()
}

trait Parts<'a> {
    fn get_part(&self, name: &str) -> Part<'a>;
}

impl<'a> Parts<'a> for Issue<'a> {
    /// A list inside of the issue, of which it may hold a first part.
    fn get_part(&self, name: &str) -> Part<'a> {
        let read = self.raw(name).and_then(|raw| serde_json::from_str(raw.get()).ok());
        read.unwrap_or(Part { comments: Vec::new(), worklogs: Vec::new(), total: Some(0) })
    }
}
