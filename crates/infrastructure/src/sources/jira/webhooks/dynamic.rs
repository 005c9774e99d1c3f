//! Webhooks that an OAuth app registers for itself: found, renewed before they lapse, and taken away.
//! <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-webhooks/>

use application::ports::{Clock, Connection, Registration, SourceAdapter, SourceError, SourceErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::super::api::Api;
use super::super::time::Time;
use super::super::{Jira, malformed};
use crate::clock::SystemClock;

/// All that can be registered this way and points at items.
const EVENTS: [&str; 6] = [
    "jira:issue_created",
    "jira:issue_updated",
    "jira:issue_deleted",
    "comment_created",
    "comment_updated",
    "comment_deleted",
];
/// How long a webhook lives after it was made or renewed.
const LIFETIME: TimeDelta = TimeDelta::days(30);
/// Keys in one filter; beyond them the search that filters gets slow and its text long.
const MOST_PROJECTS: usize = 500;
/// Pages of webhooks of one app; 100 a page.
const MOST_PAGES: usize = 10;
const WHAT: &str = "the app's webhooks";

/// What [`Registration::remote`] holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Remote {
    #[serde(default)]
    ids: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    values: Vec<Listed>,
    #[serde(default)]
    is_last: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: i64,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    jql_filter: String,
    #[serde(default)]
    events: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Results {
    #[serde(default)]
    webhook_registration_result: Vec<RegistrationResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationResult {
    #[serde(default)]
    created_webhook_id: Option<i64>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expiration {
    #[serde(default)]
    expiration_date: Option<Time>,
}

/// Sets one up for the target, or takes over the one that is there.
pub(super) async fn register(
    jira: &Jira,
    connection: &Connection,
    target: &Url,
    previous: Option<&Registration>,
) -> Result<Registration, SourceError> {
    let filter = filter(jira, connection).await?;
    let api = jira.api(connection).await?;
    let known = remote(previous).ids;
    let (mut kept, mut stale) = (None, Vec::new());
    for listed in listed(&api).await? {
        let to_target = listed.url.as_deref() == Some(target.as_str());
        if to_target && kept.is_none() && fits(&listed, &filter) {
            kept = Some(listed.id);
        } else if to_target || known.contains(&listed.id) {
            stale.push(listed.id);
        }
    }
    delete(&api, &stale).await?;
    let id = match kept {
        Some(id) => id,
        None => make(&api, target, &filter).await?,
    };
    extend(&api, vec![id]).await
}

/// Puts off the lapse. [`SourceErrorKind::NotFound`] when it is gone, or no longer of the projects that are synced.
pub(super) async fn renew(
    jira: &Jira,
    connection: &Connection,
    target: &Url,
    registration: &Registration,
) -> Result<Registration, SourceError> {
    let filter = filter(jira, connection).await?;
    let api = jira.api(connection).await?;
    let ids = remote(Some(registration)).ids;
    let listed = listed(&api).await?;
    let alive = |id: &i64| {
        listed.iter().any(|listed| {
            listed.id == *id
                && listed.url.as_deref().is_none_or(|url| url == target.as_str())
                && fits(listed, &filter)
        })
    };
    if ids.is_empty() || !ids.iter().all(alive) {
        return Err(SourceError::new(
            SourceErrorKind::NotFound,
            "Jira has lost the webhook, or it is not of the projects that are synced now",
        ));
    }
    extend(&api, ids).await
}

/// Takes them away.
pub(super) async fn unregister(
    jira: &Jira,
    connection: &Connection,
    registration: &Registration,
) -> Result<(), SourceError> {
    let api = jira.api(connection).await?;
    match delete(&api, &remote(Some(registration)).ids).await {
        Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone) => Ok(()),
        other => other,
    }
}

/// Which issues it is about. Filters of webhooks must name something, so all projects are named.
async fn filter(jira: &Jira, connection: &Connection) -> Result<String, SourceError> {
    let mut keys: Vec<String> =
        jira.list_projects(connection).await?.into_iter().map(|project| project.key).collect();
    if keys.is_empty() || keys.len() > MOST_PROJECTS {
        return Err(SourceError {
            field: Some("/settings/projects".into()),
            ..SourceError::new(
                SourceErrorKind::Rejected,
                format!(
                    "a webhook can be about 1 to {MOST_PROJECTS} projects, and the account sees {}: name those to be \
                     synced in the settings",
                    keys.len()
                ),
            )
        });
    }
    keys.sort_unstable();
    Ok(filter_of(&keys))
}

fn filter_of(keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{}\"", key.replace(['"', '\\'], ""))).collect();
    format!("project IN ({})", keys.join(", "))
}

