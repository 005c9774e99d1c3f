//! `POST /graphql`, for the one thing that REST does not have: projects (v2). Every owner of a repository has project 1,
//! with iterations of two weeks around now, and every issue but each fourth in one of them.
//! <https://docs.github.com/graphql/reference/objects#projectv2>

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::reply::Reply;
use crate::dataset::Repository;
use crate::timestamp::{iso, now};

const DAY: i64 = 86_400;

pub(super) fn answer(call: &Call<'_>) -> Result<Reply, Reply> {
    let input = call.object()?;
    let (query, variables) = (input["query"].as_str().unwrap_or_default(), &input["variables"]);
    if !query.contains("projectV2(") {
        return Ok(failed("UNPROCESSABLE", "the simulator answers queries of projects only", &[]));
    }
    let (owner, number) = (variables["owner"].as_str().unwrap_or_default(), variables["number"].as_u64());
    let first = variables["first"].as_u64().unwrap_or(100);
    if first == 0 || first > 100 {
        return Ok(failed(
            "EXCESSIVE_PAGINATION",
            "Requesting records exceeds the `first` limit of 100",
            &["items"],
        ));
    }
    let world = call.shared.world();
    if world.extras.read_only.contains(&call.grant.token) {
        let message = "Your token has not been granted the required scopes to execute this query. The 'id' field \
                       requires one of the following scopes: ['read:project']";
        return Ok(failed("INSUFFICIENT_SCOPES", message, &[]));
    }
    let prefix = format!("{}/", owner.to_lowercase());
    let own: Vec<&Repository> = world
        .repositories()
        .filter(|repository| {
            call.sees(repository) && repository.full_name.to_lowercase().starts_with(&prefix)
        })
        .collect();
    if own.is_empty() || number != Some(1) {
        return Ok(failed(
            "NOT_FOUND",
            "Could not resolve to a ProjectV2 with that number.",
            &["repositoryOwner", "projectV2"],
        ));
    }
    let board = format!("PVT_{}", own[0].id);
    let items: Vec<(u64, u64)> = own
        .iter()
        .flat_map(|repository| repository.items.keys().map(|number| (repository.id, *number)))
        .collect();
    let offset: usize = variables["after"].as_str().and_then(|after| after.parse().ok()).unwrap_or(0);
    let end = (offset + usize::try_from(first).unwrap_or(100)).min(items.len());
    let nodes: Vec<Value> = items[offset.min(end)..end].iter().map(|place| item(&board, *place)).collect();
    let has_next = end < items.len();
    Ok(Reply::json(&json!({"data": {
        "rateLimit": {"cost": 6, "remaining": 4994, "resetAt": iso(now() + 3600)},
        "repositoryOwner": {"projectV2": {
            "id": board, "title": "Roadmap", "url": format!("https://github.com/orgs/{owner}/projects/1"),
            "fields": {"nodes": [{}, {"configuration": {
                "iterations": [iteration("now", -3), iteration("next", 11)],
                "completedIterations": [iteration("past", -17)]
            }}]},
            "items": {
                "totalCount": items.len(), "nodes": nodes,
                "pageInfo": {"hasNextPage": has_next, "endCursor": has_next.then(|| end.to_string())}
            }
        }}
    }})))
}

fn failed(kind: &str, message: &str, path: &[&str]) -> Reply {
    let error =
        json!({"type": kind, "message": message, "path": path, "locations": [{"line": 1, "column": 1}]});
    Reply::new(StatusCode::OK, json!({"data": null, "errors": [error]}).to_string())
}

fn iteration(id: &str, days: i64) -> Value {
    let start = iso(now() + days * DAY);
    json!({"id": id, "title": format!("Iteration {id}"), "startDate": start.get(..10), "duration": 14})
}

fn item(board: &str, (repository, number): (u64, u64)) -> Value {
    let values = match number % 4 {
        0 => json!([{}]),
        rest => {
            let iteration = ["past", "now", "next"][usize::try_from(rest - 1).unwrap_or(0)];
            json!([{}, {"iterationId": iteration, "updatedAt": "2026-01-05T09:00:00Z"}])
        }
    };
    json!({"content": {
        "number": number, "repository": {"databaseId": repository},
        "projectItems": {"nodes": [{"project": {"id": board}, "fieldValues": {"nodes": values}}]}
    }})
}
