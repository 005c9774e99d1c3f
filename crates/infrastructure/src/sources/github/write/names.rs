//! Names as people use them, looked up at GitHub.

use std::fmt;

use application::ports::{SourceError, SourceErrorKind};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::super::nearest::nearest;
use super::super::api::{Api, answer};
use super::super::malformed;
use super::super::settings::is_full_name;
use super::snapshot::{Milestone, Snapshot};

/// An issue or pull request to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) repository: String,
    pub(super) number: u64,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.repository, self.number)
    }
}

impl Target {
    /// Reads `owner/repo#12`.
    pub(super) fn parse(api: &Api<'_>, key: &str) -> Result<Self, SourceError> {
        let parts = key.trim().rsplit_once('#').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let Some((name, number)) = parts else {
            return Err(SourceError::unknown_value(
                "/key",
                format!("{key:?} is no key of a GitHub item: they have the form owner/repo#12"),
                Vec::new(),
            ));
        };
        Ok(Self { repository: repository(api, name)?, number })
    }
}

/// A repository of this instance, by name.
pub(super) fn repository(api: &Api<'_>, name: &str) -> Result<String, SourceError> {
    let name = name.trim();
    if !is_full_name(name) {
        let known = api.settings.repositories.iter().flatten().map(String::as_str);
        return Err(SourceError::unknown_value(
            "/project",
            format!("{name:?} is no repository: they are named owner/repo"),
            nearest(name, known),
        ));
    }
    match &api.settings.repositories {
        Some(names) if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) => {
            Err(SourceError::unknown_value(
                "/project",
                format!("{name} is none of the instance's repositories: an admin can add it to its settings"),
                nearest(name, names.iter().map(String::as_str)),
            ))
        }
        _ => Ok(name.to_owned()),
    }
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    is_enabled: Option<bool>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

async fn list<T: DeserializeOwned + Send>(
    api: &Api<'_>,
    path: &str,
    what: &str,
) -> Result<Vec<T>, SourceError> {
    let first = api.get(&api.url(path)?, None, what).await?;
    let mut all = Vec::new();
    api.all_pages(first, what, |text| {
        let page: Vec<T> = serde_json::from_str(text)
            .map_err(|error| malformed(format!("GitHub's list of {what} has an unknown form ({error})")))?;
        all.extend(page);
        Ok(())
    })
    .await?;
    Ok(all)
}

/// Labels by name, as they are written there.
pub(super) async fn labels(
    api: &Api<'_>,
    repository: &str,
    wanted: &[String],
) -> Result<Vec<String>, SourceError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let known: Vec<Named> = list(
        api,
        &format!("/repos/{repository}/labels?per_page=100"),
        &format!("the labels of {repository}"),
    )
    .await?;
    let find = |name: &String| {
        let found = known.iter().find(|label| label.name.eq_ignore_ascii_case(name.trim()));
        // GitHub compares labels without regard to case in every script.
        let found = found
            .or_else(|| known.iter().find(|label| label.name.to_lowercase() == name.trim().to_lowercase()));
        found.map(|label| label.name.clone()).ok_or_else(|| {
            SourceError::unknown_value(
                "/labels",
                format!("{repository} has no label {name:?}"),
                nearest(name, known.iter().map(|label| label.name.as_str())),
            )
        })
    };
    wanted.iter().map(find).collect()
}

