//! What the tools of the set agile do.

use std::collections::BTreeSet;
use std::time::Duration;

use application::Ctx;
use application::live::{BoardsAsk, LiveAnswer, SprintsAsk, WriteAsk};
use application::ports::ItemWrite;
use domain::{SprintState, SprintWrite};
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::super::outcome::{Answer, Failure, Size, ToolError};
use super::super::sql::now;
use super::arguments::{as_issue_key, count, moment, needed, only, owned, project_key, text, texts, word};
use super::schemas::agile::{
    BACKLOG, BOARD_TYPES, LIST_BOARDS, LIST_SPRINTS, MOST_ISSUES, SET_ISSUE_SPRINT, WRITE_SPRINT,
};
use super::tools::{CURSOR, FIELD, JiraTools, MAX_ROWS, QUERY, ROWS, failure, instance, told};

type Arguments = Map<String, Value>;

/// Issues that are moved at once: one person's share of an instance.
const AT_ONCE: usize = 4;
/// From the first issue on; what has not begun by then is told as not done, in time for the call's own end.
const SPAN: Duration = Duration::from_secs(20);
/// Characters of a sprint's goal.
const GOAL: usize = 2_000;

impl JiraTools {
    pub(super) async fn agile(&self, ctx: &Ctx, name: &str, given: &Arguments) -> Result<Answer, Failure> {
        match name {
            LIST_BOARDS => self.list_boards(ctx, given).await,
            LIST_SPRINTS => self.list_sprints(ctx, given).await,
            SET_ISSUE_SPRINT => self.set_issue_sprint(ctx, given).await,
            WRITE_SPRINT => self.write_sprint(ctx, given).await,
            _ => Err(Failure::UnknownTool(name.to_owned())),
        }
    }

