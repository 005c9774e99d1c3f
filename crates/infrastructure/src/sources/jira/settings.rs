//! What of Jira to read: `{"projects": ["KEY", …], "streams": ["issues", …]}`, both optional.

use application::ports::{StreamScope, StreamSpec};
use domain::{Credential, Invalid, StreamName};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::super::settings_form::{Form, List};

const ALLOWED_KEYS: [&str; 2] = ["projects", "streams"];
const PROJECTS: List = List {
    name: "projects",
    length: 1..=500,
    must: "must be a list of 1 to 500 project keys like \"ENG\"; leave it out for every project the account sees",
    entry_must: "must be a project's key like \"ENG\": the part before the number of its issues",
};
/// Jira gives the changelogs of 1,000 issues at once. Fewer, as all are held until the last page of changes is read, while
/// those before wait to be written.
const DETAILS_PER_PAGE: usize = 250;

/// The streams, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Definitions of custom fields.
    Fields,
    /// Projects with their versions.
    Projects,
    /// Boards and their sprints.
    Boards,
    /// Worklogs changed or deleted since; before the issues, so that what happens meanwhile is in the next feed.
    Worklogs,
    /// Issues.
    Issues,
    /// Changelog, comments, worklogs and sprints of issues that changed.
    Details,
}

impl Stream {
    const ALL: [Self; 6] =
        [Self::Fields, Self::Projects, Self::Boards, Self::Worklogs, Self::Issues, Self::Details];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fields => "fields",
            Self::Projects => "projects",
            Self::Boards => "boards",
            Self::Worklogs => "worklogs",
            Self::Issues => "issues",
            Self::Details => "details",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    fn spec(self) -> StreamSpec {
        let scope = match self {
            Self::Fields | Self::Worklogs => StreamScope::Instance,
            Self::Projects | Self::Boards | Self::Issues => StreamScope::Project,
            Self::Details => StreamScope::PendingItems { batch: DETAILS_PER_PAGE },
        };
        let reload = matches!(self, Self::Fields | Self::Projects | Self::Boards);
        StreamSpec { name: StreamName::new(self.name()), scope, reload }
    }
}

/// Checked settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Keys without doubles; `None` is every project the account sees.
    pub(super) projects: Option<Vec<String>>,
    /// `None` is all of them.
    selected: Option<Vec<Stream>>,
}

impl Settings {
    /// Checks settings from outside and names every mistake.
    pub(super) fn check(settings: &Value) -> Result<Self, Invalid> {
        let mut form = Form::read("Jira", settings, &ALLOWED_KEYS)?;
        let upper = |key: &str| is_project_key(key).then(|| key.to_ascii_uppercase());
        let projects = form.list(&PROJECTS, upper, String::clone);
        let selected = form.streams(&Stream::ALL, Stream::name);
        form.finish()?;
        Ok(Self { projects, selected })
    }

    /// Reads settings that were checked when they were stored.
    pub(super) fn stored(settings: &Value) -> Self {
        Self::check(settings).unwrap_or_default()
    }

    /// The normal form.
    pub(super) fn to_value(&self) -> Value {
        let mut object = Map::new();
        if let Some(projects) = &self.projects {
            object.insert("projects".into(), json!(projects));
        }
        if let Some(selected) = &self.selected {
            let names: Vec<&str> = selected.iter().map(|stream| stream.name()).collect();
            object.insert("streams".into(), json!(names));
        }
        Value::Object(object)
    }

    pub(super) fn reads(&self, stream: Stream) -> bool {
        stream == Stream::Projects || self.selected.as_ref().is_none_or(|selected| selected.contains(&stream))
    }

    pub(super) fn streams(&self) -> Vec<StreamSpec> {
        Stream::ALL.into_iter().filter(|stream| self.reads(*stream)).map(Stream::spec).collect()
    }
}

/// Whether the text can be a project key: a letter, then letters, digits and underscores. A Data Center's administrator
/// can allow other forms, of which all are plain words.
fn is_project_key(text: &str) -> bool {
    (2..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        || (text.len() == 1 && text.bytes().all(|b| b.is_ascii_alphabetic()))
}

/// Checks that Jira takes such a credential, and that it can be sent.
pub(super) fn check_credential(credential: &Credential) -> Result<(), Invalid> {
    match credential {
        Credential::Basic { email, token } => {
            if email.trim().is_empty() || email.contains([':', '\r', '\n']) {
                return Err(Invalid::one(
                    "/credentials/email",
                    "must be the account's e-mail address or user name",
                ));
            }
            check_token("/credentials/token", token)
        }
        Credential::Pat { token } => check_token("/credentials/token", token),
        Credential::OAuth(grant) => check_token("/credentials/access_token", &grant.access_token),
        Credential::Token { .. } | Credential::GithubApp { .. } => Err(Invalid::not_one_of(
            "/credentials/kind",
            "is not a kind of credential that Jira takes",
            ["basic", "pat", "oauth"],
        )),
    }
}

fn check_token(pointer: &str, token: &SecretString) -> Result<(), Invalid> {
    let text = token.expose_secret();
    if text.is_empty() || text.chars().any(|c| c.is_control()) {
        return Err(Invalid::one(pointer, "must be the token as Jira shows it, without line breaks"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_upper_case_and_named_once() {
        let settings = Settings::check(&json!({"projects": ["eng", " ENG ", "OPS_2"]})).unwrap();
        assert_eq!(settings.to_value(), json!({"projects": ["ENG", "OPS_2"]}));
        assert_eq!(Settings::check(&json!(null)).unwrap().to_value(), json!({}));
        assert_eq!(settings.streams().len(), Stream::ALL.len());
    }

    #[test]
    fn every_mistake_is_named() {
        let wrong = Settings::check(&json!({
            "projects": ["ENG-1", "", "A\" OR 1=1"], "streams": ["issues", "votes"], "project": "ENG"
        }));
        let pointers: Vec<String> =
            wrong.unwrap_err().errors.iter().map(|error| error.pointer.clone()).collect();
        assert_eq!(
            pointers,
            [
                "/settings/project",
                "/settings/projects/0",
                "/settings/projects/1",
                "/settings/projects/2",
                "/settings/streams/1"
            ]
        );
        assert!(Settings::check(&json!({"projects": []})).is_err());
        assert!(Settings::check(&json!([])).is_err());
    }

    #[test]
    fn only_credentials_that_can_be_sent_are_taken() {
        let basic = |email: &str, token: &str| Credential::Basic {
            email: email.into(),
            token: token.to_owned().into(),
        };
        assert!(check_credential(&basic("a@example.com", "t")).is_ok());
        assert!(check_credential(&basic("a:b", "t")).is_err());
        assert!(check_credential(&basic("a@example.com", "t\r\nX: y")).is_err());
        assert!(check_credential(&Credential::Pat { token: "t".to_owned().into() }).is_ok());
        assert!(check_credential(&Credential::Token { token: "t".to_owned().into() }).is_err());
    }
}
