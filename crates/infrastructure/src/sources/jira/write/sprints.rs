//! Sprints: made, changed, started and closed, and issues put into them
//! (<https://developer.atlassian.com/cloud/jira/software/rest/api-group-sprint/>).

use std::collections::{BTreeMap, BTreeSet};

use application::ports::{LiveSprint, Look, SourceError, SourceErrorKind};
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{ChangedField, SprintState, SprintWrite, WrittenItem};
use http::Method;
use serde_json::{Map, Value, json};

use super::super::api::{Api, segment};
use super::super::live::agile::{projects_of, read_sprint};
use super::super::{malformed, sprints};
use super::issue::{Issue, Watched, finish, is_selected};
use super::look::found;
use super::send::change;
use super::sprint::open_of_board;
use super::{Mode, rejected};

const SPRINT: &str = "/rest/agile/1.0/sprint";

/// Puts an issue into a sprint, or with `None` into the backlog. Closed sprints that it was in stay.
pub(super) async fn put(api: &Api<'_>, key: &str, sprint: Option<&str>) -> Result<WrittenItem, SourceError> {
    let field = sprint_field(api).await?;
    let watched: Vec<Watched> = vec![("sprint".to_owned(), field.clone())];
    let issue = Issue::read(api, key, &[&field]).await?;
    issue.require_selected(api)?;
    if is_put(issue.field(&field), sprint) {
        let warnings = vec!["the issue is there already".to_owned()];
        return Ok(WrittenItem { warnings, ..issue.written(api) });
    }
    let (path, pointer) = match sprint {
        Some(id) => (format!("{SPRINT}/{}/issue", segment(id)), "/sprint"),
        None => ("/rest/agile/1.0/backlog/issue".to_owned(), "/keys"),
    };
    let what = format!("the sprint of {}", issue.key);
    let pointers = BTreeMap::from([("issues".to_owned(), "/keys".to_owned())]);
    let body = json!({"issues": [issue.key]});
    change(api, Method::POST, &path, &body, &pointers, &what).await.map_err(|error| match error.kind {
        SourceErrorKind::NotFound => SourceError { field: Some(pointer.to_owned()), ..error },
        _ => error,
    })?;
    Ok(finish(api, &issue.key, &watched, Some(&issue), &issue.id, Vec::new()).await)
}

/// Whether an issue is where it was to be put.
pub(super) async fn look_put(api: &Api<'_>, key: &str, sprint: Option<&str>) -> Result<Look, SourceError> {
    let field = sprint_field(api).await?;
    let issue = Issue::read(api, key, &[&field]).await?;
    if is_put(issue.field(&field), sprint) { found(issue.written(api)) } else { Ok(Look::Absent) }
}

/// The field that holds sprints.
async fn sprint_field(api: &Api<'_>) -> Result<String, SourceError> {
    let fields = api.known().await?.sprint_fields(&api.connection.mappings);
    fields.into_iter().next().ok_or_else(|| {
        SourceError::new(
            SourceErrorKind::Unsupported,
            "this Jira has no field for sprints: it has no Jira Software",
        )
    })
}

fn is_put(field: &Value, sprint: Option<&str>) -> bool {
    let open: BTreeSet<String> = sprints::in_field(field)
        .into_iter()
        .filter_map(sprints::Sprint::into_record)
        .filter(|sprint| sprint.state != SprintState::Closed)
        .map(|sprint| sprint.source_id)
        .collect();
    match sprint {
        Some(id) => open.contains(id),
        None => open.is_empty(),
    }
}

/// Makes a sprint, or changes what is given of one.
pub(super) async fn write(
    api: &Api<'_>,
    asked: &SprintWrite,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    match &asked.sprint {
        None => create(api, asked, mode).await,
        Some(id) => update(api, id, asked, mode).await,
    }
}

/// Keys of the projects that a write concerns: those that its board shows.
pub(super) async fn projects(api: &Api<'_>, asked: &SprintWrite) -> Result<BTreeSet<String>, SourceError> {
    match &asked.sprint {
        Some(id) => projects_of(api, &board_of(&read_sprint(api, id).await?)?).await,
        None => {
            projects_of(api, required(asked.board.as_deref(), "/board", "the board of a new sprint")?).await
        }
    }
}

