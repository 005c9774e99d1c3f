//! What of Asana to read: `{"workspaces": ["12"], "projects": ["34"]}`, both optional.

use std::collections::HashSet;

use application::ports::{StreamScope, StreamSpec};
use domain::{FieldError, Invalid, StreamName};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

const ALLOWED_KEYS: [&str; 2] = ["projects", "workspaces"];
const MAX_ENTRIES: usize = 500;
/// Tasks whose stories are read for one page.
const STORIES_PER_PAGE: usize = 12;

/// The streams, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Users,
    Project,
    CustomFields,
    Tasks,
    Stories,
}

impl Stream {
    const ALL: [Self; 5] = [Self::Users, Self::Project, Self::CustomFields, Self::Tasks, Self::Stories];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Project => "project",
            Self::CustomFields => "custom_fields",
            Self::Tasks => "tasks",
            Self::Stories => "stories",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    pub(super) fn specs() -> Vec<StreamSpec> {
        Self::ALL.into_iter().map(Self::spec).collect()
    }

    fn spec(self) -> StreamSpec {
        let scope = match self {
            Self::Users => StreamScope::Instance,
            Self::Stories => StreamScope::PendingItems { batch: STORIES_PER_PAGE },
            _ => StreamScope::Project,
        };
        let reload = matches!(self, Self::Users | Self::Project | Self::CustomFields);
        StreamSpec { name: StreamName::new(self.name()), scope, reload }
    }
}

/// Checked settings. Without doubles; `None` is everything the token sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) workspaces: Option<Vec<String>>,
    pub(super) projects: Option<Vec<String>>,
}

impl Settings {
    /// Checks settings from outside and names every mistake.
    pub(super) fn check(settings: &Value) -> Result<Self, Invalid> {
        let empty = Map::new();
        let object = match settings {
            Value::Null => &empty,
            Value::Object(object) => object,
            _ => return Err(Invalid::one("/settings", "must be an object")),
        };
        let mut errors = Vec::new();
        for key in object.keys().filter(|key| !ALLOWED_KEYS.contains(&key.as_str())) {
            let key = key.replace('~', "~0").replace('/', "~1");
            errors.push(FieldError {
                pointer: format!("/settings/{key}"),
                message: "is not a setting of Asana".into(),
                allowed: ALLOWED_KEYS.map(String::from).to_vec(),
            });
        }
        let mut gids = |name: &str| object.get(name).and_then(|list| check_gids(name, list, &mut errors));
        let (workspaces, projects) = (gids("workspaces"), gids("projects"));
        Invalid::collect(errors)?;
        Ok(Self { workspaces, projects })
    }

    /// Reads settings that were checked when they were stored.
    pub(super) fn stored(settings: &Value) -> Self {
        Self::check(settings).unwrap_or_default()
    }

    /// The normal form.
    pub(super) fn to_value(&self) -> Value {
        let mut object = Map::new();
        for (name, list) in [("projects", &self.projects), ("workspaces", &self.workspaces)] {
            if let Some(list) = list {
                object.insert(name.into(), json!(list));
            }
        }
        Value::Object(object)
    }

    /// Whether a project is read, as far as the settings alone tell.
    pub(super) fn selects(&self, project: &str) -> bool {
        self.projects.as_ref().is_none_or(|projects| projects.iter().any(|selected| selected == project))
    }
}

fn check_gids(name: &str, list: &Value, errors: &mut Vec<FieldError>) -> Option<Vec<String>> {
    if list.is_null() {
        return None;
    }
    let mut wrong = |pointer: String, message: String| {
        errors.push(FieldError { pointer, message, allowed: Vec::new() });
    };
    let Some(list) = list.as_array().filter(|list| !list.is_empty() && list.len() <= MAX_ENTRIES) else {
        wrong(
            format!("/settings/{name}"),
            format!("must be a list of 1 to {MAX_ENTRIES} gids; leave it out for all {name} the token sees"),
        );
        return None;
    };
    let mut seen = HashSet::new();
    let mut gids = Vec::with_capacity(list.len());
    for (i, entry) in list.iter().enumerate() {
        match entry.as_str().map(str::trim).filter(|gid| is_gid(gid)) {
            Some(gid) if seen.insert(gid.to_owned()) => gids.push(gid.to_owned()),
            Some(_) => {}
            None => wrong(
                format!("/settings/{name}/{i}"),
                "must be a gid in quotes: the figures in the address of its page at Asana".into(),
            ),
        }
    }
    Some(gids)
}

/// Whether the text is an id of Asana. Gids are figures and exceed what JSON numbers hold.
pub(super) fn is_gid(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks a token's form.
pub(super) fn check_token(token: &SecretString, pointer: &str) -> Result<(), Invalid> {
    let token = token.expose_secret();
    if token.is_empty() || token.len() > 4_096 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Invalid::one(pointer, "must be a token as Asana shows it, without spaces"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_a_normal_form_and_every_mistake_is_named() {
        let settings = json!({"projects": ["12", " 12 ", "1200000000000000017"], "workspaces": null});
        let checked = Settings::check(&settings).unwrap();
        assert_eq!(checked.to_value(), json!({"projects": ["12", "1200000000000000017"]}));
        assert!(checked.selects("12") && !checked.selects("13"));
        let wrong =
            json!({"projects": [12, "x", "https://app.asana.com/0/1/2"], "workspaces": [], "teams": []});
        let errors = Settings::check(&wrong).unwrap_err().errors;
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/settings/teams",
                "/settings/workspaces",
                "/settings/projects/0",
                "/settings/projects/1",
                "/settings/projects/2"
            ]
        );
        assert!(Settings::check(&json!([])).is_err());
    }
}
