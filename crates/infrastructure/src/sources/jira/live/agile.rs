//! Boards and sprints (<https://developer.atlassian.com/cloud/jira/software/rest/>, "Board" and "Sprint").

use std::collections::BTreeSet;

use application::ports::{
    Bounds, LiveBoard, LiveBoards, LiveBoardsAsk, LiveSprint, LiveSprints, LiveSprintsAsk, SourceError,
    SourceErrorKind,
};
use domain::Cursor;
use domain::record::SprintRecord;
use serde::Deserialize;
use serde_json::json;

use super::super::api::{Api, segment};
use super::super::malformed;
use super::super::sprints::Sprint;
use super::unknown_position;

/// Jira's own bound of a page.
const PAGE: usize = 50;
/// Pages that are looked through for one answer: others' boards may fill them.
const MOST_PAGES: usize = 10;
const BOARDS: &str = "/rest/agile/1.0/board";

#[derive(Debug, Deserialize)]
struct Board {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    location: Option<Location>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    /// None where the board is a person's.
    #[serde(default)]
    project_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(default = "Vec::new")]
    values: Vec<T>,
    #[serde(default)]
    is_last: Option<bool>,
    #[serde(default)]
    total: Option<usize>,
}

impl<T> Page<T> {
    /// Whether rows follow those that begin at `start`.
    fn goes_on(&self, start: usize) -> bool {
        let end = start + self.values.len();
        !self.values.is_empty()
            && match (self.is_last, self.total) {
                (Some(last), _) => !last,
                (None, Some(total)) => end < total,
                (None, None) => self.values.len() >= PAGE,
            }
    }
}

#[derive(Deserialize)]
struct ProjectKey {
    key: String,
}

/// Where a list goes on: behind so many rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    start: usize,
}

fn start_of(from: Option<&Cursor>) -> Result<usize, SourceError> {
    match from {
        None => Ok(0),
        Some(Cursor(cursor)) => {
            Position::deserialize(cursor).map(|position| position.start).map_err(|_| unknown_position())
        }
    }
}

fn behind(rows: usize) -> Cursor {
    Cursor(json!({"start": rows}))
}

/// One page of the boards that may be seen.
pub(super) async fn boards(api: &Api<'_>, ask: &LiveBoardsAsk<'_>) -> Result<LiveBoards, SourceError> {
    let mut at = start_of(ask.from)?;
    let mut told = LiveBoards::default();
    for _ in 0..MOST_PAGES {
        let (start, size) = (at.to_string(), PAGE.to_string());
        let mut query = vec![("startAt", start.as_str()), ("maxResults", size.as_str())];
        for (name, value) in [("projectKeyOrId", ask.project), ("name", ask.name), ("type", ask.kind)] {
            query.extend(value.map(|value| (name, value)));
        }
        let page: Page<Board> = api.get(BOARDS, &query, "the boards").await?.json("the boards")?;
        let more = page.goes_on(at);
        for board in page.values {
            if told.boards.len() == ask.limit {
                told.next = Some(behind(at));
                return Ok(told);
            }
            at += 1;
            if may_be_seen(api, &board, ask.within).await? {
                told.boards.push(board.told());
            }
        }
        if !more {
            return Ok(told);
        }
        told.next = Some(behind(at));
        if told.boards.len() == ask.limit {
            return Ok(told);
        }
    }
    Ok(told)
}

impl Board {
    fn told(self) -> LiveBoard {
        LiveBoard {
            id: self.id.to_string(),
            name: self.name,
            kind: self.kind,
            project: self.location.and_then(|location| location.project_key),
        }
    }
}

/// Data Center tells no location: there all projects of a board must be such that may be seen.
async fn may_be_seen(api: &Api<'_>, board: &Board, within: &Bounds) -> Result<bool, SourceError> {
    if within.as_list().is_none() {
        return Ok(true);
    }
    let home = board.location.as_ref().and_then(|location| location.project_key.as_deref());
    match home {
        Some(project) => Ok(within.allows(project)),
        None if api.is_cloud() => Ok(false),
        None => {
            let projects = projects_of(api, &board.id.to_string()).await?;
            Ok(!projects.is_empty() && projects.iter().all(|project| within.allows(project)))
        }
    }
}

