//! Sub-issues and dependencies.
//! <https://docs.github.com/rest/issues/sub-issues>, <https://docs.github.com/rest/issues/issue-dependencies>

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::Call;
use super::extras::Place;
use super::reply::Reply;
use crate::dataset::item::Row;
use crate::timestamp::iso;
use crate::world::World;

/// `None` when the path is about something else.
pub(super) fn dispatch(call: &Call<'_>, index: usize, rest: &[&str]) -> Option<Result<Reply, Reply>> {
    let (number, what) = match rest {
        ["issues", number, what @ ("sub_issues" | "sub_issue" | "parent")] => (*number, *what),
        ["issues", number, "dependencies", what @ ("blocked_by" | "blocking")] => (*number, *what),
        ["issues", number, "dependencies", "blocked_by", id] => {
            return Some(unblock(call, index, number, id));
        }
        _ => return None,
    };
    Some(answer(call, index, number, what))
}

fn place(world: &World, index: usize, number: &str) -> Result<Place, Reply> {
    let number: u64 = number.parse().map_err(|_| Reply::not_found())?;
    let repository = world.repository(index);
    if repository.items.contains_key(&number) { Ok((repository.id, number)) } else { Err(Reply::not_found()) }
}

fn answer(call: &Call<'_>, index: usize, number: &str, what: &str) -> Result<Reply, Reply> {
    if *call.method == Method::GET {
        let world = call.shared.world();
        let own = place(&world, index, number)?;
        let extras = &world.extras;
        let places: Vec<Place> = match what {
            "parent" => extras.parents.get(&own).copied().into_iter().collect(),
            "sub_issues" => {
                extras.parents.iter().filter(|(_, parent)| **parent == own).map(|(child, _)| *child).collect()
            }
            "blocked_by" => {
                extras.blocked_by.iter().filter(|(blocked, _)| *blocked == own).map(|(_, by)| *by).collect()
            }
            "blocking" => {
                extras.blocked_by.iter().filter(|(_, by)| *by == own).map(|(blocked, _)| *blocked).collect()
            }
            _ => return Err(Reply::not_found()),
        };
        if what == "parent" {
            let parent =
                places.first().and_then(|place| issue(&world, *place)).ok_or_else(Reply::not_found)?;
            return Ok(Reply::json(&parent));
        }
        return Ok(call.page(&places, |place, out| {
            out.push_str(&issue(&world, place).unwrap_or_default().to_string());
        }));
    }
    let input = call.object()?;
    let id = |key: &str| input[key].as_u64().ok_or_else(|| Reply::invalid("Issue", key, "missing_field"));
    let mut world = call.shared.world_mut();
    let own = place(&world, index, number)?;
    match (call.method.clone(), what) {
        (Method::POST, "sub_issues") => {
            let child = by_id(&world, id("sub_issue_id")?)?;
            let taken = world.extras.parents.get(&child).is_some_and(|parent| *parent != own);
            if child == own || (taken && input["replace_parent"] != true) {
                return Err(Reply::invalid("Issue", "sub_issue_id", "invalid"));
            }
            if let Some(before) = world.extras.parents.insert(child, own) {
                note(&mut world, before, "sub_issue_removed");
            }
            note(&mut world, own, "sub_issue_added");
            note(&mut world, child, "parent_issue_added");
            let parent_url = issue(&world, own).map(|parent| parent["url"].clone()).unwrap_or_default();
            set(&mut world, child, "parent_issue_url", &parent_url);
            Ok(Reply::new(StatusCode::CREATED, issue(&world, own).unwrap_or_default().to_string()))
        }
        (Method::DELETE, "sub_issue") => {
            let child = by_id(&world, id("sub_issue_id")?)?;
            if world.extras.parents.get(&child) != Some(&own) {
                return Err(Reply::not_found());
            }
            world.extras.parents.remove(&child);
            note(&mut world, own, "sub_issue_removed");
            note(&mut world, child, "parent_issue_removed");
            set(&mut world, child, "parent_issue_url", &Value::Null);
            Ok(Reply::json(&issue(&world, own).unwrap_or_default()))
        }
        (Method::POST, "blocked_by") => {
            let by = by_id(&world, id("issue_id")?)?;
            world.extras.blocked_by.insert((own, by));
            note(&mut world, own, "blocked_by_added");
            note(&mut world, by, "blocking_added");
            Ok(Reply::new(StatusCode::CREATED, issue(&world, by).unwrap_or_default().to_string()))
        }
        _ => Err(Reply::not_found()),
    }
}

fn unblock(call: &Call<'_>, index: usize, number: &str, id: &str) -> Result<Reply, Reply> {
    if *call.method != Method::DELETE {
        return Err(Reply::not_found());
    }
    let mut world = call.shared.world_mut();
    let own = place(&world, index, number)?;
    let by = by_id(&world, id.parse().map_err(|_| Reply::not_found())?)?;
    if !world.extras.blocked_by.remove(&(own, by)) {
        return Err(Reply::not_found());
    }
    note(&mut world, own, "blocked_by_removed");
    note(&mut world, by, "blocking_removed");
    Ok(Reply::json(&issue(&world, by).unwrap_or_default()))
}

fn issue(world: &World, (repository, number): Place) -> Option<Value> {
    let repository = world.repository(world.by_id(repository)?);
    Some(repository.value(&repository.items.get(&number)?.issue))
}

fn by_id(world: &World, id: u64) -> Result<Place, Reply> {
    world
        .repositories()
        .find_map(|repository| {
            let item = repository.items.values().find(|item| item.id == id)?;
            Some((repository.id, item.number))
        })
        .ok_or_else(Reply::not_found)
}

/// An event of the timeline. GitHub does not say in it whom it is about.
fn note(world: &mut World, (repository, number): Place, event: &str) {
    let Some(index) = world.by_id(repository) else { return };
    let repository = world.repository_mut(index);
    let (id, at) = (repository.next_id(), repository.tick());
    let value = json!({
        "id": id, "node_id": format!("EV_lADO{id:08x}"), "event": event, "actor": null, "commit_id": null,
        "commit_url": null, "created_at": iso(at),
        "url": format!("https://api.github.com/repos/{}/issues/events/{id}", repository.full_name)
    });
    let row = Row::new(&repository.fragments, &value);
    if let Some(item) = repository.items.get_mut(&number) {
        item.timeline.push(row);
    }
    repository.edit(number, at, |_| {});
}

fn set(world: &mut World, (repository, number): Place, key: &str, value: &Value) {
    let Some(index) = world.by_id(repository) else { return };
    let repository = world.repository_mut(index);
    let at = repository.tick();
    repository.edit(number, at, |issue| issue[key] = value.clone());
}
