//! Changes: new issues, edits, comments, labels. Each leaves the events it leaves on GitHub
//! and moves `updated_at`. <https://docs.github.com/rest/issues>

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::Call;
use super::extras::issue_type;
use super::hooks;
use super::reply::Reply;
use crate::dataset::item::{Item, Row};
use crate::dataset::person::{id_of, person};
use crate::dataset::{Gone, Repository};
use crate::timestamp::iso;

pub(super) fn dispatch(call: &Call<'_>, index: usize, rest: &[&str]) -> Result<Reply, Reply> {
    let mut world = call.shared.world_mut();
    let may_push = !world.extras.read_only.contains(&call.grant.token);
    let repository = world.repository_mut(index);
    let actor = find_person(repository, &call.grant.login)
        .unwrap_or_else(|| person(&call.grant.login, id_of(&call.grant.login)));
    let reply = match (call.method.clone(), rest) {
        (Method::POST, ["issues"]) => create(call, repository, &actor, may_push),
        (Method::PATCH, ["issues", number]) => {
            let number = existing(repository, number)?;
            let input = pushed(&call.object()?, may_push);
            edit(call, repository, &actor, number, &input)
        }
        (Method::POST, ["issues", number, "comments"]) => {
            let number = existing(repository, number)?;
            comment(call, repository, &actor, number)
        }
        (Method::DELETE, ["issues", "comments", id]) => {
            let reply = delete_comment(repository, id)?;
            let (payload, reply) = reply;
            let mut payload = payload;
            payload["sender"] = actor;
            hooks::announce(&mut world, index, "issue_comment", &payload);
            return Ok(reply);
        }
        (Method::POST, ["issues", number, "labels"]) => {
            let number = existing(repository, number)?;
            let mut names = label_names(repository, number);
            let added = serde_json::from_slice::<Value>(call.body).unwrap_or_default();
            let added = added.get("labels").unwrap_or(&added).clone();
            names.extend(strings(&added, "labels", "name")?);
            change_labels(repository, &actor, number, &names)
        }
        (Method::DELETE, ["issues", number, "labels", name]) => {
            let number = existing(repository, number)?;
            let name = decode(name);
            let mut names = label_names(repository, number);
            let before = names.len();
            names.retain(|known| !known.eq_ignore_ascii_case(&name));
            if names.len() == before {
                return Err(Reply::error(StatusCode::NOT_FOUND, "Label does not exist"));
            }
            change_labels(repository, &actor, number, &names)
        }
        _ => return Err(Reply::not_found()),
    }?;
    if let Some((event, payload)) = told(repository, call, rest, &actor, &reply) {
        hooks::announce(&mut world, index, event, &payload);
    }
    Ok(reply)
}

/// What webhooks say of a change that was made.
fn told(
    repository: &Repository,
    call: &Call<'_>,
    rest: &[&str],
    actor: &Value,
    reply: &Reply,
) -> Option<(&'static str, Value)> {
    let made: Value = serde_json::from_str(&reply.body).ok()?;
    let number = match rest {
        ["issues"] => made["number"].as_u64()?,
        ["issues", number, ..] => number.parse().ok()?,
        _ => return None,
    };
    let issue = repository.value(&repository.items.get(&number)?.issue);
    if let ["issues", _, "comments"] = rest {
        let payload = json!({"action": "created", "issue": issue, "comment": made, "sender": actor});
        return Some(("issue_comment", payload));
    }
    let asked: Value = serde_json::from_slice(call.body).unwrap_or_default();
    let action = match rest {
        ["issues"] => "opened",
        ["issues", _, "labels", ..] if *call.method == Method::DELETE => "unlabeled",
        ["issues", _, "labels"] => "labeled",
        _ if asked["state"] == "closed" => "closed",
        _ if asked["state"] == "open" => "reopened",
        _ => "edited",
    };
    if issue["pull_request"].is_object() {
        return Some(("pull_request", json!({"action": action, "pull_request": issue, "sender": actor})));
    }
    Some(("issues", json!({"action": action, "issue": issue, "sender": actor})))
}

