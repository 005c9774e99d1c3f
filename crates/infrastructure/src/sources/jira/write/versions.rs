//! Versions of projects: made, changed, released and archived
//! (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-project-versions/>).

use std::collections::BTreeMap;

use application::ports::{Look, SourceError};
use domain::{ChangedField, VersionWrite, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::super::nearest::nearest;
use super::super::api::{Api, segment};
use super::super::malformed;
use super::look::found;
use super::project::Project;
use super::send::change;
use super::{Mode, rejected};

/// What can be changed of a version, with what the tool's arguments call it.
const PROPERTIES: [(&str, &str); 6] = [
    ("name", "name"),
    ("description", "description"),
    ("startDate", "start_date"),
    ("releaseDate", "release_date"),
    ("released", "released"),
    ("archived", "archived"),
];

#[derive(Clone, Deserialize)]
struct Version {
    id: String,
    name: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Version {
    fn value(&self, property: &str) -> Value {
        match (property, self.rest.get(property)) {
            ("name", _) => json!(self.name),
            // Jira leaves out what is empty, or tells an empty text.
            (_, Some(Value::String(text))) if text.is_empty() => Value::Null,
            ("released" | "archived", None) => json!(false),
            (_, value) => value.cloned().unwrap_or_default(),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name.trim().to_lowercase() == name.trim().to_lowercase()
    }
}

/// A project and its versions.
struct There {
    project: Project,
    versions: Vec<Version>,
}

impl There {
    async fn read(api: &Api<'_>, key: &str) -> Result<Self, SourceError> {
        let project = Project::read(api, key).await?;
        let what = format!("the versions of {key}");
        let path = api.rest(&format!("/project/{}/versions", segment(&project.id)));
        let versions = api.get(&path, &[], &what).await?.json(&what)?;
        Ok(Self { project, versions })
    }

    fn named(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.is_called(name))
    }
}

/// Makes a version, or changes what is given of one.
pub(super) async fn write(
    api: &Api<'_>,
    asked: &VersionWrite,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let there = There::read(api, &asked.project).await?;
    match asked.create {
        true => create(api, &there, asked, mode).await,
        false => update(api, &there, asked, mode).await,
    }
}

async fn create(
    api: &Api<'_>,
    there: &There,
    asked: &VersionWrite,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    // A second one of the same name could not be told from this one when its answer is lost; Jira takes none either.
    if there.named(&asked.name).is_some() {
        let message = format!("{} has a version of that name: leave create out to change it", asked.project);
        return Err(rejected("/name", message));
    }
    let project: i64 = there
        .project
        .id
        .parse()
        .map_err(|_| malformed(format!("the project {} has no number for an id", asked.project)))?;
    let mut body = given(asked);
    let none = Version { id: String::new(), name: String::new(), rest: Map::new() };
    let changed = changes(&none, &body);
    if mode == Mode::Rehearse {
        return Ok(told(api, asked, "", changed));
    }
    body.insert("projectId".to_owned(), json!(project));
    let what = format!("the new version of {}", asked.project);
    let path = api.rest("/version");
    let made = change(api, Method::POST, &path, &Value::Object(body), &pointers(), &what).await?;
    let made: Version = serde_json::from_slice(&made.body)
        .map_err(|error| malformed(format!("Jira's answer for {what} is not what it should be ({error})")))?;
    Ok(told(api, asked, &made.id, changed))
}

async fn update(
    api: &Api<'_>,
    there: &There,
    asked: &VersionWrite,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let Some(version) = there.named(&asked.name) else {
        let known = there.versions.iter().map(|version| version.name.as_str());
        return Err(SourceError {
            allowed: nearest(&asked.name, known),
            ..rejected("/name", format!("is no version of {}: set create to make it", asked.project))
        });
    };
    let taken = asked.rename_to.as_deref().and_then(|name| there.named(name));
    if taken.is_some_and(|other| other.id != version.id) {
        return Err(rejected("/rename_to", format!("another version of {} is called so", asked.project)));
    }
    let mut body = given(asked);
    body.retain(|property, value| version.value(property) != cleared(value));
    let changed = changes(version, &body);
    let mut told = told(api, asked, &version.id, changed);
    if body.is_empty() {
        told.warnings.push("the version is so already".to_owned());
    } else if mode == Mode::Send {
        let what = format!("the version {} of {}", version.name, asked.project);
        let path = api.rest(&format!("/version/{}", segment(&version.id)));
        change(api, Method::PUT, &path, &Value::Object(body), &pointers(), &what).await?;
    }
    Ok(told)
}

/// Looks whether a version is as it was to be.
pub(super) async fn look(api: &Api<'_>, asked: &VersionWrite) -> Result<Look, SourceError> {
    let there = There::read(api, &asked.project).await?;
    let Some(version) = there.named(asked.rename_to.as_deref().unwrap_or(&asked.name)) else {
        return Ok(Look::Absent);
    };
    let is = given(asked).iter().all(|(property, value)| version.value(property) == cleared(value));
    // No other of that name was there before, nor can be made beside it.
    if asked.create || is { found(told(api, asked, &version.id, Vec::new())) } else { Ok(Look::Absent) }
}

/// What is sent.
fn given(asked: &VersionWrite) -> Map<String, Value> {
    let name = match (asked.create, &asked.rename_to) {
        (true, _) => Some(json!(asked.name.trim())),
        (false, name) => name.as_ref().map(|name| json!(name.trim())),
    };
    let all = [
        ("name", name),
        ("description", asked.description.as_ref().map(|text| json!(text))),
        ("startDate", asked.start.map(|day| json!(day))),
        ("releaseDate", asked.release.map(|day| json!(day))),
        ("released", asked.released.map(|yes| json!(yes))),
        ("archived", asked.archived.map(|yes| json!(yes))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// A value as a version tells it.
fn cleared(value: &Value) -> Value {
    if value == "" { Value::Null } else { value.clone() }
}

fn changes(before: &Version, body: &Map<String, Value>) -> Vec<ChangedField> {
    let told = |(property, field): &(&str, &str)| {
        let from = if before.id.is_empty() { Value::Null } else { before.value(property) };
        Some(ChangedField { field: (*field).to_owned(), from, to: body.get(*property).map(cleared)? })
    };
    PROPERTIES.iter().filter_map(told).collect()
}

/// Where in the request Jira's names came from.
fn pointers() -> BTreeMap<String, String> {
    PROPERTIES.iter().map(|(property, field)| ((*property).to_owned(), format!("/{field}"))).collect()
}

fn told(api: &Api<'_>, asked: &VersionWrite, id: &str, changed: Vec<ChangedField>) -> WrittenItem {
    let page = || format!("{}/projects/{}/versions/{id}", api.site.home, asked.project);
    WrittenItem {
        source_id: id.to_owned(),
        url: if id.is_empty() { String::new() } else { page() },
        changed,
        ..WrittenItem::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_sent_and_only_what_differs_is_told() {
        let asked = VersionWrite {
            project: "ENG".into(),
            name: "3.0".into(),
            released: Some(true),
            description: Some(String::new()),
            release: Some("2026-12-01".parse().unwrap()),
            ..VersionWrite::default()
        };
        let mut body = given(&asked);
        assert_eq!(
            Value::Object(body.clone()),
            json!({"description": "", "releaseDate": "2026-12-01", "released": true})
        );
        let version: Version =
            serde_json::from_value(json!({"id": "7", "name": "3.0", "releaseDate": "2026-12-01"})).unwrap();
        body.retain(|property, value| version.value(property) != cleared(value));
        let changed = changes(&version, &body);
        let told: Vec<_> = changed.iter().map(|one| (one.field.as_str(), &one.from, &one.to)).collect();
        assert_eq!(told, [("released", &json!(false), &json!(true))]);
        assert!(version.is_called(" 3.0 ") && !version.is_called("3"));
    }
}
