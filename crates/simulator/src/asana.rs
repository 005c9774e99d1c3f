//! The Asana surface, at `/api/1.0`: `limit` and `offset` as strict as Asana's, events with expiring tokens, webhooks with
//! their handshake inside the call that makes them. Shapes and refusals follow Asana's OpenAPI description and
//! <https://developers.asana.com/docs>.

mod call;
mod control;
pub(crate) mod generate;
mod hooks;
mod reads;
mod render;
mod reply;
mod time;
mod world;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header, request};
use axum::response::Response;

use crate::connection::ResetSwitch;
use crate::faults::{Damage, Effects, FaultKind, Lost};
use crate::timestamp::now_ms;
use crate::transport::{pause, record, truncated};
use crate::{Shared, TokenGrant};
use call::Call;
pub(crate) use control::routes as control_routes;
use reply::Reply;
pub(crate) use world::AsanaWorld;
pub use world::{AsanaField, AsanaProject, AsanaTask, AsanaUser, AsanaWorkspace};

const BODY_LIMIT: usize = 8 << 20;
/// Where the API is.
pub(crate) const BASE: &str = "/api/1.0";

/// Answers any request to the API.
pub(crate) async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<ResetSwitch>,
    request: Request,
) -> Response {
    let arrived_ms = now_ms();
    let (parts, body) = request.into_parts();
    let ticket = shared.requests().begin(record(&parts, arrived_ms), parts.uri.path());
    match answer(&shared, &parts, body, arrived_ms).await {
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
    body: Body,
    arrived_ms: i64,
) -> Result<(Reply, bool), Reset> {
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return Ok((Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "Request too large"), false));
    };
    pause(shared, shared.latency).await;
    let grant = match authenticate(shared, &parts.headers) {
        Ok(grant) => grant,
        Err(reply) => return Ok((reply, false)),
    };
    let limited = format!("asana {}", grant.token);
    let refused = shared.limits().refused(&limited, arrived_ms, now_ms());
    if let Some(refusal) = refused {
        return Ok((Reply::limited(&refusal), false));
    }
    let path = parts.uri.path().strip_prefix(BASE).unwrap_or_default();
    let called = parts.uri.path_and_query().map_or(path, |whole| whole.as_str());
    let effects = shared.faults().on_request(parts.method.as_str(), parts.uri.path(), called);
    pause(shared, Duration::from_millis(effects.wait_ms)).await;
    for project in &effects.hidden {
        if let Some(project) = shared.asana_mut().project_mut(project) {
            project.hidden = true;
        }
    }
    for (_, gids) in &effects.moves {
        for gid in gids {
            shared.asana_mut().changed(&gid.to_string());
        }
    }
    if let Some(fault) = &effects.instead {
        return Ok((instead(shared, &limited, fault)?, false));
    }
    let taken = shared.limits().take(&limited, now_ms());
    if let Err(refusal) = taken {
        return Ok((Reply::limited(&refusal), false));
    }
    let call = match Call::new(parts, path, &grant, &body, &effects) {
        Ok(call) => call,
        Err(reply) => return Ok((reply, false)),
    };
    let reply = match (&parts.method, call.parts().as_slice()) {
        (&Method::POST, ["webhooks"]) => hooks::create(shared, &call).await,
        (&Method::GET, _) => reads::dispatch(&mut shared.asana_mut(), &call),
        _ => writes::dispatch(&mut shared.asana_mut(), &call),
    };
    hooks::deliver(shared);
    match effects.lost {
        Some(Lost::Reset) => return Err(Reset),
        Some(Lost::Status(status)) => return Ok((Reply::server_error(status), false)),
        None => {}
    }
    Ok((damaged(shared, &effects, reply.unwrap_or_else(|refusal| refusal)), effects.truncated))
}

fn authenticate(shared: &Shared, headers: &HeaderMap) -> Result<TokenGrant, Reply> {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = sent.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else {
        return Err(Reply::error(StatusCode::UNAUTHORIZED, "Not Authorized"));
    };
    let world = shared.world();
    if world.any_token {
        return Ok(TokenGrant { token: token.to_owned(), login: String::new(), repositories: None });
    }
    let grant = world.tokens.iter().find(|grant| grant.token == token);
    grant.cloned().ok_or_else(|| Reply::error(StatusCode::UNAUTHORIZED, "Not Authorized"))
}

/// The answer that a fault puts in place of the real one.
fn instead(shared: &Shared, limited: &str, fault: &FaultKind) -> Result<Reply, Reset> {
    match fault {
        FaultKind::Reset => Err(Reset),
        FaultKind::UnauthorizedOnce => Ok(Reply::error(StatusCode::UNAUTHORIZED, "Not Authorized")),
        FaultKind::ServerError { status } => Ok(Reply::server_error(*status)),
        FaultKind::PermissionLost { status } | FaultKind::ExpiredToken { status } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN);
            Ok(Reply::error(status, "You do not have access to this"))
        }
        limit => {
            let refusal = shared.limits().refuse(limited, limit, now_ms());
            Ok(refusal.map_or_else(
                || Reply::error(StatusCode::FORBIDDEN, "Forbidden"),
                |refusal| Reply::limited(&refusal),
            ))
        }
    }
}

/// Spoils the task that a fault names, where the answer shows it.
fn damaged(shared: &Shared, effects: &Effects, mut reply: Reply) -> Reply {
    for item in &effects.items {
        let gid = format!("\"gid\":\"{}\"", item.number);
        if reply.status != StatusCode::OK
            || !reply.body.contains("\"created_at\"")
            || !reply.body.contains(&gid)
        {
            continue;
        }
        let Ok(mut answer) = serde_json::from_str::<serde_json::Value>(&reply.body) else { continue };
        let spoil = |task: &mut serde_json::Value| {
            if task["gid"] == item.number.to_string().as_str()
                && task.get("created_at").is_some()
                && shared.faults().on_item(item.rule)
            {
                match item.damage {
                    Damage::Unmappable => task["created_at"] = serde_json::Value::Null,
                    Damage::NullCharacter => task["html_notes"] = "@@broken@@".into(),
                    Damage::LargeText(bytes) => {
                        task["html_notes"] = format!("<body>{}</body>", "long ".repeat(bytes / 5)).into();
                    }
                }
            }
        };
        match &mut answer["data"] {
            serde_json::Value::Array(rows) => rows.iter_mut().for_each(spoil),
            one => spoil(one),
        }
        reply.body = answer
            .to_string()
            .replace("@@broken@@", "<body>zero \\u0000 here, half a pair \\ud800 there</body>");
    }
    reply
}
