//! What Jira says about values that cannot be.

use serde_json::{Map, Value, json};

use super::{Change, Write};
use crate::jira::catalog::{Catalog, EPIC_LINK, SPRINT};
use crate::jira::fields::{SETTABLE, options};
use crate::jira::issue::{Issue, id_of};
use crate::jira::reply::Reply;
use crate::jira::site::JiraSite;
use crate::jira::time;

type Errors = Vec<(String, String)>;

/// Checks `fields`; adds a message per field that is wrong.
pub(super) fn checked(
    write: &Write<'_>,
    issue: Option<u64>,
    project: &str,
    fields: &Map<String, Value>,
    errors: &mut Errors,
) -> Result<Vec<Change>, Reply> {
    let fresh = Issue::new(0, "", Map::new());
    let before = issue.and_then(|id| write.site.issue(id)).unwrap_or(&fresh);
    let mut changes = Vec::new();
    for (name, value) in fields {
        match check(write, before, project, name, value)? {
            Ok(change) => changes.push(change),
            Err(message) => errors.push((name.clone(), message)),
        }
    }
    Ok(changes)
}

fn check(
    write: &Write<'_>,
    before: &Issue,
    project: &str,
    name: &str,
    value: &Value,
) -> Result<Result<Change, String>, Reply> {
    let site = &*write.site;
    let Some(definition) = site.catalog.field(name) else { return Ok(Err(unknown(name))) };
    if definition["custom"] != true && !SETTABLE.contains(&name) {
        return Ok(Err(unknown(name)));
    }
    let schema = &definition["schema"];
    let is_text = matches!(name, "description" | "environment")
        || schema["custom"].as_str().is_some_and(|kind| kind.ends_with(":textarea"));
    if is_text {
        let value = if value.is_null() { Value::Null } else { write.rich(name, value)? };
        return Ok(Ok(Change::plain(site, before, name, value)));
    }
    let stored = match name {
        "assignee" | "reporter" => {
            return Ok(person(site, name, value).map(|id| Change::reference(site, before, name, id)));
        }
        "priority" => {
            let wanted = id_of(&value["id"]).or_else(|| id_of(&value["name"])).unwrap_or_default();
            let found = Catalog::named(&site.catalog.priorities, &wanted).and_then(id_of);
            return Ok(match found {
                Some(id) => Ok(Change::reference(site, before, name, json!(id))),
                None => Err("The priority selected is invalid.".to_owned()),
            });
        }
        "parent" => parent(site, value),
        "labels" => labels(value),
        "components" | "fixVersions" | "versions" => listed(site, project, name, value),
        "summary" => match value.as_str().map(str::trim) {
            None | Some("") => Err("You must specify a summary of the issue.".to_owned()),
            Some(text) if text.chars().count() > 254 => {
                Err("Summary must be less than 255 characters.".to_owned())
            }
            Some(text) if text.contains('\n') => {
                Err("The summary is invalid because it contains newline characters.".to_owned())
            }
            Some(_) => Ok(value.clone()),
        },
        "timetracking" | "issuelinks" => Err(unknown(name)),
        _ if schema["custom"] == SPRINT => match value.as_u64().filter(|id| site.sprints.contains_key(id)) {
            Some(id) => return Ok(Ok(Change::sprint(site, before, name, Some(id)))),
            None if value.is_null() => return Ok(Ok(Change::sprint(site, before, name, None))),
            None => Err("Number value expected as the Sprint id.".to_owned()),
        },
        _ if schema["custom"] == EPIC_LINK => match value.as_str().and_then(|key| site.find(key)) {
            Some(epic) => Ok(json!(epic.key)),
            None if value.is_null() => Ok(Value::Null),
            None => Err("Issue does not exist or you do not have permission to see it.".to_owned()),
        },
        _ => by_type(site, name, schema, value),
    };
    Ok(stored.map(|value| Change::plain(site, before, name, value)))
}

