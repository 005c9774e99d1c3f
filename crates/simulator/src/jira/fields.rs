//! What may be set where: create and edit screens, transitions; and how a fault spoils an issue.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::call::{Call, Kind};
use super::issue::id_of;
use super::issues::visible;
use super::reply::Reply;
use super::site::JiraSite;
use crate::faults::Damage;

/// System fields on the create and edit screens, and the custom ones.
pub(super) const SETTABLE: [&str; 14] = [
    "summary",
    "description",
    "environment",
    "assignee",
    "reporter",
    "priority",
    "labels",
    "duedate",
    "components",
    "fixVersions",
    "versions",
    "parent",
    "timetracking",
    "issuelinks",
];

/// `GET /issue/createmeta/{project}/issuetypes`.
pub(super) fn create_types(call: &Call<'_>, site: &JiraSite, project: &str) -> Result<Reply, Reply> {
    call.allow(&[("startAt", Kind::Integer), ("maxResults", Kind::Integer)])?;
    if !site.sees(call.login, project) {
        return Err(Reply::no_project(project));
    }
    let rows: Vec<Value> = site.catalog.types.values().cloned().collect();
    Ok(meta_page(call, site, "issueTypes", &rows))
}

/// Cloud names the list by what it holds, Data Center `values`.
fn meta_page(call: &Call<'_>, site: &JiraSite, name: &str, rows: &[Value]) -> Reply {
    if !site.is_cloud() {
        return call.page(rows, 50, 200);
    }
    let (start, size) = call.window(50, 200);
    let shown: Vec<&Value> = rows.iter().skip(start).take(size).collect();
    Reply::json(&json!({"startAt": start, "maxResults": size, "total": rows.len(), name: shown}))
}

/// `GET /issue/createmeta/{project}/issuetypes/{type}`.
pub(super) fn create_fields(
    call: &Call<'_>,
    site: &JiraSite,
    project: &str,
    kind: &str,
) -> Result<Reply, Reply> {
    call.allow(&[("startAt", Kind::Integer), ("maxResults", Kind::Integer)])?;
    if !site.sees(call.login, project) {
        return Err(Reply::no_project(project));
    }
    let Some(kind) = site.catalog.types.get(kind) else {
        return Err(Reply::error(StatusCode::NOT_FOUND, "The issue type could not be found."));
    };
    let mut rows = Vec::new();
    for (id, mut meta) in screen(site, project) {
        // On Data Center only subtasks have a parent; epics are linked by a field of their own.
        if id == "parent" && !site.is_cloud() && kind["subtask"] != true {
            continue;
        }
        meta["required"] =
            json!(matches!(id.as_str(), "summary") || id == "parent" && kind["subtask"] == true);
        rows.push(meta);
    }
    for (id, name) in [("project", "Project"), ("issuetype", "Issue Type")] {
        rows.push(json!({
            "required": true, "schema": {"type": id, "system": id}, "name": name, "key": id, "fieldId": id,
            "hasDefaultValue": false, "operations": ["set"], "allowedValues": allowed(site, project, id)
        }));
    }
    Ok(meta_page(call, site, "fields", &rows))
}

fn allowed(site: &JiraSite, project: &str, field: &str) -> Vec<Value> {
    let of_project = |list: &str| {
        site.project(project).and_then(|project| project[list].as_array()).cloned().unwrap_or_default()
    };
    match field {
        "priority" | "issuetype" | "resolution" => {
            site.catalog.of(field).into_iter().flatten().map(|(_, object)| object.clone()).collect()
        }
        "components" => of_project("components"),
        "fixVersions" | "versions" => of_project("versions"),
        "project" => site.project(project).cloned().into_iter().collect(),
        custom => options(site, custom),
    }
}

/// The options of a select field: those of its definition.
pub(super) fn options(site: &JiraSite, field: &str) -> Vec<Value> {
    site.catalog.field(field).and_then(|field| field["options"].as_array()).cloned().unwrap_or_default()
}

/// Every field of the screens by id, described.
pub(super) fn screen(site: &JiraSite, project: &str) -> Map<String, Value> {
    let on = |field: &&Value| {
        field["custom"] == true || field["id"].as_str().is_some_and(|id| SETTABLE.contains(&id))
    };
    let describe = |field: &Value| {
        let id = field["id"].as_str()?.to_owned();
        let operations: &[&str] =
            if field["schema"]["type"] == "array" { &["add", "set", "remove"] } else { &["set"] };
        let mut meta = json!({
            "required": false, "schema": field["schema"], "name": field["name"], "key": id, "fieldId": id,
            "hasDefaultValue": false, "operations": operations
        });
        let values = allowed(site, project, &id);
        if !values.is_empty() {
            meta["allowedValues"] = json!(values);
        }
        Some((id, meta))
    };
    site.catalog.fields.iter().filter(on).filter_map(describe).collect()
}

/// `GET /issue/{idOrKey}/editmeta`.
pub(super) fn edit_meta(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[("overrideScreenSecurity", Kind::Flag), ("overrideEditableFlag", Kind::Flag)])?;
    let issue = visible(call, site, key)?;
    let project = issue.reference("project").unwrap_or_default();
    let mut fields = screen(site, &project);
    if !site.is_cloud() {
        fields.remove("parent");
    }
    Ok(Reply::json(&json!({"fields": fields})))
}

