//! Webhooks: made with a handshake inside the call, sent for real, signed.
//! <https://developers.asana.com/docs/webhooks-guide>

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use super::call::Call;
use super::reply::Reply;
use super::world::{AsanaWorld, Webhook};
use crate::Shared;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const MOST_ANSWER_BYTES: u64 = 64 * 1024;

/// `POST /webhooks`: before it answers, the target has to give the secret back.
pub(super) async fn create(shared: &Arc<Shared>, call: &Call<'_>) -> Result<Reply, Reply> {
    let data = call.body()?;
    let text = |name: &str| {
        data[name].as_str().map(str::to_owned).ok_or_else(|| Reply::bad(&format!("{name}: Missing input")))
    };
    let (project, target) = (text("resource")?, text("target")?);
    let kinds: Vec<String> = data["filters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|filter| filter["resource_type"].as_str().map(str::to_owned))
        .collect();
    let (gid, secret) = {
        let mut world = shared.asana_mut();
        if world.workspaces.iter().any(|workspace| workspace.gid == project) && kinds.is_empty() {
            return Err(Reply::bad("filters: Webhooks on higher-level resources require filters"));
        }
        world.project(&project).ok_or_else(|| Reply::not_found("resource", &project))?;
        if world.webhooks.iter().any(|hook| hook.project == project && hook.target == target) {
            return Err(Reply::forbidden("A webhook with this resource and target exists already"));
        }
        let gid = world.next_gid();
        let secret = hex::encode(sha2::Digest::finalize(<Sha256 as sha2::Digest>::new_with_prefix(&gid)));
        (gid, secret)
    };
    let answered = post(&target, &[("X-Hook-Secret", &secret)], "").await;
    let confirmed = answered.is_some_and(|(status, headers)| {
        matches!(status, 200 | 204)
            && headers.lines().any(|line| {
                line.split_once(':').is_some_and(|(name, value)| {
                    name.trim().eq_ignore_ascii_case("x-hook-secret") && value.trim() == secret
                })
            })
    });
    if !confirmed {
        return Err(Reply::bad("The remote server did not respond with the handshake secret"));
    }
    let hook = Webhook { gid, project, target, secret: secret.clone(), active: true, kinds };
    let shown = json!({"data": value(&hook), "X-Hook-Secret": secret});
    shared.asana_mut().webhooks.push(hook);
    Ok(Reply::json(axum::http::StatusCode::CREATED, &shown))
}

fn value(hook: &Webhook) -> Value {
    json!({"gid": hook.gid, "resource_type": "webhook", "active": hook.active, "target": hook.target,
        "resource": {"gid": hook.project, "resource_type": "project"}})
}

pub(super) fn list(world: &mut AsanaWorld, call: &Call<'_>) -> Result<Reply, Reply> {
    let workspace = call.gid("workspace")?.ok_or_else(|| Reply::bad("workspace: Missing input"))?;
    let hooks: Vec<Value> = world
        .webhooks
        .iter()
        .filter(|hook| world.project(&hook.project).is_some_and(|(own, _)| own.gid == workspace))
        .map(value)
        .collect();
    super::reads::values(world, call, &hooks)
}

pub(super) fn delete(world: &mut AsanaWorld, gid: &str) -> Result<Reply, Reply> {
    let before = world.webhooks.len();
    world.webhooks.retain(|hook| hook.gid != gid);
    if world.webhooks.len() == before {
        Err(Reply::not_found("webhook", gid))
    } else {
        Ok(Reply::data(&json!({})))
    }
}

/// Sends what waits, each delivery once.
pub(crate) fn deliver(shared: &Arc<Shared>) {
    let waiting = std::mem::take(&mut shared.asana_mut().outbox);
    if waiting.is_empty() {
        return;
    }
    tokio::spawn(async move {
        for (hook, body) in waiting {
            let signature = Hmac::<Sha256>::new_from_slice(hook.secret.as_bytes())
                .map(|mac| hex::encode(mac.chain_update(body.as_bytes()).finalize().into_bytes()))
                .unwrap_or_default();
            post(&hook.target, &[("X-Hook-Signature", &signature)], &body).await;
        }
    });
}

/// Status and headers of the answer; `None` when there is none. Plain HTTP, as tests listen.
async fn post(target: &str, headers: &[(&str, &str)], body: &str) -> Option<(u16, String)> {
    let url = Url::parse(target).ok().filter(|url| url.scheme() == "http")?;
    let address = (url.host_str()?.to_owned(), url.port_or_known_default()?);
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {}:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n",
        &url[url::Position::BeforePath..url::Position::AfterQuery],
        address.0,
        address.1,
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.take(MOST_ANSWER_BYTES).read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split("\r\n\r\n").next().unwrap_or_default().to_owned()))
    };
    tokio::time::timeout(ANSWER_WITHIN, exchange).await.ok().flatten()
}
