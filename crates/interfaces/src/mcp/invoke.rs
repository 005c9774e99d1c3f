//! `POST /tools/invoke`: the same tools for scripts that speak no MCP.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use validator::Validate;

use super::outcome::{Answer, Failure, unknown_tool};
use crate::extract::Json;
use crate::problem::Problem;

#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct InvokeBody {
    #[validate(length(min = 1, max = 128))]
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: Map<String, Value>,
}

/// What became of a call, as plain HTTP. `unknown` says where the names of tools are.
pub(super) fn respond(outcome: Result<Answer, Failure>, unknown: &str) -> Response {
    match outcome {
        Ok(mut answer) => {
            // Who speaks no MCP has no other place for it.
            if let Some(picture) = answer.picture {
                answer.content["image"] = json!({"mime_type": picture.mime_type, "data": picture.data});
            }
            Json(answer.content).into_response()
        }
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
        // Only clients of MCP are asked.
        Err(Failure::Ask(_) | Failure::Internal) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the tool failed through a fault of the service",
        )
        .with_hint("try again; if it stays, give the operator the request id")
        .into_response(),
    }
}
