//! The issue that an issue is a part of. <https://docs.github.com/en/rest/issues/sub-issues>

use application::ports::{SourceError, SourceErrorKind};
use domain::ChangedField;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::super::api::Api;
use super::names::Target;
use super::pace::Turn;

#[derive(Deserialize)]
struct ParentAnswer {
    number: u64,
    repository_url: String,
}

/// The parent an issue has.
pub(super) async fn find(api: &Api<'_>, target: &Target) -> Result<Option<Target>, SourceError> {
    let what = format!("the parent of {target}");
    let url = api.url(&format!("/repos/{}/issues/{}/parent", target.repository, target.number))?;
    let answer = match api.get(&url, None, &what).await {
        Ok(answer) => answer,
        Err(error) if error.kind == SourceErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = answer.text();
    let parent: ParentAnswer = serde_json::from_str(&text)
        .map_err(|error| super::malformed(format!("GitHub's answer for {what} is not an issue ({error})")))?;
    let repository = parent.repository_url.split_once("/repos/").map(|(_, name)| name.to_owned());
    Ok(repository.map(|repository| Target { repository, number: parent.number }))
}

/// Makes an issue a part of another.
pub(super) async fn set(api: &Api<'_>, turn: &mut Turn, id: u64, parent: &Target) -> Result<(), SourceError> {
    let Target { repository, number } = parent;
    let url = api.url(&format!("/repos/{repository}/issues/{number}/sub_issues"))?;
    let body = json!({"sub_issue_id": id, "replace_parent": true});
    turn.change(api, Method::POST, &url, Some(&body), &format!("the sub-issues of {parent}")).await.map(drop)
}

/// Takes an issue out of another.
pub(super) async fn leave(
    api: &Api<'_>,
    turn: &mut Turn,
    id: u64,
    parent: &Target,
) -> Result<(), SourceError> {
    let url = api.url(&format!("/repos/{}/issues/{}/sub_issue", parent.repository, parent.number))?;
    let body = json!({"sub_issue_id": id});
    turn.change(api, Method::DELETE, &url, Some(&body), &format!("the sub-issues of {parent}"))
        .await
        .map(drop)
}

/// What is told of it.
pub(super) fn changed(from: Option<&Target>, to: Option<&Target>) -> ChangedField {
    let key = |target: Option<&Target>| json!(target.map(ToString::to_string));
    ChangedField { field: "parent".into(), from: key(from), to: key(to) }
}