/// A way out of a status.
#[derive(Debug)]
pub(super) struct Transition {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) to: String,
    /// Its screen has `resolution`, and this is whether it must be given.
    pub(super) resolution: Option<bool>,
}

/// The transitions of an issue: one to every other status, numbered by the status left and reached, and to
/// close without doing, which asks why.
pub(super) fn ways(site: &JiraSite, from: &str) -> Vec<Transition> {
    let order: Vec<&String> = site.catalog.statuses.keys().collect();
    let left = order.iter().position(|id| *id == from).unwrap_or(0);
    let mut ways = Vec::new();
    for (index, (id, status)) in site.catalog.statuses.iter().enumerate() {
        if id == from {
            continue;
        }
        let done = status["statusCategory"]["key"] == "done";
        let name = status["name"].as_str().unwrap_or_default().to_owned();
        let number = (left + 1) * 100 + index + 1;
        ways.push(Transition {
            id: number.to_string(),
            name,
            to: id.clone(),
            resolution: done.then_some(false),
        });
        if done && id == "10003" {
            let (id, to) = ((number + 50).to_string(), id.clone());
            ways.push(Transition { id, name: "Close without doing".to_owned(), to, resolution: Some(true) });
        }
    }
    ways
}

/// `GET /issue/{idOrKey}/transitions`.
pub(super) fn transitions(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[
        ("expand", Kind::Text),
        ("transitionId", Kind::Text),
        ("skipRemoteOnlyCondition", Kind::Flag),
        ("includeUnavailableTransitions", Kind::Flag),
        ("sortByOpsBarAndStatus", Kind::Flag),
    ])?;
    let issue = visible(call, site, key)?;
    let from = issue.reference("status").unwrap_or_default();
    let with_fields = call.list("expand").iter().any(|name| name == "transitions.fields");
    let view = call.view(site);
    let rows: Vec<Value> = ways(site, &from)
        .into_iter()
        .filter(|way| call.text("transitionId").is_none_or(|id| way.id == id))
        .map(|way| {
            let to = site.catalog.statuses.get(&way.to).map(|status| view.reference("status", &way.to, status));
            let mut row = json!({"id": way.id, "name": way.name, "to": to, "hasScreen": way.resolution.is_some()});
            if site.is_cloud() {
                row["isGlobal"] = json!(false);
                row["isInitial"] = json!(false);
                row["isAvailable"] = json!(true);
                row["isConditional"] = json!(false);
            }
            if with_fields {
                row["fields"] = match way.resolution {
                    None => json!({}),
                    Some(required) => json!({"comment": {
                        "required": false, "schema": {"type": "comments-page", "system": "comment"},
                        "name": "Comment", "key": "comment", "hasDefaultValue": false, "operations": ["add"]
                    }, "resolution": {
                        "required": required, "schema": {"type": "resolution", "system": "resolution"},
                        "name": "Resolution", "key": "resolution", "hasDefaultValue": false, "operations": ["set"],
                        "allowedValues": allowed(site, "", "resolution")
                    }}),
                };
            }
            row
        })
        .collect();
    Ok(Reply::json(&json!({"expand": "transitions", "transitions": rows})))
}

/// Stands for text that JSON libraries refuse to write.
const BROKEN: &str = "@@broken text@@";

/// Spoils the issue of a key wherever the answer shows it.
pub(super) fn damage(answer: &mut Value, key: &str, damage: Damage) {
    match answer {
        Value::Array(rows) => rows.iter_mut().for_each(|row| self::damage(row, key, damage)),
        Value::Object(object) => {
            if object.get("key").is_some_and(|own| own == key)
                && let Some(Value::Object(fields)) = object.get_mut("fields")
            {
                match damage {
                    Damage::Unmappable => {
                        fields.insert("updated".into(), json!("yesterday"));
                        fields.insert("created".into(), Value::Null);
                        object.insert("id".into(), json!({"not": "an id"}));
                    }
                    Damage::NullCharacter => {
                        fields.insert("summary".into(), json!(BROKEN));
                    }
                    Damage::LargeText(bytes) => {
                        let text =
                            "A line of a log that somebody pasted as a whole.\n".repeat(bytes / 49 + 1);
                        let is_document = fields.get("description").is_some_and(Value::is_object);
                        let value = if is_document { super::text::to_document(&text) } else { json!(text) };
                        fields.insert("description".into(), value);
                    }
                }
                return;
            }
            object.values_mut().for_each(|value| self::damage(value, key, damage));
        }
        _ => {}
    }
}

/// The answer's text, U+0000 and halves of surrogate pairs put where they belong.
pub(super) fn with_broken_text(answer: &Value) -> String {
    answer.to_string().replace(BROKEN, r"zero \u0000 here, half a pair \ud800 there")
}

/// The name of a reference's object, for changelogs.
pub(super) fn name_in(site: &JiraSite, field: &str, id: &str) -> Value {
    let object = site.catalog.of(field).and_then(|objects| objects.get(id));
    let name = object.map(|object| [&object["name"], &object["displayName"]]);
    let people = matches!(field, "assignee" | "reporter" | "creator");
    match name {
        Some([_, name]) if people => name.clone(),
        Some([name, _]) => name.clone(),
        None => id_of(&json!(id)).map_or(Value::Null, Value::String),
    }
}
