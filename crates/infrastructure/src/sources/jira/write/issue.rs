//! An issue as it stands, before a change and after it.

use application::ports::{SourceError, SourceErrorKind};
use chrono::{DateTime, Utc};
use domain::{ChangedField, WrittenItem};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::api::{Api, segment};
use super::super::sprints;
use super::super::text::{is_document, value_markdown};
use super::super::time::Time;

/// An issue with the fields that were asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    pub(super) id: String,
    pub(super) key: String,
    #[serde(default)]
    pub(super) fields: Map<String, Value>,
}

impl Issue {
    /// Reads an issue: these fields, and when it was changed.
    pub(super) async fn read(api: &Api<'_>, key: &str, fields: &[&str]) -> Result<Self, SourceError> {
        let mut asked = vec!["updated"];
        asked.extend(fields);
        let path = api.rest(&format!("/issue/{}", segment(key)));
        let query = [("fields", asked.join(",")), ("updateHistory", "false".to_owned())];
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        api.get(&path, &query, key).await?.json(key)
    }

    /// A field; null when it has none.
    pub(super) fn field(&self, id: &str) -> &Value {
        self.fields.get(id).unwrap_or(&Value::Null)
    }

    pub(super) fn updated_at(&self) -> Option<DateTime<Utc>> {
        serde_json::from_value::<Time>(self.field("updated").clone()).ok().map(|time| time.0)
    }

    /// [`SourceErrorKind::Conflict`] when it was changed after this moment.
    pub(super) fn require_unchanged(&self, since: Option<DateTime<Utc>>) -> Result<(), SourceError> {
        match (since, self.updated_at()) {
            (Some(since), Some(updated)) if updated > since => Err(SourceError {
                field: Some("/if_unchanged_since".into()),
                ..SourceError::new(
                    SourceErrorKind::Conflict,
                    format!("{} was changed at {}: read it again", self.key, updated.to_rfc3339()),
                )
            }),
            _ => Ok(()),
        }
    }

    /// Refuses an issue of a project that the instance's settings leave out: they bound writes too.
    pub(super) fn require_selected(&self, api: &Api<'_>) -> Result<(), SourceError> {
        let project = self.key.rsplit_once('-').map_or(self.key.as_str(), |(project, _)| project);
        match is_selected(api, project) {
            true => Ok(()),
            false => Err(SourceError {
                field: Some("/key".into()),
                ..SourceError::new(
                    SourceErrorKind::NotFound,
                    format!("{} is in none of the instance's projects", self.key),
                )
            }),
        }
    }

    /// What is told of it after a write.
    pub(super) fn written(&self, api: &Api<'_>) -> WrittenItem {
        WrittenItem {
            source_id: self.id.clone(),
            key: self.key.clone(),
            url: api.browse(&self.key),
            updated_at: self.updated_at(),
            ..WrittenItem::default()
        }
    }
}

/// Whether the instance's settings have this project among those they are about.
pub(super) fn is_selected(api: &Api<'_>, project: &str) -> bool {
    api.settings.projects.as_ref().is_none_or(|keys| keys.iter().any(|key| key.eq_ignore_ascii_case(project)))
}

/// A name of ours and the field of Jira it stands for.
pub(super) type Watched = (String, String);

/// The fields that are not what they were.
pub(super) fn changes(watched: &[Watched], before: Option<&Issue>, after: &Issue) -> Vec<ChangedField> {
    let null = Value::Null;
    let told = |id: &str, value: &Value| match id {
        "description" => value_markdown(value).map_or(Value::Null, Value::String),
        _ => readable(value),
    };
    watched
        .iter()
        .map(|(name, id)| ChangedField {
            field: name.clone(),
            from: told(id, before.map_or(&null, |issue| issue.field(id))),
            to: told(id, after.field(id)),
        })
        .filter(|change| change.from != change.to)
        .collect()
}

/// The issue as it is after a write that took place; what cannot be read now is only warned about.
pub(super) async fn finish(
    api: &Api<'_>,
    key: &str,
    watched: &[Watched],
    before: Option<&Issue>,
    id: &str,
    mut warnings: Vec<String>,
) -> WrittenItem {
    let fields: Vec<&str> = watched.iter().map(|(_, id)| id.as_str()).collect();
    match Issue::read(api, key, &fields).await {
        Ok(after) => {
            WrittenItem { changed: changes(watched, before, &after), warnings, ..after.written(api) }
        }
        Err(error) => {
            warnings.push(format!("the change was made, but could not be read again: {error}"));
            WrittenItem {
                source_id: id.to_owned(),
                key: key.to_owned(),
                url: api.browse(key),
                warnings,
                ..WrittenItem::default()
            }
        }
    }
}

/// A field's value as people read it.
pub(super) fn readable(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(readable).collect(),
        Value::Object(object) => {
            if is_document(value) {
                return value_markdown(value).map_or(Value::Null, Value::String);
            }
            let named =
                ["displayName", "name", "value", "key", "id"].iter().find_map(|name| object.get(*name));
            match (named, object.get("child")) {
                (Some(Value::String(parent)), Some(child)) => match readable(child) {
                    Value::String(child) => Value::String(format!("{parent} > {child}")),
                    _ => Value::String(parent.clone()),
                },
                (Some(named), _) => named.clone(),
                (None, _) => value.clone(),
            }
        }
        // Data Center's printed form of a sprint.
        Value::String(text) if text.contains(PRINTED_SPRINT) => match sprints::names(value) {
            Value::Array(mut names) if names.len() == 1 => names.remove(0),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

const PRINTED_SPRINT: &str = "greenhopper.service.sprint.Sprint@";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "it is made for the call")]
    fn issue(fields: Value) -> Issue {
        serde_json::from_value(json!({"id": "1", "key": "ENG-1", "fields": fields})).unwrap()
    }

    #[test]
    fn only_what_changed_is_told_in_words() {
        let before =
            issue(json!({"priority": {"id": "3", "name": "Medium"}, "labels": ["a"], "assignee": null}));
        let after = issue(json!({"priority": {"id": "2", "name": "High"}, "labels": ["a"],
                                 "assignee": {"accountId": "x", "displayName": "Ann"}}));
        let watched: Vec<Watched> =
            ["priority", "labels", "assignee"].map(|id| (id.to_owned(), id.to_owned())).to_vec();
        let changed = changes(&watched, Some(&before), &after);
        let told: Vec<_> = changed.iter().map(|c| (c.field.as_str(), c.from.clone(), c.to.clone())).collect();
        assert_eq!(
            told,
            [("priority", json!("Medium"), json!("High")), ("assignee", Value::Null, json!("Ann"))]
        );
        assert_eq!(readable(&json!({"value": "EU", "child": {"value": "DE"}})), json!("EU > DE"));
        let sprint =
            "com.atlassian.greenhopper.service.sprint.Sprint@3f[id=7,rapidViewId=2,state=ACTIVE,name=S 7]";
        assert_eq!(readable(&json!([sprint])), json!(["S 7"]));
    }

    #[test]
    fn a_change_after_the_given_moment_is_a_conflict() {
        let issue = issue(json!({"updated": "2026-11-21T09:15:03.123+0000"}));
        let at = |text: &str| Some(text.parse().unwrap());
        assert!(issue.require_unchanged(None).is_ok());
        assert!(issue.require_unchanged(at("2026-11-21T09:15:03.123Z")).is_ok());
        let error = issue.require_unchanged(at("2026-11-21T09:15:03.122Z")).unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Conflict);
    }
}
