//! What of GitHub to read: `{"repositories": ["owner/repo", …], "streams": ["issues", …], "projects": ["owner/5", …]}`,
//! all optional. Without `projects`, no projects (v2) are read: that takes a permission of its own.

use std::fmt;

use application::ports::{StreamScope, StreamSpec};
use domain::{FieldError, Invalid, StreamName};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::super::settings_form::{Form, List};

const ALLOWED_KEYS: [&str; 3] = ["projects", "repositories", "streams"];
const REPOSITORIES: List = List {
    name: "repositories",
    length: 1..=500,
    must: "must be a list of 1 to 500 names like \"owner/repo\"; leave it out for every repository the token sees",
    entry_must: "must have the form owner/repo, without https://github.com/ before or .git behind it",
};
const BOARDS: List = List {
    name: "projects",
    length: 0..=100,
    must: "must be a list of at most 100 projects like \"owner/5\"",
    entry_must: "must have the form owner/5: the owner and the number in the project's address",
};
const DETAILS_PER_PAGE: usize = 20;

/// The streams, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Repository,
    Labels,
    Milestones,
    Users,
    Issues,
    Comments,
    ReviewComments,
    Details,
    Boards,
}

impl Stream {
    const ALL: [Self; 9] = [
        Self::Repository,
        Self::Labels,
        Self::Milestones,
        Self::Users,
        Self::Issues,
        Self::Comments,
        Self::ReviewComments,
        Self::Details,
        Self::Boards,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Labels => "labels",
            Self::Milestones => "milestones",
            Self::Users => "users",
            Self::Issues => "issues",
            Self::Comments => "comments",
            Self::ReviewComments => "review_comments",
            Self::Details => "details",
            Self::Boards => "boards",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    fn spec(self) -> StreamSpec {
        let scope = match self {
            Self::Details => StreamScope::PendingItems { batch: DETAILS_PER_PAGE },
            Self::Boards => StreamScope::Instance,
            _ => StreamScope::Project,
        };
        let reload =
            matches!(self, Self::Repository | Self::Labels | Self::Milestones | Self::Users | Self::Boards);
        StreamSpec { name: StreamName::new(self.name()), scope, reload }
    }
}

/// Checked settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// `owner/repo`, without doubles; `None` is every repository the token sees.
    pub(super) repositories: Option<Vec<String>>,
    /// `None` is all of them.
    selected: Option<Vec<Stream>>,
    /// Projects (v2), without doubles.
    pub(super) boards: Vec<BoardName>,
}

/// `owner/5`: a project of an organization or a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BoardName {
    pub(super) owner: String,
    pub(super) number: u32,
}

impl fmt::Display for BoardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.number)
    }
}

impl BoardName {
    fn parse(text: &str) -> Option<Self> {
        let (owner, number) = text.trim().split_once('/')?;
        let plain = !owner.is_empty()
            && owner.len() <= 100
            && owner.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let number = number.parse().ok().filter(|number| *number > 0 && i32::try_from(*number).is_ok())?;
        plain.then(|| Self { owner: owner.to_owned(), number })
    }
}

impl Settings {
    /// Checks settings from outside and names every mistake.
    pub(super) fn check(settings: &Value) -> Result<Self, Invalid> {
        let mut form = Form::read("GitHub", settings, &ALLOWED_KEYS)?;
        let full_name = |name: &str| is_full_name(name).then(|| name.to_owned());
        let repositories = form.list(&REPOSITORIES, full_name, |name| name.to_lowercase());
        let selected = form.streams(&Stream::ALL, Stream::name);
        let boards = form.list(&BOARDS, BoardName::parse, ToString::to_string).unwrap_or_default();
        form.finish()?;
        Ok(Self { repositories, selected, boards })
    }

    /// Reads settings that were checked when they were stored.
    pub(super) fn stored(settings: &Value) -> Self {
        Self::check(settings).unwrap_or_default()
    }

    /// The normal form.
    pub(super) fn to_value(&self) -> Value {
        let mut object = Map::new();
        if let Some(repositories) = &self.repositories {
            object.insert("repositories".into(), json!(repositories));
        }
        if !self.boards.is_empty() {
            let names: Vec<String> = self.boards.iter().map(ToString::to_string).collect();
            object.insert("projects".into(), json!(names));
        }
        if let Some(selected) = &self.selected {
            let names: Vec<&str> = selected.iter().map(|stream| stream.name()).collect();
            object.insert("streams".into(), json!(names));
        }
        Value::Object(object)
    }

