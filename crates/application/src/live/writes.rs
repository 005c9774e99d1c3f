//! Writing live: each write once, over [`ItemWriteService`], and told in the words of the live tools.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{ChangedField, Scope, WrittenItem};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use super::answer::{Draft, LiveAnswer};
use super::call::too_slow;
use super::clean;
use super::{LiveService, Target, hide};
use crate::item_writes::{ItemWriteService, ItemWritten};
use crate::ports::{ItemWrite, LiveActivityAsk, LiveActivityKind, SourceError, SourceErrorKind, StoreError};
use crate::{Ctx, Error};

/// Bytes of an answer. Texts that were changed are told before and after.
const BYTES: usize = 16 * 1024;
/// How long somebody is waited for who is at the same write.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to find out what came in between.
const LOOK: Duration = Duration::from_secs(5);
/// When Jira could not be asked for what was written.
pub(super) const NOT_STORED: &str = "the synced copy does not have it yet: the next sync brings it";
/// Fields that are named as changed meanwhile.
const MOST_FIELDS: usize = 10;

/// A write, and how it is meant.
#[derive(Debug, Clone)]
pub struct WriteAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// What is to be done.
    pub write: ItemWrite,
    /// What it is recognised by when it is repeated.
    pub key: String,
    /// Only say what it would do.
    pub rehearse: bool,
}

/// A write as it is told.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worklog_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sprint_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<&'a str>,
    changed: Vec<ToldChange<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<DateTime<Utc>>,
    dry_run: bool,
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility_applied: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct ToldChange<'a> {
    pub(super) field: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    from: &'a Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    to: &'a Value,
}

