//! Comments.

use application::ports::SourceError;
use domain::{NewComment, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::api::{Api, segment};
use super::super::malformed;
use super::super::time::Time;
use super::issue::Issue;
use super::text::Written;
use super::{property, rejected, send, text};

/// How Jira Service Management tells comments for its customers from those among agents
/// (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-comments/>).
const PUBLIC: &str = "sd.public.comment";

#[derive(Deserialize)]
struct Created {
    id: String,
    #[serde(default)]
    updated: Option<Time>,
}

/// Adds a comment with the marker on it, in one request.
pub(super) async fn add(
    api: &Api<'_>,
    key: &str,
    comment: &NewComment,
    marker: &str,
) -> Result<WrittenItem, SourceError> {
    if comment.body.trim().is_empty() {
        return Err(rejected("/body", "a comment needs a text"));
    }
    let issue = Issue::read(api, key, &["project"]).await?;
    issue.require_selected(api)?;
    let desk = issue.field("project").get("projectTypeKey").and_then(Value::as_str) == Some("service_desk");
    if comment.internal && !desk {
        // Elsewhere the property means nothing, and everybody would read what was meant for few.
        return Err(rejected(
            "/internal",
            format!(
                "{} is not in a Jira Service Management project: its comments cannot be internal",
                issue.key
            ),
        ));
    }
    let text = match comment.documents {
        true => text::document_of(api.dialect(), &comment.body, "/body")?,
        false => text::new(api.dialect(), &comment.body),
    };
    let mut properties = vec![property(marker)];
    if comment.internal {
        properties.push(json!({"key": PUBLIC, "value": {"internal": true}}));
    }
    post(api, &issue, text, properties, "/body").await
}

/// Adds a comment with these properties; `pointer` says where in what was asked its text stands.
pub(super) async fn post(
    api: &Api<'_>,
    issue: &Issue,
    written: Written,
    properties: Vec<Value>,
    pointer: &str,
) -> Result<WrittenItem, SourceError> {
    let body = json!({"body": written.value, "properties": properties});
    let path = api.rest(&format!("/issue/{}/comment", segment(&issue.key)));
    let pointers = ["body", "comment"].map(|name| (name.to_owned(), pointer.to_owned())).into();
    let what = format!("a comment on {}", issue.key);
    let answer = send::change(api, Method::POST, &path, &body, &pointers, &what).await?;
    let created: Created = serde_json::from_slice(&answer.body).map_err(|error| {
        malformed(format!("Jira's answer for a comment is not what it should be ({error})"))
    })?;
    let updated_at = created.updated.map(|time| time.0);
    let told = WrittenItem { updated_at, warnings: written.warnings, ..issue.written(api) };
    Ok(with_comment(told, api, created.id))
}

/// Names the comment in what is told of a write.
pub(super) fn with_comment(told: WrittenItem, api: &Api<'_>, id: String) -> WrittenItem {
    let url = format!("{}?focusedCommentId={id}", api.browse(&told.key));
    WrittenItem { url, comment_id: Some(id), ..told }
}
