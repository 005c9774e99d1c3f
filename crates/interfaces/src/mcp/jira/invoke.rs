//! `POST /tools/invoke`: the same tools for scripts that speak no MCP, also under the names they had in earlier plans.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Extensions, HeaderMap, Uri};

use super::super::confirming::Confirming;
use super::super::invoke::{InvokeBody, respond};
use super::super::{step_up, telemetry};
use super::narrowed::Narrowed;
use super::schemas::reading::{
    DESCRIBE_FIELDS, FIND_USERS, GET_CONTEXT, GET_ISSUE, LIST_ACTIVITY, LIST_PROJECTS, SEARCH_ISSUES,
};
use super::schemas::writing::{ADD_COMMENT, CREATE_ISSUE, LINK_ISSUES, TRANSITION_ISSUE, UPDATE_ISSUE};
use super::table;
use super::tools::JiraTools;
use crate::auth::Caller;
use crate::extract::Json;
use crate::idempotency::IDEMPOTENCY_KEY;
use crate::problem::Problem;

/// Names of before.
const EARLIER: [(&str, &str); 26] = [
    ("jira.search", SEARCH_ISSUES),
    ("jira_search", SEARCH_ISSUES),
    ("jira.search_issues", SEARCH_ISSUES),
    ("jira.get_issue", GET_ISSUE),
    ("jira.issue", GET_ISSUE),
    ("jira.list_projects", LIST_PROJECTS),
    ("jira_get_all_projects", LIST_PROJECTS),
    ("jira.projects", LIST_PROJECTS),
    ("jira.describe_fields", DESCRIBE_FIELDS),
    ("jira_search_fields", DESCRIBE_FIELDS),
    ("jira.find_users", FIND_USERS),
    ("jira.list_issue_activity", LIST_ACTIVITY),
    ("jira.get_context", GET_CONTEXT),
    ("jira.context", GET_CONTEXT),
    ("jira.create_issue", CREATE_ISSUE),
    ("jira.create", CREATE_ISSUE),
    ("jira.update_issue", UPDATE_ISSUE),
    ("jira.update", UPDATE_ISSUE),
    ("jira.transition_issue", TRANSITION_ISSUE),
    ("jira.transition", TRANSITION_ISSUE),
    ("jira.add_comment", ADD_COMMENT),
    ("jira.comment", ADD_COMMENT),
    ("jira.link_issues", LINK_ISSUES),
    ("jira.link", LINK_ISSUES),
    ("jira_create_issue_link", LINK_ISSUES),
    ("jira_transition", TRANSITION_ISSUE),
];

fn present(name: &str) -> &str {
    if table::named(name).is_some() {
        return name;
    }
    EARLIER.iter().find(|(earlier, _)| *earlier == name).map_or(name, |(_, present)| present)
}

/// Answers with the tool's structured content, or with its error object under the fitting status.
pub(super) async fn invoke(
    State(tools): State<Arc<JiraTools>>,
    Caller { ctx, .. }: Caller,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    Json(body): Json<InvokeBody>,
) -> Response {
    let narrowed = match Narrowed::by(uri.query()) {
        Ok(narrowed) => narrowed,
        Err(invalid) => return Problem::from(invalid).into_response(),
    };
    let InvokeBody { name, mut arguments } = body;
    let name = present(&name);
    // What every POST here takes as a header means the same as the argument. It was checked on the way.
    let header = headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
    if let Some(key) = header.filter(|_| table::named(name).is_some_and(|tool| tool.takes_key)) {
        arguments.entry("idempotency_key").or_insert_with(|| key.into());
    }
    // Nobody sits behind a script who could be asked.
    let nobody = Confirming::default();
    let outcome = telemetry::plain_call(tools.call(&ctx, &narrowed, name, arguments, &nobody)).await;
    step_up::note_in(&extensions, &outcome);
    respond(outcome, "tools/list at /mcp names the tools")
}
