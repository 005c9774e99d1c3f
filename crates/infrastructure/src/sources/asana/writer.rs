//! Writes to Asana: tasks, their fields, completion and sections, and comments.

mod create;
mod lookup;
mod plan;
mod update;

use std::time::Duration;

use application::ports::{Connection, ItemWrite, Look, SourceError, SourceErrorKind, SourceWriter};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{ItemPatch, NewComment, NewItem, Transition, WrittenItem};
use serde_json::Value;

use super::api::Api;
use super::model::Task;
use super::normalize::TASK_FIELDS;
use super::settings::is_gid;
use super::tasks::{Home, Homes};
use super::{Asana, malformed, marker};
use plan::{Plan, Step};

/// Asana answers slow requests for about a minute; its lists show a write at once.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
const MOST_STORY_PAGES: usize = 100;
/// How far Asana's clock and ours may be apart when something is looked for by its time.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(15);

#[async_trait]
impl SourceWriter for Asana {
    fn settles_within(&self) -> Duration {
        SETTLES_WITHIN
    }

    async fn create_item(
        &self,
        connection: &Connection,
        new: &NewItem,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        create::create(&self.api(connection)?, new, marker).await
    }

    async fn update_item(
        &self,
        connection: &Connection,
        key: &str,
        patch: &ItemPatch,
        _marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        let api = self.api(connection)?;
        let there = There::read(&api, key, patch.if_unchanged_since).await?;
        let plan = update::plan(&api, &there, patch).await?;
        there.write(&api, plan).await
    }

    async fn transition_item(
        &self,
        connection: &Connection,
        key: &str,
        transition: &Transition,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        let api = self.api(connection)?;
        let there = There::read(&api, key, None).await?;
        let mut plan = update::transition(&api, &there, transition).await?;
        // Where the status is as asked already, as after an attempt that got as far as this, a comment undoes nobody's work.
        if !plan.is_empty() || transition.comment.is_none() {
            there.require_unchanged(transition.if_unchanged_since)?;
        }
        if let Some(comment) = &transition.comment
            && !comments(&api, &there.task.gid, comment, marker).await?.has_marked()
        {
            plan.steps.push(Step::Comment(comment_html(comment, marker, &mut plan.warnings)));
        }
        there.write(&api, plan).await
    }

    async fn add_comment(
        &self,
        connection: &Connection,
        key: &str,
        comment: &NewComment,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        let api = self.api(connection)?;
        if comment.internal {
            return Err(unsupported("/internal", "Asana has no internal comments"));
        }
        let there = There::read(&api, key, None).await?;
        let mut plan = Plan::default();
        plan.steps.push(Step::Comment(comment_html(&comment.body, marker, &mut plan.warnings)));
        there.write(&api, plan).await
    }

    async fn look(
        &self,
        connection: &Connection,
        write: &ItemWrite,
        marker: &str,
    ) -> Result<Look, SourceError> {
        let api = self.api(connection)?;
        match write {
            ItemWrite::Create(new) => create::look(&api, new, marker).await,
            ItemWrite::Comment(key, comment) => {
                let there = There::read(&api, key, None).await?;
                match comments(&api, &there.task.gid, &comment.body, marker).await? {
                    Comments { marked: Some(id), .. } => {
                        found(WrittenItem { comment_id: Some(id), ..there.written() })
                    }
                    comments => Ok(comments.unmarked()),
                }
            }
            // A change that is in place took place, or needs not; one that is not may be sent again.
            ItemWrite::Update(key, patch) => {
                let there = There::read(&api, key, None).await?;
                let plan = update::plan(&api, &there, patch).await?;
                if plan.is_empty() { found(there.written()) } else { Ok(Look::Absent) }
            }
            ItemWrite::Transition(key, transition) => {
                let there = There::read(&api, key, None).await?;
                let plan = update::transition(&api, &there, transition).await?;
                if !plan.is_empty() {
                    return Ok(Look::Absent);
                }
                let Some(comment) = &transition.comment else { return found(there.written()) };
                match comments(&api, &there.task.gid, comment, marker).await? {
                    Comments { marked: Some(id), .. } => {
                        found(WrittenItem { comment_id: Some(id), ..there.written() })
                    }
                    comments => Ok(comments.unmarked()),
                }
            }
            // Never sent.
            ItemWrite::Link(..)
            | ItemWrite::Worklog(..)
            | ItemWrite::Watch(..)
            | ItemWrite::Attach(..)
            | ItemWrite::PutInSprint(..)
            | ItemWrite::Sprint(_)
            | ItemWrite::Delete(..)
            | ItemWrite::Move(..)
            | ItemWrite::Version(_) => Ok(Look::Absent),
        }
    }
}

fn found(written: WrittenItem) -> Result<Look, SourceError> {
    serde_json::to_value(written)
        .map(Look::Found)
        .map_err(|error| malformed(format!("what was written cannot be told ({error})")))
}

fn unsupported(field: &str, message: impl Into<String>) -> SourceError {
    SourceError { field: Some(field.to_owned()), ..SourceError::new(SourceErrorKind::Unsupported, message) }
}

/// A task as it is, and the project it is stored under.
struct There {
    task: Task,
    project: String,
}

