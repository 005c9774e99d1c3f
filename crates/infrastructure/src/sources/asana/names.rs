//! Names of people by gid. Where a task says who made it, Asana tells the gid alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use application::ports::{SourceError, SourceErrorKind};
use domain::InstanceId;
use futures::{StreamExt, stream};
use moka::sync::Cache;

use super::api::{Api, CONCURRENCY};
use super::model::Named;

const MOST_NAMES: u64 = 100_000;

/// The names met last, of all instances.
#[derive(Debug, Clone)]
pub(super) struct Names(Cache<(InstanceId, String), Arc<str>>);

impl Names {
    pub(super) fn new() -> Self {
        Self(Cache::new(MOST_NAMES))
    }

    pub(super) fn learn(&self, instance: InstanceId, user: &Named) {
        if !user.name.is_empty() {
            let key = (instance, user.gid.clone());
            if self.0.get(&key).is_none_or(|known| *known != *user.name) {
                self.0.insert(key, user.name.as_str().into());
            }
        }
    }

    /// Empty for somebody who is no longer there.
    pub(super) fn of(&self, instance: InstanceId, gid: &str) -> Option<Arc<str>> {
        self.0.get(&(instance, gid.to_owned()))
    }
}

/// Asks for the names that are not known yet.
pub(super) async fn learn_names(api: &Api<'_>, gids: BTreeSet<String>) -> Result<(), SourceError> {
    let unknown = gids.into_iter().filter(|gid| api.names().of(api.instance(), gid).is_none());
    each(unknown.map(|gid| learn_name(api, gid)).collect()).await.1.map_or(Ok(()), Err)
}

async fn learn_name(api: &Api<'_>, gid: String) -> Result<(), SourceError> {
    let what = format!("the user {gid}");
    match api.get::<Named>(&format!("/users/{gid}"), &[("opt_fields", "name")], &what).await {
        Ok(user) => api.names().learn(api.instance(), &user),
        Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) => {
            api.names().0.insert((api.instance(), gid), "".into());
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Runs several requests at once, and hands over their results in order; nothing new is sent after a failure.
pub(super) async fn each<R, F>(requests: Vec<F>) -> (Vec<R>, Option<SourceError>)
where
    F: Future<Output = Result<R, SourceError>>,
{
    let mut results = stream::iter(requests).buffered(CONCURRENCY);
    let mut done = Vec::new();
    while let Some(result) = results.next().await {
        match result {
            Ok(value) => done.push(value),
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}
