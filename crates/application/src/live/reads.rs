//! Searching, and reading issues, projects and fields.

use std::collections::BTreeSet;
use std::slice;

use chrono::{DateTime, Utc};
use domain::Cursor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Draft, LiveAnswer};
use super::cursor::{MOST, Question};
use super::{LiveService, Target, hide};
use crate::ports::{
    LiveActivity, LiveActivityAsk, LiveActivityKind, LiveFieldsAsk, LiveIssueAsk, LiveProjectsAsk,
    LivePurpose, LiveSearch, LiveSection, LiveView, SourceErrorKind,
};
use crate::{Ctx, Error};

/// Bytes of a list. The view of fifty issues takes a quarter of it.
pub(super) const LIST_BYTES: usize = 48 * 1024;
/// Fields that are described at once.
const MOST_FIELDS: usize = 200;

/// A search.
#[derive(Debug, Clone, Default)]
pub struct SearchAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// JQL.
    pub jql: String,
    /// How much of each issue.
    pub view: LiveView,
    /// Further fields, by id or name.
    pub fields: Vec<String>,
    /// The most issues, 1 to 100.
    pub limit: usize,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// One issue.
#[derive(Debug, Clone, Default)]
pub struct IssueAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// Its key.
    pub key: String,
    /// What of it.
    pub sections: BTreeSet<LiveSection>,
    /// Further fields, by id or name.
    pub fields: Vec<String>,
    /// Texts as the tracker has them.
    pub documents: bool,
    /// How long the answer may be.
    pub max_chars: usize,
}

/// What happened to an issue.
#[derive(Debug, Clone, Default)]
pub struct ActivityAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// Its key.
    pub key: String,
    /// What kinds.
    pub kinds: BTreeSet<LiveActivityKind>,
    /// Only what happened at or after this.
    pub since: Option<DateTime<Utc>>,
    /// The most entries, 1 to 100.
    pub limit: usize,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// Projects.
#[derive(Debug, Clone, Default)]
pub struct ProjectsAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// A part of a key or name.
    pub query: Option<String>,
    /// The most projects, 1 to 100.
    pub limit: usize,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// Fields of a project.
#[derive(Debug, Clone, Default)]
pub struct FieldsAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// The project's key.
    pub project: String,
    /// Of issues of this type.
    pub issue_type: Option<String>,
    /// A part of a name.
    pub query: Option<String>,
    /// What for.
    pub purpose: LivePurpose,
}

/// People.
#[derive(Debug, Clone, Default)]
pub struct UsersAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// A part of a name or e-mail address.
    pub query: String,
    /// Only who issues of this project can be given to.
    pub project: Option<String>,
    /// The most people, 1 to 100.
    pub limit: usize,
}

/// Where a list of what happened goes on: behind this entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Behind {
    at: DateTime<Utc>,
    kind: String,
    id: String,
}

