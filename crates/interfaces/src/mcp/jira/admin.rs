//! The set `admin`: issues deleted after a person agreed or moved to other projects, and versions of these.

use application::live::{DeleteAsk, DeletionStep};
use application::ports::{ItemWrite, SourceErrorKind};
use application::{Ctx, Error};
use chrono::NaiveDate;
use domain::{ItemMove, VersionWrite};
use http::StatusCode;
use serde_json::{Map, Value};

use super::super::confirming::{Confirming, Question};
use super::super::outcome::{Answer, Failure, ToolError};
use super::arguments::{flag, issue_key, needed, once, only, owned, project_key, text};
use super::schemas::admin::{DELETE_ISSUE, MOVE_ISSUE, WRITE_VERSION};
use super::tools::{FIELD, JiraTools, instance};
use super::writes::{refused, told};
use crate::problem::ErrorBody;

type Arguments = Map<String, Value>;

/// Bytes of a version's description that Jira takes.
const DESCRIPTION: usize = 16_384;

impl JiraTools {
    pub(super) async fn admin(
        &self,
        ctx: &Ctx,
        name: &str,
        given: &Arguments,
        confirming: &Confirming,
    ) -> Result<Answer, Failure> {
        match name {
            DELETE_ISSUE => self.delete_issue(ctx, given, confirming).await,
            MOVE_ISSUE => self.move_issue(ctx, given).await,
            WRITE_VERSION => self.write_version(ctx, given).await,
            _ => Err(Failure::UnknownTool(name.to_owned())),
        }
    }

    async fn delete_issue(
        &self,
        ctx: &Ctx,
        given: &Arguments,
        confirming: &Confirming,
    ) -> Result<Answer, Failure> {
        only(given, &["key", "delete_subtasks", "idempotency_key", "dry_run", "instance"])?;
        let ask = DeleteAsk {
            instance: instance(given)?,
            key: issue_key(given)?,
            with_subtasks: flag(given, "delete_subtasks")?,
            once: once(given)?,
        };
        if flag(given, "dry_run")? {
            return self.write(ctx, given, ask.write(None)).await;
        }
        if !confirming.able() {
            return Err(cannot_ask());
        }
        let (live, writes) = (&self.services.live, &self.services.item_writes);
        match confirming.said() {
            Some((_, false)) => Err(not_agreed(&ask.key)),
            Some((state, true)) => {
                let write = live.agreed_deletion(ctx, &ask, state).await?;
                match live.write(ctx, writes, &write).await {
                    Ok(answer) => Ok(gone(told(answer, false))),
                    Err(error) => Err(not_deleted(error, &write.key, false)),
                }
            }
            None => match live.plan_deletion(ctx, writes, &ask).await {
                Ok(DeletionStep::Ask(question)) => Err(Failure::Ask(Box::new(Question {
                    message: question.message,
                    tick: "Delete it for good",
                    state: question.state,
                }))),
                Ok(DeletionStep::Done(answer)) => Ok(gone(told(answer, false))),
                Err(error) => {
                    let once = ask.once.as_deref();
                    Err(not_deleted(error, once.unwrap_or_default(), once.is_none()))
                }
            },
        }
    }

    async fn move_issue(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["key", "project", "issue_type", "idempotency_key", "dry_run", "instance"])?;
        let Some(project) = project_key(given)? else {
            return Err(Failure::invalid("/project", "is required"));
        };
        let to = ItemMove { project, item_type: owned(given, "issue_type", FIELD)? };
        self.write(ctx, given, ItemWrite::Move(issue_key(given)?, to)).await
    }

    async fn write_version(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(
            given,
            &[
                "project",
                "name",
                "create",
                "rename_to",
                "description",
                "start_date",
                "release_date",
                "released",
                "archived",
                "idempotency_key",
                "dry_run",
                "instance",
            ],
        )?;
        let Some(project) = project_key(given)? else {
            return Err(Failure::invalid("/project", "is required"));
        };
        let version = VersionWrite {
            project,
            name: needed(given, "name", FIELD)?,
            create: flag(given, "create")?,
            rename_to: owned(given, "rename_to", FIELD)?,
            description: description(given)?,
            start: day(given, "start_date")?,
            release: day(given, "release_date")?,
            released: change(given, "released")?,
            archived: change(given, "archived")?,
        };
        if let Some(wrong) = contradiction(&version) {
            return Err(wrong);
        }
        self.write(ctx, given, ItemWrite::Version(version)).await
    }
}