/// What is left of a request when the token may not push. "Silently dropped otherwise."
fn pushed(input: &Value, may_push: bool) -> Value {
    if may_push {
        input.clone()
    } else {
        without(input, &["labels", "assignees", "assignee", "milestone", "type"])
    }
}

/// Answers what webhooks say of it, too.
fn delete_comment(repository: &mut Repository, id: &str) -> Result<(Value, Reply), Reply> {
    let id: u64 = id.parse().map_err(|_| Reply::not_found())?;
    let has = |item: &Item| item.comments.iter().any(|row| row.id == id);
    let number = repository.items.values().find(|item| has(item)).map(|item| item.number);
    let number = number.ok_or_else(Reply::not_found)?;
    let at = repository.tick();
    let mut comment = Value::Null;
    if let Some(item) = repository.items.get(&number) {
        let text = item.comments.iter().find(|row| row.id == id).map(|row| row.text.clone());
        comment = text.map(|text| repository.value(&text)).unwrap_or_default();
    }
    if let Some(item) = repository.items.get_mut(&number) {
        item.comments.retain(|row| row.id != id);
        item.timeline.retain(|row| &*row.event != "commented" || row.id != id);
    }
    repository.edit(number, at, |issue| {
        issue["comments"] = json!(issue["comments"].as_u64().unwrap_or_default().saturating_sub(1));
    });
    let issue = repository.value(&repository.items[&number].issue);
    let payload = json!({"action": "deleted", "issue": issue, "comment": comment});
    Ok((payload, Reply::new(StatusCode::NO_CONTENT, String::new())))
}

fn existing(repository: &Repository, number: &str) -> Result<u64, Reply> {
    let number = number.parse().map_err(|_| Reply::not_found())?;
    match repository.gone.get(&number) {
        Some(Gone::Deleted) => Err(Reply::deleted()),
        _ if repository.items.contains_key(&number) => Ok(number),
        _ => Err(Reply::not_found()),
    }
}

fn create(
    call: &Call<'_>,
    repository: &mut Repository,
    actor: &Value,
    may_push: bool,
) -> Result<Reply, Reply> {
    let input = pushed(&call.object()?, may_push);
    let title = required(&input, "Issue", "title")?;
    let (number, id, at) = (repository.next_number(), repository.next_id(), repository.tick());
    let issue = blank_issue(repository, actor, (number, id), &iso(at), title, &input["body"]);
    let item = Item::new(&repository.fragments, &issue);
    // Checked before it is there, so that a refused request leaves nothing behind.
    Edit::read(repository, &input)?;
    repository.insert(item);
    edit(call, repository, actor, number, &without(&input, &["title", "body", "state"]))?;
    let location = format!("{}/repos/{}/issues/{number}", call.base, repository.full_name);
    let body = repository.fragments.expand(&repository.items[&number].issue);
    Ok(Reply::new(StatusCode::CREATED, body).header("location", location))
}

fn blank_issue(
    repository: &Repository,
    actor: &Value,
    (number, id): (u64, u64),
    at: &str,
    title: &str,
    body: &Value,
) -> Value {
    let api = format!("https://api.github.com/repos/{}", repository.full_name);
    let url = format!("{api}/issues/{number}");
    json!({
        "url": url, "repository_url": api,
        "labels_url": format!("{url}/labels{{/name}}"), "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"), "timeline_url": format!("{url}/timeline"),
        "html_url": format!("https://github.com/{}/issues/{number}", repository.full_name),
        "id": id, "node_id": format!("I_kwDO{id:08x}"), "number": number, "title": title, "body": body,
        "user": actor, "labels": [], "state": "open", "state_reason": null, "locked": false,
        "assignee": null, "assignees": [], "milestone": null, "comments": 0,
        "created_at": at, "updated_at": at, "closed_at": null, "closed_by": null,
        "author_association": "MEMBER", "active_lock_reason": null, "type": null,
        "sub_issues_summary": {"total": 0, "completed": 0, "percent_completed": 0},
        "issue_dependencies_summary": {"blocked_by": 0, "total_blocked_by": 0, "blocking": 0, "total_blocking": 0},
        "reactions": {"url": format!("{url}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0,
                      "hooray": 0, "confused": 0, "heart": 0, "rocket": 0, "eyes": 0},
        "performed_via_github_app": null
    })
}

