//! Versions of projects. <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-project-versions/>

use axum::http::StatusCode;
use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::Write;
use crate::jira::reply::Reply;

/// What a body may hold of those that the description does not call read-only.
const GIVEN: [&str; 9] = [
    "archived",
    "description",
    "expand",
    "moveUnfixedIssuesTo",
    "name",
    "project",
    "projectId",
    "releaseDate",
    "released",
];

/// `POST /version`.
pub(super) fn new_version(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let body = body(write)?;
    let wanted = body.get("projectId").and_then(Value::as_u64).map(|id| id.to_string());
    let wanted = wanted.or_else(|| body.get("project").and_then(Value::as_str).map(str::to_owned));
    let project = wanted.and_then(|wanted| write.site.project(&wanted)).cloned();
    let key = project.as_ref().and_then(|project| project["key"].as_str()).unwrap_or_default().to_owned();
    let Some(project) = project.filter(|_| write.site.sees(write.call.login, &key)) else {
        return Err(Reply::error(StatusCode::NOT_FOUND, "No project could be found with that id."));
    };
    let mut version = Map::new();
    for (name, value) in [("archived", json!(false)), ("released", json!(false))] {
        version.insert(name.to_owned(), value);
    }
    keep(&mut version, &body);
    let name = checked(&version, &project, None)?;
    version.insert("name".into(), name.into());
    let id = write.site.new_id();
    version.insert("id".into(), id.to_string().into());
    put(write, &project, &version);
    Ok(Reply::created(&shown(version, &project)))
}

/// `PUT /version/{id}`: changes what is given of it.
pub(super) fn change_version(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let (body, id) = (body(write)?, write.part(1).to_owned());
    let is = |version: &Value| version["id"] == id.as_str();
    let of = |project: &Value| {
        project["versions"].as_array().and_then(|all| all.iter().find(|one| is(one)).cloned())
    };
    let found = write.site.projects.values().find_map(|project| Some((project.clone(), of(project)?)));
    let key = found.as_ref().and_then(|(project, _)| project["key"].as_str()).unwrap_or_default().to_owned();
    let Some((project, Value::Object(mut version))) =
        found.filter(|_| write.site.sees(write.call.login, &key))
    else {
        return Err(Reply::error(StatusCode::NOT_FOUND, &format!("Could not find version for id '{id}'")));
    };
    keep(&mut version, &body);
    let name = checked(&version, &project, Some(&id))?;
    version.insert("name".into(), name.into());
    put(write, &project, &version);
    Ok(Reply::json(&shown(version, &project)))
}

fn body(write: &Write<'_>) -> Result<Map<String, Value>, Reply> {
    let known: Vec<&str> = GIVEN.into_iter().chain(["startDate"]).collect();
    write.call.object(Some(&known))
}

fn keep(version: &mut Map<String, Value>, body: &Map<String, Value>) {
    for name in ["archived", "description", "name", "releaseDate", "released", "startDate"] {
        if let Some(value) = body.get(name) {
            version.insert(name.to_owned(), value.clone());
        }
    }
}

/// Its name, when a version may be so.
fn checked(version: &Map<String, Value>, project: &Value, own: Option<&str>) -> Result<String, Reply> {
    let wrong = |field: &str, message: &str| Reply::fields([(field.to_owned(), message.to_owned())]);
    let name = version.get("name").and_then(Value::as_str).map(str::trim).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(wrong("name", "You must specify a valid version name"));
    }
    if name.chars().count() > 255 {
        return Err(wrong("name", "The version name must not exceed 255 characters in length."));
    }
    let same = |other: &Value| {
        other["id"].as_str() != own
            && other["name"].as_str().is_some_and(|other| other.to_lowercase() == name.to_lowercase())
    };
    if project["versions"].as_array().into_iter().flatten().any(same) {
        return Err(wrong("name", "A version with this name already exists in this project."));
    }
    let mut days = Vec::new();
    for field in ["startDate", "releaseDate"] {
        match version.get(field) {
            None | Some(Value::Null) => days.push(None),
            Some(value) => match value.as_str().and_then(|day| day.parse::<NaiveDate>().ok()) {
                Some(day) => days.push(Some(day)),
                None => return Err(wrong(field, "The date must be in the format: yyyy-MM-dd")),
            },
        }
    }
    if let [Some(start), Some(release)] = days.as_slice()
        && start > release
    {
        return Err(wrong("startDate", "The start date must be before the release date."));
    }
    for field in ["archived", "released"] {
        if version.get(field).is_some_and(|value| !value.is_boolean()) {
            return Err(wrong(field, "must be true or false"));
        }
    }
    Ok(name)
}

/// In the place of the one with its id, or behind the others.
fn put(write: &mut Write<'_>, project: &Value, version: &Map<String, Value>) {
    let number = project["id"].as_str().and_then(|id| id.parse().ok());
    let Some(project) = number.and_then(|id: u64| write.site.projects.get_mut(&id)) else { return };
    let Some(all) = project["versions"].as_array_mut() else { return };
    let version = Value::Object(version.clone());
    match all.iter_mut().find(|one| one["id"] == version["id"]) {
        Some(place) => *place = version,
        None => all.push(version),
    }
}

fn shown(mut version: Map<String, Value>, project: &Value) -> Value {
    let number = project["id"].as_str().and_then(|id| id.parse::<u64>().ok());
    version.insert("projectId".into(), json!(number));
    Value::Object(version)
}