/// What cannot be meant so.
fn contradiction(version: &VersionWrite) -> Option<Failure> {
    // <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-project-versions/#api-rest-api-3-version-post>
    if version.create && version.rename_to.is_some() {
        return Some(Failure::invalid(
            "/rename_to",
            "is for a version that is there: name the new one by name",
        ));
    }
    if version.create && version.released == Some(true) {
        return Some(Failure::invalid(
            "/released",
            "is for a version that is there: make it, then release it",
        ));
    }
    if let (Some(start), Some(release)) = (version.start, version.release)
        && release < start
    {
        return Some(Failure::invalid("/release_date", "must not be before start_date"));
    }
    let nothing = VersionWrite {
        project: version.project.clone(),
        name: version.name.clone(),
        ..VersionWrite::default()
    };
    (*version == nothing).then(|| {
        let message = "alone changes nothing: give create, rename_to, description, start_date, release_date, released \
                       or archived";
        Failure::invalid("/name", message)
    })
}

/// A description, which may be emptied.
fn description(given: &Arguments) -> Result<Option<String>, Failure> {
    match given.get("description") {
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Some(String::new())),
        Some(Value::String(text)) if text.len() > DESCRIPTION => {
            Err(Failure::invalid("/description", format!("must have at most {DESCRIPTION} bytes")))
        }
        _ => owned(given, "description", DESCRIPTION),
    }
}

fn day(given: &Arguments, name: &str) -> Result<Option<NaiveDate>, Failure> {
    let Some(text) = text(given, name, 64)? else { return Ok(None) };
    let wrong = |_| Failure::invalid(format!("/{name}"), "must be a day like 2026-01-31");
    text.trim().parse().map(Some).map_err(wrong)
}

/// Yes or no; `None` leaves it as it is.
fn change(given: &Arguments, name: &str) -> Result<Option<bool>, Failure> {
    match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => flag(given, name).map(Some),
    }
}

/// Nothing was changed but that it is gone.
fn gone(mut answer: Answer) -> Answer {
    if let Some((whose, _)) = answer.line.split_once(": ") {
        let whose = whose.to_owned();
        let before = answer.content.get("replayed") == Some(&Value::Bool(true));
        answer.line =
            format!("{whose}: deleted{}", if before { " before under this idempotency_key" } else { "" });
        if answer.content.get("warnings").is_some() {
            answer.line.push_str("; see warnings");
        }
    }
    answer
}

fn cannot_ask() -> Failure {
    let message = "a person must agree that an issue is deleted, and this client cannot ask one";
    let body = ErrorBody::new("confirmation_needed", message).with_hint(
        "nothing was deleted: use a client of protocol 2026-07-28 that declares the capability elicitation, or have a \
         person delete the issue in Jira; dry_run = true tells what would go",
    );
    Failure::Tool(Box::new(ToolError::new(StatusCode::UNPROCESSABLE_ENTITY, body)))
}

fn not_agreed(key: &str) -> Failure {
    let body = ErrorBody::new("not_confirmed", format!("the person did not agree that {key} is deleted"))
        .with_hint("nothing was deleted: do not ask again unless they want it");
    Failure::Tool(Box::new(ToolError::new(StatusCode::CONFLICT, body)))
}

/// Why an issue was not deleted. `rehearsed` when nothing can have been sent.
fn not_deleted(error: Error, once: &str, rehearsed: bool) -> Failure {
    let changed = matches!(&error, Error::Source(error) if error.kind == SourceErrorKind::Conflict);
    match refused(error, once, rehearsed, |pointer| pointer) {
        Failure::Tool(mut told) if changed => {
            told.body.hint = Some(
                "nothing was deleted: look at the issue, then call again under another idempotency_key, and the person is \
                 asked anew"
                    .to_owned(),
            );
            Failure::Tool(told)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_so_is_refused_where_it_stands() {
        let version = |change: fn(&mut VersionWrite)| {
            let mut version =
                VersionWrite { project: "ENG".into(), name: "4.0".into(), ..VersionWrite::default() };
            change(&mut version);
            match contradiction(&version) {
                Some(Failure::Tool(told)) => told.body.field.unwrap_or_default(),
                Some(other) => format!("{other:?}"),
                None => "fine".to_owned(),
            }
        };
        assert_eq!(version(|_| ()), "/name");
        assert_eq!(version(|version| version.create = true), "fine");
        assert_eq!(version(|version| version.archived = Some(false)), "fine");
        assert_eq!(
            version(|version| {
                version.create = true;
                version.rename_to = Some("5.0".into());
            }),
            "/rename_to"
        );
        assert_eq!(
            version(|version| {
                version.create = true;
                version.released = Some(true);
            }),
            "/released"
        );
        assert_eq!(
            version(|version| {
                version.start = "2026-02-02".parse().ok();
                version.release = "2026-02-01".parse().ok();
            }),
            "/release_date"
        );
    }
}