/// What a `PATCH` asks for, checked; `None` and absent keys stay as they are.
struct Edit {
    title: Option<String>,
    body: Option<Value>,
    state: Option<String>,
    reason: Value,
    labels: Option<Vec<String>>,
    assignees: Option<Vec<Value>>,
    milestone: Option<Value>,
    kind: Option<Value>,
}

impl Edit {
    fn read(repository: &Repository, input: &Value) -> Result<Self, Reply> {
        let choice = |key: &str, allowed: &[&str]| match input[key].as_str() {
            Some(value) if !allowed.contains(&value) => Err(Reply::invalid("Issue", key, "invalid")),
            value => Ok(value.map(str::to_owned)),
        };
        let milestone = match input.get("milestone") {
            None => None,
            Some(Value::Null) => Some(Value::Null),
            Some(number) => {
                let found = repository.milestones.iter().find(|milestone| milestone["number"] == *number);
                Some(found.cloned().ok_or_else(|| Reply::invalid("Issue", "milestone", "invalid"))?)
            }
        };
        let assignees = match input.get("assignees").filter(|list| !list.is_null()) {
            None => None,
            Some(list) => Some(
                strings(list, "assignees", "login")?
                    .iter()
                    .map(|login| find_person(repository, login))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| Reply::invalid("Issue", "assignees", "invalid"))?,
            ),
        };
        let labels = input.get("labels").filter(|list| !list.is_null());
        let kind = match input.get("type") {
            None => None,
            Some(Value::Null) => Some(Value::Null),
            Some(name) => {
                let known = name.as_str().and_then(issue_type);
                Some(known.ok_or_else(|| Reply::invalid("Issue", "type", "invalid"))?)
            }
        };
        Ok(Self {
            kind,
            title: input
                .get("title")
                .map(|_| required(input, "Issue", "title").map(str::to_owned))
                .transpose()?,
            body: input.get("body").cloned(),
            state: choice("state", &["open", "closed"])?,
            reason: json!(choice("state_reason", &["completed", "not_planned", "duplicate", "reopened"])?),
            labels: labels.map(|list| strings(list, "labels", "name")).transpose()?,
            assignees,
            milestone,
        })
    }
}

