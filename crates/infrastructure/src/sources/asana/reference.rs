//! Reads what is small: people, the project itself, and the custom fields it uses.

use application::ports::{Page, ProjectRef, SourceError};
use domain::record::{CustomFieldRecord, UserRecord};
use domain::{Cursor, PageRecords};
use serde::{Deserialize, Serialize};

use super::account::workspaces;
use super::api::Api;
use super::malformed;
use super::model::{FieldSetting, Named, Project};
use super::settings::Stream;
use super::tasks::unmapped;
use super::{normalize, walk};

/// Where reading people goes on.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    workspaces: Vec<String>,
    #[serde(default)]
    offset: Option<String>,
    #[serde(default)]
    restarts: u32,
}

/// A page of the people of the workspaces that are read.
pub(super) async fn users(api: &Api<'_>, cursor: Option<&Cursor>) -> Result<Page, SourceError> {
    let mut position = match cursor {
        Some(Cursor(cursor)) => Position::deserialize(cursor)
            .map_err(|_| malformed("the stored position of the users has an unknown form"))?,
        None => Position { workspaces: workspaces(api).await?, ..Position::default() },
    };
    let Some(workspace) = position.workspaces.first().cloned() else { return Ok(Page::default()) };
    let what = format!("the users of the workspace {workspace}");
    let query = [("workspace", workspace.as_str()), ("opt_fields", "name")];
    let rows =
        walk::restartable(api, "/users", &query, &mut position.offset, &mut position.restarts, &what).await?;
    let mut records = PageRecords::default();
    if let Some(rows) = rows {
        for raw in rows.rows {
            match serde_json::from_str::<Named>(raw.get()) {
                Ok(user) => {
                    api.names().learn(api.instance(), &user);
                    records.users.push(UserRecord {
                        source_id: user.gid,
                        login: user.name.clone(),
                        name: Some(user.name),
                        kind: "person",
                        as_of: None,
                    });
                }
                Err(error) => {
                    records.unmapped.push(unmapped(Stream::Users, raw.get(), &error.to_string()));
                }
            }
        }
        position.offset = rows.next;
        if position.offset.is_none() {
            position.workspaces.remove(0);
        }
    }
    let next = (!position.workspaces.is_empty()).then(|| serde_json::to_value(&position)).transpose();
    let next = next.map_err(|error| malformed(format!("the position cannot be written ({error})")))?;
    Ok(Page { records, next: next.map(Cursor), ..Page::default() })
}

/// The project itself.
pub(super) async fn project(api: &Api<'_>, project: &ProjectRef) -> Result<Page, SourceError> {
    let gid = &project.source_id;
    let what = format!("the project {gid}");
    let query = [("opt_fields", "archived,name,permalink_url,workspace")];
    let raw = api.object(&format!("/projects/{gid}"), &query, &what).await?;
    let mut records = PageRecords::default();
    match serde_json::from_str::<Project>(raw.get()) {
        Ok(project) => records.projects.push(normalize::project(&project, &raw)),
        Err(error) => records.unmapped.push(unmapped(Stream::Project, raw.get(), &error.to_string())),
    }
    Ok(Page { records, total_estimate: Some(1), ..Page::default() })
}

/// The custom fields of a project.
pub(super) async fn custom_fields(api: &Api<'_>, project: &ProjectRef) -> Result<Page, SourceError> {
    let settings = match field_settings(api, &project.source_id).await {
        Ok(settings) => settings,
        // A free workspace has none.
        Err(error) if error.upstream_status == Some(402) => Vec::new(),
        Err(error) => return Err(error),
    };
    let custom_fields: Vec<_> = settings
        .into_iter()
        .map(|setting| CustomFieldRecord {
            source_id: setting.custom_field.gid,
            name: setting.custom_field.name,
            field_type: setting.custom_field.resource_subtype,
        })
        .collect();
    Ok(Page { records: PageRecords { custom_fields, ..PageRecords::default() }, ..Page::default() })
}

/// The custom fields of a project with their options.
pub(super) async fn field_settings(api: &Api<'_>, project: &str) -> Result<Vec<FieldSetting>, SourceError> {
    let fields = "custom_field,custom_field.enum_options,custom_field.enum_options.enabled,\
                  custom_field.enum_options.name,custom_field.name,custom_field.resource_subtype";
    api.all(
        &format!("/projects/{project}/custom_field_settings"),
        &[("opt_fields", fields)],
        &format!("the custom fields of the project {project}"),
    )
    .await
}
