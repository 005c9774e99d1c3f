//! Traces that began elsewhere: a caller's span as the parent of ours (W3C Trace Context).

use opentelemetry::propagation::Extractor;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, global};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What a caller sent of its trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) traceparent: &'a str,
    pub(crate) tracestate: Option<&'a str>,
}

impl Extractor for Sent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.traceparent),
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// Makes the caller's span the parent of `span`, which nobody has entered yet. False when nothing usable was sent.
///
/// Whether to keep the trace stays this installation's decision: a caller could otherwise have what it does left out, by
/// a flag of its own.
pub(crate) fn adopt(span: &Span, sent: &Sent<'_>) -> bool {
    let theirs =
        global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), sent));
    let theirs = theirs.span().span_context().clone();
    if !theirs.is_valid() {
        return false;
    }
    let sampled = theirs.trace_flags().with_sampled(true);
    let parent =
        SpanContext::new(theirs.trace_id(), theirs.span_id(), sampled, true, theirs.trace_state().clone());
    span.set_parent(Context::new().with_remote_span_context(parent)).is_ok()
}

/// Points from `span` to another that is neither its parent nor its child.
pub(crate) fn link(span: &Span, other: &Span) {
    let context = other.context();
    let other = context.span().span_context().clone();
    if other.is_valid() {
        span.add_link(other);
    }
}

/// Gives a span that is under way another name. The field `otel.name` counts only before a span is entered.
pub(crate) fn rename(span: &Span, name: impl FnOnce() -> String) {
    let context = span.context();
    let span = context.span();
    if span.span_context().is_valid() {
        span.update_name(name());
    }
}