fn edit(
    call: &Call<'_>,
    repository: &mut Repository,
    actor: &Value,
    number: u64,
    input: &Value,
) -> Result<Reply, Reply> {
    let wanted = Edit::read(repository, input)?;
    let before = repository.value(&repository.items[&number].issue);
    let labels = wanted.labels.map(|names| labels_of(repository, &names));
    let mut after = before.clone();
    let mut events: Vec<(&str, Value)> = Vec::new();
    let at = repository.tick();
    if let Some(title) = wanted.title.filter(|title| before["title"] != **title) {
        events.push(("renamed", json!({"rename": {"from": before["title"], "to": title}})));
        after["title"] = json!(title);
    }
    if let Some(body) = wanted.body {
        after["body"] = body;
    }
    if let Some(labels) = labels {
        let brief = |label: &Value| json!({"label": {"name": label["name"], "color": label["color"]}});
        compare(&before["labels"], &labels, ["labeled", "unlabeled"], brief, &mut events);
        after["labels"] = json!(labels);
    }
    if let Some(assignees) = wanted.assignees {
        let brief = |one: &Value| json!({"assignee": one, "assigner": actor});
        compare(&before["assignees"], &assignees, ["assigned", "unassigned"], brief, &mut events);
        after["assignee"] = assignees.first().cloned().unwrap_or_default();
        after["assignees"] = json!(assignees);
    }
    if let Some(milestone) = wanted.milestone.filter(|one| one["number"] != before["milestone"]["number"]) {
        let brief = |one: &Value| json!({"milestone": {"title": one["title"]}});
        if !before["milestone"].is_null() {
            events.push(("demilestoned", brief(&before["milestone"])));
        }
        if !milestone.is_null() {
            events.push(("milestoned", brief(&milestone)));
        }
        after["milestone"] = milestone;
    }
    if let Some(kind) = wanted.kind.filter(|kind| kind["name"] != before["type"]["name"]) {
        let name = match (before["type"].is_null(), kind.is_null()) {
            (true, _) => "issue_type_added",
            (_, true) => "issue_type_removed",
            _ => "issue_type_changed",
        };
        let brief = |kind: &Value| if kind.is_null() { Value::Null } else { json!({"name": kind["name"]}) };
        events.push((name, json!({"issue_type": brief(&kind), "prev_issue_type": brief(&before["type"])})));
        after["type"] = kind;
    }
    match wanted.state.as_deref().filter(|state| before["state"] != **state) {
        Some("closed") => {
            let reason = if wanted.reason.is_null() { json!("completed") } else { wanted.reason };
            // Pull requests have no reason.
            let reason = if before["pull_request"].is_object() { Value::Null } else { reason };
            events.push(("closed", json!({"state_reason": reason})));
            after["state"] = json!("closed");
            after["state_reason"] = reason;
            after["closed_at"] = json!(iso(at));
            after["closed_by"] = actor.clone();
        }
        Some(_) => {
            events.push(("reopened", json!({"state_reason": null})));
            after["state"] = json!("open");
            after["state_reason"] =
                if before["pull_request"].is_object() { Value::Null } else { json!("reopened") };
            after["closed_at"] = Value::Null;
            after["closed_by"] = Value::Null;
        }
        None => {}
    }
    // An edit that changes nothing leaves the time alone, too.
    if after != before {
        save(repository, actor, number, at, after, &events);
    }
    let mut body = String::new();
    call.write_issue(repository, &repository.items[&number], &mut body);
    Ok(Reply::ok(body))
}

