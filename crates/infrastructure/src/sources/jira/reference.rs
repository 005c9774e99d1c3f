//! Small things that are read in full each time: custom fields, projects with their versions, boards with their sprints.

use application::ports::{Page, PageRequest, ProjectRef, SourceError, SourceErrorKind};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use domain::record::{BoardRecord, CustomFieldRecord, MilestoneRecord, ProjectRecord};
use domain::{BoardKind, Cursor, PageRecords};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::api::{Api, segment};
use super::malformed;
use super::model::{Project, Version, text_or_number};
use super::normalize::unmapped;
use super::settings::Stream;
use super::sprints::Sprint;
use super::time::jira_day;

/// What the agile API gives at once.
const PAGE: &str = "50";

/// Definitions of custom fields.
pub(super) async fn fields(api: &Api<'_>) -> Result<Page, SourceError> {
    let known = api.known_now().await?;
    let custom =
        known.definitions.iter().filter(|field| field.custom || field.id.starts_with("customfield_"));
    let custom_fields = custom
        .map(|field| CustomFieldRecord {
            source_id: field.id.clone(),
            name: field.name.clone(),
            field_type: field.field_type(),
        })
        .collect();
    Ok(Page { records: PageRecords { custom_fields, ..PageRecords::default() }, ..Page::default() })
}

/// A project and its versions.
pub(super) async fn project(api: &Api<'_>, project: &ProjectRef) -> Result<Page, SourceError> {
    let what = format!("the project {}", project.key);
    let answer = api.get(&api.rest(&format!("/project/{}", segment(&project.source_id))), &[], &what).await?;
    let text = answer.text();
    let raw: Box<RawValue> =
        serde_json::from_str(&text).map_err(|error| malformed(format!("{what}: {error}")))?;
    let mut records = PageRecords::default();
    match serde_json::from_str::<Project>(raw.get()) {
        Ok(mut found) => {
            let url = format!("{}/browse/{}", api.site.home, found.key);
            let versions = std::mem::take(&mut found.versions);
            records.milestones =
                versions.into_iter().map(|version| milestone(api, &found, version)).collect();
            records.projects.push(ProjectRecord {
                name: found.name.filter(|name| !name.is_empty()).unwrap_or_else(|| found.key.clone()),
                source_id: found.id,
                key: found.key,
                url,
                archived: found.archived || found.deleted,
                raw,
            });
        }
        Err(error) => records.unmapped.push(unmapped(
            Stream::Projects,
            raw.get(),
            format!("it is no project ({error})"),
        )),
    }
    Ok(Page { records, ..Page::default() })
}

/// Jira keeps days for versions and no times of creation or change: the days stand for them.
fn milestone(api: &Api<'_>, project: &Project, version: Version) -> MilestoneRecord {
    let day = |text: &Option<String>| text.as_deref().and_then(jira_day);
    let (start, release) = (day(&version.start_date), day(&version.release_date));
    MilestoneRecord {
        project_source_id: project.id.clone(),
        url: format!("{}/projects/{}/versions/{}", api.site.home, project.key, version.id),
        source_id: version.id,
        title: version.name,
        description: version.description.filter(|text| !text.is_empty()),
        state: if version.released || version.archived { "closed" } else { "open" }.to_owned(),
        due_on: release,
        created_at: start.or(release).map_or(DateTime::UNIX_EPOCH, midnight),
        updated_at: release.or(start).map_or(DateTime::UNIX_EPOCH, midnight),
        closed_at: release.filter(|_| version.released).map(midnight),
    }
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// Where the pass over a project's boards goes on.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Boards to pass over; `None` when all are listed.
    #[serde(default)]
    boards: Option<u64>,
    /// Boards whose sprints are to be read, and how many of the first one's are read already.
    #[serde(default)]
    open: Vec<u64>,
    #[serde(default)]
    sprints: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(default, borrow)]
    values: Vec<&'a RawValue>,
    #[serde(default)]
    is_last: Option<bool>,
    #[serde(default)]
    total: Option<u64>,
}

impl Listed<'_> {
    /// How many rows to pass over for the next page; `None` after the last.
    fn next(&self, start: u64) -> Option<u64> {
        let end = start + self.values.len() as u64;
        let more = match (self.is_last, self.total) {
            (Some(last), _) => !last,
            (None, Some(total)) => end < total,
            (None, None) => true,
        };
        (more && !self.values.is_empty()).then_some(end)
    }
}