/// Keys of the projects that a board shows.
pub(in super::super) async fn projects_of(
    api: &Api<'_>,
    board: &str,
) -> Result<BTreeSet<String>, SourceError> {
    let what = format!("the projects of board {board}");
    let path = format!("{BOARDS}/{}/project", segment(board));
    let mut keys = BTreeSet::new();
    let mut at = 0;
    for _ in 0..MOST_PAGES {
        let (start, size) = (at.to_string(), PAGE.to_string());
        let query = [("startAt", start.as_str()), ("maxResults", size.as_str())];
        let page: Page<ProjectKey> = api.get(&path, &query, &what).await?.json(&what)?;
        let more = page.goes_on(at);
        at += page.values.len();
        keys.extend(page.values.into_iter().map(|project| project.key));
        if !more {
            return Ok(keys);
        }
    }
    Err(malformed(format!("{what}: there are more than {at}, which cannot all be checked")))
}

/// The same words whether it does not exist or may not be seen.
fn no_board(board: &str) -> SourceError {
    SourceError {
        field: Some("/board".into()),
        ..SourceError::new(SourceErrorKind::NotFound, format!("there is no board {board} that you may see"))
    }
}

fn no_sprint(sprint: &str) -> SourceError {
    SourceError {
        field: Some("/sprint".into()),
        ..SourceError::new(SourceErrorKind::NotFound, format!("there is no sprint {sprint} that you may see"))
    }
}

async fn require_board(api: &Api<'_>, id: &str, within: &Bounds) -> Result<(), SourceError> {
    let what = format!("the board {id}");
    let answer = api.get(&format!("{BOARDS}/{}", segment(id)), &[], &what).await;
    let board: Board = answer.map_err(|error| or_none(error, || no_board(id)))?.json(&what)?;
    match may_be_seen(api, &board, within).await? {
        true => Ok(()),
        false => Err(no_board(id)),
    }
}

fn or_none(error: SourceError, none: impl Fn() -> SourceError) -> SourceError {
    if error.kind == SourceErrorKind::NotFound { none() } else { error }
}

/// One page of a board's sprints.
pub(super) async fn sprints(api: &Api<'_>, ask: &LiveSprintsAsk<'_>) -> Result<LiveSprints, SourceError> {
    require_board(api, ask.board, ask.within).await?;
    let at = start_of(ask.from)?;
    let what = format!("the sprints of board {}", ask.board);
    let states: Vec<&str> = ask.states.iter().map(|state| state.as_str()).collect();
    let (start, size, states) = (at.to_string(), ask.limit.min(PAGE).to_string(), states.join(","));
    let mut query = vec![("startAt", start.as_str()), ("maxResults", size.as_str())];
    if !states.is_empty() {
        query.push(("state", &states));
    }
    let path = format!("{BOARDS}/{}/sprint", segment(ask.board));
    let answer = api.get(&path, &query, &what).await.map_err(|error| match error.upstream_status {
        // Jira's words for a board of another kind.
        Some(400) => SourceError { field: Some("/board".into()), ..error },
        _ => or_none(error, || no_board(ask.board)),
    })?;
    let page: Page<Sprint> = answer.json(&what)?;
    let next = page.goes_on(at).then(|| behind(at + page.values.len()));
    let sprints = page.values.into_iter().filter_map(Sprint::into_record).map(told).collect();
    Ok(LiveSprints { sprints, next })
}

fn told(sprint: SprintRecord) -> LiveSprint {
    LiveSprint {
        id: sprint.source_id,
        name: sprint.name,
        state: sprint.state,
        start: sprint.start_at,
        end: sprint.end_at,
        completed: sprint.completed_at,
        goal: sprint.goal,
        board: sprint.board_source_id,
    }
}

/// A sprint, whoever's it is.
pub(in super::super) async fn read_sprint(api: &Api<'_>, id: &str) -> Result<LiveSprint, SourceError> {
    let what = format!("the sprint {id}");
    let answer = api.get(&format!("/rest/agile/1.0/sprint/{}", segment(id)), &[], &what).await;
    let sprint: Sprint = answer.map_err(|error| or_none(error, || no_sprint(id)))?.json(&what)?;
    sprint.into_record().map(told).ok_or_else(|| malformed(format!("{what} has no id or an unknown state")))
}

/// A sprint of a board that may be seen.
pub(super) async fn sprint(api: &Api<'_>, id: &str, within: &Bounds) -> Result<LiveSprint, SourceError> {
    let sprint = read_sprint(api, id).await?;
    if within.as_list().is_some() {
        let board = sprint.board.as_deref().ok_or_else(|| no_sprint(id))?;
        require_board(api, board, within).await.map_err(|error| or_none(error, || no_sprint(id)))?;
    }
    Ok(sprint)
}
