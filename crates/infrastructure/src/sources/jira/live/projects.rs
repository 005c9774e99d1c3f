//! The projects that may be seen, a page of them, and their ids.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use application::ports::{LiveProject, LiveProjects, LiveProjectsAsk, SourceError};
use domain::{Cursor, InstanceId};
use moka::future::Cache;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::super::api::Api;
use super::super::model::{Named, text_or_number};
use super::unknown_position;

/// Keys in one request.
const KEYS: usize = 50;
/// A few hundred bytes for each project.
const MOST_LISTS: u64 = 1_000;
/// A new or renamed project is there after this time.
const KNOWN_FOR: Duration = Duration::from_secs(5 * 60);

/// A project that may be seen.
#[derive(Debug, Clone)]
pub(in super::super) struct Seen {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) name: String,
    pub(super) issue_types: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default, deserialize_with = "text_or_number")]
    id: Option<String>,
    key: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    issue_types: Vec<Named>,
}

impl Listed {
    fn into_seen(self) -> Option<Seen> {
        // It is put into queries as a number.
        let id = self.id.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))?;
        let issue_types = self.issue_types.into_iter().filter_map(|kind| kind.name).collect();
        Some(Seen { id, name: self.name.unwrap_or_else(|| self.key.clone()), key: self.key, issue_types })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListPage {
    #[serde(default)]
    values: Vec<Listed>,
    #[serde(default)]
    is_last: Option<bool>,
}

type Key = (InstanceId, Url, BTreeSet<String>);

/// The projects of keys, as of a few minutes ago.
#[derive(Debug)]
pub(in super::super) struct SeenProjects(Cache<Key, Arc<Vec<Seen>>>);

impl SeenProjects {
    pub(in super::super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST_LISTS).time_to_live(KNOWN_FOR).build())
    }

    /// Those of these keys that the account sees, by key.
    pub(super) async fn find(
        &self,
        api: &Api<'_>,
        keys: &BTreeSet<String>,
    ) -> Result<Arc<Vec<Seen>>, SourceError> {
        if keys.is_empty() {
            return Ok(Arc::default());
        }
        let key = (api.connection.instance, api.connection.base_url.clone(), keys.clone());
        let asked = self.0.try_get_with(key, async { of_keys(api, keys).await.map(Arc::new) }).await;
        asked.map_err(|error| SourceError::clone(&error))
    }
}

const WHAT: &str = "the projects";

async fn of_keys(api: &Api<'_>, keys: &BTreeSet<String>) -> Result<Vec<Seen>, SourceError> {
    let mut seen = Vec::new();
    if api.is_cloud() {
        // A grant may name projects of other trackers, too.
        let plain = |key: &&String| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let keys: Vec<&String> = keys.iter().filter(plain).collect();
        let size = KEYS.to_string();
        for some in keys.chunks(KEYS) {
            let mut query = vec![("maxResults", size.as_str()), ("orderBy", "key"), ("expand", "issueTypes")];
            query.extend(some.iter().map(|key| ("keys", key.as_str())));
            let page: ListPage = api.get(&api.rest("/project/search"), &query, WHAT).await?.json(WHAT)?;
            seen.extend(page.values.into_iter().filter_map(Listed::into_seen));
        }
    } else {
        seen = all(api).await?;
    }
    seen.retain(|project| keys.contains(&project.key));
    seen.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(seen)
}

/// Data Center knows no pages of projects.
async fn all(api: &Api<'_>) -> Result<Vec<Seen>, SourceError> {
    let listed: Vec<Listed> =
        api.get(&api.rest("/project"), &[("expand", "issueTypes")], WHAT).await?.json(WHAT)?;
    let mut seen: Vec<Seen> = listed.into_iter().filter_map(Listed::into_seen).collect();
    seen.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(seen)
}

/// Where a list goes on: behind a key, or at a number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    start: Option<usize>,
}

/// One page of projects.
pub(super) async fn list(
    api: &Api<'_>,
    known: &SeenProjects,
    ask: &LiveProjectsAsk<'_>,
) -> Result<LiveProjects, SourceError> {
    let from = ask.from.map(|Cursor(cursor)| Position::deserialize(cursor)).transpose();
    let from = from.map_err(|_| unknown_position())?;
    match ask.within.as_list() {
        Some(keys) => Ok(page(known.find(api, keys).await?.to_vec(), ask, from)),
        None if api.is_cloud() => by_number(api, ask, from.and_then(|from| from.start).unwrap_or(0)).await,
        None => Ok(page(all(api).await?, ask, from)),
    }
}

fn page(mut seen: Vec<Seen>, ask: &LiveProjectsAsk<'_>, from: Option<Position>) -> LiveProjects {
    let query = ask.query.unwrap_or_default().to_lowercase();
    let after = from.and_then(|from| from.after);
    seen.retain(|project| {
        (project.key.to_lowercase().contains(&query) || project.name.to_lowercase().contains(&query))
            && after.as_ref().is_none_or(|after| project.key > *after)
    });
    let more = seen.len() > ask.limit;
    seen.truncate(ask.limit);
    let next = seen.last().filter(|_| more).map(|last| Cursor(json!({"after": last.key})));
    LiveProjects { projects: seen.into_iter().map(told).collect(), next }
}

async fn by_number(
    api: &Api<'_>,
    ask: &LiveProjectsAsk<'_>,
    start: usize,
) -> Result<LiveProjects, SourceError> {
    let (from, size) = (start.to_string(), ask.limit.to_string());
    let mut query = vec![
        ("startAt", from.as_str()),
        ("maxResults", size.as_str()),
        ("orderBy", "key"),
        ("expand", "issueTypes"),
    ];
    query.extend(ask.query.map(|query| ("query", query)));
    let page: ListPage = api.get(&api.rest("/project/search"), &query, WHAT).await?.json(WHAT)?;
    let given = page.values.len();
    let next = (page.is_last == Some(false) && given > 0).then(|| Cursor(json!({"start": start + given})));
    let projects = page.values.into_iter().filter_map(Listed::into_seen).map(told).collect();
    Ok(LiveProjects { projects, next })
}

fn told(project: Seen) -> LiveProject {
    LiveProject { key: project.key, name: project.name, issue_types: project.issue_types }
}