    pub(super) fn reads(&self, stream: Stream) -> bool {
        if stream == Stream::Boards && self.boards.is_empty() {
            return false;
        }
        stream == Stream::Repository
            || self.selected.as_ref().is_none_or(|selected| selected.contains(&stream))
    }

    pub(super) fn streams(&self) -> Vec<StreamSpec> {
        Stream::ALL.into_iter().filter(|stream| self.reads(*stream)).map(Stream::spec).collect()
    }
}

/// Whether the text is `owner/repo` in the characters GitHub allows.
pub(super) fn is_full_name(text: &str) -> bool {
    let Some((owner, repository)) = text.split_once('/') else { return false };
    let plain = |part: &str, extra: &[char]| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(&c))
    };
    owner.len() <= 100
        && plain(owner, &['-', '_'])
        && repository.len() <= 100
        && plain(repository, &['-', '_', '.'])
        && !matches!(repository, "." | "..")
        && !repository.ends_with(".git")
}

/// A token goes into a header: printable ASCII without spaces. Its length and prefix are GitHub's affair.
pub(super) fn check_token(token: &SecretString) -> Result<(), Invalid> {
    let token = token.expose_secret();
    if token.is_empty() || token.len() > 4096 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Invalid::one(
            "/credentials/token",
            "must be a token: printable characters without spaces",
        ));
    }
    Ok(())
}

/// An app's id goes into a signed statement, and its key must be able to sign it.
pub(super) fn check_app(app_id: &str, private_key: &SecretString) -> Result<(), Invalid> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, message: String| {
        errors.push(FieldError { pointer: pointer.into(), message, allowed: Vec::new() });
    };
    if app_id.is_empty() || app_id.len() > 100 || !app_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        wrong("/credentials/app_id", "must be the app's client id or its number".into());
    }
    if let Err(message) = super::app::check_key(private_key) {
        wrong("/credentials/private_key", message);
    }
    Invalid::collect(errors)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_take_their_normal_form() {
        for (given, normal) in [
            (json!(null), json!({})),
            (json!({}), json!({})),
            (
                json!({"repositories": [" a/b", "A/B", "c-d/e.f_g"]}),
                json!({"repositories": ["a/b", "c-d/e.f_g"]}),
            ),
            (json!({"streams": ["details", "issues", "issues"]}), json!({"streams": ["issues", "details"]})),
            (json!({"projects": ["acme/5", " acme/5"]}), json!({"projects": ["acme/5"]})),
            (json!({"projects": []}), json!({})),
        ] {
            let checked = Settings::check(&given).unwrap();
            assert_eq!(checked.to_value(), normal);
            assert_eq!(Settings::check(&normal).unwrap(), checked);
        }
    }

    #[test]
    fn every_mistake_in_settings_is_named_by_its_pointer() {
        let error = Settings::check(&json!({
            "repos": [], "repositories": ["ok/ok", "https://github.com/a/b", 7, "a/..", "a/b.git", "a/b/c"],
            "streams": ["issues", "wikis"]
        }))
        .unwrap_err();
        let pointers: Vec<&str> = error.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/settings/repos",
                "/settings/repositories/1",
                "/settings/repositories/2",
                "/settings/repositories/3",
                "/settings/repositories/4",
                "/settings/repositories/5",
                "/settings/streams/1"
            ]
        );
        assert_eq!(error.errors[0].allowed, ["projects", "repositories", "streams"]);
        let error =
            Settings::check(&json!({"projects": ["acme/5", "acme", "acme/0", "a b/1", 5]})).unwrap_err();
        assert_eq!(error.errors.len(), 4);
        assert!(Settings::check(&json!({"repositories": []})).is_err());
        assert!(Settings::check(&json!([])).is_err());
    }

    #[test]
    fn the_repository_stream_is_always_read() {
        let settings = Settings::check(&json!({"streams": ["issues"]})).unwrap();
        let names: Vec<String> = settings.streams().iter().map(|spec| spec.name.to_string()).collect();
        assert_eq!(names, ["repository", "issues"]);
        assert!(!settings.reads(Stream::Details));
    }
}
