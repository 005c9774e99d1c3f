//! User objects, schema `simple-user` of GitHub's OpenAPI description.

use serde_json::{Value, json};

use super::fragments::{API, WEB};

/// The user object of a login.
pub(crate) fn person(login: &str, id: u64) -> Value {
    let api = format!("{API}/users/{login}");
    json!({
        "login": login,
        "id": id,
        "node_id": format!("U_kgDO{id:08x}"),
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
        "gravatar_id": "",
        "url": api,
        "html_url": format!("{WEB}/{login}"),
        "followers_url": format!("{api}/followers"),
        "following_url": format!("{api}/following{{/other_user}}"),
        "gists_url": format!("{api}/gists{{/gist_id}}"),
        "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{api}/subscriptions"),
        "organizations_url": format!("{api}/orgs"),
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events{{/privacy}}"),
        "received_events_url": format!("{api}/received_events"),
        "type": "User",
        "user_view_type": "public",
        "site_admin": false
    })
}

/// An id for a login nobody gave one: stable, and far from ids of real or generated people.
pub(crate) fn id_of(login: &str) -> u64 {
    login.bytes().fold(5_381, |hash: u64, byte| (hash * 33 + u64::from(byte)) % 90_000_000) + 900_000_000
}
