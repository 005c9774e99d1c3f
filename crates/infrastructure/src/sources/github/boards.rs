//! Projects (v2) as boards, and their iterations as sprints.
//! <https://docs.github.com/en/issues/planning-and-tracking-with-projects/automating-your-project/using-the-api-to-manage-projects>
//!
//! GitHub tells which iteration an item is in and since when, not where it was before.

use application::ports::{Page, PageRequest, SourceError, SourceErrorKind};
use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::record::{BoardRecord, SprintMembershipRecord, SprintRecord};
use domain::{BoardKind, Cursor, PageRecords, SprintState};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::Api;
use super::graphql::{self, RateLimit};
use super::malformed;
use super::settings::BoardName;

/// Items of a page. When GitHub takes too long for it, fewer are asked for.
const PAGE_ITEMS: [u32; 3] = [50, 25, 10];

/// An item's own list of projects is asked for, not the project's view of the item: it may be in several, and its
/// memberships are stored as a whole.
const QUERY: &str = "
query($owner: String!, $number: Int!, $first: Int!, $after: String) {
  rateLimit { cost remaining resetAt }
  repositoryOwner(login: $owner) {
    ... on Organization { projectV2(number: $number) { ...board } }
    ... on User { projectV2(number: $number) { ...board } }
  }
}
fragment board on ProjectV2 {
  id title url
  fields(first: 50) { nodes { ... on ProjectV2IterationField {
    configuration {
      iterations { id title startDate duration }
      completedIterations { id title startDate duration }
    }
  } } }
  items(first: $first, after: $after) {
    totalCount
    pageInfo { hasNextPage endCursor }
    nodes { content {
      ... on Issue { number repository { databaseId } ...memberships }
      ... on PullRequest { number repository { databaseId } ...pullMemberships }
    } }
  }
}
fragment memberships on Issue { projectItems(first: 10, includeArchived: true) { nodes { ...membership } } }
fragment pullMemberships on PullRequest { projectItems(first: 10, includeArchived: true) { nodes { ...membership } } }
fragment membership on ProjectV2Item {
  project { id }
  fieldValues(first: 30) { nodes { ... on ProjectV2ItemFieldIterationValue { iterationId updatedAt } } }
}";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    rate_limit: Option<RateLimit>,
    repository_owner: Option<Owner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    #[serde(default)]
    project_v2: Option<Board>,
}

#[derive(Deserialize)]
struct Board {
    id: String,
    title: String,
    url: String,
    fields: Nodes<Field>,
    items: Items,
}

#[derive(Deserialize)]
struct Nodes<T> {
    #[serde(default = "Vec::new")]
    nodes: Vec<Option<T>>,
}