fn required<'a>(given: Option<&'a str>, pointer: &str, what: &str) -> Result<&'a str, SourceError> {
    given.ok_or_else(|| rejected(pointer, format!("is needed: {what}")))
}

fn board_of(sprint: &LiveSprint) -> Result<String, SourceError> {
    sprint
        .board
        .clone()
        .ok_or_else(|| malformed(format!("the sprint {} is told without its board", sprint.id)))
}

/// The instance's settings bound writes too: no sprint of a board that shows another project.
async fn require_selected(api: &Api<'_>, board: &str, pointer: &str) -> Result<(), SourceError> {
    if api.settings.projects.is_none() {
        return Ok(());
    }
    let projects = projects_of(api, board).await?;
    match !projects.is_empty() && projects.iter().all(|project| is_selected(api, project)) {
        true => Ok(()),
        false => Err(rejected(pointer, format!("board {board} shows projects that the instance leaves out"))),
    }
}

async fn create(api: &Api<'_>, asked: &SprintWrite, mode: Mode) -> Result<WrittenItem, SourceError> {
    let board = required(asked.board.as_deref(), "/board", "the board of a new sprint")?;
    let name = required(asked.name.as_deref(), "/name", "what the new sprint is called")?;
    if asked.state.is_some_and(|state| state != SprintState::Future) {
        return Err(rejected("/state", "a new sprint is a future one: make it, then start it with its id"));
    }
    let number: i64 = board.parse().map_err(|_| rejected("/board", "must be a board's id, a number"))?;
    require_selected(api, board, "/board").await?;
    // A second one of the same name could not be told from this one when its answer is lost.
    if let Some(id) = same_name(api, board, name).await? {
        return Err(rejected("/name", format!("board {board} has an open sprint of that name: {id}")));
    }
    let mut body = Map::from_iter([("originBoardId".to_owned(), json!(number))]);
    body.extend(given(asked));
    let changed = body.iter().filter(|(id, _)| *id != "originBoardId").map(|(id, value)| ChangedField {
        field: name_of(id).to_owned(),
        from: Value::Null,
        to: value.clone(),
    });
    let changed = changed.collect();
    if mode == Mode::Rehearse {
        return Ok(told(api, "", Some(board), changed));
    }
    let what = "the new sprint";
    let made = change(api, Method::POST, SPRINT, &Value::Object(body), &pointers(), what).await?;
    let made: sprints::Sprint = serde_json::from_slice(&made.body)
        .map_err(|error| malformed(format!("Jira's answer for {what} is not what it should be ({error})")))?;
    let made = made.into_record().ok_or_else(|| malformed("Jira's answer for the new sprint has no id"))?;
    Ok(told(api, &made.source_id, Some(board), changed))
}

async fn update(
    api: &Api<'_>,
    id: &str,
    asked: &SprintWrite,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let before = read_sprint(api, id).await?;
    let board = board_of(&before)?;
    if asked.board.as_ref().is_some_and(|asked| *asked != board) {
        return Err(rejected("/board", format!("the sprint {id} is of board {board} and stays there")));
    }
    require_selected(api, &board, "/sprint").await?;
    let body = given(asked);
    if body.is_empty() {
        return Err(rejected("/sprint", "nothing is to be changed: give name, start, end, goal or state"));
    }
    let now = values(&before);
    let changed: Vec<ChangedField> = body
        .iter()
        .filter(|(id, value)| now.get(*id).is_none_or(|now| now != *value))
        .map(|(id, value)| ChangedField {
            field: name_of(id).to_owned(),
            from: now.get(id).cloned().unwrap_or_default(),
            to: value.clone(),
        })
        .collect();
    let told = told(api, id, Some(&board), changed);
    if mode == Mode::Rehearse || told.changed.is_empty() {
        return Ok(told);
    }
    let path = format!("{SPRINT}/{}", segment(id));
    change(api, Method::POST, &path, &Value::Object(body), &pointers(), &format!("the sprint {id}")).await?;
    Ok(told)
}

