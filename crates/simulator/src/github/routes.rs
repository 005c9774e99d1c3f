//! Which path is answered by what.

use axum::http::Method;

use super::call::Call;
use super::reply::Reply;
use super::{
    account, apps, catalog, comments, events, extras, graphql, hooks, issues, pulls, relations, writes,
};
use crate::dataset::item::Item;
use crate::dataset::{Gone, Repository};
use crate::world::{Lookup, World};

pub(super) fn dispatch(call: &Call<'_>) -> Result<Reply, Reply> {
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    if let Some(app) = call.app {
        return apps::dispatch(call, app, &parts);
    }
    match *parts {
        ["repos", owner, name, ref rest @ ..] => {
            let found = call.shared.world().by_name(&format!("{owner}/{name}"));
            match found {
                Lookup::Found(index) => repository(call, index, rest),
                Lookup::Renamed(id) => renamed(call, id, rest),
                Lookup::Unknown => Err(Reply::not_found()),
            }
        }
        ["repositories", id, ref rest @ ..] => {
            let found = id.parse().ok().and_then(|id| call.shared.world().by_id(id));
            repository(call, found.ok_or_else(Reply::not_found)?, rest)
        }
        ["graphql"] if *call.method == Method::POST => graphql::answer(call),
        ["installation", "repositories"] if *call.method == Method::GET => Ok(apps::repositories(call)),
        ["orgs", owner, "issue-types"] if *call.method == Method::GET => {
            let prefix = format!("{}/", owner.to_lowercase());
            let world = call.shared.world();
            let known = world.repositories().any(|one| one.full_name.to_lowercase().starts_with(&prefix));
            let types: Vec<_> = extras::TYPES.iter().filter_map(|name| extras::issue_type(name)).collect();
            if known { Ok(Reply::json(&types.into())) } else { Err(Reply::not_found()) }
        }
        ref path if *call.method == Method::GET => account::get(call, path),
        _ => Err(Reply::not_found()),
    }
}

/// <https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects>
fn renamed(call: &Call<'_>, id: u64, rest: &[&str]) -> Result<Reply, Reply> {
    let world = call.shared.world();
    let index = world.by_id(id).ok_or_else(Reply::not_found)?;
    if !call.sees(world.repository(index)) {
        return Err(Reply::not_found());
    }
    let mut location = format!("{}/repositories/{id}", call.base);
    for part in rest {
        location.push('/');
        location.push_str(part);
    }
    if !call.raw_query.is_empty() {
        location.push('?');
        location.push_str(call.raw_query);
    }
    Ok(Reply::moved(location))
}

fn repository(call: &Call<'_>, index: usize, rest: &[&str]) -> Result<Reply, Reply> {
    if !call.sees(call.shared.world().repository(index)) {
        return Err(Reply::not_found());
    }
    if let Some(reply) = hooks::dispatch(call, index, rest).or_else(|| relations::dispatch(call, index, rest))
    {
        return reply;
    }
    if *call.method != Method::GET {
        return writes::dispatch(call, index, rest);
    }
    let world = call.shared.world();
    let repository = world.repository(index);
    let item = |number: &str| item(call, &world, repository, number);
    match rest {
        [] => Ok(catalog::repository(repository, !world.extras.read_only.contains(&call.grant.token))),
        ["labels"] => Ok(catalog::labels(call, repository)),
        ["milestones"] => catalog::milestones(call, repository),
        ["assignees"] => Ok(catalog::assignees(call, repository)),
        ["assignees", login] => catalog::may_be_assigned(repository, login),
        ["issues"] => issues::list(call, repository),
        ["issues", "comments"] => comments::of_issues(call, repository),
        ["issues", "events"] => Ok(events::of_repository(call, repository)),
        ["issues", number] => Ok(issues::get(call, repository, item(number)?)),
        ["issues", number, "comments"] => comments::of_issue(call, repository, item(number)?),
        ["issues", number, "labels"] => Ok(issues::labels(call, repository, item(number)?)),
        ["issues", number, "timeline"] => Ok(events::timeline(call, repository, item(number)?)),
        ["issues", number, "events"] => Ok(events::of_issue(call, repository, item(number)?)),
        ["pulls"] => pulls::list(call, repository),
        ["pulls", "comments"] => comments::of_reviews(call, repository),
        ["pulls", number] => pulls::get(repository, item(number)?),
        ["pulls", number, "reviews"] => pulls::reviews(call, repository, item(number)?),
        ["pulls", number, "comments"] => comments::of_pull(call, repository, item(number)?),
        _ => Err(Reply::not_found()),
    }
}

/// The item of a number, or the answer that it is gone.
fn item<'a>(
    call: &Call<'_>,
    world: &World,
    repository: &'a Repository,
    number: &str,
) -> Result<&'a Item, Reply> {
    let number: u64 = number.parse().map_err(|_| Reply::not_found())?;
    match (repository.items.get(&number), repository.gone.get(&number)) {
        (Some(item), _) => Ok(item),
        (None, Some(Gone::Deleted)) => Err(Reply::deleted()),
        (None, Some(Gone::Transferred { repository, number: to })) => {
            let target = world.by_id(*repository).ok_or_else(Reply::not_found)?;
            let name = &world.repository(target).full_name;
            Err(Reply::moved(format!("{}/repos/{name}/issues/{to}", call.base)))
        }
        (None, None) => Err(Reply::not_found()),
    }
}
