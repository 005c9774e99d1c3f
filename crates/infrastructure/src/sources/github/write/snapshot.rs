//! An issue or pull request as it stands before or after a write.

use application::ports::{SourceError, SourceErrorKind};
use chrono::{DateTime, Utc};
use domain::{ChangedField, WrittenItem};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::api::Api;
use super::super::{malformed, marker};
use super::names::Target;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Snapshot {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    #[serde(default)]
    body: Option<String>,
    pub(super) html_url: String,
    #[serde(default)]
    repository_url: Option<String>,
    pub(super) state: String,
    #[serde(default)]
    pub(super) state_reason: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    assignees: Option<Vec<Login>>,
    #[serde(default)]
    milestone: Option<Milestone>,
    #[serde(default, rename = "type")]
    kind: Option<Name>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    #[serde(default)]
    pull_request: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Label {
    Named(Name),
    Plain(String),
}

#[derive(Debug, Clone, Deserialize)]
struct Name {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Login {
    login: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Milestone {
    pub(super) number: u64,
    pub(super) title: String,
}

/// A comment, as far as a write needs it.
#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) body: Option<String>,
    pub(super) updated_at: DateTime<Utc>,
}

impl Snapshot {
    pub(super) fn read(text: &str, what: &str) -> Result<Self, SourceError> {
        serde_json::from_str(text)
            .map_err(|error| malformed(format!("GitHub's answer for {what} is not an issue ({error})")))
    }

    pub(super) async fn fetch(api: &Api<'_>, target: &Target) -> Result<Self, SourceError> {
        let what = target.to_string();
        let url = api.url(&format!("/repos/{}/issues/{}", target.repository, target.number))?;
        Self::read(&api.get(&url, None, &what).await?.text(), &what)
    }

    pub(super) fn is_pull_request(&self) -> bool {
        self.pull_request.is_some()
    }

    /// The text with what writes left behind it.
    pub(super) fn marked_body(&self) -> &str {
        self.body.as_deref().unwrap_or_default()
    }

    pub(super) fn body(&self) -> &str {
        marker::strip(self.marked_body())
    }

    pub(super) fn labels(&self) -> Vec<String> {
        let name = |label: &Label| match label {
            Label::Named(label) => label.name.clone(),
            Label::Plain(name) => name.clone(),
        };
        self.labels.iter().map(name).collect()
    }

    pub(super) fn assignees(&self) -> Vec<String> {
        self.assignees.iter().flatten().map(|user| user.login.clone()).collect()
    }

    pub(super) fn milestone(&self) -> Option<&Milestone> {
        self.milestone.as_ref()
    }

    pub(super) fn item_type(&self) -> Option<&str> {
        self.kind.as_ref().map(|kind| kind.name.as_str())
    }

    /// Refuses when it was changed after the moment that the caller knows it at. GitHub tells times to the second.
    pub(super) fn require_unchanged(
        &self,
        target: &Target,
        since: Option<DateTime<Utc>>,
    ) -> Result<(), SourceError> {
        match since {
            Some(since) if self.updated_at > since => Err(SourceError::new(
                SourceErrorKind::Conflict,
                format!(
                    "{target} was changed at {}, after {since}: read it again, then decide",
                    self.updated_at
                ),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn written(
        &self,
        target: &Target,
        changed: Vec<ChangedField>,
        warnings: Vec<String>,
    ) -> WrittenItem {
        let repository = self.repository_url.as_ref().and_then(|url| url.split_once("/repos/"));
        let repository = repository.map_or(target.repository.as_str(), |(_, name)| name);
        WrittenItem {
            source_id: self.id.to_string(),
            key: format!("{repository}#{}", self.number),
            url: self.html_url.clone(),
            changed,
            updated_at: Some(self.updated_at),
            warnings,
            ..WrittenItem::default()
        }
    }

    /// What a comment made of it.
    pub(super) fn commented(&self, target: &Target, comment: &Comment) -> WrittenItem {
        let text = marker::strip(comment.body.as_deref().unwrap_or_default());
        let added = ChangedField { field: "comment".into(), from: Value::Null, to: json!(text) };
        WrittenItem {
            comment_id: Some(comment.id.to_string()),
            updated_at: Some(self.updated_at.max(comment.updated_at)),
            ..self.written(target, vec![added], Vec::new())
        }
    }
}
