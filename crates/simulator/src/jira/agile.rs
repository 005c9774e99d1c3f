//! `/rest/agile/1.0`: boards, their columns and sprints.
//! <https://developer.atlassian.com/cloud/jira/software/rest/>

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::{Call, Kind};
use super::catalog::SPRINT;
use super::issue::{Issue, id_of};
use super::render::Selection;
use super::reply::Reply;
use super::site::{Board, JiraSite};
use super::{issues, search, writes};
use crate::Shared;

pub(super) fn dispatch(shared: &Arc<Shared>, site: usize, call: &Call<'_>) -> Result<Reply, Reply> {
    if call.method == Method::POST {
        return match call.parts().as_slice() {
            ["sprint"] => writes::new_sprint(shared, site, call),
            ["sprint", id] => writes::change_sprint(shared, site, call, id),
            ["sprint", id, "issue"] => writes::to_sprint(shared, site, call, id),
            ["backlog", "issue"] => writes::to_backlog(shared, site, call),
            _ => Err(Reply::no_resource()),
        };
    }
    if call.method != Method::GET {
        return Err(Reply::no_resource());
    }
    let sites = shared.jira();
    let site = &sites[site];
    match call.parts().as_slice() {
        ["board"] => boards(call, site),
        ["board", id] => {
            call.allow(&[])?;
            Ok(Reply::json(&board_body(call, site, board(call, site, id)?)))
        }
        ["board", id, "configuration"] => configuration(call, site, board(call, site, id)?),
        ["board", id, "sprint"] => sprints(call, site, board(call, site, id)?),
        ["board", id, "project"] => projects(call, site, board(call, site, id)?),
        ["board", id, "issue"] => {
            let board = board(call, site, id)?;
            search::narrowed(call, site, "ORDER BY id", |issue| {
                on(board, issue) && search::sees(call, site, issue)
            })
        }
        ["board", id, "backlog"] => {
            let board = board(call, site, id)?;
            search::narrowed(call, site, "ORDER BY id", |issue| {
                on(board, issue) && open_sprint(site, issue).is_none()
            })
        }
        ["sprint", id] => {
            call.allow(&[])?;
            Ok(Reply::json(&shown(call, sprint(call, site, id)?)))
        }
        ["sprint", id, "issue"] => {
            let wanted = id_of(&sprint(call, site, id)?["id"]);
            search::narrowed(call, site, "ORDER BY id", |issue| {
                held(site, issue).any(|one| Some(one) == wanted) && search::sees(call, site, issue)
            })
        }
        ["issue", key] => {
            call.allow(&[("fields", Kind::List), ("expand", Kind::Text), ("updateHistory", Kind::Flag)])?;
            let issue = issues::visible(call, site, key)?;
            let selection = Selection::new(&call.list("fields"), &["*all"]);
            Ok(Reply::json(&search::expanded(&call.view(site), issue, &selection, &call.list("expand"), &[])))
        }
        _ => Err(Reply::no_resource()),
    }
}

fn on(board: &Board, issue: &Issue) -> bool {
    issue.reference("project").is_some_and(|project| board.projects.contains(&project))
}

/// Ids of the sprints that an issue is or was in.
fn held<'s>(site: &'s JiraSite, issue: &'s Issue) -> impl Iterator<Item = String> + 's {
    site.catalog.custom(SPRINT).map(|id| issue.array(id)).unwrap_or_default().iter().filter_map(id_of)
}

fn open_sprint(site: &JiraSite, issue: &Issue) -> Option<u64> {
    held(site, issue)
        .filter_map(|id| id.parse().ok())
        .find(|id| site.sprints.get(id).is_some_and(|sprint| sprint["state"] != "closed"))
}

fn sees(call: &Call<'_>, site: &JiraSite, board: &Board) -> bool {
    board.projects.iter().any(|project| site.sees(call.login, project))
}

fn board<'s>(call: &Call<'_>, site: &'s JiraSite, id: &str) -> Result<&'s Board, Reply> {
    let found = id.parse().ok().and_then(|id| site.board(id)).filter(|board| sees(call, site, board));
    found.ok_or_else(|| {
        Reply::error(StatusCode::NOT_FOUND, "The requested board cannot be viewed because it either does not exist or you do not have permission to view it.")
    })
}

fn sprint<'s>(call: &Call<'_>, site: &'s JiraSite, id: &str) -> Result<&'s Value, Reply> {
    let missing = || {
        Reply::error(StatusCode::NOT_FOUND, "Sprint does not exist or you do not have permission to view it.")
    };
    let sprint = id.parse().ok().and_then(|id: u64| site.sprints.get(&id)).ok_or_else(missing)?;
    let origin = sprint["originBoardId"].as_u64().and_then(|id| site.board(id));
    match origin.is_none_or(|board| sees(call, site, board)) {
        true => Ok(sprint),
        false => Err(missing()),
    }
}

