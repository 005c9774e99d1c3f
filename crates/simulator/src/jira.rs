//! The Jira surface: Cloud (REST v3, v2, agile) and Data Center (REST v2, agile) over the same worlds.
//!
//! Each site is at `/jira/<name>`, a Cloud site also at the gateway's `/ex/jira/<cloud id>`, and the
//! first one at `/` too. Shapes and refusals follow Atlassian's OpenAPI descriptions and
//! <https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/>.

mod agile;
mod call;
mod catalog;
mod control;
mod fields;
mod files;
mod hooks;
mod issue;
mod issues;
mod jql;
mod load;
mod oauth;
mod people;
mod reference;
mod render;
mod reply;
mod routes;
mod search;
mod site;
mod text;
mod time;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header, request};
use axum::response::Response;

use crate::Shared;
use crate::connection::ResetSwitch;
use crate::faults::{Effects, FaultKind, Lost};
use crate::timestamp::now_ms;
use crate::transport::{pause, truncated};
use call::{Api, Call};
pub(crate) use catalog::{Catalog, custom_field};
pub(crate) use control::routes as control_routes;
pub(crate) use issue::{Entry, Issue};
pub use load::{devlake, titanium};
use reply::Reply;
pub(crate) use site::{Board, project_object};
pub use site::{Deployment, JiraLogin, JiraSite, JiraSwitches};
pub(crate) use time::{iso, zulu};

const BODY_LIMIT: usize = 16 << 20;

/// Where a request leads: a site, and what is behind its address.
#[derive(Debug)]
pub(crate) struct Target {
    site: usize,
    /// Before the API's own path: `/jira/name`, `/ex/jira/id` or nothing.
    prefix: String,
    gateway: bool,
    rest: String,
}

/// `None` when the path is none of Jira's.
pub(crate) fn target(shared: &Shared, path: &str) -> Option<Target> {
    let sites = shared.jira();
    let split = |path: &str| {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        (name.to_owned(), format!("/{rest}"))
    };
    if let Some(path) = path.strip_prefix("/jira/") {
        let (name, rest) = split(path);
        let site = sites.iter().position(|site| site.name == name)?;
        return Some(Target { site, prefix: format!("/jira/{name}"), gateway: false, rest });
    }
    if let Some(path) = path.strip_prefix("/ex/jira/") {
        let (id, rest) = split(path);
        let site = sites.iter().position(|site| site.cloud_id == id && site.is_cloud())?;
        return Some(Target { site, prefix: format!("/ex/jira/{id}"), gateway: true, rest });
    }
    let own = ["/rest/api/", "/secure/", "/rest/agile/", "/rest/webhooks/", "/rest/oauth2/", "/oauth/token"];
    let first = !sites.is_empty() && own.iter().any(|start| path.starts_with(start));
    first.then(|| Target { site: 0, prefix: String::new(), gateway: false, rest: path.to_owned() })
}

/// Answers a request to a site.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    switch: ResetSwitch,
    target: Target,
    request: Request,
) -> Response {
    let arrived_ms = now_ms();
    let (parts, body) = request.into_parts();
    let ticket = shared.requests().begin(crate::transport::record(&parts, arrived_ms), parts.uri.path());
    match answer(&shared, &parts, &target, body, arrived_ms).await {
        Ok((reply, cut)) => {
            shared.requests().finish(ticket, reply.status.as_u16());
            let response = reply.into_response();
            if cut { truncated(response) } else { response }
        }
        Err(Reset) => {
            switch.reset();
            Response::new(Body::empty())
        }
    }
}

/// The connection is to be reset instead of an answer.
struct Reset;

