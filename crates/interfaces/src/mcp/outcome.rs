//! What became of a tool call, whichever way it came in; with its deadline and its counts.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use application::audit::AuditService;
use application::{Ctx, Error};
use domain::{AuditEntry, Invalid, Scope};
use futures::FutureExt;
use http::StatusCode;
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ErrorCode};
use serde_json::{Value, json};

use super::confirming::{self, Question};
use super::record::Record;
use super::telemetry;
use crate::problem::{ErrorBody, Problem};

/// How long a tool call may take.
pub const MAX_CALL: Duration = Duration::from_secs(30);

/// One of the codes that JSON-RPC leaves to servers.
const NOT_NOW: ErrorCode = ErrorCode(-32000);

const CALLS: &str = "mcp_tool_calls_total";
const DURATION: &str = "mcp_tool_duration_seconds";

/// Tells the metrics recorder what the names mean.
pub fn describe_metrics() {
    describe_counter!(CALLS, "Tool calls by tool and status: ok, asked, tool_error, unknown_tool, internal");
    describe_histogram!(DURATION, Unit::Seconds, "Time a tool call took, by tool");
    telemetry::describe_metrics();
}

/// What a tool says.
#[derive(Debug)]
pub(super) struct Answer {
    /// Fits the tool's output schema.
    pub(super) content: Value,
    /// One line for a reader; never the content again.
    pub(super) line: String,
    /// Of a template's answer.
    pub(super) size: Option<Size>,
    /// What it shows beside the content.
    pub(super) picture: Option<Picture>,
}

/// A picture for who can look at one.
#[derive(Debug)]
pub(super) struct Picture {
    /// Its type.
    pub(super) mime_type: &'static str,
    /// Its bytes in base64.
    pub(super) data: String,
}

/// How much a template gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) rows: usize,
    /// Of the rows as JSON, about.
    pub(super) bytes: usize,
    pub(super) truncated: bool,
}

/// Why a tool says nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such tool for this caller.
    UnknownTool(String),
    /// The tool was asked wrongly, or could not do it.
    Tool(Box<ToolError>),
    /// A person has to agree first.
    Ask(Box<Question>),
    /// A fault of ours.
    Internal,
}

/// A failure the caller can read about, and the status that plain HTTP gives it.
#[derive(Debug)]
pub(super) struct ToolError {
    pub(super) status: StatusCode,
    pub(super) body: ErrorBody,
    /// The scope that the caller lacks.
    pub(super) needed: Option<Scope>,
}

impl ToolError {
    pub(super) fn new(status: StatusCode, body: ErrorBody) -> Self {
        Self { status, body, needed: None }
    }
}

impl telemetry::Outcome for Result<Answer, Failure> {
    fn error_type(&self) -> Option<String> {
        match self {
            Ok(_) | Err(Failure::Ask(_)) => None,
            Err(Failure::UnknownTool(_)) => Some(ErrorCode::INVALID_PARAMS.0.to_string()),
            Err(Failure::Tool(_)) => Some("tool_error".to_owned()),
            Err(Failure::Internal) => Some(ErrorCode::INTERNAL_ERROR.0.to_string()),
        }
    }
}

impl Failure {
    pub(super) fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Error::from(Invalid::one(pointer, message)).into()
    }
}

impl From<Error> for Failure {
    /// Logs an internal fault with its chain.
    fn from(error: Error) -> Self {
        let needed = match &error {
            Error::Forbidden { needed } => Some(*needed),
            _ => None,
        };
        let problem = Problem::from(error);
        let (status, code) = (problem.status(), problem.code());
        let told = problem.body();
        let mut body = ErrorBody::new(code, told.detail);
        body.hint = told.hint;
        body.retry_after_ms = told.retry_after_ms;
        body.upstream_status = told.upstream_status;
        if let Some(first) = told.errors.into_iter().next() {
            body.field = Some(first.pointer);
            body.allowed = first.allowed;
        }
        Self::Tool(Box::new(ToolError { status, body, needed }))
    }
}

/// Runs a tool call as [`kept`] does, and counts it.
///
/// `tool` must be a name from the list of tools, so that callers cannot make up metrics.
pub(super) async fn run(
    audit: &Arc<AuditService>,
    ctx: &Ctx,
    tool: &str,
    entry: AuditEntry,
    call: impl Future<Output = Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    let begun = Instant::now();
    telemetry::calls_tool(tool);
    let outcome = kept(audit, ctx, entry, call).await;
    let status = match &outcome {
        Ok(_) => "ok",
        Err(Failure::Ask(_)) => "asked",
        Err(Failure::UnknownTool(_)) => "unknown_tool",
        Err(Failure::Tool(error)) if error.status == StatusCode::INTERNAL_SERVER_ERROR => "internal",
        Err(Failure::Tool(_)) => "tool_error",
        Err(Failure::Internal) => "internal",
    };
    counter!(CALLS, "tool" => tool.to_owned(), "status" => status).increment(1);
    histogram!(DURATION, "tool" => tool.to_owned()).record(begun.elapsed().as_secs_f64());
    outcome
}

