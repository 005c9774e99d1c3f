//! Finding people by a part of their name.

use application::ports::{LiveUser, LiveUsersAsk, SourceError};
use serde::Deserialize;

use super::super::api::Api;
use super::super::model::User;

#[derive(Deserialize)]
struct Found {
    #[serde(flatten)]
    user: User,
    #[serde(default = "yes")]
    active: bool,
}

const fn yes() -> bool {
    true
}

/// Data Center knows people by their login, Cloud by an account id.
pub(super) async fn find(api: &Api<'_>, ask: &LiveUsersAsk<'_>) -> Result<Vec<LiveUser>, SourceError> {
    let size = ask.limit.to_string();
    let name = if api.is_cloud() { "query" } else { "username" };
    let mut query = vec![(name, ask.query), ("maxResults", size.as_str())];
    let path = match ask.project {
        Some(project) => {
            query.push(("project", project));
            "/user/assignable/search"
        }
        None => "/user/search",
    };
    let what = "people";
    let found: Vec<Found> = api.get(&api.rest(path), &query, what).await?.json(what)?;
    let told = found.into_iter().filter_map(|Found { user, active }| {
        let id = user.account_id.or(user.name).or(user.key)?;
        Some(LiveUser { name: user.display_name.unwrap_or_else(|| id.clone()), id, active })
    });
    Ok(told.take(ask.limit).collect())
}
