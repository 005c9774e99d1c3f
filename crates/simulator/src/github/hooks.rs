//! Webhooks of repositories, which are really sent. <https://docs.github.com/rest/repos/webhooks>

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::Call;
use super::reply::Reply;
use crate::Shared;
use crate::delivery::{post, signature};
use crate::timestamp::{iso, now};
use crate::world::World;

/// What is not kept longer.
const KEPT: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Hook {
    id: u64,
    /// 0 for an app's own.
    repository: u64,
    /// The app, when it is told of everything wherever it is installed.
    app: Option<String>,
    active: bool,
    events: Vec<String>,
    config: Value,
}

/// One attempt.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    id: u64,
    hook: u64,
    guid: String,
    event: String,
    action: Option<String>,
    body: String,
    delivered_at: i64,
    redelivery: bool,
    status_code: u16,
}

/// `None` when the path is about something else.
pub(super) fn dispatch(call: &Call<'_>, index: usize, rest: &[&str]) -> Option<Result<Reply, Reply>> {
    let ["hooks", rest @ ..] = rest else { return None };
    let mut world = call.shared.world_mut();
    // Who may not administer a repository does not see its webhooks.
    if world.extras.read_only.contains(&call.grant.token) {
        return Some(Err(Reply::not_found()));
    }
    let repository = world.repository(index).id;
    let api = format!("https://api.github.com/repos/{}/hooks", world.repository(index).full_name);
    Some(answer(call, &mut world, repository, &api, rest))
}

fn answer(
    call: &Call<'_>,
    world: &mut World,
    repository: u64,
    api: &str,
    rest: &[&str],
) -> Result<Reply, Reply> {
    let extras = &mut world.extras;
    let at = |id: &str| {
        let id: u64 = id.parse().map_err(|_| Reply::not_found())?;
        let found = extras.hooks.iter().position(|hook| hook.id == id && hook.repository == repository);
        found.ok_or_else(Reply::not_found)
    };
    match (call.method.clone(), rest) {
        (Method::GET, []) => {
            let own: Vec<&Hook> = extras.hooks.iter().filter(|hook| hook.repository == repository).collect();
            Ok(call.page(&own, |hook, out| out.push_str(&render(hook, api).to_string())))
        }
        (Method::POST, []) => {
            let input = call.object()?;
            let config = input["config"].clone();
            let url = config["url"].as_str().ok_or_else(|| Reply::invalid("Hook", "url", "missing_field"))?;
            let same = |hook: &Hook| hook.repository == repository && hook.config["url"] == url;
            if extras.hooks.iter().any(same) {
                return Err(Reply::invalid("Hook", "url", "already_exists"));
            }
            let events = events(&input["events"]).unwrap_or_else(|| vec!["push".to_owned()]);
            let hook = Hook {
                id: extras.next_id(),
                repository,
                app: None,
                active: input["active"] != false,
                events,
                config,
            };
            let reply = Reply::new(StatusCode::CREATED, render(&hook, api).to_string());
            let id = hook.id;
            extras.hooks.push(hook);
            enqueue(world, id, "ping", &json!({"zen": "Design for failure.", "hook_id": id}));
            Ok(reply)
        }
        (Method::GET, [id]) => Ok(Reply::json(&render(&extras.hooks[at(id)?], api))),
        (Method::PATCH, [id]) => {
            let input = call.object()?;
            let hook = at(id)?;
            let hook = &mut extras.hooks[hook];
            if let Some(replaced) = events(&input["events"]) {
                hook.events = replaced;
            }
            for event in events(&input["add_events"]).into_iter().flatten() {
                if !hook.events.contains(&event) {
                    hook.events.push(event);
                }
            }
            if let Some(active) = input["active"].as_bool() {
                hook.active = active;
            }
            for (key, value) in input["config"].as_object().into_iter().flatten() {
                hook.config[key] = value.clone();
            }
            Ok(Reply::json(&render(hook, api)))
        }
        (Method::DELETE, [id]) => {
            let at = at(id)?;
            extras.hooks.remove(at);
            Ok(Reply::new(StatusCode::NO_CONTENT, String::new()))
        }
        (Method::GET, [id, "deliveries"]) => {
            let hook = extras.hooks[at(id)?].id;
            let own: Vec<&Delivery> = extras.deliveries.iter().rev().filter(|one| one.hook == hook).collect();
            Ok(call.page(&own, |one, out| out.push_str(&listed(one).to_string())))
        }
        (Method::POST, [id, "deliveries", delivery, "attempts"]) => {
            let hook = extras.hooks[at(id)?].id;
            let known =
                extras.deliveries.iter().find(|one| one.hook == hook && one.id.to_string() == **delivery);
            let again = known.cloned().ok_or_else(Reply::not_found)?;
            let id = extras.next_id();
            extras.deliveries.push(Delivery { id, redelivery: true, status_code: 0, ..again });
            extras.outbox.push(id);
            Ok(Reply::new(StatusCode::ACCEPTED, "{}".to_owned()))
        }
        _ => Err(Reply::not_found()),
    }
}

fn events(list: &Value) -> Option<Vec<String>> {
    list.as_array().map(|list| list.iter().filter_map(|event| event.as_str().map(str::to_owned)).collect())
}

