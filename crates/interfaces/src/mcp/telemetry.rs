//! Spans and metrics of MCP operations, as OpenTelemetry's conventions name them (semantic-conventions-genai,
//! docs/gen-ai/mcp.md). No tenant, argument or text of a user is in any of them.

use std::cell::RefCell;
use std::time::Instant;

use metrics::{Label, Unit, describe_histogram, histogram};
use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, ProtocolVersion};
use rmcp::service::{RequestContext, RoleServer};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::trace::{self, Sent};

/// `mcp.server.operation.duration`, as Prometheus writes it.
pub const OPERATION_DURATION: &str = "mcp_server_operation_duration_seconds";

/// The bounds that the convention advises.
pub const OPERATION_BUCKETS: [f64; 14] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// The most characters of what a caller made up that stand in a span.
const MOST_TEXT: usize = 200;

tokio::task_local! {
    /// What the running operation is about, once that is known to be a name of ours.
    static TARGET: RefCell<Target>;
}

#[derive(Debug, Default)]
struct Target {
    tool: Option<String>,
    prompt: Option<&'static str>,
}

pub(super) fn describe_metrics() {
    describe_histogram!(
        OPERATION_DURATION,
        Unit::Seconds,
        "MCP requests, from their receipt until the result was there"
    );
}

/// What an operation came to, in the words of the convention.
pub(super) trait Outcome {
    /// `error.type`; `None` when all is well.
    fn error_type(&self) -> Option<String>;
}

impl<T: Judged> Outcome for Result<T, ErrorData> {
    fn error_type(&self) -> Option<String> {
        match self {
            Ok(result) => result.failed().then(|| "tool_error".to_owned()),
            Err(error) => Some(error.code.0.to_string()),
        }
    }
}

/// A result that may be an error by itself.
pub(super) trait Judged {
    fn failed(&self) -> bool {
        false
    }
}

impl Judged for CallToolResponse {
    fn failed(&self) -> bool {
        matches!(self, Self::Complete(result) if result.is_error == Some(true))
    }
}

macro_rules! never_fails {
    ($($kind:ty),* $(,)?) => { $(impl Judged for $kind {})* };
}

never_fails!(
    (),
    rmcp::model::InitializeResult,
    rmcp::model::DiscoverResult,
    rmcp::model::ListToolsResult,
    rmcp::model::ListResourcesResult,
    rmcp::model::ListResourceTemplatesResult,
    rmcp::model::ReadResourceResponse,
    rmcp::model::ListPromptsResult,
    rmcp::model::GetPromptResponse,
    rmcp::model::CompleteResult,
);

/// One operation, to be done in a span of its own with its duration counted.
#[derive(Debug)]
pub(super) struct Operation {
    method: &'static str,
    version: &'static str,
    span: Span,
}

impl Operation {
    /// The span of the caller that `_meta` names is its parent and the span of the HTTP request is linked, as the
    /// convention asks by default: one message may take several HTTP requests, and one HTTP request may stand for several
    /// messages.
    pub(super) fn of(method: &'static str, context: &RequestContext<RoleServer>) -> Self {
        let version = version(context.protocol_version().as_ref());
        let span = span(method, version, Some(shortened(&context.id.to_string())));
        if let Some(traceparent) = context.meta.get_traceparent() {
            let ambient = Span::current();
            let sent = Sent { traceparent, tracestate: context.meta.get_tracestate() };
            if trace::adopt(&span, &sent) {
                trace::link(&span, &ambient);
            }
        }
        Self { method, version, span }
    }

    /// Does it.
    pub(super) async fn run<O: Outcome>(self, doing: impl Future<Output = O>) -> O {
        let Self { method, version, span } = self;
        let begun = Instant::now();
        let about = RefCell::new(Target::default());
        let (outcome, about) = TARGET
            .scope(about, async {
                let outcome = doing.await;
                let about = TARGET.with(|target| target.take());
                (outcome, about)
            })
            .instrument(span.clone())
            .await;
        let error = outcome.error_type();
        if let Some(error) = &error {
            span.record("error.type", error.as_str());
            span.record("otel.status_code", "ERROR");
            if error.starts_with('-') {
                span.record("rpc.response.status_code", error.as_str());
            }
        }
        let mut labels = vec![
            Label::from_static_parts("mcp_method_name", method),
            Label::from_static_parts("mcp_protocol_version", version),
        ];
        labels.extend(about.tool.map(|tool| Label::new("gen_ai_tool_name", tool)));
        labels.extend(about.prompt.map(|prompt| Label::new("gen_ai_prompt_name", prompt)));
        labels.extend(error.map(|error| Label::new("error_type", error)));
        histogram!(OPERATION_DURATION, labels).record(begun.elapsed().as_secs_f64());
        outcome
    }
}

/// The same for a tool called in plain HTTP: the request is the operation, and its span the parent.
pub(super) async fn plain_call<O: Outcome>(doing: impl Future<Output = O>) -> O {
    let (method, version) = ("tools/call", "none");
    Operation { method, version, span: span(method, version, None) }.run(doing).await
}

/// As much as is known is said at once: what is recorded later is written anew for the log each time.
fn span(method: &'static str, version: &'static str, id: Option<&str>) -> Span {
    tracing::info_span!(
        "mcp.server",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
        mcp.method.name = method,
        mcp.protocol.version = version,
        mcp.resource.uri = Empty,
        gen_ai.operation.name = (method == "tools/call").then_some("execute_tool"),
        gen_ai.tool.name = Empty,
        gen_ai.prompt.name = Empty,
        jsonrpc.request.id = id,
        rpc.response.status_code = Empty,
        "error.type" = Empty,
        network.transport = "tcp",
        network.protocol.name = "http",
    )
}

/// Says which tool the running operation calls. `tool` must be a name of ours, so that callers cannot make up metrics.
pub(super) fn calls_tool(tool: &str) {
    let span = Span::current();
    span.record("gen_ai.tool.name", tool);
    trace::rename(&span, || format!("tools/call {tool}"));
    // Outside of an operation there is nothing to be told.
    let _ = TARGET.try_with(|target| target.borrow_mut().tool = Some(tool.to_owned()));
}

/// Says which prompt the running operation gets.
pub(super) fn gets_prompt(prompt: &'static str) {
    let span = Span::current();
    span.record("gen_ai.prompt.name", prompt);
    trace::rename(&span, || format!("prompts/get {prompt}"));
    let _ = TARGET.try_with(|target| target.borrow_mut().prompt = Some(prompt));
}

/// Says which resource the running operation reads.
pub(super) fn reads_resource(uri: &str) {
    Span::current().record("mcp.resource.uri", shortened(uri));
}

/// A version as a label: what is no version of the protocol is one label, so that callers cannot make up new ones.
fn version(negotiated: Option<&ProtocolVersion>) -> &'static str {
    let known = ProtocolVersion::KNOWN_VERSIONS.iter().find(|known| Some(*known) == negotiated);
    match known.map(ProtocolVersion::as_str) {
        Some("2026-07-28") => "2026-07-28",
        Some("2025-11-25") => "2025-11-25",
        Some("2025-06-18") => "2025-06-18",
        Some("2025-03-26") => "2025-03-26",
        Some("2024-11-05") => "2024-11-05",
        Some(_) => "other",
        None => "unknown",
    }
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(MOST_TEXT).map_or(text, |(end, _)| &text[..end])
}
