//! `POST /tools/invoke` of the SQL server.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::super::invoke::{InvokeBody, respond};
use super::super::telemetry;
use super::tools::SqlTools;
use crate::auth::Caller;
use crate::extract::Json;

/// Answers with the tool's structured content, or with its error object under the fitting status.
pub(super) async fn invoke(
    State(tools): State<Arc<SqlTools>>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<InvokeBody>,
) -> Response {
    let outcome = telemetry::plain_call(tools.call(&ctx, &body.name, body.arguments)).await;
    respond(outcome, "tools/list at /mcp names the tools; sql_list_templates searches them")
}