impl LiveService {
    /// One page of a search, in the search's order.
    pub async fn search(&self, ctx: &Ctx, ask: &SearchAsk) -> Result<LiveAnswer, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let hidden = target.within.hidden();
        hide::refuse_asked(hidden, &ask.fields, "/fields")?;
        let asked = format!("{:?}", (&ask.jql, ask.view, &ask.fields, ask.limit));
        let question = Question { instance: target.instance.id, tool: "search", asked: &asked };
        let from = self.position(ctx, question, ask.cursor.as_deref())?;
        let search = LiveSearch {
            jql: &ask.jql,
            view: ask.view,
            fields: &ask.fields,
            limit: ask.limit,
            from: from.as_ref(),
            within: &target.within,
        };
        let (reader, search) = (target.reader()?, &search);
        let found = self.ask(ctx, &target, |c| async move { reader.search(&c, search).await }).await;
        let found = found.map_err(|error| hide::of_error(hidden, error))?;
        // The adapter promises it. What is another's is worth a second look.
        let mut issues: Vec<_> =
            found.issues.into_iter().filter(|issue| target.within.allows_issue(&issue.key)).collect();
        self.noticed.add(ctx.tenant, target.instance.id, &issues);
        issues.iter_mut().for_each(|issue| hide::of_issue(hidden, issue));
        let mut draft = Draft::new();
        draft.rows("issues", &issues, LIST_BYTES, |issue| issue.key.clone());
        draft.put("url_template", found.url_template);
        if let Some(total) = found.total {
            draft.put("approx_total", total);
        }
        self.go_on(&mut draft, ctx, question, found.next.as_ref());
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    /// One issue. [`Error::NotFound`] whether it does not exist or may not be seen.
    pub async fn issue(&self, ctx: &Ctx, ask: &IssueAsk) -> Result<LiveAnswer, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let hidden = target.within.hidden();
        hide::refuse_asked(hidden, &ask.fields, "/fields")?;
        let issue = LiveIssueAsk {
            key: &ask.key,
            sections: &ask.sections,
            fields: &ask.fields,
            documents: ask.documents,
            within: &target.within,
        };
        let (reader, issue) = (target.reader()?, &issue);
        let found = self.ask(ctx, &target, |c| async move { reader.issue(&c, issue).await }).await;
        let mut found = found.map_err(|error| {
            hide::of_error(hidden, or_not_found(error, || format!("the issue {}", ask.key)))
        })?;
        if !target.within.allows_issue(&found.key) {
            return Err(Error::not_found(format!("the issue {}", ask.key)));
        }
        self.noticed.add(ctx.tenant, target.instance.id, slice::from_ref(&found));
        hide::of_issue(hidden, &mut found);
        let mut draft = Draft::new();
        draft.whole(&found, ask.max_chars);
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    /// What happened to an issue, the latest first.
    pub async fn activity(&self, ctx: &Ctx, ask: &ActivityAsk) -> Result<LiveAnswer, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let asked = format!("{:?}", (&ask.key, &ask.kinds, ask.since));
        let question = Question { instance: target.instance.id, tool: "activity", asked: &asked };
        let behind = match self.position(ctx, question, ask.cursor.as_deref())? {
            Some(Cursor(cursor)) => serde_json::from_value::<Behind>(cursor).ok(),
            None => None,
        };
        let activity = LiveActivityAsk { key: &ask.key, kinds: &ask.kinds, within: &target.within };
        let (reader, activity) = (target.reader()?, &activity);
        let found = self.ask(ctx, &target, |c| async move { reader.activity(&c, activity).await }).await;
        let found = found.map_err(|error| or_not_found(error, || format!("the issue {}", ask.key)))?;
        let mut entries = found.entries;
        hide::of_activity(target.within.hidden(), &mut entries);
        entries.retain(|entry| {
            ask.since.is_none_or(|since| entry.at >= since)
                && behind.as_ref().is_none_or(|behind| place(entry) < (behind.at, &behind.kind, &behind.id))
        });
        entries.sort_by(|a, b| place(b).cmp(&place(a)));
        entries.dedup_by(|a, b| (a.kind, &a.id) == (b.kind, &b.id));
        let more = entries.len() > ask.limit;
        entries.truncate(ask.limit);
        let next = entries.last().filter(|_| more).map(|last| {
            Cursor(json!(Behind { at: last.at, kind: last.kind.as_str().to_owned(), id: last.id.clone() }))
        });
        let mut draft = Draft::new();
        draft.put("key", found.key);
        draft.rows("entries", &entries, LIST_BYTES, |entry| format!("{} {}", entry.kind.as_str(), entry.id));
        if !more {
            for kind in found.unread {
                let kind = kind.as_str();
                draft.cut(format!("older entries of kind {kind}: the synced copy has them, if any does"));
            }
        }
        self.go_on(&mut draft, ctx, question, next.as_ref());
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    /// One page of projects, by key.
    pub async fn projects(&self, ctx: &Ctx, ask: &ProjectsAsk) -> Result<LiveAnswer, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let asked = format!("{:?}", &ask.query);
        let question = Question { instance: target.instance.id, tool: "projects", asked: &asked };
        let from = self.position(ctx, question, ask.cursor.as_deref())?;
        let projects = LiveProjectsAsk {
            query: ask.query.as_deref(),
            limit: ask.limit,
            from: from.as_ref(),
            within: &target.within,
        };
        let (reader, projects) = (target.reader()?, &projects);
        let found = self.ask(ctx, &target, |c| async move { reader.projects(&c, projects).await }).await?;
        let seen: Vec<_> =
            found.projects.into_iter().filter(|project| target.within.allows(&project.key)).collect();
        let mut draft = Draft::new();
        draft.rows("projects", &seen, LIST_BYTES, |project| project.key.clone());
        self.go_on(&mut draft, ctx, question, found.next.as_ref());
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    /// Fields of a project, those that are required first.
    pub async fn fields(&self, ctx: &Ctx, ask: &FieldsAsk) -> Result<LiveAnswer, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        require_project(&target, &ask.project)?;
        let fields = LiveFieldsAsk {
            project: &ask.project,
            issue_type: ask.issue_type.as_deref(),
            query: ask.query.as_deref(),
            purpose: ask.purpose,
        };
        let (reader, fields) = (target.reader()?, &fields);
        let found = self.ask(ctx, &target, |c| async move { reader.fields(&c, fields).await }).await;
        let mut found =
            found.map_err(|error| or_not_found(error, || format!("the project {}", ask.project)))?;
        hide::of_fields(target.within.hidden(), &mut found);
        let all = found.len();
        found.truncate(MOST_FIELDS);
        let mut draft = Draft::new();
        draft.rows("fields", &found, LIST_BYTES, |field| field.name.clone());
        if found.len() < all {
            draft.cut(format!("fields: {} of {all}; narrow them with query", found.len()));
        }
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    pub(super) fn position(
        &self,
        ctx: &Ctx,
        question: Question<'_>,
        cursor: Option<&str>,
    ) -> Result<Option<Cursor>, Error> {
        let now = self.parts.clock.now();
        let short = cursor.map(|cursor| cursor.get(..MOST.min(cursor.len())).unwrap_or_default());
        Ok(short.map(|cursor| self.cursors.open(ctx, question, cursor, now)).transpose()?)
    }

    pub(super) fn go_on(&self, draft: &mut Draft, ctx: &Ctx, question: Question<'_>, next: Option<&Cursor>) {
        let now = self.parts.clock.now();
        let cursor = next.and_then(|next| self.cursors.seal(ctx, question, next, now));
        draft.next(next.is_some(), cursor);
    }
}

/// The same answer whether the project does not exist or may not be seen.
pub(super) fn require_project(target: &Target, project: &str) -> Result<(), Error> {
    match target.within.allows(project) {
        true => Ok(()),
        false => Err(Error::not_found(format!("the project {project}"))),
    }
}

/// What the tracker does not find is not found, as what may not be seen is.
pub(super) fn or_not_found(error: Error, what: impl Fn() -> String) -> Error {
    match error {
        Error::Source(error) if error.kind == SourceErrorKind::NotFound => Error::not_found(what()),
        other => other,
    }
}

fn place(entry: &LiveActivity) -> (DateTime<Utc>, &str, &str) {
    (entry.at, entry.kind.as_str(), &entry.id)
}
