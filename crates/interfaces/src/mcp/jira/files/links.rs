//! `/files/{link}`: a file of an issue by GET, room for one by PUT. Whoever has the link needs no key, so that what the caller
//! on whose behalf it was made may do is looked up at every request, as if they had sent it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use application::live::{FileLink, Holder, LinkTo, MOST_OF_A_FILE, Received};
use application::ports::ToolClass;
use application::sign_in::RequestInfo;
use application::{Ctx, Error};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use domain::{AuditAction, AuditEntry, AuditOutcome, Scopes, Toolset};
use futures::{Stream, StreamExt, stream};
use http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::json;
use tokio::sync::mpsc;
use url::Url;

use super::super::super::McpConfig;
use super::super::super::front::{self, Front};
use super::super::schemas::files::{CREATE_UPLOAD, GET_ATTACHMENT};
use super::super::tools::JiraTools;
use crate::auth::origin_of;
use crate::extract::{Json, Path};
use crate::limits;
use crate::problem::Problem;
use crate::request::{self, Limits};
use crate::streams::{OpenStream, Streams};

const DOWNLOAD: AuditAction = AuditAction::new("attachment.download");
const UPLOAD: AuditAction = AuditAction::new("attachment.upload");
/// Files that are handed out to one caller at the same time.
const AT_ONCE: usize = 4;
/// How long a download may stand still because its client takes nothing.
const LONGEST_STALL: Duration = Duration::from_secs(30);
/// A file that is sent stands in memory until it is stored.
const MOST_SENT_AT_ONCE: usize = 16;

#[derive(Debug, Clone)]
struct Files {
    tools: Arc<JiraTools>,
    streams: Streams,
}

/// The address that a link is told with.
pub(in super::super) fn address(base: &Url, token: &str) -> String {
    // Beside the server's endpoint, whatever that is called.
    match base.join(&format!("files/{token}")) {
        Ok(url) => url.to_string(),
        Err(_) => format!("/files/{token}"),
    }
}

/// The routes of links, with bounds of their own: files are larger than calls of tools, and take longer.
pub(in super::super) fn routes(tools: &Arc<JiraTools>, config: &McpConfig, label: &'static str) -> Router {
    let limits = tools.services.limits.clone();
    let files = Files { tools: tools.clone(), streams: Streams::new(AT_ONCE) };
    let router = Router::new()
        .route("/files/{link}", get(download).put(upload).fallback(method_not_allowed))
        .with_state(files)
        .layer(from_fn_with_state(Front::new(config), front::check))
        .layer(from_fn_with_state(limits, limits::by_address));
    let router = request::while_there(router, tools.services.health.clone());
    let bounds = Limits {
        concurrency: MOST_SENT_AT_ONCE,
        deadline: Duration::from_secs(120),
        body_deadline: Duration::from_secs(30),
        body: usize::try_from(MOST_OF_A_FILE).unwrap_or(usize::MAX),
    };
    request::guard(router, label, bounds)
}

async fn method_not_allowed(method: Method) -> Problem {
    let message = format!("{method} is not possible here");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        .with_hint("GET a link of jira_get_attachment, PUT a file to a link of jira_create_upload")
}

impl Files {
    /// Who follows the link, with what they may do by now. The same words whatever is wrong with it.
    async fn caller(&self, link: &FileLink, tool: &str, writes: bool, parts: &Parts) -> Result<Ctx, Problem> {
        let services = &self.tools.services;
        let origin = origin_of(&parts.headers, &parts.extensions);
        let info = RequestInfo { id: request::current_id().unwrap_or_else(request::new_id), origin };
        let ctx = match &link.holder {
            Holder::Key(key) => {
                let again = services.access.again(link.tenant, *key, info.id).await;
                again.map(|ctx| Ctx { origin: info.origin.clone(), ..ctx })
            }
            Holder::User(user, scopes) => match Scopes::parse(scopes.iter().map(String::as_str)) {
                Ok(held) => services.sign_in.again(link.tenant, *user, &held, &info).await,
                Err(_) => Err(Error::Unauthenticated("the link holds no scopes")),
            },
        };
        let ctx = ctx.map_err(|error| match error {
            Error::Unauthenticated(_) => no_link(),
            error => error.into(),
        })?;
        super::super::admits(&ctx).map_err(|_| no_link())?;
        let access = services.policy.jira(&ctx).await.map_err(Problem::from)?;
        if !access.may_open().contains(&Toolset::JiraFiles) || !access.allows(tool, writes) {
            return Err(no_link());
        }
        let class = if writes { ToolClass::Write } else { ToolClass::LiveRead };
        services.limits.count_tool(&ctx, class).await.map_err(Problem::from)?;
        Ok(ctx)
    }
}

