//! HTTP+SSE, the transport of protocol 2024-11-05, for clients that know no other: `GET /sse` opens a session and
//! `POST /messages` speaks in it. rmcp has only the session itself; this is what is around it.
//!
//! A session lives in this process, so replicas behind a balancer need sticky routing. Every message is authorised by
//! itself and read with what its own sender may do; the session only decides where the answer goes.

mod sessions;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::{SinkExt, Stream, stream};
use http::{HeaderName, StatusCode, Uri};
use http_body_util::BodyExt;
use rmcp::ServerHandler;
use rmcp::model::{ClientJsonRpcMessage, GetExtensions, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::serve_server_with_ct;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard, PollSender};
use uuid::Uuid;
use validator::Validate;

use super::McpConfig;
use super::server::Admits;
use crate::auth::{Caller, Guard};
use crate::extract::Query;
use crate::problem::Problem;
use crate::request::unreadable;
use crate::streams::{RECHECK, Watch};
use sessions::{OpenSession, Sessions};

/// Comments that keep proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Answers that wait for a client that reads slowly; the session stands still while there are more.
const WAITING: usize = 16;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

#[derive(Clone)]
struct SseState<H> {
    handler: H,
    guard: Guard,
    admits: Admits,
    sessions: Sessions,
    /// Where clients are told to POST.
    messages: Arc<str>,
    shutdown: CancellationToken,
}

/// `/sse` and `/messages`, for callers who are let in already.
pub(super) fn router<H>(handler: H, guard: Guard, admits: Admits, config: &McpConfig) -> Router
where
    H: ServerHandler + Clone + Send + Sync + 'static,
{
    // Behind a proxy the server may stand below a path, which the address that clients type tells.
    let below = config.resource.path().trim_end_matches('/').trim_end_matches("mcp").trim_end_matches('/');
    let messages = format!("{below}/messages").into();
    let (sessions, shutdown) = (Sessions::default(), config.shutdown.clone());
    let state = SseState { handler, guard, admits, sessions, messages, shutdown };
    Router::new().route("/sse", get(open::<H>)).route("/messages", post(message::<H>)).with_state(state)
}

/// `GET /sse`: a session. The first event says where to POST, the others are messages of the protocol.
async fn open<H>(State(state): State<SseState<H>>, caller: Caller, uri: Uri) -> Result<Response, Problem>
where
    H: ServerHandler + Clone + Send + Sync + 'static,
{
    let (from_client, inbox) = mpsc::channel::<ClientJsonRpcMessage>(WAITING);
    let (to_client, outbox) = mpsc::channel::<ServerJsonRpcMessage>(WAITING);
    let session = state.sessions.open(&caller.ctx, from_client)?;
    let ended = CancellationToken::new();
    let (handler, until) = (state.handler, ended.clone());
    tokio::spawn(async move {
        let messages = stream::unfold(inbox, |mut inbox| async { Some((inbox.recv().await?, inbox)) });
        let sink = PollSender::new(to_client)
            .sink_map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone"));
        // What goes wrong here is the client's: it closed, or did not begin as the protocol says.
        if let Ok(running) = serve_server_with_ct(handler, (sink, Box::pin(messages)), until).await {
            let _ = running.waiting().await;
        }
    });
    let mut endpoint = format!("{}?sessionId={}", state.messages, session.id);
    // What the address narrows holds for each message.
    if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
        endpoint.push('&');
        endpoint.push_str(query);
    }
    let follower = Follower {
        first: Some(endpoint),
        outbox,
        watch: Watch::new(state.guard, caller),
        admits: state.admits,
        shutdown: state.shutdown,
        _session: session,
        _ended: ended.drop_guard(),
    };
    let events = Sse::new(follower.events()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([(X_ACCEL_BUFFERING, "no")], events).into_response())
}

/// An open stream. Dropped with its connection, it ends the session and what is being done in it.
struct Follower {
    first: Option<String>,
    outbox: mpsc::Receiver<ServerJsonRpcMessage>,
    watch: Watch,
    admits: Admits,
    shutdown: CancellationToken,
    _session: OpenSession,
    _ended: DropGuard,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next event; `None` when the session is over, the server ends, or the caller may not go on.
    async fn next(&mut self) -> Option<Event> {
        if let Some(endpoint) = self.first.take() {
            return Some(Event::default().event("endpoint").data(endpoint));
        }
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                message = self.outbox.recv() => {
                    let text = serde_json::to_string(&message?).ok()?;
                    return Some(Event::default().event("message").data(text));
                }
                () = tokio::time::sleep(RECHECK) => {}
            }
            if self.watch.check().await.is_err() || (self.admits)(&self.watch.ctx).is_err() {
                return None;
            }
        }
    }
}

#[derive(Debug, Deserialize, Validate)]
struct MessageQuery {
    #[serde(rename = "sessionId")]
    session_id: Uuid,
}

/// `POST /messages`: takes a message; its answer comes on the session's stream.
async fn message<H>(
    State(state): State<SseState<H>>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<MessageQuery>,
    request: Request,
) -> Result<StatusCode, Problem>
where
    H: ServerHandler + Clone + Send + Sync + 'static,
{
    let session = state.sessions.find(query.session_id, &ctx).ok_or_else(unknown_session)?;
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| unreadable(&error))?.to_bytes();
    let mut message: ClientJsonRpcMessage = serde_json::from_slice(&body).map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "not_json_rpc", "the body is not a JSON-RPC message")
            .with_hint("send one object with jsonrpc, id, method and params")
    })?;
    if let JsonRpcMessage::Request(request) = &mut message {
        // Held by the request until it is answered: the answer to this POST is no end of it.
        parts.extensions.insert(session.begin_call()?);
        request.request.extensions_mut().insert(parts);
    }
    match session.send(message).await {
        true => Ok(StatusCode::ACCEPTED),
        false => Err(unknown_session()),
    }
}

/// The same words whether there is no such session or it is another caller's.
fn unknown_session() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_session", "there is no such session, or it has ended")
        .with_hint("open one with GET /sse and send messages to the address its first event names")
}