/// Does something for a caller: within the deadline, with a panic caught, and on the record. Without a record there is
/// no answer.
pub(super) async fn kept(
    audit: &Arc<AuditService>,
    ctx: &Ctx,
    entry: AuditEntry,
    call: impl Future<Output = Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    let record = Record::of(audit, ctx, entry, Instant::now());
    let guarded = AssertUnwindSafe(call).catch_unwind();
    let outcome = match tokio::time::timeout(MAX_CALL, guarded).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            tracing::error!(request.id = %ctx.request_id, "A call panicked");
            Err(Failure::Internal)
        }
        Err(_) => Err(timed_out()),
    };
    record.keep(&outcome).await?;
    outcome
}

fn timed_out() -> Failure {
    let message = format!("the tool took longer than {} s and was stopped", MAX_CALL.as_secs());
    let body = ErrorBody::new("timeout", message).with_hint("ask for less at once, or try again");
    Failure::Tool(Box::new(ToolError::new(StatusCode::GATEWAY_TIMEOUT, body)))
}

/// As an MCP result: content with one line beside it, a question, or an error the assistant can act on. Only what is no
/// tool and what is our fault is an error of the protocol.
pub(super) fn to_result(outcome: Result<Answer, Failure>) -> Result<CallToolResponse, ErrorData> {
    match outcome {
        Ok(Answer { content, line, picture, .. }) => {
            let picture = picture.map(|picture| ContentBlock::image(picture.data, picture.mime_type));
            let blocks = [ContentBlock::text(line)].into_iter().chain(picture).collect();
            let mut result = CallToolResult::success(blocks);
            result.structured_content = Some(content);
            Ok(result.into())
        }
        Err(Failure::Tool(error)) => {
            let body = error.body;
            let line = match &body.hint {
                Some(hint) => format!("{}: {}. Hint: {hint}", body.code, body.message),
                None => format!("{}: {}", body.code, body.message),
            };
            let mut result = CallToolResult::error(vec![ContentBlock::text(line)]);
            result.structured_content = serde_json::to_value(body).ok();
            Ok(result.into())
        }
        Err(Failure::Ask(question)) => {
            let asking = confirming::asking(*question);
            asking.map(Into::into).map_err(|why| ErrorData::internal_error(why, None))
        }
        Err(Failure::UnknownTool(name)) => Err(ErrorData::invalid_params(unknown_tool(&name), None)),
        Err(Failure::Internal) => {
            Err(ErrorData::internal_error("the tool failed through a fault of the service", None))
        }
    }
}

/// A failure of reading a resource, as an error of the protocol.
pub(super) fn to_error(failure: Failure, uri: &str) -> ErrorData {
    match failure {
        Failure::Tool(error) if error.status == StatusCode::NOT_FOUND => {
            ErrorData::resource_not_found(error.body.message, Some(json!({"uri": uri})))
        }
        Failure::Tool(error) if error.status == StatusCode::UNPROCESSABLE_ENTITY => {
            ErrorData::invalid_params(error.body.message.clone(), serde_json::to_value(error.body).ok())
        }
        Failure::Tool(error) if error.status != StatusCode::INTERNAL_SERVER_ERROR => {
            ErrorData::new(NOT_NOW, error.body.message.clone(), serde_json::to_value(error.body).ok())
        }
        Failure::Tool(_) | Failure::UnknownTool(_) | Failure::Ask(_) | Failure::Internal => {
            ErrorData::internal_error("the request failed through a fault of the service", None)
        }
    }
}

/// A request that is turned away before it is looked at, as an error of the protocol.
pub(super) fn not_now(error: Error) -> ErrorData {
    let told = Problem::from(error).body();
    let data = json!({"code": told.code, "retry_after_ms": told.retry_after_ms, "hint": told.hint});
    ErrorData::new(NOT_NOW, told.detail, Some(data))
}

/// Something that is not to be had now, in these words.
pub(super) fn refusal(why: impl Into<String>) -> ErrorData {
    ErrorData::new(NOT_NOW, why.into(), None)
}

/// The same words whether the tool does not exist or is not this caller's.
pub(super) fn unknown_tool(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    format!("Unknown tool: {name}")
}