fn board_body(call: &Call<'_>, site: &JiraSite, board: &Board) -> Value {
    let mut body = json!({
        "id": board.id, "self": format!("{}/rest/agile/1.0/board/{}", call.base, board.id),
        "name": board.name, "type": board.kind
    });
    let home = board.projects.first().and_then(|id| site.project(id));
    if let (true, Some(project)) = (site.is_cloud(), home) {
        let id: u64 = project["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
        let (key, name) = (&project["key"], project["name"].as_str().unwrap_or_default());
        body["location"] = json!({
            "projectId": id, "projectKey": key, "projectName": name, "projectTypeKey": "software",
            "displayName": format!("{name} ({})", key.as_str().unwrap_or_default()), "name": name
        });
        body["isPrivate"] = json!(false);
    }
    body
}

fn boards(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("type", Kind::List),
        ("name", Kind::Text),
        ("projectKeyOrId", Kind::Text),
        ("accountIdLocation", Kind::Text),
        ("projectLocation", Kind::Text),
        ("includePrivate", Kind::Flag),
        ("negateLocationFiltering", Kind::Flag),
        ("orderBy", Kind::OneOf(&["name", "-name", "+name"])),
        ("expand", Kind::Text),
        ("filterId", Kind::Integer),
    ])?;
    let project = call.text("projectKeyOrId");
    if let Some(key) = project.filter(|key| !site.sees(call.login, key)) {
        return Err(Reply::bad_request(&format!("No project could be found with key or id '{key}'.")));
    }
    let project = project.and_then(|key| id_of(&site.project(key)?["id"]));
    let kinds = call.list("type");
    let rows: Vec<Value> = site
        .boards
        .iter()
        .filter(|board| sees(call, site, board))
        .filter(|board| project.as_ref().is_none_or(|id| board.projects.contains(id)))
        .filter(|board| kinds.is_empty() || kinds.iter().any(|kind| kind == board.kind))
        .filter(|board| {
            call.text("name").is_none_or(|name| board.name.to_lowercase().contains(&name.to_lowercase()))
        })
        .map(|board| board_body(call, site, board))
        .collect();
    Ok(call.page(&rows, 50, 50))
}

fn configuration(call: &Call<'_>, site: &JiraSite, board: &Board) -> Result<Reply, Reply> {
    call.allow(&[])?;
    let column = |name: &str, category: &str| {
        let statuses: Vec<Value> = site
            .catalog
            .statuses
            .iter()
            .filter(|(_, status)| status["statusCategory"]["key"] == category)
            .map(|(id, _)| json!({"id": id, "self": format!("{}/rest/api/2/status/{id}", call.base)}))
            .collect();
        json!({"name": name, "statuses": statuses})
    };
    let mut body = json!({
        "id": board.id, "name": board.name, "type": board.kind,
        "self": format!("{}/rest/agile/1.0/board/{}/configuration", call.base, board.id),
        "filter": {"id": (10_000 + board.id).to_string()},
        "columnConfig": {
            "columns": [column("To Do", "new"), column("In Progress", "indeterminate"), column("Done", "done")],
            "constraintType": "none"
        },
        "ranking": {"rankCustomFieldId": 10_019}
    });
    let points = site.catalog.fields.iter().find(|field| field["name"] == "Story Points");
    if let (Some(field), "scrum") = (points, board.kind) {
        body["estimation"] =
            json!({"type": "field", "field": {"fieldId": field["id"], "displayName": field["name"]}});
    }
    Ok(Reply::json(&body))
}

fn shown(call: &Call<'_>, sprint: &Value) -> Value {
    let mut sprint = sprint.clone();
    let id = id_of(&sprint["id"]).unwrap_or_default();
    sprint["self"] = json!(format!("{}/rest/agile/1.0/sprint/{id}", call.base));
    sprint
}

fn sprints(call: &Call<'_>, site: &JiraSite, board: &Board) -> Result<Reply, Reply> {
    call.allow(&[("startAt", Kind::Integer), ("maxResults", Kind::Integer), ("state", Kind::List)])?;
    if board.kind != "scrum" {
        return Err(Reply::bad_request("The board does not support sprints"));
    }
    let states = call.list("state");
    if let Some(state) = states.iter().find(|one| !["future", "active", "closed"].contains(&one.as_str())) {
        return Err(Reply::bad_request(&format!("'{state}' is no state of sprints.")));
    }
    let rows: Vec<Value> = board
        .sprints
        .iter()
        .filter_map(|id| site.sprints.get(id))
        .filter(|sprint| states.is_empty() || states.iter().any(|state| sprint["state"] == state.as_str()))
        .map(|sprint| shown(call, sprint))
        .collect();
    Ok(call.page(&rows, 50, 50))
}

fn projects(call: &Call<'_>, site: &JiraSite, board: &Board) -> Result<Reply, Reply> {
    call.allow(&[("startAt", Kind::Integer), ("maxResults", Kind::Integer)])?;
    let view = call.view(site);
    let rows: Vec<Value> = board.projects.iter().map(|id| view.project(&json!(id))).collect();
    Ok(call.page(&rows, 50, 50))
}