/// Logins of people, given by login or id, that may be assigned to.
pub(super) async fn assignees(
    api: &Api<'_>,
    repository: &str,
    wanted: &[String],
) -> Result<Vec<String>, SourceError> {
    let mut logins = Vec::with_capacity(wanted.len());
    for name in wanted {
        let name = name.trim().trim_start_matches('@');
        let is_login = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'[' | b']'));
        if is_login {
            let mut url = api.url(&format!("/repos/{repository}/assignees"))?;
            if let Ok(mut path) = url.path_segments_mut() {
                path.push(name);
            }
            let response = api.send(&url, None).await?;
            if response.status == StatusCode::NO_CONTENT {
                logins.push(name.to_owned());
                continue;
            }
            if response.status != StatusCode::NOT_FOUND {
                answer(response, &format!("the assignees of {repository}"))?;
            }
        }
        let path = format!("/repos/{repository}/assignees?per_page=100");
        let what = format!("the assignees of {repository}");
        let known: Vec<User> = match list(api, &path, &what).await {
            Ok(known) => known,
            // A server without such a list takes the name or drops it, and a look afterwards tells which.
            Err(error) if error.kind == SourceErrorKind::NotFound && is_login => {
                logins.push(name.to_owned());
                continue;
            }
            Err(error) => return Err(error),
        };
        let found = known
            .iter()
            .find(|user| user.login.eq_ignore_ascii_case(name) || user.id.to_string() == name)
            .ok_or_else(|| {
                SourceError::unknown_value(
                    "/assignees",
                    format!("nobody called {name:?} can be assigned to in {repository}: give a login"),
                    nearest(name, known.iter().map(|user| user.login.as_str())),
                )
            })?;
        logins.push(found.login.clone());
    }
    Ok(logins)
}

/// A milestone by title or number.
pub(super) async fn milestone(
    api: &Api<'_>,
    repository: &str,
    wanted: &str,
) -> Result<Milestone, SourceError> {
    let path = format!("/repos/{repository}/milestones?state=all&per_page=100");
    let known: Vec<Milestone> = list(api, &path, &format!("the milestones of {repository}")).await?;
    let name = wanted.trim();
    let by_title = known.iter().find(|one| one.title.to_lowercase() == name.to_lowercase());
    by_title.or_else(|| known.iter().find(|one| one.number.to_string() == name)).cloned().ok_or_else(|| {
        SourceError::unknown_value(
            "/milestone",
            format!("{repository} has no milestone {wanted:?}"),
            nearest(name, known.iter().map(|one| one.title.as_str())),
        )
    })
}

/// A type of issue, which organizations define.
pub(super) async fn item_type(api: &Api<'_>, repository: &str, wanted: &str) -> Result<String, SourceError> {
    let owner = repository.split('/').next().unwrap_or_default();
    let what = format!("the issue types of {owner}");
    let none = || {
        SourceError::unknown_value(
            "/type",
            format!("issues of {repository} have no types: leave the type out"),
            Vec::new(),
        )
    };
    let known: Vec<Named> = match list(api, &format!("/orgs/{owner}/issue-types"), &what).await {
        Ok(known) => known,
        Err(error) if error.kind == SourceErrorKind::NotFound => return Err(none()),
        Err(error) => return Err(error),
    };
    let mut usable = known.iter().filter(|one| one.is_enabled != Some(false));
    usable
        .clone()
        .find(|one| one.name.eq_ignore_ascii_case(wanted.trim()))
        .map(|one| one.name.clone())
        .ok_or_else(|| match usable.next() {
            None => none(),
            Some(_) => SourceError::unknown_value(
                "/type",
                format!("{owner} has no issue type {wanted:?}"),
                nearest(
                    wanted,
                    known.iter().filter(|one| one.is_enabled != Some(false)).map(|one| one.name.as_str()),
                ),
            ),
        })
}

/// The item that is to be the parent.
pub(super) async fn parent(api: &Api<'_>, key: &str) -> Result<Target, SourceError> {
    let about_parent = |error: SourceError| SourceError { field: Some("/parent".into()), ..error };
    let target = Target::parse(api, key).map_err(about_parent)?;
    let found = Snapshot::fetch(api, &target).await.map_err(|error| match error.kind {
        SourceErrorKind::NotFound | SourceErrorKind::Gone => {
            SourceError::unknown_value("/parent", format!("{target} is not there: {error}"), Vec::new())
        }
        _ => error,
    })?;
    if found.is_pull_request() {
        return Err(SourceError::unknown_value(
            "/parent",
            format!("{target} is a pull request, which has no sub-issues"),
            Vec::new(),
        ));
    }
    Ok(target)
}
