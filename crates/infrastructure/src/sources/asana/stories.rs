//! A task's stories: its comments, its changes of status, and what else happened to it.

use application::ports::{Page, PageRequest, PendingItem, SourceError, SourceErrorKind};
use domain::record::{ChangeRecord, CommentRecord, TransitionRecord};
use domain::{FieldRole, Mappings, PageRecords, StatusNorm};
use serde_json::Value;

use super::super::circle::Circle;
use super::api::Api;
use super::model::{Dates, Named, Story};
use super::names::each;
use super::normalize::{COMPLETED, INCOMPLETE};
use super::people::People;
use super::settings::Stream;
use super::singles::deleted;
use super::tasks::unmapped;
use super::walk::going_on;
use super::{fields, malformed, marker};

/// Fields of a story that are asked for: all of them stand in Asana's description of `GET /tasks/{gid}/stories`.
pub(super) const STORY_FIELDS: &str = "assignee,assignee.name,created_at,created_by,created_by.name,custom_field,\
    custom_field.name,dependency,dependency.name,html_text,new_approval_status,new_date_value,new_dates,\
    new_dates.due_at,new_dates.due_on,new_dates.start_on,new_enum_value,new_enum_value.name,\
    new_multi_enum_values,new_multi_enum_values.name,new_name,new_number_value,new_people_value,\
    new_people_value.name,new_resource_subtype,new_section,new_section.name,new_text_value,\
    old_approval_status,old_date_value,old_dates,old_dates.due_at,old_dates.due_on,old_dates.start_on,\
    old_enum_value,old_enum_value.name,old_multi_enum_values,old_multi_enum_values.name,old_name,\
    old_number_value,old_people_value,old_people_value.name,old_resource_subtype,old_section,\
    old_section.name,old_text_value,project,project.name,resource_subtype,tag,tag.name,task,task.name,text,type";

/// Pages of one task's stories: 100,000 of them.
const MOST_PAGES: usize = 1_000;

/// The stories of the tasks asked for. When Asana fails on the way, those read before are handed over.
pub(super) async fn fetch(api: &Api<'_>, request: &PageRequest<'_>) -> Result<Page, SourceError> {
    let reading = request.items.iter().map(|item: &PendingItem| read(api, item.ref_key.clone()));
    let (read, failed) = each(reading.collect()).await;
    if let Some(error) = failed {
        // Not after a limit: the caller's next call would come before the wait is over.
        let passes = error.kind == SourceErrorKind::Unavailable && error.retry_after.is_none();
        if !passes || read.is_empty() {
            return Err(error);
        }
    }
    let mut records = PageRecords::default();
    read.into_iter().for_each(|own| records.append(own));
    Ok(Page { records, ..Page::default() })
}

/// One task's stories, complete.
pub(super) async fn read(api: &Api<'_>, gid: String) -> Result<PageRecords, SourceError> {
    let mut records = PageRecords::default();
    let what = format!("the stories of the task {gid}");
    let path = format!("/tasks/{gid}/stories");
    let (mut stories, mut offset, mut circle) = (Vec::new(), None::<String>, Circle::default());
    for count in 0.. {
        let page = match api.list(&path, &[("opt_fields", STORY_FIELDS)], offset.as_deref(), &what).await {
            Ok(page) => page,
            Err(error) if error.kind == SourceErrorKind::NotFound => {
                records.gone.push(deleted(&gid));
                records.details_done.push(gid);
                return Ok(records);
            }
            // Not visible, which proves nothing: the comparison of all ids decides.
            Err(error) if error.upstream_status == Some(403) => {
                records.details_done.push(gid);
                return Ok(records);
            }
            Err(error) => return Err(error),
        };
        for raw in page.rows {
            match serde_json::from_str::<Story>(raw.get()) {
                Ok(story) => stories.push(story),
                Err(error) => {
                    records.unmapped.push(unmapped(Stream::Stories, raw.get(), &error.to_string()));
                }
            }
        }
        going_on(&mut circle, page.next.as_deref(), &what)?;
        offset = page.next;
        if offset.is_none() {
            break;
        }
        if count >= MOST_PAGES {
            return Err(malformed(format!("Asana's list of {what} does not end")));
        }
    }
    map(&gid, &stories, api.mappings(), &mut records);
    records.comments_of.push(gid.clone());
    records.details_done.push(gid);
    Ok(records)
}

