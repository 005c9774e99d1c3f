//! Logs, traces and metrics.

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::global;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// What holds without `RUST_LOG`. rmcp logs every disconnect as an error; sqlx logs notices of the pool's own rollbacks.
const DEFAULT_FILTER: &str =
    "info,rmcp=warn,rmcp::service=off,sqlx=warn,sqlx::postgres::notice=off,graphile_worker=warn";

/// What all targets of our own crates begin with. Only their spans are sent: those of libraries hold what callers say and
/// what is asked of the database.
const OWN: &str = "patchbay";

/// Keeps the exporters alive; flushes traces when dropped.
pub(crate) struct Telemetry {
    pub(crate) metrics: PrometheusHandle,
    traces: Option<SdkTracerProvider>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Installs them for the process. Traces are sent when `OTEL_EXPORTER_OTLP_ENDPOINT` is set. `quiet` keeps the
    /// log to warnings, for commands whose output is for a person.
    pub(crate) fn install(quiet: bool) -> anyhow::Result<Self> {
        let fallback =
            if quiet { "warn,rmcp::service=off,sqlx::postgres::notice=off" } else { DEFAULT_FILTER };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(fallback));
        let plain = quiet && std::io::stderr().is_terminal();
        let log = if plain {
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).compact().boxed()
        } else {
            // Not that of tracing-subscriber, which reads what spans have as JSON again with each line and each new field.
            let log = json_subscriber::fmt::layer().with_writer(std::io::stderr);
            log.flatten_event(true).with_current_span(false).boxed()
        };
        let traces = match std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT") {
            Some(_) => {
                // What callers send of their traces is read only where there is something to do with it.
                global::set_text_map_propagator(TraceContextPropagator::new());
                Some(tracer()?)
            }
            None => None,
        };
        let spans = traces
            .as_ref()
            .map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("patchbay")))
            .map(|spans| spans.with_filter(Targets::new().with_target(OWN, LevelFilter::INFO)));
        tracing_subscriber::registry().with(log.with_filter(filter)).with(spans).init();
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Suffix("_seconds".into()),
                &interfaces::metrics::DURATION_BUCKETS,
            )?
            .set_buckets_for_metric(
                Matcher::Full(interfaces::mcp::OPERATION_DURATION.into()),
                &interfaces::mcp::OPERATION_BUCKETS,
            )?
            .install_recorder()
            .context("the metrics recorder could not be installed")?;
        interfaces::metrics::describe();
        interfaces::mcp::describe_metrics();
        infrastructure::postgres::describe_audit_metrics();
        infrastructure::limiter::describe_metrics();
        Ok(Self { metrics, traces })
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            // At the end of the process there is nobody left to tell.
            let _ = traces.shutdown();
        }
    }
}

fn tracer() -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT is set but traces cannot be sent")?;
    // Not the provider's own batches: their thread has no runtime, which the exporter's HTTP client cannot do without.
    let batches = BatchSpanProcessor::builder(exporter, Tokio).build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(batches)
        .with_resource(Resource::builder().with_service_name("patchbay").build())
        .build())
}