/// How it ended, for the record.
fn ended<T>(entry: AuditEntry, outcome: &Result<T, Error>) -> AuditEntry {
    match outcome {
        Ok(_) => entry,
        Err(error @ (Error::Forbidden { .. } | Error::Exceeds { .. } | Error::NotFound { .. })) => {
            entry.ended(AuditOutcome::Denied).with("reason", error.to_string())
        }
        Err(_) => entry.ended(AuditOutcome::Failed),
    }
}

async fn download(
    State(files): State<Files>,
    Path(token): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    let live = &files.tools.services.live;
    let link = live.read_link(&token).ok_or_else(no_link)?;
    let LinkTo::File { key, id } = &link.to else {
        return Err(no_link());
    };
    let ctx = files.caller(&link, GET_ATTACHMENT, false, &parts).await?;
    let place = match ctx.principal.id() {
        Some(principal) => Some(files.streams.open(principal).ok_or_else(too_many)?),
        None => None,
    };
    let found = live.download(&ctx, &link).await;
    let entry = AuditEntry::ok(DOWNLOAD).to("attachment", id).with("key", key.as_str());
    let entry = match &found {
        Ok(found) => entry.with("instance", found.instance.as_str()).with("bytes", found.found.file.size),
        Err(_) => entry,
    };
    // Without a record there is no answer.
    files.tools.services.audit.note_read(&ctx, ended(entry, &found)).await?;
    let found = found?;
    let file = found.found.file;
    let headers = [
        // Whatever the tracker takes it for: it is nothing that a browser should show in our name.
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DISPOSITION, disposition(&file.filename)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CONTENT_LENGTH, file.size.into()),
    ];
    let body = Body::from_stream(while_taken(whole(found.bytes, file.size), place));
    Ok((headers, body).into_response())
}

/// Fetches what is handed out only as fast as it is taken, and ends when nobody takes any for [`LONGEST_STALL`]: the tracker's
/// connection and the caller's place are free then, whatever becomes of the client's own connection.
fn while_taken<T: Send + 'static>(
    coming: impl Stream<Item = T> + Send + 'static,
    place: Option<OpenStream>,
) -> impl Stream<Item = T> + Send + 'static {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        let mut coming = pin!(coming);
        loop {
            let next = tokio::select! {
                () = sender.closed() => return,
                next = coming.next() => next,
            };
            let Some(next) = next else { return };
            match tokio::time::timeout(LONGEST_STALL, sender.send(next)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

/// The content as it comes, no more than was announced. A file that ends early breaks off, so that nobody takes a part of it
/// for the whole.
fn whole<E: std::error::Error + Send + Sync + 'static>(
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    size: u64,
) -> impl Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static {
    let mut left = size;
    let mut over = false;
    bytes
        .map(move |chunk| {
            let chunk = chunk.map_err(Box::<dyn std::error::Error + Send + Sync>::from)?;
            match left.checked_sub(chunk.len() as u64) {
                Some(rest) => {
                    left = rest;
                    Ok(chunk)
                }
                None => Err("the tracker sent more than the file has".into()),
            }
        })
        .take_while(move |chunk| {
            let ended = std::mem::replace(&mut over, chunk.is_err());
            std::future::ready(!ended)
        })
}

async fn upload(
    State(files): State<Files>,
    Path(token): Path<String>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    let live = &files.tools.services.live;
    let link = live.read_link(&token).ok_or_else(no_link)?;
    let LinkTo::Upload(id) = &link.to else {
        return Err(no_link());
    };
    let (parts, body) = request.into_parts();
    let ctx = files.caller(&link, CREATE_UPLOAD, true, &parts).await?;
    let size = live.announced(&ctx, &link).await?;
    let body = Limited::new(body, usize::try_from(size).unwrap_or(usize::MAX));
    let content = body.collect().await.map_err(|error| unreadable(&*error, size))?.to_bytes();
    let received = live.receive(&ctx, &link, content.into()).await;
    let entry = AuditEntry::ok(UPLOAD).to("upload", id).with("bytes", size);
    files.tools.services.audit.note(&ctx, ended(entry, &received)).await?;
    let Received { filename, size, digest, .. } = received?;
    Ok(Json(json!({"filename": filename, "size": size, "sha256": digest})))
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static), size: u64) -> Problem {
    let problem = request::unreadable(error);
    match problem.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body has more than the {size} bytes that were announced");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
                .with_hint("send the file that was announced, or announce this one with jira_create_upload")
        }
        _ => problem,
    }
}

