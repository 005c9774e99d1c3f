//! Who watches an issue.

use application::ports::{Look, SourceError};
use domain::{ChangedField, Watching, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::super::api::{Api, segment};
use super::super::model::User;
use super::issue::Issue;
use super::look::found;
use super::people::{self, Among};
use super::{Mode, send};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Watchers {
    #[serde(default)]
    watch_count: usize,
    #[serde(default)]
    watchers: Vec<User>,
}

/// An issue, a person, and whether the one is watched by the other.
struct There {
    issue: Issue,
    person: User,
    /// `None` where Jira does not say: an account that may not see watchers is shown their number only.
    watches: Option<bool>,
}

impl There {
    async fn read(api: &Api<'_>, key: &str, asked: &Watching) -> Result<Self, SourceError> {
        let issue = Issue::read(api, key, &[]).await?;
        issue.require_selected(api)?;
        let person = people::find_user(api, Among::Viewers(&issue.key), &asked.user, "/user").await?;
        let what = format!("the watchers of {}", issue.key);
        let seen: Watchers = api.get(&path(api, &issue.key), &[], &what).await?.json(&what)?;
        let watches = if seen.watchers.iter().any(|one| one.is(&person)) {
            Some(true)
        } else {
            (seen.watchers.len() >= seen.watch_count).then_some(false)
        };
        Ok(Self { issue, person, watches })
    }
}

/// Makes somebody a watcher, or no longer.
pub(super) async fn set(
    api: &Api<'_>,
    key: &str,
    asked: &Watching,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let There { issue, person, watches } = There::read(api, key, asked).await?;
    let name = people::name(&person).unwrap_or_else(|| asked.user.clone());
    if watches == Some(asked.watching) {
        let warning = if asked.watching { "watches the issue already" } else { "does not watch the issue" };
        return Ok(WrittenItem { warnings: vec![format!("{name} {warning}")], ..issue.written(api) });
    }
    if mode == Mode::Send {
        let what = format!("the watchers of {}", issue.key);
        // Cloud knows people by account id alone, Data Center by login
        // (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-watchers/>).
        let (parameter, id) = match &person.account_id {
            Some(id) => ("accountId", id.clone()),
            None => ("username", person.name.clone().or_else(|| person.key.clone()).unwrap_or_default()),
        };
        let path = path(api, &issue.key);
        if asked.watching {
            let pointers = [("accountId", "/user"), ("username", "/user")]
                .map(|(name, pointer)| (name.to_owned(), pointer.to_owned()))
                .into();
            send::change(api, Method::POST, &path, &Value::String(id), &pointers, &what).await?;
        } else {
            send::delete(api, &path, &[(parameter, &id)], &what).await?;
        }
    }
    let (from, to) = match asked.watching {
        true => (Value::Null, Value::String(name)),
        false => (Value::String(name), Value::Null),
    };
    let changed = vec![ChangedField { field: "watchers".to_owned(), from, to }];
    Ok(WrittenItem { changed, ..issue.written(api) })
}

/// Whether it is as was asked. What Jira does not say is done again, which does no harm.
pub(super) async fn look(api: &Api<'_>, key: &str, asked: &Watching) -> Result<Look, SourceError> {
    let there = There::read(api, key, asked).await?;
    match there.watches == Some(asked.watching) {
        true => found(there.issue.written(api)),
        false => Ok(Look::Absent),
    }
}

fn path(api: &Api<'_>, key: &str) -> String {
    api.rest(&format!("/issue/{}/watchers", segment(key)))
}