async fn answer(
    shared: &Arc<Shared>,
    parts: &request::Parts,
    target: &Target,
    body: Body,
    arrived_ms: i64,
) -> Result<(Reply, bool), Reset> {
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return Ok((Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large."), false));
    };
    pause(shared, shared.latency).await;
    let called = parts.uri.path_and_query().map_or(target.rest.as_str(), |whole| whole.as_str());
    let effects = shared.faults().on_request(parts.method.as_str(), parts.uri.path(), called);
    pause(shared, Duration::from_millis(effects.wait_ms)).await;
    let token = limited_token(&parts.headers, target);
    let refused = shared.limits().refused(&token, arrived_ms, now_ms());
    if let Some(refusal) = refused {
        return Ok((Reply::refused(&refusal, QUOTA, 65_000), false));
    }
    if let Some(reply) = instead(shared, &token, target, &effects)? {
        return Ok((reply, false));
    }
    if target.rest.starts_with("/oauth/token") || target.rest.starts_with("/rest/oauth2/") {
        let reply = oauth::token(&mut shared.jira_mut()[target.site], parts, &target.rest, &body);
        // The pair was made and stored; its answer is what gets lost.
        let lost = shared.jira_mut()[target.site].oauth.lose_answer();
        return if lost { Err(Reset) } else { Ok((reply, effects.truncated)) };
    }
    let taken = shared.limits().take(&token, now_ms());
    if let Err(refusal) = taken {
        return Ok((Reply::refused(&refusal, QUOTA, 65_000), false));
    }
    moves(shared, target.site, &effects);
    let budget = shared.limits().budget(&token, now_ms());
    let mut reply = route(shared, parts, target, &effects, &body);
    match effects.lost {
        Some(Lost::Reset) => return Err(Reset),
        Some(Lost::Status(status)) => return Ok((Reply::proxy_error(status), false)),
        None => {}
    }
    if budget.used * 5 > budget.limit * 4 {
        reply = reply.header("x-ratelimit-nearlimit", "true".to_owned());
    }
    Ok((reply, effects.truncated))
}

const QUOTA: &str = "jira-quota-tenant-based";

/// The answer that a fault puts in place of the real one.
fn instead(shared: &Shared, token: &str, target: &Target, effects: &Effects) -> Result<Option<Reply>, Reset> {
    let Some(fault) = &effects.instead else { return Ok(None) };
    let cloud = shared.jira()[target.site].is_cloud();
    Ok(Some(match fault {
        FaultKind::Reset => return Err(Reset),
        FaultKind::UnauthorizedOnce if target.gateway => Reply::gateway(401),
        FaultKind::UnauthorizedOnce => Reply::unauthorized(),
        FaultKind::ExpiredToken { status } => Reply::gateway(*status),
        FaultKind::PermissionLost { status: 403 } => {
            Reply::forbidden("You do not have permission to browse this project.")
        }
        FaultKind::PermissionLost { status } => {
            Reply::error(StatusCode::from_u16(*status).unwrap_or(StatusCode::NOT_FOUND), "Not found.")
        }
        FaultKind::ServerError { status } => Reply::proxy_error(*status),
        // Refuses this request alone: the burst is per endpoint.
        FaultKind::SecondaryLimit { retry_after_s } => {
            let reply = Reply::error(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded.")
                .header("ratelimit-reason", "jira-burst-based".to_owned());
            match retry_after_s {
                Some(seconds) => reply.header("retry-after", seconds.to_string()),
                None => reply,
            }
        }
        limit => {
            let refusal = shared.limits().refuse(token, limit, now_ms());
            refusal.map_or_else(
                || Reply::proxy_error(500),
                |refusal| {
                    let reply = Reply::refused(&refusal, QUOTA, 65_000);
                    match cloud {
                        true => reply,
                        // <https://confluence.atlassian.com/adminjiraserver/adjusting-your-code-for-rate-limiting-987143384.html>
                        false => reply
                            .header("x-ratelimit-fillrate", "10".to_owned())
                            .header("x-ratelimit-interval-seconds", "1".to_owned()),
                    }
                },
            )
        }
    }))
}

/// Issues that a fault changes just before the answer.
fn moves(shared: &Shared, site: usize, effects: &Effects) {
    for (project, numbers) in &effects.moves {
        let keys: Vec<String> = numbers.iter().map(|number| format!("{project}-{number}")).collect();
        // A rule about an issue that is gone by now moves nothing.
        let _ = shared.jira_mut()[site].touch(&keys);
    }
    for project in &effects.hidden {
        shared.jira_mut()[site].hidden_projects.insert(project.clone());
    }
}

fn route(
    shared: &Arc<Shared>,
    parts: &request::Parts,
    target: &Target,
    effects: &Effects,
    body: &Bytes,
) -> Reply {
    let (api, path) = match api_of(&target.rest) {
        Some(found) => found,
        None => return Reply::no_resource(),
    };
    let sites = shared.jira();
    let site = &sites[target.site];
    if api == Api::Three && !site.is_cloud() {
        return Reply::no_resource();
    }
    let open = parts.method == "GET" && path == "/serverInfo";
    let login = match oauth::login(site, &parts.headers, target.gateway, open) {
        Ok(login) => login,
        Err(reply) => return reply,
    };
    drop(sites);
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(parts.uri.host());
    // Behind the gateway the objects still tell the site's own address.
    let prefix = match target.gateway {
        true => format!("/jira/{}", shared.jira()[target.site].name),
        false => target.prefix.clone(),
    };
    let base = format!("http://{}{prefix}", host.unwrap_or("localhost"));
    let query = parts.uri.query().unwrap_or_default();
    let call = Call::new(&parts.method, api, path, query, &login, effects, base, body, &parts.headers);
    let damage = |reply: Reply| damaged(shared, effects, reply);
    routes::dispatch(shared, target.site, &call).map_or_else(|reply| reply, damage)
}

/// Which API, and the path behind its own.
fn api_of(rest: &str) -> Option<(Api, &str)> {
    let behind =
        |start: &str| rest.strip_prefix(start).filter(|path| path.is_empty() || path.starts_with('/'));
    if let Some(path) = behind("/rest/api/3") {
        return Some((Api::Three, path));
    }
    if let Some(path) = behind("/rest/api/2").or_else(|| behind("/rest/api/latest")) {
        return Some((Api::Two, path));
    }
    if let Some(path) = behind("/rest/agile/1.0") {
        return Some((Api::Agile, path));
    }
    if let Some(path) = behind("/secure") {
        return Some((Api::Secure, path));
    }
    behind("/rest/webhooks/1.0").map(|path| (Api::Webhooks, path))
}

/// What is limited together: a token at a site.
fn limited_token(headers: &HeaderMap, target: &Target) -> String {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    format!("jira {} {sent}", target.site)
}

/// Spoils the issue that a fault names, where the answer shows it.
fn damaged(shared: &Shared, effects: &Effects, mut reply: Reply) -> Reply {
    for item in &effects.items {
        let key = format!("\"key\":\"{}-{}\"", item.repository, item.number);
        if reply.status != StatusCode::OK || !reply.body.contains(&key) || !shared.faults().on_item(item.rule)
        {
            continue;
        }
        if let Ok(mut answer) = serde_json::from_str(&reply.body) {
            fields::damage(&mut answer, &format!("{}-{}", item.repository, item.number), item.damage);
            reply.body = fields::with_broken_text(&answer);
        }
    }
    reply
}
