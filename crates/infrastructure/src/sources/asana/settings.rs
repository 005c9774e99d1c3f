//! What of Asana to read: `{"workspaces": ["12"], "projects": ["34"]}`, both optional.

use application::ports::{StreamScope, StreamSpec};
use domain::{Invalid, StreamName};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::super::settings_form::{Form, List};

const ALLOWED_KEYS: [&str; 2] = ["projects", "workspaces"];
const GID: &str = "must be a gid in quotes: the figures in the address of its page at Asana";
const WORKSPACES: List = List {
    name: "workspaces",
    length: 1..=500,
    must: "must be a list of 1 to 500 gids; leave it out for all workspaces the token sees",
    entry_must: GID,
};
const PROJECTS: List = List {
    name: "projects",
    length: 1..=500,
    must: "must be a list of 1 to 500 gids; leave it out for all projects the token sees",
    entry_must: GID,
};
/// Tasks whose stories are read for one page.
const STORIES_PER_PAGE: usize = 24;

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
        let mut form = Form::read("Asana", settings, &ALLOWED_KEYS)?;
        let gid = |text: &str| is_gid(text).then(|| text.to_owned());
        let workspaces = form.list(&WORKSPACES, gid, String::clone);
        let projects = form.list(&PROJECTS, gid, String::clone);
        form.finish()?;
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
