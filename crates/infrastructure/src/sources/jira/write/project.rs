//! A project that is written to as a whole.

use application::ports::{SourceError, SourceErrorKind};
use serde::Deserialize;

use super::super::super::nearest::nearest;
use super::super::api::{Api, segment};
use super::issue::is_selected;
use super::rejected;

#[derive(Deserialize)]
pub(super) struct Project {
    pub(super) id: String,
    pub(super) key: String,
}

impl Project {
    /// The project of this key, of those that the instance's settings are about.
    pub(super) async fn read(api: &Api<'_>, key: &str) -> Result<Self, SourceError> {
        let what = format!("the project {key}");
        if let Some(keys) = api.settings.projects.as_ref().filter(|_| !is_selected(api, key)) {
            let message =
                format!("{key} is none of the instance's projects: an admin can add it to its settings");
            let near = nearest(key, keys.iter().map(String::as_str));
            return Err(SourceError::unknown_value("/project", message, near));
        }
        let path = api.rest(&format!("/project/{}", segment(key)));
        let project: Self = match api.get(&path, &[], &what).await {
            Ok(answer) => answer.json(&what)?,
            Err(error) if error.kind == SourceErrorKind::NotFound => {
                return Err(rejected("/project", format!("Jira shows no project `{key}` to this account")));
            }
            Err(error) => return Err(SourceError { field: Some("/project".to_owned()), ..error }),
        };
        // Jira finds a project by the keys of before, too.
        match project.key.eq_ignore_ascii_case(key) {
            true => Ok(project),
            false => Err(rejected("/project", format!("is called {} now", project.key))),
        }
    }
}