fn comment(call: &Call<'_>, repository: &mut Repository, actor: &Value, number: u64) -> Result<Reply, Reply> {
    let input = call.object()?;
    let body = required(&input, "IssueComment", "body")?;
    let (id, at) = (repository.next_id(), repository.tick());
    let api = format!("https://api.github.com/repos/{}", repository.full_name);
    let url = format!("{api}/issues/comments/{id}");
    let value = json!({
        "url": url, "issue_url": format!("{api}/issues/{number}"), "id": id, "node_id": format!("IC_kwDO{id:08x}"),
        "html_url": format!("https://github.com/{}/issues/{number}#issuecomment-{id}", repository.full_name),
        "user": actor, "created_at": iso(at), "updated_at": iso(at), "body": body, "author_association": "MEMBER",
        "reactions": {"url": format!("{url}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0,
                      "hooray": 0, "confused": 0, "heart": 0, "rocket": 0, "eyes": 0},
        "performed_via_github_app": null
    });
    let mut event = value.clone();
    event["event"] = json!("commented");
    event["actor"] = actor.clone();
    let rows = (Row::new(&repository.fragments, &value), Row::new(&repository.fragments, &event));
    if let Some(item) = repository.items.get_mut(&number) {
        item.comments.push(rows.0);
        item.timeline.push(rows.1);
    }
    repository.edit(number, at, |issue| {
        issue["comments"] = json!(issue["comments"].as_u64().unwrap_or_default() + 1);
    });
    Ok(Reply::new(StatusCode::CREATED, value.to_string()).header("location", url))
}

fn change_labels(
    repository: &mut Repository,
    actor: &Value,
    number: u64,
    names: &[String],
) -> Result<Reply, Reply> {
    let before = repository.value(&repository.items[&number].issue);
    let labels = labels_of(repository, names);
    let mut events = Vec::new();
    let brief = |label: &Value| json!({"label": {"name": label["name"], "color": label["color"]}});
    compare(&before["labels"], &labels, ["labeled", "unlabeled"], brief, &mut events);
    if !events.is_empty() {
        let mut after = before;
        after["labels"] = json!(labels);
        let at = repository.tick();
        save(repository, actor, number, at, after, &events);
    }
    Ok(Reply::json(&json!(labels)))
}

/// Stores the issue form and appends its events, all at one time.
fn save(
    repository: &mut Repository,
    actor: &Value,
    number: u64,
    at: i64,
    after: Value,
    events: &[(&str, Value)],
) {
    for (name, extra) in events {
        let id = repository.next_id();
        let mut event = json!({
            "id": id, "node_id": format!("EV_lADO{id:08x}"), "event": name, "actor": actor,
            "url": format!("https://api.github.com/repos/{}/issues/events/{id}", repository.full_name),
            "commit_id": null, "commit_url": null, "created_at": iso(at), "performed_via_github_app": null
        });
        for (key, value) in extra.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        let row = Row::new(&repository.fragments, &event);
        if let Some(item) = repository.items.get_mut(&number) {
            item.timeline.push(row);
        }
    }
    repository.edit(number, at, |issue| *issue = after);
}

/// One event for each entry that came, then one for each that went.
fn compare<'a>(
    before: &Value,
    after: &[Value],
    [came, went]: [&'a str; 2],
    brief: impl Fn(&Value) -> Value,
    events: &mut Vec<(&'a str, Value)>,
) {
    let before = before.as_array().map(Vec::as_slice).unwrap_or_default();
    let missing = |one: &Value, list: &[Value]| list.iter().all(|other| other["id"] != one["id"]);
    events.extend(after.iter().filter(|one| missing(one, before)).map(|one| (came, brief(one))));
    events.extend(before.iter().filter(|one| missing(one, after)).map(|one| (went, brief(one))));
}

/// The label objects of these names; a name the repository has not yet becomes a label, as on GitHub.
fn labels_of(repository: &mut Repository, names: &[String]) -> Vec<Value> {
    let mut labels: Vec<Value> = Vec::new();
    for name in names {
        let same =
            |label: &&Value| label["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name));
        if labels.iter().any(|label| same(&label)) {
            continue;
        }
        let known = repository.labels.iter().find(same).cloned();
        labels.push(known.unwrap_or_else(|| {
            let id = repository.next_id();
            let label = json!({
                "id": id, "node_id": format!("LA_kwDO{id:08x}"), "name": name, "color": "ededed",
                "default": false, "description": null,
                "url": format!("https://api.github.com/repos/{}/labels/{name}", repository.full_name)
            });
            repository.labels.push(label.clone());
            label
        }));
    }
    labels
}

fn label_names(repository: &Repository, number: u64) -> Vec<String> {
    let issue = repository.value(&repository.items[&number].issue);
    let labels = issue["labels"].as_array().cloned().unwrap_or_default();
    labels.iter().filter_map(|label| label["name"].as_str().map(str::to_owned)).collect()
}

fn find_person(repository: &Repository, login: &str) -> Option<Value> {
    let same = |one: &&Value| one["login"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(login));
    repository.people.iter().find(same).cloned()
}

fn required<'a>(input: &'a Value, resource: &str, field: &str) -> Result<&'a str, Reply> {
    let text = input[field].as_str().filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| Reply::invalid(resource, field, "missing_field"))
}

/// A list of names, or of objects that have the name under `key`.
fn strings(list: &Value, field: &str, key: &str) -> Result<Vec<String>, Reply> {
    let text = |one: &Value| one.as_str().or(one[key].as_str()).map(str::to_owned);
    let names = list.as_array().and_then(|list| list.iter().map(text).collect::<Option<Vec<_>>>());
    names.ok_or_else(|| Reply::invalid("Issue", field, "invalid"))
}

fn without(input: &Value, keys: &[&str]) -> Value {
    let mut rest = input.clone();
    if let Some(object) = rest.as_object_mut() {
        object.retain(|key, _| !keys.contains(&key.as_str()));
    }
    rest
}

fn decode(part: &str) -> String {
    // A path part is decoded as a form value is, but for `+`, which stands for itself.
    let escaped = part.replace('+', "%2B");
    let mut pairs = url::form_urlencoded::parse(escaped.as_bytes());
    pairs.next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
