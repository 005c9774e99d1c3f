//! `POST /tools/invoke`: the same tools for scripts that speak no MCP, also under the names they had in earlier plans.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::super::invoke::{InvokeBody, respond};
use super::super::telemetry;
use super::schemas::{
    ALL, DESCRIBE_FIELDS, FIND_USERS, GET_CONTEXT, GET_ISSUE, LIST_ACTIVITY, LIST_PROJECTS, SEARCH_ISSUES,
};
use super::tools::JiraTools;
use crate::auth::Caller;
use crate::extract::Json;

/// Names of before.
const EARLIER: [(&str, &str); 14] = [
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
];

fn present(name: &str) -> &str {
    if ALL.contains(&name) {
        return name;
    }
    EARLIER.iter().find(|(earlier, _)| *earlier == name).map_or(name, |(_, present)| present)
}

/// Answers with the tool's structured content, or with its error object under the fitting status.
pub(super) async fn invoke(
    State(tools): State<Arc<JiraTools>>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<InvokeBody>,
) -> Response {
    let outcome = telemetry::plain_call(tools.call(&ctx, present(&body.name), body.arguments)).await;
    respond(outcome, "tools/list at /mcp names the tools")
}
