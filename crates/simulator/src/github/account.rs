//! What concerns the caller: `GET /user`, `/rate_limit`, `/user/repos`, and `/meta`.

use serde_json::json;

use super::call::Call;
use super::reply::Reply;
use crate::dataset::person::{id_of, person};
use crate::timestamp::now_ms;

pub(super) fn get(call: &Call<'_>, path: &[&str]) -> Result<Reply, Reply> {
    match path {
        ["user"] => Ok(user(call)),
        ["user", "repos"] => repositories(call),
        ["rate_limit"] => Ok(rate_limit(call)),
        ["meta"] => Ok(Reply::json(&json!({"verifiable_password_authentication": false, "domains": {}}))),
        _ => Err(Reply::not_found()),
    }
}

/// <https://docs.github.com/rest/users/users#get-the-authenticated-user>
fn user(call: &Call<'_>) -> Reply {
    let login = &call.grant.login;
    let world = call.shared.world();
    let known =
        world.repositories().flat_map(|repository| &repository.people).find(|one| one["login"] == **login);
    let mut user = known.cloned().unwrap_or_else(|| person(login, id_of(login)));
    user["name"] = json!(login);
    user["created_at"] = json!("2019-03-04T09:00:00Z");
    Reply::json(&user)
}

/// <https://docs.github.com/rest/rate-limit/rate-limit>
fn rate_limit(call: &Call<'_>) -> Reply {
    let budget = call.shared.limits().budget(&call.grant.token, now_ms());
    let remaining = budget.limit.saturating_sub(budget.used);
    let core =
        json!({"limit": budget.limit, "used": budget.used, "remaining": remaining, "reset": budget.reset});
    Reply::json(&json!({"resources": {"core": core, "search": core, "graphql": core}, "rate": core}))
}

/// <https://docs.github.com/rest/repos/repos#list-repositories-for-the-authenticated-user>
fn repositories(call: &Call<'_>) -> Result<Reply, Reply> {
    call.choice("Repository", "visibility", &["all", "public", "private"])?;
    call.choice("Repository", "type", &["all", "owner", "public", "private", "member"])?;
    let sort = call.choice("Repository", "sort", &["full_name", "created", "updated", "pushed"])?;
    // Ascending by name unless told otherwise, else newest first.
    let first = if sort == "full_name" { ["asc", "desc"] } else { ["desc", "asc"] };
    let direction = call.choice("Repository", "direction", &first)?;
    let world = call.shared.world();
    let mut seen: Vec<_> = world.repositories().filter(|repository| call.sees(repository)).collect();
    seen.sort_by_key(|repository| repository.full_name.to_lowercase());
    if sort != "full_name" {
        let key = format!("{sort}_at");
        seen.sort_by_cached_key(|repository| {
            repository.value(&repository.object.to_string())[&key].as_str().unwrap_or_default().to_owned()
        });
    }
    if direction == "desc" {
        seen.reverse();
    }
    Ok(call.page(&seen, |repository, out| {
        repository.fragments.expand_into(&repository.object.to_string(), out);
    }))
}
