//! What a key is narrowed to, as JSON.

use std::str::FromStr;

use domain::{Allowed, FieldError, Grant, InstanceId, Invalid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::names::ToolsetName;

/// What a key is narrowed to, inside its scopes. What is absent or null is not narrowed; an empty list allows nothing.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Grant)]
pub(super) struct GrantBody {
    /// Instances that may be seen and used.
    #[schema(max_items = 200)]
    instances: Option<Vec<Uuid>>,
    /// Projects whose items may be read, by their keys.
    #[schema(max_items = 200, example = json!(["owner/repo"]))]
    projects_read: Option<Vec<String>>,
    /// Projects whose items may be written at the tracker; they must be readable, too.
    #[schema(max_items = 200)]
    projects_write: Option<Vec<String>>,
    /// SQL templates that may be run, by name.
    #[schema(max_items = 200, example = json!(["find_work_items"]))]
    templates: Option<Vec<String>>,
    /// Sets of MCP tools that may be used.
    #[schema(value_type = Option<Vec<ToolsetName>>)]
    toolsets: Option<Vec<String>>,
}

impl From<&Grant> for GrantBody {
    fn from(grant: &Grant) -> Self {
        let keys = |allowed: &Allowed<domain::ProjectKey>| {
            allowed.as_list().map(|list| list.iter().map(|key| key.as_str().to_owned()).collect())
        };
        Self {
            instances: grant.instances.as_list().map(|list| list.iter().map(|id| id.as_uuid()).collect()),
            projects_read: keys(&grant.projects_read),
            projects_write: keys(&grant.projects_write),
            templates: grant.templates.as_list().map(|list| list.iter().cloned().collect()),
            toolsets: grant
                .toolsets
                .as_list()
                .map(|list| list.iter().map(|set| set.as_str().to_owned()).collect()),
        }
    }
}

impl TryFrom<GrantBody> for Grant {
    type Error = Invalid;

    fn try_from(body: GrantBody) -> Result<Self, Invalid> {
        let mut errors = Vec::new();
        let grant = Self {
            instances: Allowed::from_list(
                body.instances.map(|ids| ids.into_iter().map(InstanceId::new).collect::<Vec<_>>()),
            ),
            projects_read: read("projects_read", body.projects_read, &mut errors),
            projects_write: read("projects_write", body.projects_write, &mut errors),
            templates: Allowed::from_list(body.templates),
            toolsets: read("toolsets", body.toolsets, &mut errors),
        };
        Invalid::collect(errors)?;
        Ok(grant)
    }
}

fn read<T: FromStr<Err = Invalid> + Ord>(
    name: &str,
    list: Option<Vec<String>>,
    errors: &mut Vec<FieldError>,
) -> Allowed<T> {
    Allowed::from_list(list.map(|list| {
        let mut read = Vec::with_capacity(list.len().min(domain::grant::MOST_ENTRIES));
        for (place, text) in list.iter().enumerate() {
            match text.parse() {
                Ok(value) => read.push(value),
                // One is enough to find the mistake.
                Err(Invalid { errors: wrong }) => {
                    errors.extend(
                        wrong
                            .into_iter()
                            .map(|error| FieldError { pointer: format!("/grant/{name}/{place}"), ..error }),
                    );
                    break;
                }
            }
        }
        read
    }))
}