fn unknown(name: &str) -> String {
    format!("Field '{name}' cannot be set. It is not on the appropriate screen, or unknown.")
}

fn by_type(site: &JiraSite, name: &str, schema: &Value, value: &Value) -> Result<Value, String> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let option = |value: &Value| {
        let wanted = id_of(&value["id"]).or_else(|| id_of(&value["value"])).filter(|_| value.is_object());
        let wanted = wanted.ok_or("Specify a valid 'id' or 'name' for the option")?;
        let found = options(site, name)
            .into_iter()
            .find(|one| one["id"] == wanted.as_str() || one["value"] == wanted.as_str());
        found.ok_or_else(|| format!("Option value '{wanted}' is not valid"))
    };
    match (schema["type"].as_str(), schema["items"].as_str()) {
        (Some("number"), _) if value.is_number() => Ok(value.clone()),
        (Some("number"), _) => Err("Operation value must be a number".to_owned()),
        (Some("string"), _) if value.is_string() => Ok(value.clone()),
        (Some("string"), _) => Err("Operation value must be a string".to_owned()),
        (Some("option"), _) => option(value),
        (Some("array"), Some("option")) => {
            let rows = value.as_array().ok_or("data was not an array")?;
            rows.iter().map(option).collect::<Result<_, _>>().map(Value::Array)
        }
        (Some("user"), _) => person(site, name, value),
        (Some("date"), _) => {
            match value.as_str().filter(|text| text.len() == 10 && time::jql_literal(text, 0, 0).is_some()) {
                Some(_) => Ok(value.clone()),
                None => Err("Error parsing date string, expected format: yyyy-MM-dd".to_owned()),
            }
        }
        (Some("datetime"), _) => match value.as_str().and_then(time::parse) {
            Some(at) => Ok(json!(time::iso(at))),
            None => Err("Error parsing time, expected format: yyyy-MM-dd'T'HH:mm:ss.SSSZ".to_owned()),
        },
        _ => Ok(value.clone()),
    }
}

