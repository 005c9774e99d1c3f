//! What of GitHub to read: `{"repositories": ["owner/repo", …], "streams": ["issues", …]}`, both optional.

use std::collections::HashSet;

use application::ports::{StreamScope, StreamSpec};
use domain::{FieldError, Invalid, StreamName};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

const ALLOWED_KEYS: [&str; 2] = ["repositories", "streams"];
const MAX_REPOSITORIES: usize = 500;
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
}

impl Stream {
    const ALL: [Self; 8] = [
        Self::Repository,
        Self::Labels,
        Self::Milestones,
        Self::Users,
        Self::Issues,
        Self::Comments,
        Self::ReviewComments,
        Self::Details,
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
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }

    fn spec(self) -> StreamSpec {
        let scope = match self {
            Self::Details => StreamScope::PendingItems { batch: DETAILS_PER_PAGE },
            _ => StreamScope::Project,
        };
        let reload = matches!(self, Self::Repository | Self::Labels | Self::Milestones | Self::Users);
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
                message: "is not a setting of GitHub".into(),
                allowed: ALLOWED_KEYS.map(String::from).to_vec(),
            });
        }
        let repositories = object.get("repositories").and_then(|list| check_repositories(list, &mut errors));
        let selected = object.get("streams").and_then(|list| check_streams(list, &mut errors));
        Invalid::collect(errors)?;
        Ok(Self { repositories, selected })
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
        if let Some(selected) = &self.selected {
            let names: Vec<&str> = selected.iter().map(|stream| stream.name()).collect();
            object.insert("streams".into(), json!(names));
        }
        Value::Object(object)
    }

    pub(super) fn reads(&self, stream: Stream) -> bool {
        stream == Stream::Repository
            || self.selected.as_ref().is_none_or(|selected| selected.contains(&stream))
    }

    pub(super) fn streams(&self) -> Vec<StreamSpec> {
        Stream::ALL.into_iter().filter(|stream| self.reads(*stream)).map(Stream::spec).collect()
    }
}

fn check_repositories(list: &Value, errors: &mut Vec<FieldError>) -> Option<Vec<String>> {
    if list.is_null() {
        return None;
    }
    let mut wrong = |pointer: String, message: &str| {
        errors.push(FieldError { pointer, message: message.into(), allowed: Vec::new() });
    };
    let Some(list) = list.as_array().filter(|list| !list.is_empty() && list.len() <= MAX_REPOSITORIES) else {
        wrong(
            "/settings/repositories".into(),
            "must be a list of 1 to 500 names like \"owner/repo\"; leave it out for every repository the token sees",
        );
        return None;
    };
    let mut seen = HashSet::new();
    let mut names = Vec::with_capacity(list.len());
    for (i, entry) in list.iter().enumerate() {
        match entry.as_str().map(str::trim).filter(|name| is_full_name(name)) {
            Some(name) if seen.insert(name.to_lowercase()) => names.push(name.to_owned()),
            Some(_) => {}
            None => wrong(
                format!("/settings/repositories/{i}"),
                "must have the form owner/repo, without https://github.com/ before or .git behind it",
            ),
        }
    }
    Some(names)
}

fn check_streams(list: &Value, errors: &mut Vec<FieldError>) -> Option<Vec<Stream>> {
    if list.is_null() {
        return None;
    }
    let mut wrong = |pointer: String, message: &str| {
        let allowed = Stream::ALL.map(|stream| stream.name().to_owned()).to_vec();
        errors.push(FieldError { pointer, message: message.into(), allowed });
    };
    let Some(list) = list.as_array().filter(|list| !list.is_empty()) else {
        wrong("/settings/streams".into(), "must be a list of streams; leave it out for all of them");
        return None;
    };
    let mut chosen = Vec::new();
    for (i, entry) in list.iter().enumerate() {
        match entry.as_str().and_then(Stream::parse) {
            Some(stream) => chosen.push(stream),
            None => wrong(format!("/settings/streams/{i}"), "is not a stream of GitHub"),
        }
    }
    Some(Stream::ALL.into_iter().filter(|stream| chosen.contains(stream)).collect())
}

/// Whether the text is `owner/repo` in the characters GitHub allows.
fn is_full_name(text: &str) -> bool {
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
        assert_eq!(error.errors[0].allowed, ["repositories", "streams"]);
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