/// Looks whether a sprint is as it was to be.
pub(super) async fn look(api: &Api<'_>, asked: &SprintWrite) -> Result<Look, SourceError> {
    let body = given(asked);
    match (&asked.sprint, &asked.board, &asked.name) {
        (Some(id), _, _) => {
            let sprint = read_sprint(api, id).await?;
            let now = values(&sprint);
            let is = body.iter().all(|(id, value)| now.get(id).is_some_and(|now| now == value));
            if is { found(told(api, id, sprint.board.as_deref(), Vec::new())) } else { Ok(Look::Absent) }
        }
        (None, Some(board), Some(name)) => match same_name(api, board, name).await? {
            Some(id) => found(told(api, &id, Some(board), Vec::new())),
            None => Ok(Look::Absent),
        },
        // Such a write is refused before anything is sent.
        (None, _, _) => Ok(Look::Absent),
    }
}

/// The id of the board's open sprint of this name.
async fn same_name(api: &Api<'_>, board: &str, name: &str) -> Result<Option<String>, SourceError> {
    let open = open_of_board(api, board).await?;
    Ok(open.into_iter().find(|(_, other)| other.trim() == name.trim()).map(|(id, _)| id))
}

/// What is given, by the names of Jira's API.
fn given(asked: &SprintWrite) -> Map<String, Value> {
    let time = |time: &Option<DateTime<Utc>>| time.map(told_time);
    [
        ("name", asked.name.as_deref().map(|name| json!(name.trim()))),
        ("startDate", time(&asked.start)),
        ("endDate", time(&asked.end)),
        ("goal", asked.goal.as_ref().map(|goal| json!(goal))),
        ("state", asked.state.map(|state| json!(state.as_str()))),
    ]
    .into_iter()
    .filter(|(name, _)| asked.sprint.is_some() || *name != "state")
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// What a sprint has, in the same form.
fn values(sprint: &LiveSprint) -> Map<String, Value> {
    let mut values = Map::from_iter([
        ("name".to_owned(), json!(sprint.name)),
        ("state".to_owned(), json!(sprint.state.as_str())),
        ("goal".to_owned(), json!(sprint.goal.clone().unwrap_or_default())),
    ]);
    for (name, time) in [("startDate", sprint.start), ("endDate", sprint.end)] {
        values.extend(time.map(|time| (name.to_owned(), told_time(time))));
    }
    values
}

fn told_time(time: DateTime<Utc>) -> Value {
    json!(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// What the tool's arguments call a property of Jira's.
fn name_of(property: &str) -> &str {
    match property {
        "startDate" => "start",
        "endDate" => "end",
        "originBoardId" => "board",
        other => other,
    }
}

/// Where in the request Jira's names came from.
fn pointers() -> BTreeMap<String, String> {
    let names = ["name", "startDate", "endDate", "goal", "state", "originBoardId"];
    names.map(|name| (name.to_owned(), format!("/{}", name_of(name)))).into()
}

fn told(api: &Api<'_>, id: &str, board: Option<&str>, changed: Vec<ChangedField>) -> WrittenItem {
    let url = board.map(|board| format!("{}/secure/RapidBoard.jspa?rapidView={board}", api.site.home));
    WrittenItem { source_id: id.to_owned(), url: url.unwrap_or_default(), changed, ..WrittenItem::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_is_where_it_was_put_whatever_closed_sprints_it_was_in() {
        let field =
            json!([{"id": 1, "state": "closed", "name": "a"}, {"id": 2, "state": "active", "name": "b"}]);
        assert!(is_put(&field, Some("2")) && !is_put(&field, Some("1")) && !is_put(&field, None));
        assert!(
            is_put(&json!([{"id": 1, "state": "closed", "name": "a"}]), None) && is_put(&Value::Null, None)
        );
    }

    #[test]
    fn only_what_is_given_is_sent_and_a_new_sprint_has_no_state() {
        let start = Some("2026-01-05T09:00:00Z".parse().unwrap());
        let new = SprintWrite {
            board: Some("3".into()),
            name: Some(" S 7 ".into()),
            start,
            state: Some(SprintState::Future),
            ..SprintWrite::default()
        };
        assert_eq!(
            Value::Object(given(&new)),
            json!({"name": "S 7", "startDate": "2026-01-05T09:00:00.000Z"})
        );
        let started = SprintWrite {
            sprint: Some("9".into()),
            state: Some(SprintState::Active),
            ..SprintWrite::default()
        };
        assert_eq!(Value::Object(given(&started)), json!({"state": "active"}));
    }
}
