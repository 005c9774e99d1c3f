//! What a screen takes: the fields of a new issue, of an edit and of a transition, with their allowed values.

use std::collections::BTreeMap;

use application::ports::SourceError;
use serde::Deserialize;
use serde_json::Value;

use super::super::super::nearest::nearest;
use super::super::api::{Api, segment};
use super::super::model::text_or_number;
use super::rejected;

/// Jira takes no more on a page of metadata (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/>).
const PAGE: usize = 200;
/// A screen with more fields than this is none.
const MOST_PAGES: usize = 20;

/// Where schemas say what a custom field is.
const SPRINT: &str = "com.pyxis.greenhopper.jira:gh-sprint";
const EPIC_LINK: &str = "com.pyxis.greenhopper.jira:gh-epic-link";

/// A field of a screen.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Field {
    #[serde(default)]
    pub(super) field_id: Option<String>,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(in super::super) name: String,
    #[serde(default)]
    pub(in super::super) required: bool,
    #[serde(default)]
    pub(in super::super) has_default_value: bool,
    #[serde(default)]
    pub(in super::super) schema: Schema,
    #[serde(default)]
    pub(in super::super) allowed_values: Vec<Value>,
}

/// A field's type.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in super::super) struct Schema {
    #[serde(rename = "type", default)]
    pub(in super::super) kind: String,
    #[serde(default)]
    pub(in super::super) items: Option<String>,
    #[serde(default)]
    pub(super) custom: Option<String>,
    #[serde(default)]
    pub(super) system: Option<String>,
}

impl Schema {
    pub(super) fn is_custom(&self, kind: &str) -> bool {
        self.custom.as_deref() == Some(kind)
    }

    /// Whether it holds formatted text.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.system.as_deref(), Some("description" | "environment"))
            || self.custom.as_deref().is_some_and(|custom| custom.ends_with(":textarea"))
    }
}

/// The fields of a screen, by id.
#[derive(Debug, Default)]
pub(in super::super) struct Form(pub(in super::super) BTreeMap<String, Field>);

/// A type of issue that can be made in a project.
#[derive(Debug, Clone, Deserialize)]
pub(in super::super) struct IssueType {
    #[serde(deserialize_with = "text_or_number", default)]
    pub(in super::super) id: Option<String>,
    #[serde(default)]
    pub(in super::super) name: String,
    #[serde(default)]
    pub(super) subtask: bool,
}

/// One page of metadata; the list has another name in each version.
#[derive(Deserialize)]
struct MetaPage<T> {
    #[serde(
        alias = "fields",
        alias = "results",
        alias = "issueTypes",
        alias = "createMetaIssueType",
        default = "Vec::new"
    )]
    values: Vec<T>,
    #[serde(default)]
    total: Option<usize>,
}

#[derive(Deserialize)]
struct EditMeta {
    #[serde(default)]
    fields: BTreeMap<String, Field>,
}

/// The types of issue that can be made in a project.
pub(in super::super) async fn issue_types(
    api: &Api<'_>,
    project: &str,
) -> Result<Vec<IssueType>, SourceError> {
    let path = api.rest(&format!("/issue/createmeta/{}/issuetypes", segment(project)));
    pages(api, &path, &format!("the types of issue of project {project}")).await
}

async fn pages<T: serde::de::DeserializeOwned>(
    api: &Api<'_>,
    path: &str,
    what: &str,
) -> Result<Vec<T>, SourceError> {
    let mut all = Vec::new();
    for _ in 0..MOST_PAGES {
        let (start, most) = (all.len().to_string(), PAGE.to_string());
        let answer = api.get(path, &[("startAt", &start), ("maxResults", &most)], what).await?;
        let page: MetaPage<T> = answer.json(what)?;
        let empty = page.values.is_empty();
        all.extend(page.values);
        if empty || page.total.is_none_or(|total| all.len() >= total) {
            break;
        }
    }
    Ok(all)
}

impl Form {
    /// The screen on which an issue of a type is made.
    pub(in super::super) async fn of_new(
        api: &Api<'_>,
        project: &str,
        issue_type: &str,
    ) -> Result<Self, SourceError> {
        let path = format!("/issue/createmeta/{}/issuetypes/{}", segment(project), segment(issue_type));
        let fields: Vec<Field> =
            pages(api, &api.rest(&path), &format!("the fields of a new issue of {project}")).await?;
        let by_id = fields.into_iter().filter_map(|field| {
            let id = field.field_id.clone().or_else(|| field.key.clone())?;
            Some((id, field))
        });
        Ok(Self(by_id.collect()))
    }

    /// The screen on which an issue is edited.
    pub(in super::super) async fn of_edit(api: &Api<'_>, key: &str) -> Result<Self, SourceError> {
        let path = api.rest(&format!("/issue/{}/editmeta", segment(key)));
        let what = format!("the fields of {key}");
        let meta: EditMeta = api.get(&path, &[], &what).await?.json(&what)?;
        Ok(Self(meta.fields))
    }