/// The account: by `accountId` on Cloud, by `name` or `key` on Data Center.
fn person(site: &JiraSite, field: &str, value: &Value) -> Result<Value, String> {
    let cloud = site.is_cloud();
    let names: &[&str] = if cloud { &["accountId", "id"] } else { &["name", "key"] };
    let given = names.iter().find_map(|name| value.get(*name));
    match given.or_else(|| value.is_null().then_some(&Value::Null)) {
        Some(Value::Null) => Ok(Value::Null),
        Some(Value::String(wanted)) => {
            let found = site.catalog.users.iter().find(|(id, user)| {
                *id == wanted
                    || !cloud && user["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
            });
            match found {
                Some((_, user)) if field == "assignee" && user["active"] == false => {
                    Err(format!("User '{wanted}' cannot be assigned issues."))
                }
                Some((id, _)) => Ok(json!(id)),
                None => Err(format!("User '{wanted}' does not exist.")),
            }
        }
        _ => Err(match cloud {
            true => "expected Object with accountId".to_owned(),
            false => "expected Object containing a 'name' property".to_owned(),
        }),
    }
}

fn parent(site: &JiraSite, value: &Value) -> Result<Value, String> {
    // A parent is taken away by the operation `set` with `none`.
    if value.is_null() || value["none"] == true {
        return Ok(Value::Null);
    }
    let wanted = id_of(&value["id"]).or_else(|| id_of(&value["key"]));
    let found = wanted.and_then(|wanted| site.find(&wanted)).map(|found| found.id.to_string());
    found.map(Value::String).ok_or_else(|| "Could not find issue by id or key.".to_owned())
}

fn labels(value: &Value) -> Result<Value, String> {
    let rows = match value {
        Value::Null => return Ok(json!([])),
        Value::Array(rows) => rows,
        _ => return Err("data was not an array".to_owned()),
    };
    for row in rows {
        match row.as_str() {
            None => return Err("string expected at index 0".to_owned()),
            Some(label) if label.contains(' ') => {
                return Err(format!("The label '{label}' contains spaces which is invalid."));
            }
            Some(_) => {}
        }
    }
    let mut labels: Vec<&str> = rows.iter().filter_map(Value::as_str).collect();
    labels.sort_unstable();
    labels.dedup();
    Ok(json!(labels))
}

/// Versions or components of the project, as their ids.
fn listed(site: &JiraSite, project: &str, field: &str, value: &Value) -> Result<Value, String> {
    let (list, word) = match field {
        "components" => ("components", "Component"),
        _ => ("versions", "Version"),
    };
    let known =
        site.project(project).and_then(|project| project[list].as_array()).cloned().unwrap_or_default();
    let rows = match value {
        Value::Null => return Ok(json!([])),
        Value::Array(rows) => rows,
        _ => return Err("data was not an array".to_owned()),
    };
    let mut ids = Vec::new();
    for row in rows {
        let wanted = id_of(&row["id"]).or_else(|| id_of(&row["name"])).unwrap_or_default();
        let found = known.iter().find(|one| one["id"] == wanted.as_str() || one["name"] == wanted.as_str());
        match found {
            Some(one) => ids.push(one["id"].clone()),
            None => return Err(format!("{word} name '{wanted}' is not valid")),
        }
    }
    Ok(Value::Array(ids))
}

/// What `update` asks for: changes of fields, and comments to add.
pub(super) type Updates = (Vec<Change>, Vec<Map<String, Value>>);

/// Checks `update`: operations by field, and comments to add.
pub(super) fn checked_updates(
    write: &Write<'_>,
    issue: Option<u64>,
    project: &str,
    update: &Map<String, Value>,
    errors: &mut Errors,
) -> Result<Updates, Reply> {
    let (mut changes, mut comments) = (Vec::new(), Vec::new());
    for (name, operations) in update {
        let Some(operations) = operations.as_array() else {
            errors.push((name.clone(), "data was not an array of operations".to_owned()));
            continue;
        };
        if name == "comment" {
            for operation in operations {
                let mut comment = operation["add"].as_object().cloned().unwrap_or_default();
                let body = write.rich("comment", &operation["add"]["body"])?;
                comment.insert("body".to_owned(), body);
                comments.push(comment);
            }
            continue;
        }
        let held = issue.and_then(|id| write.site.issue(id)).map(|issue| issue.get(name).clone());
        let mut value = held.unwrap_or(Value::Null);
        for operation in operations {
            if let Err(message) = operate(&mut value, operation) {
                errors.push((name.clone(), message));
            }
        }
        let fields = Map::from_iter([(name.clone(), as_sent(name, value))]);
        changes.extend(checked(write, issue, project, &fields, errors)?);
    }
    Ok((changes, comments))
}

fn operate(value: &mut Value, operation: &Value) -> Result<(), String> {
    let Some((verb, given)) =
        operation.as_object().filter(|one| one.len() == 1).and_then(|one| one.iter().next())
    else {
        return Err("an operation has one verb".to_owned());
    };
    let same = |row: &Value| {
        let name =
            |value: &Value| id_of(&value["id"]).or_else(|| id_of(&value["name"])).or_else(|| id_of(value));
        name(row) == name(given)
    };
    match verb.as_str() {
        "set" => *value = given.clone(),
        "add" | "remove" => {
            if value.is_null() {
                *value = json!([]);
            }
            let rows = value.as_array_mut().ok_or("the field is no list")?;
            rows.retain(|row| !same(row));
            if verb == "add" {
                rows.push(given.clone());
            }
        }
        other => return Err(format!("The operation '{other}' is not supported.")),
    }
    Ok(())
}

/// Stored ids in the form in which they are sent.
fn as_sent(name: &str, value: Value) -> Value {
    match value {
        Value::Array(rows) if matches!(name, "components" | "fixVersions" | "versions") => Value::Array(
            rows.into_iter().map(|row| if row.is_string() { json!({"id": row}) } else { row }).collect(),
        ),
        other => other,
    }
}