impl LiveService {
    /// Does a write once, or says what it would do. Once begun it goes on to its end, whether or not somebody still waits
    /// for it: [`Error::Source`] with a transient error leaves open what came of it, and the same call under the same key
    /// finds out.
    pub async fn write(
        &self,
        ctx: &Ctx,
        writes: &Arc<ItemWriteService>,
        ask: &WriteAsk,
    ) -> Result<LiveAnswer, Error> {
        ctx.require(Scope::McpJiraWrite)?;
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let hidden = target.within.hidden();
        hide::refuse_written(hidden, &ask.write)?;
        self.may_be_asked(target.instance.id)?;
        let outcome = match ask.rehearse {
            true => self.rehearsed(ctx, writes, &target, ask).await,
            false => {
                let until = Instant::now() + self.parts.bounds.deadline;
                self.written(ctx, writes, &target, ask, until).await
            }
        };
        let mut written = match outcome {
            Ok(written) => written,
            Err(Error::Source(error)) => {
                self.heed(target.instance.id, &error);
                let error = self.with_what_came_between(ctx, &target, ask, error).await;
                return Err(hide::of_error(hidden, error.into()));
            }
            Err(error) => return Err(error),
        };
        hide::of_changed(hidden, &mut written.item.changed);
        let mut draft = Draft::new();
        draft.whole(&told(&written, ask), BYTES);
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    /// What a write would do.
    pub(super) async fn rehearsed(
        &self,
        ctx: &Ctx,
        writes: &ItemWriteService,
        target: &Target,
        ask: &WriteAsk,
    ) -> Result<ItemWritten, Error> {
        let span = self.parts.bounds.deadline;
        let rehearsal = writes.rehearse(ctx, Scope::McpJiraWrite, target.instance.id, &ask.write);
        match timeout_at(Instant::now() + span, rehearsal).await {
            Ok(item) => Ok(ItemWritten { item: item?, replayed: false, stored: true }),
            Err(_) => Err(too_slow(span).into()),
        }
    }

    /// Does a write once, and waits for it until then.
    pub(super) async fn written(
        &self,
        ctx: &Ctx,
        writes: &Arc<ItemWriteService>,
        target: &Target,
        ask: &WriteAsk,
        until: Instant,
    ) -> Result<ItemWritten, Error> {
        let begun = Instant::now();
        let span = self.parts.bounds.deadline;
        loop {
            let (writes, ctx, id) = (writes.clone(), ctx.detached(), target.instance.id);
            let (write, key) = (ask.write.clone(), ask.key.clone());
            // A task of its own: a caller that goes away must not cut it off between the request and its answer.
            let doing = async move { writes.write(&ctx, Scope::McpJiraWrite, id, write, &key).await };
            let task = tokio::spawn(doing.in_current_span());
            let outcome = match timeout_at(until, task).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(failed)) => Err(Error::Internal(StoreError::Internal(Box::new(failed)))),
                Err(_) => Err(too_slow(span).into()),
            };
            match outcome {
                Err(Error::IdempotencyInFlight { retry_after })
                    if begun.elapsed() + retry_after < PATIENCE =>
                {
                    sleep(retry_after).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// A conflict, with the names of what was changed since the caller looked.
    async fn with_what_came_between(
        &self,
        ctx: &Ctx,
        target: &Target,
        ask: &WriteAsk,
        error: SourceError,
    ) -> SourceError {
        let (Some(since), Some(key)) = (unchanged_since(&ask.write), ask.write.key()) else { return error };
        if error.kind != SourceErrorKind::Conflict {
            return error;
        }
        let Ok(reader) = target.reader() else { return error };
        let kinds = BTreeSet::from([LiveActivityKind::Change, LiveActivityKind::Comment]);
        let activity = LiveActivityAsk { key, kinds: &kinds, within: &target.within };
        let activity = &activity;
        let look = self.ask_within(ctx, target, LOOK, |c| async move { reader.activity(&c, activity).await });
        let Ok(mut found) = look.await else { return error };
        hide::of_activity(target.within.hidden(), &mut found.entries);
        let newer = found.entries.iter().filter(|entry| entry.at > since);
        let (mut fields, mut comments) = (BTreeSet::new(), 0);
        for entry in newer {
            match entry.kind {
                LiveActivityKind::Comment => comments += 1,
                LiveActivityKind::Change | LiveActivityKind::Worklog => {
                    fields.extend(entry.changes.iter().map(|change| change.field.as_str()));
                }
            }
        }
        let mut came: Vec<&str> = fields.into_iter().take(MOST_FIELDS).collect();
        if comments > 0 {
            came.push("comments");
        }
        if came.is_empty() {
            return error;
        }
        let mut message = Value::from(format!("{} (changed since: {})", error.message, came.join(", ")));
        clean::clean(&mut message);
        SourceError { message: message.as_str().unwrap_or_default().to_owned(), ..error }
    }
}

fn unchanged_since(write: &ItemWrite) -> Option<DateTime<Utc>> {
    match write {
        ItemWrite::Update(_, patch) => patch.if_unchanged_since,
        ItemWrite::Transition(_, transition) => transition.if_unchanged_since,
        ItemWrite::Create(_)
        | ItemWrite::Comment(..)
        | ItemWrite::Link(..)
        | ItemWrite::Worklog(..)
        | ItemWrite::Watch(..)
        | ItemWrite::Attach(..)
        | ItemWrite::PutInSprint(..)
        | ItemWrite::Sprint(_)
        | ItemWrite::Delete(..)
        | ItemWrite::Move(..)
        | ItemWrite::Version(_) => None,
    }
}

fn told<'a>(written: &'a ItemWritten, ask: &WriteAsk) -> Told<'a> {
    let WrittenItem {
        key, url, comment_id, worklog_id, attachment_id, changed, updated_at, warnings, ..
    } = &written.item;
    let mut warnings: Vec<&str> = warnings.iter().map(String::as_str).collect();
    if !written.stored {
        warnings.push(NOT_STORED);
    }
    let visibility_applied = match &ask.write {
        ItemWrite::Comment(_, comment) if comment.internal => Some("internal"),
        ItemWrite::Comment(..) => Some("public"),
        ItemWrite::Create(_)
        | ItemWrite::Update(..)
        | ItemWrite::Transition(..)
        | ItemWrite::Link(..)
        | ItemWrite::Worklog(..)
        | ItemWrite::Watch(..)
        | ItemWrite::Attach(..)
        | ItemWrite::PutInSprint(..)
        | ItemWrite::Sprint(_)
        | ItemWrite::Delete(..)
        | ItemWrite::Move(..)
        | ItemWrite::Version(_) => None,
    };
    let id = Some(written.item.source_id.as_str()).filter(|id| !id.is_empty());
    let sprint_id = id.filter(|_| matches!(&ask.write, ItemWrite::Sprint(_)));
    let version_id = id.filter(|_| matches!(&ask.write, ItemWrite::Version(_)));
    Told {
        key,
        url,
        comment_id: comment_id.as_deref(),
        worklog_id: worklog_id.as_deref(),
        attachment_id: attachment_id.as_deref(),
        sprint_id,
        version_id,
        changed: changed.iter().map(told_change).collect(),
        updated: *updated_at,
        dry_run: ask.rehearse,
        replayed: written.replayed,
        visibility_applied,
        warnings,
    }
}

/// By the names that the tools' arguments have.
pub(super) fn told_change(change: &ChangedField) -> ToldChange<'_> {
    let field = match change.field.as_str() {
        "title" => "summary",
        "body" => "description",
        "type" => "issue_type",
        "assignees" => "assignee",
        other => other,
    };
    ToldChange { field, from: &change.from, to: &change.to }
}