    /// A field of Jira's own.
    pub(super) fn system(&self, id: &str, pointer: &str) -> Result<&Field, SourceError> {
        self.0.get(id).ok_or_else(|| self.not_on_screen(id, pointer))
    }

    /// The field that holds the sprint.
    pub(super) fn sprint(&self) -> Option<(&str, &Field)> {
        self.with_custom(SPRINT)
    }

    /// The field that holds the epic, where that is not the parent.
    pub(super) fn epic_link(&self) -> Option<(&str, &Field)> {
        self.with_custom(EPIC_LINK)
    }

    fn with_custom(&self, kind: &str) -> Option<(&str, &Field)> {
        let mut fields = self.0.iter();
        fields.find(|(_, field)| field.schema.is_custom(kind)).map(|(id, field)| (id.as_str(), field))
    }

    /// A field by its id or its name.
    pub(super) fn named(&self, given: &str, pointer: &str) -> Result<(&str, &Field), SourceError> {
        if let Some((id, field)) = self.0.get_key_value(given) {
            return Ok((id, field));
        }
        let wanted = given.trim().to_lowercase();
        let mut found = self.0.iter().filter(|(id, field)| {
            let name = field.name.trim().to_lowercase();
            // As items show a field whose name is not the only one of its kind.
            name == wanted || format!("{name} ({id})") == wanted
        });
        let Some((id, field)) = found.next() else { return Err(self.not_on_screen(given, pointer)) };
        if found.next().is_some() {
            let ids = self.0.iter().filter(|(_, field)| field.name.trim().to_lowercase() == wanted);
            return Err(SourceError::unknown_value(
                pointer,
                format!("several fields are called `{given}`: name the one that is meant by its id"),
                ids.map(|(id, _)| id.clone()).collect(),
            ));
        }
        Ok((id, field))
    }

    fn not_on_screen(&self, given: &str, pointer: &str) -> SourceError {
        let names = self.0.values().map(|field| field.name.as_str());
        SourceError::unknown_value(
            pointer,
            format!(
                "the screen has no field `{given}`: it does not exist, is not on the screen, or may not be set"
            ),
            nearest(given, names),
        )
    }

    /// Refuses when a required field has no value and no default. `given` are ids.
    pub(super) fn require_all(&self, given: impl Fn(&str) -> bool, what: &str) -> Result<(), SourceError> {
        let missing: Vec<&Field> = self
            .0
            .iter()
            .filter(|(id, field)| field.required && !field.has_default_value && !given(id))
            .map(|(_, field)| field)
            .collect();
        let Some(first) = missing.first() else { return Ok(()) };
        let names: Vec<String> = missing.iter().map(|field| format!("`{}`", field.name)).collect();
        let allowed = first.allowed_values.iter().filter_map(super::pick::label);
        Err(SourceError {
            allowed: nearest("", allowed.collect::<Vec<_>>().iter().map(String::as_str)),
            ..rejected(&format!("/fields/{}", first.name), format!("{what} needs {}", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(json: &str) -> Form {
        Form(serde_json::from_str::<EditMeta>(json).unwrap().fields)
    }

    const FIELDS: &str = r#"{"fields":{
        "customfield_1":{"required":false,"name":"Team","schema":{"type":"option","custom":"x:select"}},
        "customfield_2":{"required":true,"name":"Team","schema":{"type":"string"}},
        "customfield_3":{"required":true,"name":"Impact","hasDefaultValue":false,"schema":{"type":"option"},
                         "allowedValues":[{"id":"1","value":"Small"},{"id":"2","value":"Large"}]},
        "customfield_4":{"required":true,"hasDefaultValue":true,"name":"Region","schema":{"type":"string"}}}}"#;

    #[test]
    fn a_field_is_found_by_name_or_id_and_otherwise_near_ones_are_named() {
        let form = form(FIELDS);
        assert_eq!(form.named("impact", "/fields/impact").unwrap().0, "customfield_3");
        assert_eq!(form.named("customfield_1", "/f").unwrap().1.name, "Team");
        assert_eq!(form.named("Team (customfield_2)", "/f").unwrap().0, "customfield_2");
        let error = form.named("Team", "/fields/Team").unwrap_err();
        assert_eq!(error.allowed, ["customfield_1", "customfield_2"]);
        let error = form.named("Impct", "/fields/Impct").unwrap_err();
        assert_eq!((error.field.as_deref(), error.allowed[0].as_str()), (Some("/fields/Impct"), "Impact"));
    }

    #[test]
    fn what_is_required_and_missing_is_named_with_its_values() {
        let error = form(FIELDS).require_all(|id| id == "customfield_2", "a new issue").unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/fields/Impact"));
        assert_eq!(error.allowed, ["Large", "Small"]);
        assert!(!error.message.contains("Region"), "{error}");
        assert!(form(FIELDS).require_all(|_| true, "a new issue").is_ok());
    }
}
