//! `/policy`: what the tenant lets assistants do, whatever their keys say.

use std::collections::BTreeSet;

use application::Services;
use application::ports::TenantPolicy;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{Allowed, Invalid, JiraPolicy, Toolset};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::names::ToolsetName;
use super::openapi::BodyFailures;
use crate::auth::Caller;
use crate::extract::Json;
use crate::mcp::jira::tool_names;
use crate::problem::Problem;

/// Bounds of the Jira server's live tools. What is absent bounds nothing.
#[derive(Debug, Default, Deserialize, Serialize, Validate, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = JiraPolicy)]
pub(super) struct JiraBody {
    /// Sets of tools that anybody may have; null for all.
    #[schema(value_type = Option<Vec<ToolsetName>>, example = json!(["jira_core", "jira_agile"]))]
    toolsets: Option<Vec<String>>,
    /// Tools that nobody has.
    #[schema(example = json!(["jira_link_issues"]))]
    denied_tools: BTreeSet<String>,
    /// Whether nobody writes.
    read_only: bool,
    /// Fields that no answer shows, and that nobody writes or names in a search: by id, or by the name people see.
    #[schema(example = json!(["customfield_10042", "Customer"]))]
    hidden_fields: BTreeSet<String>,
}

impl TryFrom<JiraBody> for JiraPolicy {
    type Error = Invalid;

    fn try_from(body: JiraBody) -> Result<Self, Invalid> {
        let read = |(at, name): (usize, String)| {
            name.parse::<Toolset>().map_err(|_| {
                let known = Toolset::JIRA.map(Toolset::as_str);
                Invalid::not_one_of(format!("/jira/toolsets/{at}"), "is no set of the Jira server", known)
            })
        };
        let sets =
            body.toolsets.map(|sets| sets.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>());
        Ok(Self {
            toolsets: Allowed::from_list(sets.transpose()?),
            denied_tools: body.denied_tools,
            read_only: body.read_only,
            hidden_fields: body.hidden_fields,
        })
    }
}

impl From<JiraPolicy> for JiraBody {
    fn from(policy: JiraPolicy) -> Self {
        let names = |sets: &BTreeSet<Toolset>| sets.iter().map(|set| set.to_string()).collect();
        Self {
            toolsets: policy.toolsets.as_list().map(names),
            denied_tools: policy.denied_tools,
            read_only: policy.read_only,
            hidden_fields: policy.hidden_fields,
        }
    }
}

/// The tenant's policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantPolicy)]
pub(super) struct PolicyBody {
    /// Goes up with each change; 1 before there was any.
    version: i32,
    jira: JiraBody,
    /// When it was changed last.
    updated_at: Option<DateTime<Utc>>,
}

impl From<TenantPolicy> for PolicyBody {
    fn from(policy: TenantPolicy) -> Self {
        Self { version: policy.version, jira: policy.jira.into(), updated_at: policy.updated_at }
    }
}

/// A policy to be stored in the place of the one that is there.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplacePolicy)]
pub(super) struct ReplaceBody {
    jira: JiraBody,
    /// The version it replaces; when it is not the present one, somebody else was faster and nothing changes.
    version: Option<i32>,
}

/// The tenant's policy.
#[utoipa::path(
    get, path = "/policy", operation_id = "get_policy", tag = "access",
    responses((status = 200, body = PolicyBody))
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
) -> Result<Json<PolicyBody>, Problem> {
    Ok(Json(services.policy.get(&ctx).await?.into()))
}

/// Replaces the tenant's policy. It holds everywhere within 3 s, for the lists of tools and for each call.
#[utoipa::path(
    put, path = "/policy", operation_id = "replace_policy", tag = "access", request_body = ReplaceBody,
    responses((status = 200, body = PolicyBody), BodyFailures)
)]
pub(super) async fn replace(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Json(body): Json<ReplaceBody>,
) -> Result<Json<PolicyBody>, Problem> {
    let policy = services.policy.replace(&ctx, &body.jira.try_into()?, &tool_names(), body.version).await?;
    Ok(Json(policy.into()))
}