fn render(hook: &Hook, api: &str) -> Value {
    let mut config = hook.config.clone();
    if config["secret"].is_string() {
        config["secret"] = json!("********");
    }
    let url = format!("{api}/{}", hook.id);
    json!({
        "type": "Repository", "id": hook.id, "name": "web", "active": hook.active, "events": hook.events,
        "config": config, "updated_at": "2024-01-01T00:00:00Z", "created_at": "2024-01-01T00:00:00Z", "url": url,
        "test_url": format!("{url}/test"), "ping_url": format!("{url}/pings"),
        "deliveries_url": format!("{url}/deliveries"),
        "last_response": {"code": null, "status": "unused", "message": null}
    })
}

fn listed(one: &Delivery) -> Value {
    let status = if (200..300).contains(&one.status_code) { "OK" } else { "failed" };
    json!({
        "id": one.id, "guid": one.guid, "delivered_at": iso(one.delivered_at), "redelivery": one.redelivery,
        "duration": 0.03, "status": status, "status_code": one.status_code, "event": one.event, "action": one.action,
        "installation_id": null, "repository_id": null, "throttled_at": null
    })
}

/// Puts an event of a repository before its webhooks.
pub(super) fn announce(world: &mut World, index: usize, event: &str, payload: &Value) {
    let repository = world.repository(index);
    let (id, object) = (repository.id, repository.value(&repository.object.to_string()));
    let mut payload = payload.clone();
    payload["repository"] = object;
    let owner = world.repository(index).full_name.split('/').next().unwrap_or_default().to_owned();
    let wanted = |hook: &&Hook| hook.active && hook.events.iter().any(|known| known == event || known == "*");
    let meant = |hook: &Hook| match &hook.app {
        None => (hook.repository == id).then_some((hook.id, None)),
        Some(app) => installation(world, app, &owner).map(|installation| (hook.id, Some(installation))),
    };
    let hooks: Vec<(u64, Option<u64>)> = world.extras.hooks.iter().filter(wanted).filter_map(meant).collect();
    for (hook, installation) in hooks {
        let mut payload = payload.clone();
        if let Some(id) = installation {
            payload["installation"] = json!({"id": id});
        }
        enqueue(world, hook, event, &payload);
    }
}

/// Where an app is installed for the repositories of this account.
fn installation(world: &World, app: &str, owner: &str) -> Option<u64> {
    let app = world.extras.apps.iter().find(|known| known.app_id == app)?;
    let installed = app.installations.iter().find(|(_, login)| login.eq_ignore_ascii_case(owner));
    installed.map(|(id, _)| *id)
}

/// Sets an app's own webhook, as its settings page does, for all events; without an address, takes it away.
pub(crate) fn set_of_app(world: &mut World, app: &str, target: Option<(&str, &str)>) {
    world.extras.hooks.retain(|hook| hook.app.as_deref() != Some(app));
    if let Some((url, secret)) = target {
        let config = json!({"url": url, "content_type": "json", "secret": secret});
        let (id, events) = (world.extras.next_id(), vec!["*".to_owned()]);
        let hook = Hook { id, repository: 0, app: Some(app.to_owned()), active: true, events, config };
        world.extras.hooks.push(hook);
    }
}

fn enqueue(world: &mut World, hook: u64, event: &str, payload: &Value) {
    let id = world.extras.next_id();
    let delivery = Delivery {
        id,
        hook,
        guid: format!("{id:08x}-0000-4000-8000-{hook:012x}"),
        event: event.to_owned(),
        action: payload["action"].as_str().map(str::to_owned),
        body: payload.to_string(),
        delivered_at: now(),
        redelivery: false,
        status_code: 0,
    };
    let deliveries = &mut world.extras.deliveries;
    if deliveries.len() >= KEPT {
        deliveries.remove(0);
    }
    deliveries.push(delivery);
    world.extras.outbox.push(id);
}

/// Sends what was announced, each once and beside the answer to whoever caused it.
pub(super) fn send_out(shared: &Arc<Shared>) {
    let ids = std::mem::take(&mut shared.world_mut().extras.outbox);
    for id in ids {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let prepared = prepare(&shared.world(), id);
            let Some((url, headers, body)) = prepared else { return };
            let status = tokio::select! {
                sent = post(&url, &headers, body.as_bytes()) => sent.unwrap_or(0),
                () = shared.stop.cancelled() => 0,
            };
            let mut world = shared.world_mut();
            if let Some(delivery) = world.extras.deliveries.iter_mut().find(|one| one.id == id) {
                delivery.status_code = status;
            }
        });
    }
}

/// Address, headers and body of a delivery.
type Prepared = (String, Vec<(String, String)>, String);

fn prepare(world: &World, id: u64) -> Option<Prepared> {
    let delivery = world.extras.deliveries.iter().find(|one| one.id == id)?;
    let hook = world.extras.hooks.iter().find(|hook| hook.id == delivery.hook)?;
    let mut headers = vec![
        ("User-Agent".to_owned(), "GitHub-Hookshot/044aadd".to_owned()),
        ("X-GitHub-Event".to_owned(), delivery.event.clone()),
        ("X-GitHub-Delivery".to_owned(), delivery.guid.clone()),
        ("X-GitHub-Hook-ID".to_owned(), hook.id.to_string()),
    ];
    if let Some(secret) = hook.config["secret"].as_str() {
        let sum = signature(secret, delivery.body.as_bytes());
        headers.push(("X-Hub-Signature-256".to_owned(), format!("sha256={sum}")));
    }
    Some((hook.config["url"].as_str()?.to_owned(), headers, delivery.body.clone()))
}