fn fits(listed: &Listed, filter: &str) -> bool {
    listed.jql_filter == filter && EVENTS.iter().all(|event| listed.events.iter().any(|known| known == event))
}

fn remote(registration: Option<&Registration>) -> Remote {
    registration.and_then(|known| Remote::deserialize(&known.remote).ok()).unwrap_or_default()
}

async fn listed(api: &Api<'_>) -> Result<Vec<Listed>, SourceError> {
    let mut all = Vec::new();
    for _ in 0..MOST_PAGES {
        let start = all.len().to_string();
        let query = [("startAt", start.as_str()), ("maxResults", "100")];
        let page: Page = api.get(&api.rest("/webhook"), &query, WHAT).await?.json(WHAT)?;
        let last = page.values.is_empty() || page.is_last != Some(false);
        all.extend(page.values);
        if last {
            break;
        }
    }
    Ok(all)
}

async fn make(api: &Api<'_>, target: &Url, filter: &str) -> Result<i64, SourceError> {
    let body = json!({"url": target.as_str(), "webhooks": [{"events": EVENTS, "jqlFilter": filter}]});
    let results: Results = api.post(&api.rest("/webhook"), &body, WHAT).await?.json(WHAT)?;
    let result = results.webhook_registration_result.into_iter().next();
    let result = result.ok_or_else(|| malformed("Jira does not say what became of the webhook"))?;
    result.created_webhook_id.ok_or_else(|| {
        let said: String =
            result.errors.join("; ").chars().filter(|c| !c.is_control()).take(300).collect();
        SourceError::new(
            SourceErrorKind::Rejected,
            format!(
                "Jira does not set up the webhook ({said}). An app has one address for all its webhooks, which must \
                 begin with a callback URL of the app in Atlassian's developer console"
            ),
        )
    })
}

/// Puts off the lapse of webhooks, and tells until when.
async fn extend(api: &Api<'_>, ids: Vec<i64>) -> Result<Registration, SourceError> {
    let body = json!({"webhookIds": ids});
    let answer = api.ask(Method::PUT, &api.rest("/webhook/refresh"), &[], Some(&body), WHAT).await?;
    let until: Option<DateTime<Utc>> =
        answer.json::<Expiration>(WHAT).ok().and_then(|told| told.expiration_date).map(|time| time.0);
    // Jira's documentation shows a text, and its description a number; whatever comes, the lifetime is known.
    let expires_at = until.or_else(|| SystemClock.now().checked_add_signed(LIFETIME));
    Ok(Registration { remote: json!(Remote { ids }), expires_at })
}

async fn delete(api: &Api<'_>, ids: &[i64]) -> Result<(), SourceError> {
    if ids.is_empty() {
        return Ok(());
    }
    let body = json!({"webhookIds": ids});
    api.ask(Method::DELETE, &api.rest("/webhook"), &[], Some(&body), WHAT).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_there_fits_when_projects_and_events_are_the_same() {
        let filter = filter_of(&["ENG".into(), "OPS".into()]);
        assert_eq!(filter, r#"project IN ("ENG", "OPS")"#);
        let mut there: Listed =
            serde_json::from_value(json!({"id": 1, "jqlFilter": filter, "events": EVENTS})).unwrap();
        assert!(fits(&there, &filter));
        assert!(!fits(&there, &filter_of(&["ENG".into()])));
        there.events.pop();
        assert!(!fits(&there, &filter));
    }

    #[test]
    fn an_end_is_read_as_number_and_as_text() {
        for body in
            [r#"{"expirationDate":1559393550000}"#, r#"{"expirationDate":"2019-06-01T12:52:30.000+0000"}"#]
        {
            let told: Expiration = serde_json::from_str(body).unwrap();
            assert_eq!(told.expiration_date.unwrap().0.to_rfc3339(), "2019-06-01T12:52:30+00:00");
        }
    }
}