/// All stories of a task, oldest first.
pub(super) fn map(gid: &str, stories: &[Story], mappings: &Mappings, records: &mut PageRecords) {
    let mut people = People::default();
    let mut status = Status::before(stories, mappings);
    for story in stories {
        if story.kind == "comment" || story.resource_subtype == "comment_added" {
            records.comments.push(comment(gid, story, &mut people));
            continue;
        }
        let actor = people.meet(story.created_by.as_ref());
        if let Some((from, to)) = status.after(story, mappings) {
            records.transitions.push(TransitionRecord {
                item_ref_key: gid.to_owned(),
                source_id: story.gid.clone(),
                at: story.created_at,
                actor: actor.clone(),
                from_norm: from.as_ref().map(|(norm, _)| *norm),
                from_original: from.map(|(_, original)| original),
                to_norm: to.0,
                to_original: to.1,
            });
        }
        if let Some((field, from, to)) = change(story) {
            records.changes.push(ChangeRecord {
                item_ref_key: gid.to_owned(),
                source_id: story.gid.clone(),
                at: story.created_at,
                actor,
                field: field.into(),
                from,
                to,
            });
        }
    }
    records.users.extend(people.into_records());
}

fn comment(gid: &str, story: &Story, people: &mut People) -> CommentRecord {
    let body = match (&story.html_text, &story.text) {
        (Some(html), _) if !html.is_empty() => rich_text::asana::to_markdown(&marker::strip(html)).markdown,
        (_, text) => marker::strip(text.as_deref().unwrap_or_default()),
    };
    CommentRecord {
        source_id: story.gid.clone(),
        kind: "comment",
        item_ref_key: gid.to_owned(),
        author: people.meet(story.created_by.as_ref()),
        body,
        url: format!("https://app.asana.com/0/0/{gid}/{}", story.gid),
        path: None,
        created_at: story.created_at,
        // Asana tells that a comment was edited, not when.
        updated_at: story.created_at,
    }
}

type Told = (StatusNorm, String);

/// What a task's status was, story by story: complete or not, and its section and field where those are one.
struct Status {
    completed: bool,
    section: Option<String>,
    field: Option<String>,
    /// Nothing tells in which section it was made.
    unknown: bool,
}

impl Status {
    fn before(stories: &[Story], mappings: &Mappings) -> Self {
        let moved = stories.iter().find(|story| story.resource_subtype == "section_changed");
        let chosen = stories.iter().find(|story| is_status_field(story, mappings));
        let name =
            |named: Option<&Named>| named.map(|named| named.name.clone()).filter(|name| !name.is_empty());
        Self {
            completed: false,
            section: name(moved.and_then(|story| story.old_section.as_ref()))
                .filter(|name| mappings.status.contains_key(name)),
            field: name(chosen.and_then(|story| story.old_enum_value.as_ref())),
            unknown: !mappings.status.is_empty() && moved.is_none() && chosen.is_none(),
        }
    }

    fn now(&self, mappings: &Mappings) -> Told {
        let told = self.field.as_ref().or(self.section.as_ref()).map(|name| {
            let norm = mappings.status.get(name).copied().unwrap_or_else(|| fields::status_by_words(name));
            (norm, name.clone())
        });
        match told {
            Some(told) if !self.completed || matches!(told.0, StatusNorm::Done | StatusNorm::Cancelled) => {
                told
            }
            _ if self.completed => (StatusNorm::Done, COMPLETED.to_owned()),
            _ => (StatusNorm::Todo, INCOMPLETE.to_owned()),
        }
    }

    /// The change of status that a story is, if it is one.
    fn after(&mut self, story: &Story, mappings: &Mappings) -> Option<(Option<Told>, Told)> {
        let before = self.now(mappings);
        match story.resource_subtype.as_str() {
            "marked_complete" => self.completed = true,
            "marked_incomplete" => self.completed = false,
            "section_changed" => {
                let name = story.new_section.as_ref().map(|section| section.name.clone());
                self.section = name.filter(|name| mappings.status.contains_key(name));
            }
            _ if is_status_field(story, mappings) => {
                self.field = story.new_enum_value.as_ref().map(|option| option.name.clone());
            }
            _ => return None,
        }
        let now = self.now(mappings);
        if now == before {
            return None;
        }
        let from = (!std::mem::take(&mut self.unknown)).then_some(before);
        Some((from, now))
    }
}

fn is_status_field(story: &Story, mappings: &Mappings) -> bool {
    let role = mappings.field(FieldRole::Status);
    story.resource_subtype == "enum_custom_field_changed"
        && role.is_some()
        && story.custom_field.as_ref().map(|field| field.gid.as_str()) == role
}

