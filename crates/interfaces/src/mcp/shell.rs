//! What the handlers of all MCP servers do alike: who asks is read from each request and counted, lists are theirs alone,
//! and a call ends with its client.

use std::time::Duration;

use application::limits::LimitService;
use application::{Ctx, Error};
use http::StatusCode;
use rmcp::model::{
    CacheScope, CallToolResponse, CompleteResult, CompletionInfo, InitializeRequestParams, InitializeResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, ProgressNotificationParam,
    ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate, Tool,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData, ServerHandler};
use serde_json::Value;

use super::listen::{Listeners, Sight};
use super::outcome::{self, Answer, Failure, ToolError};
use super::step_up;
use crate::auth::Caller;
use crate::problem::{ErrorBody, Problem};

/// The type of every resource here.
pub(super) const JSON: &str = "application/json";
/// The most characters of a resource's address; ours are shorter by far.
pub(super) const MOST_URI: usize = 200;
/// The most resources of one subscription.
pub(super) const MOST_SUBSCRIBED: usize = 50;
/// How long a client may keep what it read: nothing that is read is fresher anywhere else.
const READ_TTL_MS: u64 = 5_000;
/// How long a client may keep a list. Lists change with a release, with a grant, or when an admin publishes a template or
/// connects a second Jira; calls notice within five seconds, whatever list a client has.
pub(super) const LIST_TTL_MS: u64 = 60_000;
/// When the first word of a slow tool's progress is sent, and how often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Introduces a server to a client from before 2026-07-28, which is told of no changes: there is no stream of theirs to
/// tell them on.
pub(super) fn introduce(
    handler: &impl ServerHandler,
    request: &InitializeRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<InitializeResult, ErrorData> {
    context.peer.set_peer_info(request.clone());
    let mut result = handler.negotiate_initialize(request)?;
    let capabilities = &mut result.capabilities;
    capabilities.tools = capabilities.tools.take().map(|_| Default::default());
    capabilities.resources = capabilities.resources.take().map(|_| Default::default());
    capabilities.prompts = capabilities.prompts.take().map(|_| Default::default());
    Ok(result)
}

/// Who asks for something that is no tool call, counted.
pub(super) async fn counted(
    limits: &LimitService,
    context: &RequestContext<RoleServer>,
) -> Result<Ctx, ErrorData> {
    let ctx = caller(context)?.ctx;
    limits.count_request(&ctx).await.map_err(outcome::not_now)?;
    Ok(ctx)
}

/// The tools of one caller.
pub(super) fn listed(tools: Result<Vec<Tool>, Error>) -> Result<ListToolsResult, ErrorData> {
    Ok(ListToolsResult::with_all_items(tools.map_err(fault)?)
        .with_ttl_ms(LIST_TTL_MS)
        .with_cache_scope(CacheScope::Private))
}

/// The resources there are, for one caller.
pub(super) fn listed_resources(resources: Vec<Resource>) -> ListResourcesResult {
    ListResourcesResult::with_all_items(resources)
        .with_ttl_ms(LIST_TTL_MS)
        .with_cache_scope(CacheScope::Private)
}

/// The templates of resources, for one caller.
pub(super) fn listed_templates(templates: Vec<ResourceTemplate>) -> ListResourceTemplatesResult {
    ListResourceTemplatesResult::with_all_items(templates)
        .with_ttl_ms(LIST_TTL_MS)
        .with_cache_scope(CacheScope::Private)
}

/// Waits for what is read of a resource. Gone is the client, gone is the look.
pub(super) async fn read(
    context: &RequestContext<RoleServer>,
    uri: String,
    read: impl Future<Output = Result<Value, Failure>>,
) -> Result<ReadResourceResponse, ErrorData> {
    let content = tokio::select! {
        () = context.ct.cancelled() => return Err(cancelled()),
        content = read => content,
    };
    let content = content.map_err(|failure| outcome::to_error(failure, &uri))?;
    let contents = ResourceContents::text(content.to_string(), uri).with_mime_type(JSON);
    let read = ReadResourceResult::new(vec![contents]);
    Ok(read.with_ttl_ms(READ_TTL_MS).with_cache_scope(CacheScope::Private).into())
}

/// Values that an argument can be completed with; as many as the protocol takes.
pub(super) fn completed(mut values: Vec<String>) -> Result<CompleteResult, ErrorData> {
    let total = u32::try_from(values.len()).ok();
    let more = values.len() > CompletionInfo::MAX_VALUES;
    values.truncate(CompletionInfo::MAX_VALUES);
    let completion = CompletionInfo::with_pagination(values, total, more);
    Ok(CompleteResult::new(completion.map_err(|_| ErrorData::internal_error("too many values", None))?))
}

/// The same words whether there is no such resource or it is not this caller's.
pub(super) fn no_such_resource() -> Failure {
    let body = ErrorBody::new("not_found", "there is no resource of that address")
        .with_hint("resources/list and resources/templates/list name them");
    Failure::Tool(Box::new(ToolError::new(StatusCode::NOT_FOUND, body)))
}

/// Waits for a tool, telling of its progress. Gone is the client, gone is the call: dropping it ends its query or its
/// request to the tracker.
pub(super) async fn called(
    context: &RequestContext<RoleServer>,
    call: impl Future<Output = Result<Answer, Failure>>,
) -> Result<CallToolResponse, ErrorData> {
    let outcome = tokio::select! {
        () = context.ct.cancelled() => return Err(cancelled()),
        () = tell_progress(context) => return Err(ErrorData::internal_error("the client went away", None)),
        outcome = call => outcome,
    };
    step_up::note(context, &outcome);
    outcome::to_result(outcome)
}

pub(super) fn cancelled() -> ErrorData {
    ErrorData::internal_error("the request was cancelled", None)
}

/// Tells a client of changes, by looks with its own rights.
pub(super) async fn listen<F, L>(
    listeners: &Listeners,
    limits: &LimitService,
    context: SubscriptionContext,
    look: F,
) -> Result<(), ErrorData>
where
    F: Fn(Ctx) -> L,
    L: Future<Output = Result<Sight, Error>>,
{
    let caller = caller(context.request_context())?;
    limits.count_request(&caller.ctx).await.map_err(outcome::not_now)?;
    listeners.listen(context, caller, look).await
}

/// Who sent this very request. Read per call, never kept.
pub(super) fn caller(context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
    context
        .extensions
        .get::<http::request::Parts>()
        .and_then(|parts| parts.extensions.get::<Caller>())
        .cloned()
        .ok_or_else(|| ErrorData::invalid_request("the request has no caller: send an API key", None))
}

pub(super) fn fault(error: Error) -> ErrorData {
    ErrorData::internal_error(Problem::from(error).body().detail, None)
}

/// Says once a second that a call goes on, when the client asked to be told; ends when it cannot be told any more.
/// A proxy that would give up on a silent answer sees something, too.
async fn tell_progress(context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else {
        return std::future::pending().await;
    };
    let mut seconds = 0.0;
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        seconds += PROGRESS_EVERY.as_secs_f64();
        let progress = ProgressNotificationParam::new(token.clone(), seconds)
            .with_total(outcome::MAX_CALL.as_secs_f64())
            .with_message(format!("the query runs since {seconds} s"));
        if context.peer.notify_progress(progress).await.is_err() {
            return;
        }
    }
}
