//! The tools that write.

use application::live::{LiveAnswer, WriteAsk};
use application::ports::{ItemWrite, SourceErrorKind};
use application::{Ctx, Error};
use domain::{ItemLink, ItemPatch, ListChange, NewComment, NewItem, Transition};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::outcome::{Answer, Failure, Size, ToolError};
use super::arguments::{
    documents, fields, flag, issue_key, issue_key_at, moment, needed, once, only, owned, project_key,
    text_or_document, texts, word,
};
use super::schemas::writing::VISIBILITIES;
use super::tools::{FIELD, FIELDS, JiraTools, failure, instance};
use crate::problem::ErrorBody;

type Arguments = Map<String, Value>;

/// Jira's own bounds of a summary and of a text, in characters.
const SUMMARY: usize = 255;
pub(super) const TEXT: usize = 32_767;
pub(super) const LABELS: usize = 50;

impl JiraTools {
    pub(super) async fn create_issue(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(
            given,
            &[
                "project",
                "issue_type",
                "summary",
                "description",
                "assignee",
                "parent",
                "labels",
                "fields",
                "text_format",
                "idempotency_key",
                "dry_run",
                "instance",
            ],
        )?;
        let documents = documents(given)?;
        let Some(project) = project_key(given)? else {
            return Err(Failure::invalid("/project", "is required"));
        };
        let parent = match given.get("parent") {
            None | Some(Value::Null) => None,
            Some(_) => Some(issue_key_at(given, "parent")?),
        };
        let new = NewItem {
            project,
            item_type: Some(needed(given, "issue_type", FIELD)?),
            title: needed(given, "summary", SUMMARY)?,
            body: text_or_document(given, "description", TEXT, documents)?,
            assignees: owned(given, "assignee", FIELD)?.into_iter().collect(),
            labels: texts(given, "labels", LABELS, FIELD)?,
            parent,
            fields: fields(given, FIELDS, FIELD)?,
            documents,
            ..NewItem::default()
        };
        self.write(ctx, given, ItemWrite::Create(new)).await
    }

    pub(super) async fn update_issue(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(
            given,
            &["key", "fields", "text_format", "if_unchanged_since", "idempotency_key", "dry_run", "instance"],
        )?;
        let mut fields = fields(given, FIELDS, FIELD)?;
        if fields.is_empty() {
            return Err(Failure::invalid("/fields", "must name at least one field to be changed"));
        }
        let labels = match fields.iter().find(|(name, value)| is_labels(name) && value.is_object()) {
            Some((name, value)) => Some((name.clone(), label_change(value)?)),
            None => None,
        };
        if let Some((name, _)) = &labels {
            fields.remove(name);
        }
        let patch = ItemPatch {
            labels: labels.map(|(_, change)| change),
            fields,
            documents: documents(given)?,
            if_unchanged_since: moment(given, "if_unchanged_since")?,
            ..ItemPatch::default()
        };
        self.write(ctx, given, ItemWrite::Update(issue_key(given)?, patch)).await
    }

    pub(super) async fn transition_issue(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(
            given,
            &[
                "key",
                "to",
                "fields",
                "comment",
                "if_unchanged_since",
                "idempotency_key",
                "dry_run",
                "instance",
            ],
        )?;
        let transition = Transition {
            to: needed(given, "to", FIELD)?,
            comment: owned(given, "comment", TEXT)?,
            fields: fields(given, FIELDS, FIELD)?,
            if_unchanged_since: moment(given, "if_unchanged_since")?,
            ..Transition::default()
        };
        self.write(ctx, given, ItemWrite::Transition(issue_key(given)?, transition)).await
    }

    pub(super) async fn add_comment(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["key", "body", "text_format", "visibility", "idempotency_key", "instance"])?;
        let internal = word(given, "visibility", &VISIBILITIES)? == Some("internal");
        let documents = documents(given)?;
        let Some(body) = text_or_document(given, "body", TEXT, documents)? else {
            return Err(Failure::invalid("/body", "is required"));
        };
        let comment = NewComment { body, internal, documents };
        self.write(ctx, given, ItemWrite::Comment(issue_key(given)?, comment)).await
    }

    pub(super) async fn link_issues(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["from", "to", "type", "remove", "instance"])?;
        let from = issue_key_at(given, "from")?;
        let link = ItemLink {
            to: issue_key_at(given, "to")?,
            kind: needed(given, "type", FIELD)?,
            remove: flag(given, "remove")?,
        };
        self.write(ctx, given, ItemWrite::Link(from, link)).await
    }

    pub(super) async fn write(
        &self,
        ctx: &Ctx,
        given: &Arguments,
        write: ItemWrite,
    ) -> Result<Answer, Failure> {
        let own = once(given)?;
        let ask = WriteAsk {
            instance: instance(given)?,
            write,
            // Who names no key is told this one when the outcome is open.
            key: own.unwrap_or_else(|| Uuid::new_v4().to_string()),
            rehearse: flag(given, "dry_run")?,
        };
        match self.services.live.write(ctx, &self.services.item_writes, &ask).await {
            Ok(answer) => Ok(told(answer, ask.rehearse)),
            Err(error) => {
                Err(refused(error, &ask.key, ask.rehearse, |pointer| as_named(pointer, &ask.write)))
            }
        }
    }
}

fn is_labels(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("labels")
}