/// The same words whether it is made up, over, or of somebody who may not do it any more.
fn no_link() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_link", "there is no such link, or it is good no more")
        .with_hint("links last some minutes: call jira_get_attachment or jira_create_upload again")
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_downloads",
        "too many files are being handed out to this caller",
    )
    .with_hint("wait until another download is over")
    .with_retry_after(Duration::from_secs(1))
}

/// By RFC 6266, as something to be kept and never to be shown: a name for all, and the real one for those that read it.
fn disposition(filename: &str) -> HeaderValue {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
    let simple: String = filename.chars().map(|c| if plain(c) { c } else { '_' }).take(200).collect();
    let mut exact = String::new();
    for byte in filename.bytes().take(600) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => exact.push(char::from(byte)),
            other => exact.push_str(&format!("%{other:02X}")),
        }
    }
    let text = format!("attachment; filename=\"{simple}\"; filename*=UTF-8''{exact}");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stands_beside_the_endpoint() {
        let of = |base: &str| address(&base.parse().unwrap(), "abc");
        assert_eq!(of("https://mcp.example/mcp"), "https://mcp.example/files/abc");
        assert_eq!(of("https://example.com/jira/mcp"), "https://example.com/jira/files/abc");
        assert_eq!(of("http://127.0.0.1:8055/mcp"), "http://127.0.0.1:8055/files/abc");
    }

    #[test]
    fn a_name_says_nothing_else_than_a_name() {
        let told = |name: &str| disposition(name).to_str().unwrap().to_owned();
        assert_eq!(told("a b.txt"), "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt");
        assert_eq!(
            told("x\"; y=\r\nSet-Cookie: ü"),
            "attachment; filename=\"x__ y___Set-Cookie_ _\"; filename*=UTF-8''x%22%3B%20y%3D%0D%0ASet-Cookie%3A%20%C3%BC"
        );
    }

    #[tokio::test]
    async fn no_more_is_handed_out_than_the_file_has_and_an_error_ends_it() {
        let coming = |chunks: Vec<Result<&'static str, std::io::Error>>| {
            stream::iter(chunks.into_iter().map(|chunk| chunk.map(Bytes::from)))
        };
        let all = whole(coming(vec![Ok("ab"), Ok("cd")]), 4).collect::<Vec<_>>().await;
        assert_eq!(all.iter().filter(|chunk| chunk.is_ok()).count(), 2);
        let more = whole(coming(vec![Ok("ab"), Ok("cd"), Ok("ef")]), 3).collect::<Vec<_>>().await;
        assert_eq!(more.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
    }
    #[tokio::test(start_paused = true)]
    async fn a_download_that_nobody_takes_frees_its_place() {
        let streams = Streams::new(1);
        let caller = uuid::Uuid::from_u128(1);
        let place = streams.open(caller).unwrap();
        let mut taken = pin!(while_taken(stream::repeat(7), Some(place)));
        assert_eq!(taken.next().await, Some(7));
        tokio::time::sleep(LONGEST_STALL / 2).await;
        assert!(streams.open(caller).is_none(), "it may go on yet");
        tokio::time::sleep(LONGEST_STALL).await;
        assert!(streams.open(caller).is_some());
        // What was fetched before is there still; then it breaks off.
        let rest: Vec<_> = taken.collect().await;
        assert!(rest.len() <= 2, "{rest:?}");
    }

    #[tokio::test]
    async fn a_download_whose_client_is_gone_frees_its_place() {
        let streams = Streams::new(1);
        let caller = uuid::Uuid::from_u128(1);
        let place = streams.open(caller).unwrap();
        drop(while_taken(stream::pending::<()>(), Some(place)));
        while streams.open(caller).is_none() {
            tokio::task::yield_now().await;
        }
    }
}