    async fn list_boards(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["project", "name", "type", "limit", "cursor", "instance"])?;
        let ask = BoardsAsk {
            instance: instance(given)?,
            project: project_key(given)?,
            name: owned(given, "name", QUERY)?,
            kind: word(given, "type", &BOARD_TYPES)?.map(str::to_owned),
            limit: count(given, "limit", MAX_ROWS)?.unwrap_or(ROWS),
            cursor: owned(given, "cursor", CURSOR)?,
        };
        Ok(told(self.services.live.boards(ctx, &ask).await.map_err(failure)?, "boards"))
    }

    async fn list_sprints(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["board", "state", "limit", "cursor", "instance"])?;
        let states = SprintState::ALL.iter().map(|state| state.as_str()).collect::<Vec<_>>();
        let states = match word(given, "state", &states)? {
            Some(wanted) => {
                SprintState::ALL.iter().copied().filter(|state| state.as_str() == wanted).collect()
            }
            None => vec![SprintState::Active, SprintState::Future],
        };
        let ask = SprintsAsk {
            instance: instance(given)?,
            board: number(given, "board")?.ok_or_else(|| Failure::invalid("/board", "is required"))?,
            states,
            limit: count(given, "limit", MAX_ROWS)?.unwrap_or(ROWS),
            cursor: owned(given, "cursor", CURSOR)?,
        };
        Ok(told(self.services.live.sprints(ctx, &ask).await.map_err(failure)?, "sprints"))
    }

    async fn set_issue_sprint(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["keys", "sprint", "instance"])?;
        let keys = keys(given)?;
        let instance = instance(given)?;
        let sprint = match needed(given, "sprint", 64)?.trim() {
            BACKLOG => None,
            _ => number(given, "sprint")?,
        };
        if let Some(id) = &sprint {
            let found = self.services.live.sprint(ctx, instance.as_deref(), id).await.map_err(failure)?;
            if found.state == SprintState::Closed {
                let message =
                    format!("`{}` is closed: jira_list_sprints lists those that are not", found.name);
                return Err(Failure::invalid("/sprint", message));
            }
        }
        let until = Instant::now() + SPAN;
        let moves = keys.into_iter().map(|key| {
            let ask = WriteAsk {
                instance: instance.clone(),
                write: ItemWrite::PutInSprint(key.clone(), sprint.clone()),
                // Moving twice is the same as once.
                key: Uuid::new_v4().to_string(),
                rehearse: false,
            };
            async move {
                let outcome = self.move_one(ctx, ask, until).await;
                (key, outcome)
            }
        });
        let outcomes: Vec<_> = stream::iter(moves).buffered(AT_ONCE).collect().await;
        let mut at = None;
        let results: Vec<Value> = outcomes
            .into_iter()
            .map(|(key, outcome)| match outcome {
                Ok(answer) => {
                    at = Some(answer.instance.clone());
                    result(&key, &answer)
                }
                Err(body) => json!({"key": key, "ok": false, "error": body}),
            })
            .collect();
        let done = results.iter().filter(|result| result["ok"] == true).count();
        let failed = results.len() - done;
        let size = Some(Size { rows: results.len(), bytes: 0, truncated: false });
        let place = sprint.as_ref().map_or_else(|| "the backlog".to_owned(), |id| format!("sprint {id}"));
        let mut line = format!("{done} of {} issues are in {place}", results.len());
        if failed > 0 {
            line.push_str("; results says what became of the others: the same call again does only these");
        }
        let instance = match at.or(instance) {
            Some(instance) => instance,
            None => self.only_instance(ctx).await?,
        };
        let content = json!({
            "results": results, "done": done, "failed": failed, "instance": instance, "source": "live",
            "at": now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        });
        Ok(Answer { content, line, size, picture: None })
    }

    /// The error as an object, so that one issue's failure is not the others'.
    async fn move_one(&self, ctx: &Ctx, ask: WriteAsk, until: Instant) -> Result<LiveAnswer, Value> {
        let told = |failure: Failure| match failure {
            Failure::Tool(told) => {
                let ToolError { body, .. } = *told;
                serde_json::to_value(body).unwrap_or_default()
            }
            Failure::UnknownTool(_) | Failure::Ask(_) | Failure::Internal => json!({"code": "internal"}),
        };
        if Instant::now() >= until {
            return Err(json!({"code": "not_done", "message": "the call's time was over before this issue"}));
        }
        match timeout_at(until, self.services.live.write(ctx, &self.services.item_writes, &ask)).await {
            Ok(outcome) => outcome.map_err(|error| told(failure(error))),
            Err(_) => Err(
                json!({"code": "write_unsure", "message": "Jira did not answer in time: look, or call again"}),
            ),
        }
    }

    /// For an answer in which no issue told where it is.
    async fn only_instance(&self, ctx: &Ctx) -> Result<String, Failure> {
        let instances = self.services.live.instances(ctx).await?;
        Ok(instances.first().map(|instance| instance.slug.to_string()).unwrap_or_default())
    }

    async fn write_sprint(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(
            given,
            &[
                "board",
                "sprint",
                "name",
                "start",
                "end",
                "goal",
                "state",
                "idempotency_key",
                "dry_run",
                "instance",
            ],
        )?;
        let write = SprintWrite {
            board: number(given, "board")?,
            sprint: number(given, "sprint")?,
            name: owned(given, "name", FIELD)?,
            start: moment(given, "start")?,
            end: moment(given, "end")?,
            goal: owned(given, "goal", GOAL)?,
            state: word(given, "state", &["active", "closed"])?.map(|state| match state {
                "active" => SprintState::Active,
                _ => SprintState::Closed,
            }),
        };
        if write.board.is_none() && write.sprint.is_none() {
            return Err(Failure::invalid(
                "/board",
                "is required for a new sprint; sprint names one to change",
            ));
        }
        if let (Some(start), Some(end)) = (write.start, write.end)
            && end <= start
        {
            return Err(Failure::invalid("/end", "must be after start"));
        }
        self.write(ctx, given, ItemWrite::Sprint(write)).await
    }
}

fn result(key: &str, answer: &LiveAnswer) -> Value {
    let changed =
        answer.content.get("changed").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let mut result = json!({"key": key, "ok": true, "changed": changed});
    if let Some(warnings) = answer.content.get("warnings") {
        result["warnings"] = warnings.clone();
    }
    result
}

/// The keys, each once.
fn keys(given: &Arguments) -> Result<Vec<String>, Failure> {
    let named = texts(given, "keys", MOST_ISSUES, 255)?;
    if named.is_empty() {
        return Err(Failure::invalid("/keys", "must name at least one issue"));
    }
    let mut seen = BTreeSet::new();
    let mut keys = Vec::with_capacity(named.len());
    for (at, key) in named.iter().enumerate() {
        let key = as_issue_key(key)
            .ok_or_else(|| Failure::invalid(format!("/keys/{at}"), "must be an issue's key like ENG-123"))?;
        if seen.insert(key.clone()) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// An id of Jira's software API: a number, which some callers give as one.
fn number(given: &Arguments, name: &str) -> Result<Option<String>, Failure> {
    let id = match given.get(name) {
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => text(given, name, 64)?.map(|id| id.trim().to_owned()),
    };
    match id {
        Some(id) if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) => {
            let message = "must be an id, a number; jira_list_boards and jira_list_sprints tell it";
            Err(Failure::invalid(format!("/{name}"), message))
        }
        id => Ok(id),
    }
}