/// Labels that come and go.
fn label_change(value: &Value) -> Result<ListChange, Failure> {
    let wrong = || {
        let message = "must be a list of labels, or an object with the lists `add` and `remove`";
        Failure::invalid("/fields/labels", message)
    };
    let object = value.as_object().ok_or_else(wrong)?;
    if object.keys().any(|name| name != "add" && name != "remove") {
        return Err(wrong());
    }
    let (add, remove) = (texts(object, "add", LABELS, FIELD), texts(object, "remove", LABELS, FIELD));
    match (add, remove) {
        (Ok(add), Ok(remove)) => Ok(ListChange::Edit { add, remove }),
        _ => Err(wrong()),
    }
}

pub(super) fn told(answer: LiveAnswer, rehearsed: bool) -> Answer {
    let content = &answer.content;
    let changed = content.get("changed").and_then(Value::as_array).map_or(0, Vec::len);
    let key =
        ["key", "sprint_id", "version_id"].iter().find_map(|name| content.get(*name)).and_then(Value::as_str);
    let key = key.unwrap_or("something new");
    let what = match rehearsed {
        true => format!("nothing was sent; {changed} fields would change"),
        false if content.contains_key("comment_id") => "the comment is there".to_owned(),
        false if content.contains_key("worklog_id") => "the time is booked".to_owned(),
        false if content.contains_key("attachment_id") => "the file is attached".to_owned(),
        false => format!("{changed} fields changed"),
    };
    let mut line = format!("{key} of {}: {what}", answer.instance);
    if content.get("replayed") == Some(&Value::Bool(true)) {
        line.push_str("; it had been done before under this idempotency_key");
    }
    if content.contains_key("warnings") {
        line.push_str("; see warnings");
    }
    let size = Some(Size { rows: changed, bytes: answer.bytes, truncated: answer.truncated });
    Answer { content: Value::Object(answer.content), line, size, picture: None }
}

/// A refused or lost write, in words for an assistant: what to look at before anything is sent again.
/// `as_argument` says where in the tool's arguments it stands what is wrong.
pub(super) fn refused(
    error: Error,
    once: &str,
    rehearsed: bool,
    as_argument: impl FnOnce(String) -> String,
) -> Failure {
    let again = format!("repeat this very call with idempotency_key = {once}");
    let hint = match &error {
        Error::Source(error) => match error.kind {
            SourceErrorKind::Unavailable | SourceErrorKind::Malformed if !rehearsed => Some(format!(
                "it is not known whether Jira did it: after retry_after_ms {again}, which first looks for what was done \
                 and does nothing twice; or look at the issue with jira_get_issue or jira_search_issues"
            )),
            SourceErrorKind::Conflict => Some(
                "nothing was written: read the issue again with jira_get_issue, then decide, and call with its new \
                 `updated`; the idempotency_key is free for that call"
                    .to_owned(),
            ),
            SourceErrorKind::Rejected => Some(
                "nothing was written: correct what is named (allowed, or jira_describe_fields), and call again; the \
                 idempotency_key is free for that call"
                    .to_owned(),
            ),
            SourceErrorKind::NotFound => {
                Some("check the key: what the instance's account or settings leave out is not found".to_owned())
            }
            SourceErrorKind::Forbidden => {
                Some("nothing was written: Jira does not let Patchbay's account do this; tell an admin".to_owned())
            }
            SourceErrorKind::Unavailable
            | SourceErrorKind::Malformed
            | SourceErrorKind::Unauthorized
            | SourceErrorKind::Gone
            | SourceErrorKind::RateLimited
            | SourceErrorKind::Unsupported
            | SourceErrorKind::Blocked => None,
        },
        Error::IdempotencyInFlight { .. } => Some(format!(
            "the same call is under way, or its outcome is not known yet: after retry_after_ms {again}"
        )),
        Error::Exceeds { .. } => Some(
            "nothing was written: jira_get_context names the projects that may be written to; an admin can give a wider \
             key"
            .to_owned(),
        ),
        Error::Unauthenticated(_)
        | Error::Forbidden { .. }
        | Error::SignIn(_)
        | Error::Invalid(_)
        | Error::NotFound { .. }
        | Error::Conflict { .. }
        | Error::RunActive { .. }
        | Error::QueryTimeout { .. }
        | Error::RateLimited { .. }
        | Error::Closed { .. }
        | Error::IdempotencyMismatch
        | Error::Unavailable(_)
        | Error::Internal(_) => None,
    };
    let unsure = !rehearsed
        && matches!(&error, Error::Source(error)
            if matches!(error.kind, SourceErrorKind::Unavailable | SourceErrorKind::Malformed));
    match failure(error) {
        Failure::Tool(told) => {
            let ToolError { status, mut body, needed } = *told;
            if unsure {
                body = ErrorBody { code: "write_unsure", ..body };
            }
            body.field = body.field.map(as_argument);
            if hint.is_some() {
                body.hint = hint;
            }
            Failure::Tool(Box::new(ToolError { status, body, needed }))
        }
        other => other,
    }
}

/// Where the tool's arguments have what a write has elsewhere.
fn as_named(pointer: String, write: &ItemWrite) -> String {
    match (write, pointer.as_str()) {
        (ItemWrite::Create(_), "/title") => "/summary".to_owned(),
        (ItemWrite::Create(_), inside) if inside == "/body" || inside.starts_with("/body/") => {
            inside.replacen("/body", "/description", 1)
        }
        (ItemWrite::Create(_), "/type") => "/issue_type".to_owned(),
        (ItemWrite::Create(_), "/assignees" | "/assignees/0") => "/assignee".to_owned(),
        (ItemWrite::Comment(..), "/internal") => "/visibility".to_owned(),
        _ => pointer,
    }
}