/// Other kinds of fields are empty objects.
#[derive(Deserialize)]
struct Field {
    #[serde(default)]
    configuration: Option<Configuration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    iterations: Vec<Iteration>,
    #[serde(default)]
    completed_iterations: Vec<Iteration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iteration {
    id: String,
    title: String,
    start_date: NaiveDate,
    /// In days.
    duration: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Items {
    #[serde(default)]
    total_count: Option<i64>,
    page_info: PageInfo,
    nodes: Vec<Option<Item>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    #[serde(default)]
    end_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    content: Option<Content>,
}

/// A draft, which is no issue, is an empty object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    #[serde(default)]
    number: Option<u64>,
    #[serde(default)]
    repository: Option<Repository>,
    #[serde(default)]
    project_items: Option<Nodes<Membership>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Repository {
    database_id: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Membership {
    project: Project,
    field_values: Nodes<FieldValue>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldValue {
    #[serde(default)]
    iteration_id: Option<String>,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
}

/// Where a pass goes on: which of the selected projects, and behind which of its items.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    #[serde(default)]
    board: usize,
    #[serde(default)]
    after: Option<String>,
}

/// One page of the selected projects.
pub(super) async fn fetch(api: &Api<'_>, request: &PageRequest<'_>) -> Result<Page, SourceError> {
    let position = match request.cursor {
        Some(Cursor(cursor)) => Position::deserialize(cursor)
            .map_err(|_| malformed("the stored position of boards has an unknown form"))?,
        None => Position::default(),
    };
    let Some(name) = api.settings.boards.get(position.board) else { return Ok(Page::default()) };
    let (board, now) = ask(api, name, position.after.as_deref()).await?;
    let next = match (&board.items.page_info, position.board + 1) {
        (PageInfo { has_next_page: true, end_cursor: Some(after) }, _) => {
            if Some(after) == position.after.as_ref() {
                return Err(malformed(format!("GitHub's list of the items of {name} does not move on")));
            }
            Some(json!({"board": position.board, "after": after}))
        }
        (_, next) if next < api.settings.boards.len() => Some(json!({"board": next})),
        _ => None,
    };
    let total_estimate = board.items.total_count.filter(|_| api.settings.boards.len() == 1);
    Ok(Page { records: map(board, now), next: next.map(Cursor), total_estimate, ..Page::default() })
}

async fn ask(
    api: &Api<'_>,
    name: &BoardName,
    after: Option<&str>,
) -> Result<(Board, Option<DateTime<Utc>>), SourceError> {
    let what = format!("the project {name}");
    let mut failed = None;
    for first in PAGE_ITEMS {
        let variables = json!({"owner": name.owner, "number": name.number, "first": first, "after": after});
        match graphql::query::<Answer>(api, &name.owner, QUERY, variables, &what).await {
            Ok((answer, now)) => {
                if let Some(limit) = answer.rate_limit {
                    metrics::counter!("source_graphql_points_total", "source" => "github")
                        .increment(limit.cost);
                    tracing::debug!(
                        cost = limit.cost,
                        remaining = limit.remaining,
                        reset_at = %limit.reset_at,
                        "GitHub counted a GraphQL query"
                    );
                }
                let board = answer.repository_owner.and_then(|owner| owner.project_v2).ok_or_else(|| SourceError {
                    field: Some("/settings/projects".into()),
                    ..SourceError::new(
                        SourceErrorKind::NotFound,
                        format!("GitHub does not find {what}: check its number, and that the token may read projects"),
                    )
                })?;
                return Ok((board, now));
            }
            // Ten seconds are all it takes for a query; a smaller one may be done in time.
            Err(error) if error.kind == SourceErrorKind::Unavailable && error.retry_after.is_none() => {
                failed = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| malformed(format!("GitHub did not answer for {what}"))))
}

fn map(board: Board, now: Option<DateTime<Utc>>) -> PageRecords {
    let mut records = PageRecords::default();
    let configurations: Vec<Configuration> =
        board.fields.nodes.into_iter().flatten().filter_map(|field| field.configuration).collect();
    let kind = if configurations.is_empty() { BoardKind::Kanban } else { BoardKind::Scrum };
    for configuration in configurations {
        let open = configuration.iterations.into_iter().map(|iteration| (iteration, false));
        let done = configuration.completed_iterations.into_iter().map(|iteration| (iteration, true));
        records
            .sprints
            .extend(open.chain(done).map(|(one, completed)| sprint(&board.id, one, completed, now)));
    }
    for content in board.items.nodes.into_iter().flatten().filter_map(|item| item.content) {
        let id = content.repository.and_then(|repository| repository.database_id);
        let (Some(id), Some(number)) = (id, content.number) else { continue };
        let ref_key = format!("{id}#{number}");
        for membership in content.project_items.into_iter().flat_map(|items| items.nodes).flatten() {
            for value in membership.field_values.nodes.into_iter().flatten() {
                let (Some(iteration), Some(at)) = (value.iteration_id, value.updated_at) else { continue };
                records.sprint_memberships.push(SprintMembershipRecord {
                    item_ref_key: ref_key.clone(),
                    sprint_source_id: sprint_id(&membership.project.id, &iteration),
                    added_at: at,
                    removed_at: None,
                    from_history: false,
                });
            }
        }
        records.sprint_memberships_of.push(ref_key);
    }
    records.boards.push(BoardRecord {
        source_id: board.id,
        name: board.title,
        kind,
        project_source_id: None,
        url: Some(board.url),
    });
    records
}

/// Iterations have ids of their own in each project only.
fn sprint_id(board: &str, iteration: &str) -> String {
    format!("{board}/{iteration}")
}

fn sprint(board: &str, iteration: Iteration, completed: bool, now: Option<DateTime<Utc>>) -> SprintRecord {
    let midnight = |day: NaiveDate| day.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
    let start_at = midnight(iteration.start_date);
    let end = iteration.start_date.checked_add_days(Days::new(iteration.duration));
    let end_at = end.and_then(midnight);
    let state = match now {
        _ if completed => SprintState::Closed,
        Some(now) if start_at.is_some_and(|start| start > now) => SprintState::Future,
        Some(now) if end_at.is_some_and(|end| end <= now) => SprintState::Closed,
        _ => SprintState::Active,
    };
    SprintRecord {
        source_id: sprint_id(board, &iteration.id),
        board_source_id: Some(board.to_owned()),
        name: iteration.title,
        goal: None,
        state,
        start_at,
        end_at,
        completed_at: end_at.filter(|_| state == SprintState::Closed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn answer(value: Value) -> Board {
        let answer: Answer = serde_json::from_value(value).unwrap();
        answer.repository_owner.unwrap().project_v2.unwrap()
    }

    #[test]
    fn iterations_become_sprints_and_items_are_in_them_since_they_were_put_there() {
        let iteration =
            |id: &str, start: &str| json!({"id": id, "title": id, "startDate": start, "duration": 14});
        let item = |number: u64, values: Value| {
            json!({"content": {"number": number, "repository": {"databaseId": 7}, "projectItems": {"nodes": [
                {"project": {"id": "PVT_1"}, "fieldValues": {"nodes": values}}
            ]}}})
        };
        let board = answer(json!({
            "rateLimit": {"cost": 6, "remaining": 4994, "resetAt": "2026-11-21T13:00:00Z"},
            "repositoryOwner": {"projectV2": {
                "id": "PVT_1", "title": "Roadmap", "url": "https://github.com/orgs/acme/projects/1",
                "fields": {"nodes": [{}, null, {"configuration": {
                    "iterations": [iteration("b", "2026-11-16"), iteration("c", "2026-11-30")],
                    "completedIterations": [iteration("a", "2026-11-02")]
                }}]},
                "items": {"totalCount": 4, "pageInfo": {"hasNextPage": false, "endCursor": null}, "nodes": [
                    item(1, json!([{}, {"iterationId": "b", "updatedAt": "2026-11-17T08:00:00Z"}])),
                    item(2, json!([])),
                    {"content": {}}, {"content": null}, null
                ]}
            }}
        }));
        let records = map(board, Some("2026-11-21T12:00:00Z".parse().unwrap()));
        let states: Vec<_> = records.sprints.iter().map(|s| (s.source_id.as_str(), s.state)).collect();
        assert_eq!(
            states,
            [
                ("PVT_1/b", SprintState::Active),
                ("PVT_1/c", SprintState::Future),
                ("PVT_1/a", SprintState::Closed)
            ]
        );
        assert_eq!(records.boards[0].kind, BoardKind::Scrum);
        assert_eq!(records.sprint_memberships_of, ["7#1", "7#2"]);
        assert_eq!(records.sprint_memberships.len(), 1);
        assert_eq!(records.sprint_memberships[0].added_at.to_rfc3339(), "2026-11-17T08:00:00+00:00");
    }
}
