//! Fields by the names people see, and their values in words.

use std::collections::BTreeSet;

use std::sync::Arc;

use application::ports::{Bounds, FieldNames, SourceError};
use serde_json::{Map, Value};

use super::super::super::nearest::nearest;
use super::super::api::Api;
use super::super::fields::plain;
use super::super::known::Known;
use super::super::model::Issue;
use super::super::sprints;
use super::is_hidden_key;

/// Fields that hold more than a value: sections of `jira_get_issue`.
const SECTIONS: [&str; 8] =
    ["comment", "worklog", "attachment", "issuelinks", "subtasks", "watches", "votes", "thumbnail"];
/// Names of Jira's own fields that need no look at the site's definitions.
const OWN: [(&str, &str); 22] = [
    ("summary", "summary"),
    ("status", "status"),
    ("type", "issuetype"),
    ("issuetype", "issuetype"),
    ("priority", "priority"),
    ("assignee", "assignee"),
    ("reporter", "reporter"),
    ("creator", "creator"),
    ("labels", "labels"),
    ("created", "created"),
    ("updated", "updated"),
    ("duedate", "duedate"),
    ("due date", "duedate"),
    ("resolution", "resolution"),
    ("resolutiondate", "resolutiondate"),
    ("resolved", "resolutiondate"),
    ("project", "project"),
    ("components", "components"),
    ("fixversions", "fixVersions"),
    ("versions", "versions"),
    ("description", "description"),
    ("environment", "environment"),
];

/// What searches and the history call Jira's own fields beside the names that Jira tells of them
/// (<https://support.atlassian.com/jira-software-cloud/docs/jql-fields/>).
const ALSO: [(&str, &[&str]); 12] = [
    ("comment", &["comments"]),
    (
        "worklog",
        &["worklogs", "worklogauthor", "worklogcomment", "worklogdate", "worklogid", "worklogtimespent"],
    ),
    ("watches", &["watcher", "watchers"]),
    ("votes", &["voter"]),
    ("attachment", &["attachments"]),
    ("issuelinks", &["link", "issuelink", "issuelinktype", "linkedissues", "linkedissue"]),
    ("fixVersions", &["fixversion", "fix version"]),
    ("versions", &["affectedversion", "version"]),
    ("components", &["component"]),
    ("duedate", &["due"]),
    ("timeoriginalestimate", &["originalestimate"]),
    ("timeestimate", &["remainingestimate"]),
];

/// Every field of the site, by all its names.
pub(super) async fn names(api: &Api<'_>) -> Result<Vec<FieldNames>, SourceError> {
    let known = api.known().await?;
    let mut all: Vec<FieldNames> = known
        .definitions
        .iter()
        .map(|field| {
            let names = std::iter::once(&field.name).chain(&field.clause_names).cloned().collect();
            FieldNames { id: field.id.clone(), names }
        })
        .collect();
    let also = ALSO.iter().flat_map(|(id, names)| names.iter().map(move |name| (*id, *name)));
    for (id, name) in OWN.iter().map(|(name, id)| (*id, *name)).chain(also) {
        match all.iter_mut().find(|field| field.id == id) {
            Some(field) => field.names.push(name.to_owned()),
            // Comments and worklogs are no fields to every site.
            None => all.push(FieldNames { id: id.to_owned(), names: vec![name.to_owned()] }),
        }
    }
    Ok(all)
}

/// A field that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) id: String,
    /// As it was asked for, or by the name people see where it was asked for by id.
    pub(super) name: String,
    is_sprint: bool,
}

/// The fields that were asked for; an unknown one is an error that names the nearest.
pub(super) async fn resolve(api: &Api<'_>, given: &[String]) -> Result<Vec<Asked>, SourceError> {
    let mut known: Option<Arc<Known>> = None;
    let mut asked: Vec<Asked> = Vec::with_capacity(given.len());
    for (at, name) in given.iter().enumerate() {
        let wanted = name.trim().to_lowercase();
        let own = OWN.iter().find(|(name, _)| *name == wanted);
        let field = match own {
            Some((_, id)) => Asked { id: (*id).to_owned(), name: name.trim().to_owned(), is_sprint: false },
            None => {
                let known = match &mut known {
                    Some(known) => known,
                    None => known.insert(api.known().await?),
                };
                find(known, &known.sprint_fields(&api.connection.mappings), &wanted, name, at)?
            }
        };
        if SECTIONS.contains(&field.id.as_str()) {
            return Err(SourceError::unknown_value(
                &format!("/fields/{at}"),
                format!("`{name}` is no field but a part of an issue: jira_get_issue gives it under include"),
                Vec::new(),
            ));
        }
        if asked.iter().all(|other| other.id != field.id) {
            asked.push(field);
        }
    }
    Ok(asked)
}

fn find(
    known: &Known,
    sprint_fields: &BTreeSet<String>,
    wanted: &str,
    given: &str,
    at: usize,
) -> Result<Asked, SourceError> {
    let pointer = format!("/fields/{at}");
    let by_id = known.definitions.iter().find(|field| field.id.to_lowercase() == wanted);
    let mut named = known.definitions.iter().filter(|field| {
        let name = field.name.trim().to_lowercase();
        // As answers show a field whose name is not the only one of its kind.
        name == wanted || format!("{name} ({})", field.id) == wanted
    });
    let Some(found) = by_id.or_else(|| named.next()) else {
        let names = known.definitions.iter().map(|field| field.name.as_str());
        return Err(SourceError::unknown_value(
            &pointer,
            format!("there is no field `{}`", given.trim()),
            nearest(given, names),
        ));
    };
    if by_id.is_none() && named.next().is_some() {
        let ids = known.definitions.iter().filter(|field| field.name.trim().to_lowercase() == wanted);
        return Err(SourceError::unknown_value(
            &pointer,
            format!("several fields are called `{}`: name the one that is meant by its id", given.trim()),
            ids.map(|field| field.id.clone()).collect(),
        ));
    }
    let name = if by_id.is_some() && found.custom { found.name.trim() } else { given.trim() };
    Ok(Asked { id: found.id.clone(), name: name.to_owned(), is_sprint: sprint_fields.contains(&found.id) })
}

/// The values of the fields that were asked for, null where there is none.
pub(super) fn values(issue: &Issue<'_>, asked: &[Asked], within: &Bounds) -> Map<String, Value> {
    let value = |field: &Asked| {
        let value = issue.get::<Value>(&field.id).unwrap_or_default();
        let value = if field.id == "parent" { parent_key(&value) } else { value };
        shown(if field.is_sprint { sprints::names(&value) } else { plain(value) }, within)
    };
    asked.iter().map(|field| (field.name.clone(), value(field))).collect()
}

fn parent_key(value: &Value) -> Value {
    value.get("key").cloned().unwrap_or_default()
}

/// Without the keys of issues that may not be seen: fields like the epic hold one.
pub(super) fn shown(value: Value, within: &Bounds) -> Value {
    match value {
        Value::String(text) if is_hidden_key(&text, within) => Value::Null,
        Value::Array(values) => {
            values.into_iter().map(|value| shown(value, within)).filter(|value| !value.is_null()).collect()
        }
        Value::Object(object) => {
            object.into_iter().map(|(name, value)| (name, shown(value, within))).collect()
        }
        other => other,
    }
}
