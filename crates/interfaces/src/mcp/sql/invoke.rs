//! `POST /tools/invoke`: the same tools for scripts that speak no MCP.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::{Map, Value};
use validator::Validate;

use super::super::outcome::{Answer, Failure, unknown_tool};
use super::super::telemetry;
use super::tools::SqlTools;
use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Problem;

#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct InvokeBody {
    #[validate(length(min = 1, max = 128))]
    pub(in super::super) name: String,
    #[serde(default)]
    pub(in super::super) arguments: Map<String, Value>,
}

/// Answers with the tool's structured content, or with its error object under the fitting status.
pub(super) async fn invoke(
    State(tools): State<Arc<SqlTools>>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<InvokeBody>,
) -> Response {
    let outcome = telemetry::plain_call(tools.call(&ctx, &body.name, body.arguments)).await;
    respond(outcome, "tools/list at /mcp names the tools; sql_list_templates searches them")
}

/// What became of a call, as plain HTTP. `unknown` says where the names of tools are.
pub(in super::super) fn respond(outcome: Result<Answer, Failure>, unknown: &str) -> Response {
    match outcome {
        Ok(answer) => Json(answer.content).into_response(),
        Err(Failure::Tool(error)) => {
            let wait =
                error.body.retry_after_ms.map(|wait| [(RETRY_AFTER, wait.div_ceil(1_000).to_string())]);
            match wait {
                Some(wait) => (error.status, wait, Json(error.body)).into_response(),
                None => (error.status, Json(error.body)).into_response(),
            }
        }
        Err(Failure::UnknownTool(name)) => {
            Problem::new(StatusCode::NOT_FOUND, "unknown_tool", unknown_tool(&name))
                .with_hint(unknown)
                .into_response()
        }
        Err(Failure::Internal) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the tool failed through a fault of the service",
        )
        .with_hint("try again; if it stays, give the operator the request id")
        .into_response(),
    }
}
