//! The GitHub surface. Every request passes the same way: who asks, may they now, which
//! faults strike, the answer, and whether the client has it already.

mod account;
mod apps;
mod call;
mod catalog;
mod comments;
mod events;
pub(crate) mod extras;
mod graphql;
pub(crate) mod hooks;
mod issues;
mod pulls;
mod relations;
mod reply;
mod routes;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header, request};
use axum::response::Response;

use crate::connection::ResetSwitch;
use crate::faults::{Effects, FaultKind, Lost};
use crate::timestamp::{now_ms, parse_http_date};
use crate::transport::{pause, record, truncated};
use crate::{Shared, TokenGrant};
pub use apps::App;
use call::Call;
use reply::Reply;

const BODY_LIMIT: usize = 1 << 20;

/// Answers any request to the API.
pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<ResetSwitch>,
    request: Request,
) -> Response {
    let arrived_ms = now_ms();
    let (parts, body) = request.into_parts();
    let path = api_path(parts.uri.path()).to_owned();
    let ticket = shared.requests().begin(record(&parts, arrived_ms), &path);
    let answered = answer(&shared, &parts, &path, body, arrived_ms).await;
    hooks::send_out(&shared);
    match answered {
        Ok((reply, truncated)) => {
            shared.requests().finish(ticket, reply.status.as_u16());
            respond(reply, truncated)
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
    shared: &Shared,
    parts: &request::Parts,
    path: &str,
    body: Body,
    arrived_ms: i64,
) -> Result<(Reply, bool), Reset> {
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return Ok((Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"), false));
    };
    pause(shared, shared.latency).await;
    let (grant, app) = match authenticate(shared, &parts.headers, path) {
        Ok(caller) => caller,
        Err(reply) => return Ok((reply, false)),
    };
    // "Accessing this endpoint does not count against your REST API rate limit."
    // https://docs.github.com/rest/rate-limit/rate-limit
    let free = path == "/rate_limit";
    // Bound first: an `if let` would hold the lock over its block.
    let refused = if free { None } else { shared.limits().refused(&grant.token, arrived_ms, now_ms()) };
    if let Some(refusal) = refused {
        return Ok((with_budget(shared, &grant, Reply::refused(&refusal)), false));
    }
    let called = parts.uri.path_and_query().map_or(path, |whole| whole.as_str());
    let effects = shared.faults().on_request(parts.method.as_str(), path, called);
    pause(shared, Duration::from_millis(effects.wait_ms)).await;
    for (repository, numbers) in &effects.moves {
        // A rule about an item that is gone by now moves nothing.
        let _ = shared.world_mut().touch(repository, numbers);
    }
    if let Some(fault) = &effects.instead {
        let reply = instead(shared, &grant, fault)?;
        return Ok((with_budget(shared, &grant, reply), false));
    }
    let taken = if free { Ok(()) } else { shared.limits().take(&grant.token, now_ms()) };
    if let Err(refusal) = taken {
        return Ok((with_budget(shared, &grant, Reply::refused(&refusal)), false));
    }
    let reply = route(shared, parts, path, (&grant, app.as_ref()), &body, &effects).with_etag(&grant.token);
    match effects.lost {
        Some(Lost::Reset) => return Err(Reset),
        Some(Lost::Status(status)) => {
            return Ok((with_budget(shared, &grant, Reply::proxy_error(status)), false));
        }
        None => {}
    }
    if is_known(&reply, &parts.headers) {
        if !free {
            shared.limits().give_back(&grant.token);
        }
        return Ok((with_budget(shared, &grant, reply.not_modified()), false));
    }
    Ok((with_budget(shared, &grant, reply), effects.truncated))
}

fn route(
    shared: &Shared,
    parts: &request::Parts,
    path: &str,
    caller: (&TokenGrant, Option<&App>),
    body: &Bytes,
    effects: &Effects,
) -> Reply {
    let call = Call::new(shared, parts, path, caller, body, effects);
    routes::dispatch(&call).unwrap_or_else(|reply| reply)
}

fn api_path(path: &str) -> &str {
    path.strip_prefix("/api/v3").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// Who calls: with a token, or as an app, which only the paths of apps know.
fn authenticate(
    shared: &Shared,
    headers: &HeaderMap,
    path: &str,
) -> Result<(TokenGrant, Option<App>), Reply> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text(header::USER_AGENT).is_empty() {
        return Err(Reply::no_user_agent());
    }
    let sent = text(header::AUTHORIZATION);
    let Some((scheme, token)) = sent.split_once(' ') else {
        return Err(Reply::error(StatusCode::UNAUTHORIZED, "Requires authentication"));
    };
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token");
    let world = shared.world();
    if path == "/app" || path.starts_with("/app/") {
        let app = apps::authenticate(&world, token)?;
        let login = format!("{}[bot]", app.slug);
        return Ok((TokenGrant { token: app.app_id.clone(), login, repositories: None }, Some(app)));
    }
    if known && world.any_token {
        let (token, login) = (token.to_owned(), "patchbay-demo".to_owned());
        return Ok((TokenGrant { token, login, repositories: None }, None));
    }
    let grant = world.tokens.iter().find(|grant| known && grant.token == token);
    let expired = world.extras.expiry_ms.get(token).is_some_and(|at| *at <= now_ms());
    grant.filter(|_| !expired).cloned().map(|grant| (grant, None)).ok_or_else(Reply::bad_credentials)
}

/// The answer that a fault puts in place of the real one.
fn instead(shared: &Shared, grant: &TokenGrant, fault: &FaultKind) -> Result<Reply, Reset> {
    match fault {
        FaultKind::Reset => Err(Reset),
        FaultKind::UnauthorizedOnce | FaultKind::ExpiredToken { .. } => Ok(Reply::bad_credentials()),
        FaultKind::PermissionLost { status: 403 } => {
            Ok(Reply::error(StatusCode::FORBIDDEN, "Resource not accessible by personal access token"))
        }
        FaultKind::PermissionLost { .. } => Ok(Reply::not_found()),
        FaultKind::ServerError { status } => Ok(Reply::proxy_error(*status)),
        limit => {
            let refusal = shared.limits().refuse(&grant.token, limit, now_ms());
            Ok(refusal.map_or_else(|| Reply::proxy_error(500), |refusal| Reply::refused(&refusal)))
        }
    }
}

fn with_budget(shared: &Shared, grant: &TokenGrant, reply: Reply) -> Reply {
    reply.with_budget(shared.limits().budget(&grant.token, now_ms()))
}

/// Whether the client's condition says it has this answer.
/// <https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api>
fn is_known(reply: &Reply, headers: &HeaderMap) -> bool {
    if reply.status != StatusCode::OK {
        return false;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // If-None-Match decides alone where both are sent (RFC 9110 section 13.2.2).
    if let Some(tags) = text(header::IF_NONE_MATCH) {
        let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = reply.etag.as_deref().map(strong).unwrap_or_default();
        return tags.split(',').any(|tag| strong(tag) == own || tag.trim() == "*");
    }
    let since = text(header::IF_MODIFIED_SINCE).and_then(parse_http_date);
    matches!((reply.last_modified, since), (Some(modified), Some(since)) if modified <= since)
}

fn respond(reply: Reply, cut: bool) -> Response {
    let response = reply.into_response();
    if cut { truncated(response) } else { response }
}