#[derive(Deserialize)]
struct Board {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    location: Option<Location>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(default, deserialize_with = "text_or_number")]
    project_id: Option<String>,
}

/// One page of a project's boards, or of the sprints of one of them.
pub(super) async fn boards(
    api: &Api<'_>,
    project: &ProjectRef,
    request: &PageRequest<'_>,
) -> Result<Page, SourceError> {
    let mut position = match request.cursor {
        Some(Cursor(cursor)) => Position::deserialize(cursor)
            .map_err(|_| malformed("the stored position of boards has an unknown form"))?,
        None => Position { boards: Some(0), ..Position::default() },
    };
    let mut records = PageRecords::default();
    if let Some(start) = position.boards {
        list_boards(api, project, start, &mut position, &mut records).await?;
    } else if let Some(&board) = position.open.first() {
        list_sprints(api, board, &mut position, &mut records).await?;
    }
    let done = position.boards.is_none() && position.open.is_empty();
    let next = if done {
        None
    } else {
        Some(Cursor(serde_json::to_value(&position).map_err(|error| malformed(error.to_string()))?))
    };
    Ok(Page { records, next, ..Page::default() })
}

async fn list_boards(
    api: &Api<'_>,
    project: &ProjectRef,
    start: u64,
    position: &mut Position,
    records: &mut PageRecords,
) -> Result<(), SourceError> {
    let what = format!("the boards of {}", project.key);
    let from = start.to_string();
    let query = [("projectKeyOrId", project.source_id.as_str()), ("startAt", &from), ("maxResults", PAGE)];
    let answer = match api.get("/rest/agile/1.0/board", &query, &what).await {
        // A site without Jira Software has no such API.
        Err(error) if error.kind == SourceErrorKind::NotFound => {
            position.boards = None;
            return Ok(());
        }
        answer => answer?,
    };
    let text = answer.text();
    let listed: Listed<'_> =
        serde_json::from_str(&text).map_err(|error| malformed(format!("{what}: {error}")))?;
    for raw in &listed.values {
        let board: Board = match serde_json::from_str(raw.get()) {
            Ok(board) => board,
            Err(error) => {
                records.unmapped.push(unmapped(
                    Stream::Boards,
                    raw.get(),
                    format!("it is no board ({error})"),
                ));
                continue;
            }
        };
        if board.kind != "kanban" && !position.open.contains(&board.id) {
            position.open.push(board.id);
        }
        records.boards.push(BoardRecord {
            source_id: board.id.to_string(),
            name: board.name,
            kind: match board.kind.as_str() {
                "scrum" => BoardKind::Scrum,
                "kanban" => BoardKind::Kanban,
                _ => BoardKind::Other,
            },
            project_source_id: board.location.and_then(|location| location.project_id),
            url: Some(format!("{}/secure/RapidBoard.jspa?rapidView={}", api.site.home, board.id)),
        });
    }
    position.boards = listed.next(start);
    Ok(())
}

async fn list_sprints(
    api: &Api<'_>,
    board: u64,
    position: &mut Position,
    records: &mut PageRecords,
) -> Result<(), SourceError> {
    let what = format!("the sprints of board {board}");
    let start = position.sprints;
    let from = start.to_string();
    let query = [("startAt", from.as_str()), ("maxResults", PAGE)];
    let next = match api.get(&format!("/rest/agile/1.0/board/{board}/sprint"), &query, &what).await {
        Ok(answer) => {
            let text = answer.text();
            let listed: Listed<'_> =
                serde_json::from_str(&text).map_err(|error| malformed(format!("{what}: {error}")))?;
            for raw in &listed.values {
                match serde_json::from_str::<Sprint>(raw.get()).ok().and_then(Sprint::into_record) {
                    Some(sprint) => records.sprints.push(sprint),
                    None => {
                        records.unmapped.push(unmapped(Stream::Boards, raw.get(), "it is no sprint".into()));
                    }
                }
            }
            listed.next(start)
        }
        // The board does not support sprints, or is gone since it was listed.
        Err(error) if error.upstream_status == Some(400) || error.kind == SourceErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match next {
        Some(next) => position.sprints = next,
        None => {
            position.open.remove(0);
            position.sprints = 0;
        }
    }
    Ok(())
}