/// A change of another field: which, from what, to what.
fn change(story: &Story) -> Option<(String, Option<String>, Option<String>)> {
    let name = |named: &Option<Named>| {
        let named = named.as_ref()?;
        Some(if named.name.is_empty() { named.gid.clone() } else { named.name.clone() })
    };
    let names = |list: &Option<Vec<Named>>| {
        let list = list.as_ref().filter(|list| !list.is_empty())?;
        Some(list.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "))
    };
    let number = |number: Option<f64>| number.map(|number| number.to_string());
    let field = || story.custom_field.as_ref().map_or("custom field", |field| field.name.as_str()).to_owned();
    Some(match story.resource_subtype.as_str() {
        "assigned" => ("assignee".into(), None, name(&story.assignee)),
        "unassigned" => ("assignee".into(), name(&story.assignee), None),
        "due_date_changed" | "due_today" if story.old_dates.is_some() || story.new_dates.is_some() => {
            ("due_on".into(), due(story.old_dates.as_ref()), due(story.new_dates.as_ref()))
        }
        "start_date_changed" => (
            "start_on".into(),
            story.old_dates.as_ref().and_then(|dates| dates.start_on).map(|day| day.to_string()),
            story.new_dates.as_ref().and_then(|dates| dates.start_on).map(|day| day.to_string()),
        ),
        "name_changed" => ("title".into(), story.old_name.clone(), story.new_name.clone()),
        "notes_changed" => ("description".into(), None, None),
        "section_changed" => ("section".into(), name(&story.old_section), name(&story.new_section)),
        "added_to_project" => ("project".into(), None, name(&story.project)),
        "removed_from_project" => ("project".into(), name(&story.project), None),
        "added_to_tag" => ("label".into(), None, name(&story.tag)),
        "removed_from_tag" => ("label".into(), name(&story.tag), None),
        "added_to_task" => ("parent".into(), None, name(&story.task)),
        "removed_from_task" => ("parent".into(), name(&story.task), None),
        "dependency_added" => ("dependency".into(), None, name(&story.dependency)),
        "dependency_removed" => ("dependency".into(), name(&story.dependency), None),
        "dependent_added" => ("dependent".into(), None, name(&story.dependency)),
        "dependent_removed" => ("dependent".into(), name(&story.dependency), None),
        "resource_subtype_changed" => {
            ("type".into(), story.old_resource_subtype.clone(), story.new_resource_subtype.clone())
        }
        "approval_status_changed" => {
            ("approval".into(), story.old_approval_status.clone(), story.new_approval_status.clone())
        }
        "enum_custom_field_changed" => (field(), name(&story.old_enum_value), name(&story.new_enum_value)),
        "multi_enum_custom_field_changed" => {
            (field(), names(&story.old_multi_enum_values), names(&story.new_multi_enum_values))
        }
        "number_custom_field_changed" => {
            (field(), number(story.old_number_value), number(story.new_number_value))
        }
        "text_custom_field_changed" => (field(), story.old_text_value.clone(), story.new_text_value.clone()),
        "people_custom_field_changed" => {
            (field(), names(&story.old_people_value), names(&story.new_people_value))
        }
        "date_custom_field_changed" => {
            (field(), day(story.old_date_value.as_ref()), day(story.new_date_value.as_ref()))
        }
        // Kinds that tell nothing of the task's fields, or what the task itself tells anyway.
        known if KNOWN_ASIDE.contains(&known) || story.kind != "system" || known.is_empty() => return None,
        // One that came with a later Asana is kept under its own name, with what it says.
        other => (other.to_owned(), None, story.text.as_deref().map(clip)),
    })
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_VALUE_CHARS).collect()
}

/// Kinds of stories that are no change of a field.
const KNOWN_ASIDE: &[&str] = &[
    "added_to_goal",
    "attachment_added",
    "comment_added",
    "comment_liked",
    "completion_liked",
    "dependency_due_date_changed",
    "dependency_marked_complete",
    "dependency_marked_incomplete",
    "due_date_changed",
    "due_today",
    "duplicate_merged",
    "duplicate_unmerged",
    "duplicated",
    "external",
    "follower_added",
    "follower_removed",
    "liked",
    "likes_attachment",
    "marked_complete",
    "marked_duplicate",
    "marked_incomplete",
    "mentioned",
    "mentioned_in_comment",
    "unmarked_duplicate",
];
/// Texts longer than this are cut.
const MAX_VALUE_CHARS: usize = 1_000;

fn due(dates: Option<&Dates>) -> Option<String> {
    let dates = dates?;
    dates.due_on.map(|day| day.to_string()).or_else(|| dates.due_at.map(|at| at.date_naive().to_string()))
}

/// A day, whichever way it is told.
fn day(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(day) => Some(day.clone()),
        value => ["date", "due_on", "date_time", "due_at", "start_on"]
            .iter()
            .find_map(|name| value.get(name)?.as_str())
            .map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