impl There {
    /// Refuses a task that no project which is read holds: the instance's settings bound writes too.
    async fn read(
        api: &Api<'_>,
        key: &str,
        unchanged_since: Option<DateTime<Utc>>,
    ) -> Result<Self, SourceError> {
        let key = key.trim();
        let unknown = |message: String| SourceError {
            field: Some("/key".into()),
            ..SourceError::new(SourceErrorKind::NotFound, message)
        };
        if !is_gid(key) {
            return Err(unknown(format!("\"{key}\" is no key of an Asana task: give its gid")));
        }
        let task = task(api, key).await?;
        let place = super::model::TaskPlace {
            gid: task.gid.clone(),
            parent: task.parent.clone(),
            num_subtasks: task.num_subtasks,
            memberships: task.memberships.clone(),
            modified_at: Some(task.modified_at),
            resource_subtype: task.resource_subtype.clone(),
            is_rendered_as_separator: false,
        };
        let Home::Project(project) = Homes::default().find(api, &place).await? else {
            return Err(unknown(format!("the task {key} is in none of the projects that are read")));
        };
        let there = Self { task, project };
        there.require_unchanged(unchanged_since)?;
        Ok(there)
    }

    fn require_unchanged(&self, since: Option<DateTime<Utc>>) -> Result<(), SourceError> {
        let Task { gid, modified_at, .. } = &self.task;
        match since.filter(|since| modified_at > since) {
            Some(since) => Err(SourceError::new(
                SourceErrorKind::Conflict,
                format!("the task {gid} was changed at {modified_at}, after {since}: read it again first"),
            )),
            None => Ok(()),
        }
    }

    fn written(&self) -> WrittenItem {
        WrittenItem {
            source_id: self.task.gid.clone(),
            key: self.task.gid.clone(),
            url: self.task.permalink_url.clone(),
            updated_at: Some(self.task.modified_at),
            ..WrittenItem::default()
        }
    }

    /// Sends the plan and tells what is different now.
    async fn write(self, api: &Api<'_>, mut plan: Plan) -> Result<WrittenItem, SourceError> {
        if plan.is_empty() {
            return Ok(WrittenItem { warnings: plan.warnings, ..self.written() });
        }
        let before = plan::snapshot(&self.task, &self.project);
        let comment_id = plan.send(api, &self.task.gid).await?;
        let after = match task(api, &self.task.gid).await {
            Ok(task) => Self { task, project: self.project },
            // The write took place, so this is no error of it.
            Err(error) => {
                plan.warnings.push(format!("what came of it could not be read: {error}"));
                return Ok(WrittenItem {
                    comment_id,
                    warnings: plan.warnings,
                    updated_at: None,
                    ..self.written()
                });
            }
        };
        let now = plan::snapshot(&after.task, &after.project);
        let changed = plan::compare(&before, &now, &plan.asked, &mut plan.warnings);
        Ok(WrittenItem { comment_id, changed, warnings: plan.warnings, ..after.written() })
    }
}

async fn task(api: &Api<'_>, gid: &str) -> Result<Task, SourceError> {
    api.get(&format!("/tasks/{gid}"), &[("opt_fields", TASK_FIELDS)], &format!("the task {gid}")).await
}

fn comment_html(markdown: &str, marker: &str, warnings: &mut Vec<String>) -> String {
    marker::put(&html(markdown, warnings), marker)
}

/// Markdown as Asana's HTML; what that cannot say is told.
fn html(markdown: &str, warnings: &mut Vec<String>) -> String {
    let edited = rich_text::asana::from_markdown(markdown);
    warnings.extend(edited.warnings.iter().map(ToString::to_string));
    edited.value
}

/// Whether Asana's HTML says what this Markdown does.
fn says(html: &str, markdown: Option<&str>) -> bool {
    let read = |html: &str| rich_text::asana::to_markdown(html).markdown.trim().to_owned();
    let meant = markdown.map(|markdown| rich_text::asana::from_markdown(markdown).value).unwrap_or_default();
    read(html) == read(&meant)
}

/// A write's comment among those of a task.
#[derive(Debug, Default)]
struct Comments {
    marked: Option<String>,
    /// There is one of the same words without any mark: this one, which has lost it, or a person's.
    alike: bool,
}

impl Comments {
    fn has_marked(&self) -> bool {
        self.marked.is_some()
    }

    /// What is known where none carries the mark.
    fn unmarked(&self) -> Look {
        if self.alike { Look::Unsure } else { Look::Absent }
    }
}

async fn comments(api: &Api<'_>, gid: &str, comment: &str, marker: &str) -> Result<Comments, SourceError> {
    let what = format!("the stories of the task {gid}");
    let (mut offset, mut found) = (None, Comments::default());
    for _ in 0..MOST_STORY_PAGES {
        let query = [("opt_fields", "created_at,html_text,text,type")];
        let page = api.list(&format!("/tasks/{gid}/stories"), &query, offset.as_deref(), &what).await?;
        for raw in &page.rows {
            let story: Value = serde_json::from_str(raw.get()).unwrap_or_default();
            let text = |name: &str| story.get(name).and_then(Value::as_str).unwrap_or_default();
            if marker::is_on(text("html_text"), marker) || marker::is_on(text("text"), marker) {
                found.marked = Some(text("gid").to_owned());
                return Ok(found);
            }
            let made_at = text("created_at").parse().ok();
            if text("type") == "comment"
                && marker::is_unmarked(text("html_text"), made_at, marker, CLOCKS_APART)
                && says(text("html_text"), Some(comment))
            {
                found.alike = true;
            }
        }
        offset = page.next;
        if offset.is_none() {
            return Ok(found);
        }
    }
    Err(malformed(format!("Asana's list of {what} does not end")))
}
