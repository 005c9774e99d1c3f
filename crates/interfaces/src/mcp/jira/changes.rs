//! What the tool of the set changes does.

use application::Ctx;
use application::live::ChangesAsk;
use serde_json::{Map, Value};

use super::super::outcome::{Answer, Failure, Size};
use super::arguments::{as_project_key, count, only, owned, texts};
use super::tools::{CURSOR, FIELDS, JiraTools, MAX_ROWS, ROWS, instance};

impl JiraTools {
    pub(super) async fn list_changes(
        &self,
        ctx: &Ctx,
        given: &Map<String, Value>,
    ) -> Result<Answer, Failure> {
        only(given, &["since", "projects", "limit", "instance"])?;
        let named = texts(given, "projects", FIELDS, 255)?;
        let projects = named.iter().enumerate().map(|(at, key)| {
            as_project_key(key).ok_or_else(|| {
                Failure::invalid(format!("/projects/{at}"), "must be a project's key like ENG")
            })
        });
        let ask = ChangesAsk {
            instance: instance(given)?,
            since: owned(given, "since", CURSOR)?,
            projects: projects.collect::<Result<_, _>>()?,
            limit: count(given, "limit", MAX_ROWS)?.unwrap_or(ROWS),
        };
        let answer = self.services.live.changes(ctx, &ask).await?;
        let line = match (&ask.since, answer.content.get("has_more") == Some(&Value::Bool(true))) {
            (None, _) => "the place to begin: call again with since = next_cursor".to_owned(),
            (Some(_), true) => {
                format!("{} changes; there are more: call again with since = next_cursor", answer.count)
            }
            (Some(_), false) => format!("{} changes; next time with since = next_cursor", answer.count),
        };
        let line = format!("{}: {line}", answer.instance);
        let size = Some(Size { rows: answer.count, bytes: answer.bytes, truncated: answer.truncated });
        Ok(Answer { content: Value::Object(answer.content), line, size, picture: None })
    }
}
