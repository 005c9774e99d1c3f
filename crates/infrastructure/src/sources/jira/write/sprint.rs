//! Finding a sprint by name or id.

use application::ports::{SourceError, SourceErrorKind};
use serde::Deserialize;
use serde_json::Value;

use super::super::super::nearest::nearest;
use super::super::api::{Api, segment};

/// Boards of a project that are looked through for a sprint's name.
const MOST_BOARDS: usize = 20;
/// Pages of a board's sprints; Jira gives 50 a page.
const MOST_PAGES: usize = 10;

#[derive(Deserialize)]
struct Boards {
    #[serde(default)]
    values: Vec<Board>,
}

#[derive(Deserialize)]
struct Board {
    id: i64,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sprints {
    #[serde(default)]
    values: Vec<Sprint>,
    #[serde(default)]
    is_last: Option<bool>,
}

#[derive(Deserialize)]
struct Sprint {
    id: i64,
    #[serde(default)]
    name: String,
}

/// The id of an open sprint of the project, as its field takes it.
pub(super) async fn find(
    api: &Api<'_>,
    project: &str,
    given: &str,
    pointer: &str,
) -> Result<Value, SourceError> {
    let given = given.trim();
    let id: Option<i64> = given.parse().ok();
    let what = "the boards of the project";
    let query = [("projectKeyOrId", project), ("maxResults", "50")];
    let boards: Boards = api.get("/rest/agile/1.0/board", &query, what).await?.json(what)?;
    let mut names = Vec::new();
    for board in boards.values.iter().filter(|board| board.kind != "kanban").take(MOST_BOARDS) {
        for sprint in sprints(api, &board.id.to_string()).await? {
            if Some(sprint.id) == id || sprint.name.trim().to_lowercase() == given.to_lowercase() {
                return Ok(sprint.id.into());
            }
            names.push(sprint.name);
        }
    }
    Err(SourceError::unknown_value(
        pointer,
        format!("no active or future sprint of {project} is called `{given}`"),
        nearest(given, names.iter().map(String::as_str)),
    ))
}

/// Ids and names of the sprints of a board that are not closed.
pub(super) async fn open_of_board(api: &Api<'_>, board: &str) -> Result<Vec<(String, String)>, SourceError> {
    let open = sprints(api, board).await?;
    Ok(open.into_iter().map(|sprint| (sprint.id.to_string(), sprint.name)).collect())
}

async fn sprints(api: &Api<'_>, board: &str) -> Result<Vec<Sprint>, SourceError> {
    let mut all: Vec<Sprint> = Vec::new();
    let path = format!("/rest/agile/1.0/board/{}/sprint", segment(board));
    let what = "the sprints of a board";
    for _ in 0..MOST_PAGES {
        let start = all.len().to_string();
        let query = [("state", "active,future"), ("startAt", &start), ("maxResults", "50")];
        let page: Sprints = match api.get(&path, &query, what).await {
            Ok(answer) => answer.json(what)?,
            // A team-managed board without sprints says so with 400.
            Err(error) if error.kind == SourceErrorKind::Rejected => return Ok(all),
            Err(error) => return Err(error),
        };
        let last = page.values.is_empty() || page.is_last != Some(false);
        all.extend(page.values);
        if last {
            break;
        }
    }
    Ok(all)
}
