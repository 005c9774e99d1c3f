//! All ids of a project, for the comparison with what is stored.

use application::ports::{IdPage, ListedId, ProjectRef, SourceError};
use domain::Cursor;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::api::Api;
use super::malformed;
use super::time::Time;
use super::walk::{Found, Position, by_time, by_token, cursor};

/// Cloud gives so many when nothing but ids is asked for.
const CLOUD_IDS: u32 = 5_000;
/// Data Center's usual cap.
const DATA_CENTER_IDS: u32 = 1_000;

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    fields: Option<RowFields>,
}

#[derive(Deserialize)]
struct RowFields {
    #[serde(default)]
    created: Option<Time>,
    #[serde(default)]
    updated: Option<Time>,
}

/// One page of ids. Data Center's are read in the order of creation, which never changes.
pub(super) async fn list_ids(
    api: &Api<'_>,
    project: &ProjectRef,
    at: Option<&Cursor>,
) -> Result<IdPage, SourceError> {
    let position = match at {
        Some(Cursor(at)) => Position::deserialize(at)
            .map_err(|_| malformed("the stored position of ids has an unknown form"))?,
        None => Position::default(),
    };
    let what = format!("the ids of {}", project.key);
    let answer = if api.is_cloud() {
        let jql = format!("project = {} ORDER BY id ASC", project.source_id);
        let mut body = json!({"jql": jql, "maxResults": CLOUD_IDS, "fields": ["id"]});
        if let Some(token) = &position.token {
            body["nextPageToken"] = json!(token);
        }
        api.post(&api.rest("/search/jql"), &body, &what).await?
    } else {
        let since = position.from.map_or(String::new(), |from| format!(" AND created >= {from}"));
        let body = json!({
            "jql": format!("project = {}{since} ORDER BY created ASC, key ASC", project.source_id),
            "startAt": position.start, "maxResults": DATA_CENTER_IDS, "fields": ["created", "updated"],
        });
        api.post(&api.rest("/search"), &body, &what).await?
    };
    let text = answer.text();
    let found = Found::read(&text, &what)?;
    let rows: Vec<Row> = found.issues.iter().map(|raw| row(raw, &what)).collect::<Result<_, _>>()?;
    let next = if api.is_cloud() {
        by_token(&found, &position, None)?
    } else {
        let created = || rows.iter().filter_map(|row| row.fields.as_ref()?.created).map(ms);
        by_time(&found, &position, created().min(), created().max())?
    };
    let ids = rows
        .into_iter()
        .map(|row| ListedId {
            key: None,
            source_id: row.id,
            updated_at: row.fields.and_then(|fields| fields.updated).map(|time| time.0),
        })
        .collect();
    Ok(IdPage { ids, next: next.map(cursor).transpose()? })
}

fn ms(time: Time) -> i64 {
    time.0.timestamp_millis()
}

/// An id that cannot be read would look like an issue that is gone.
fn row(raw: &RawValue, what: &str) -> Result<Row, SourceError> {
    serde_json::from_str(raw.get())
        .map_err(|error| malformed(format!("Jira's list of {what} holds no issue ({error})")))
}
