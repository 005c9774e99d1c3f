//! Issues as items: with their links, the sprints they tell of, and the people they mention.

use domain::record::{ItemRecord, LinkRecord};
use domain::{FieldRole, Mappings, PageRecords, PriorityNorm, StatusNorm, StreamName, TypeNorm, Unmapped};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::fields::{Fields, Noted, plain};
use super::model::{Issue, IssueLink, LinkedIssue, Named, User};
use super::people::People;
use super::sprints;
use super::text::markdown;
use super::time::{Time, jira_day};
use super::{norms, settings::Stream};

/// What is the same for all issues of a page.
pub(super) struct Mapper<'a> {
    pub(super) mappings: &'a Mappings,
    /// Where people open the site.
    pub(super) home: Option<&'a str>,
    /// Names and types of the page's fields; `None` for kept objects, which carry theirs.
    pub(super) fields: Option<&'a Fields>,
    pub(super) has_details: bool,
}

/// An issue that was read, and what to look up before it is whole.
pub(super) struct Mapped {
    /// Its place in [`PageRecords::items`].
    pub(super) index: usize,
    /// The key of its epic, where only that is told.
    pub(super) epic_key: Option<String>,
    /// What goes into the kept object.
    pub(super) noted: Noted,
}

impl Mapper<'_> {
    /// Adds an issue to the page. An `Err` says what is wrong with it.
    pub(super) fn issue(
        &self,
        raw: &RawValue,
        records: &mut PageRecords,
        people: &mut People,
    ) -> Result<Mapped, String> {
        let issue: Issue<'_> =
            serde_json::from_str(raw.get()).map_err(|error| format!("it is no issue ({error})"))?;
        let home = self.home_of(&issue);
        let noted = match (self.fields, &issue.patchbay) {
            (Some(fields), _) => Noted {
                site: self.home.filter(|home| !same_site(home, &issue)).map(str::to_owned),
                ..fields.noted(&issue)
            },
            (None, Some(noted)) => noted.clone(),
            (None, None) => Noted::default(),
        };
        let item = self.item(raw, &issue, &noted, &home, people)?;
        if issue.fields.contains_key("issuelinks") {
            records.links_of.push(issue.id.clone());
            add_links(&issue, &home, records);
        }
        if let Some(value) = noted.sprint_field(self.mappings).and_then(|field| issue.get::<Value>(&field)) {
            records
                .sprints
                .extend(sprints::in_field(&value).into_iter().filter_map(sprints::Sprint::into_record));
        }
        let epic_key = if item.parent_ref_key.is_none() { noted.epic_key(&issue) } else { None };
        let index = records.items.len();
        records.items.push(item);
        Ok(Mapped { index, epic_key, noted })
    }

    fn home_of(&self, issue: &Issue<'_>) -> String {
        let noted = issue.patchbay.as_ref().and_then(|noted| noted.site.as_deref());
        let told = self
            .home
            .or(noted)
            .or_else(|| issue.self_url.as_deref()?.split_once("/rest/").map(|(site, _)| site));
        told.unwrap_or_default().to_owned()
    }

    fn item(
        &self,
        raw: &RawValue,
        issue: &Issue<'_>,
        noted: &Noted,
        home: &str,
        people: &mut People,
    ) -> Result<ItemRecord, String> {
        let project: Named = issue.need("project")?;
        let (Some(project_id), Some(project_key)) = (project.id, project.key) else {
            return Err("`project` has no id or no key".into());
        };
        let created: Time = issue.need("created")?;
        let updated: Time = issue.need("updated")?;
        let role = |role: FieldRole| self.mapped_text(issue, role);
        let resolution = issue.get::<Named>("resolution").and_then(|resolution| resolution.name);
        let (status_norm, status_original, status_category) =
            status(issue, resolution.as_deref(), role(FieldRole::Status));
        let (type_norm, type_original) = item_type(issue, role(FieldRole::Type));
        let (priority_norm, priority_original) = priority(issue, role(FieldRole::Priority));
        let due_on = match self.mappings.field(FieldRole::DueOn) {
            Some(id) => issue.get::<String>(id),
            None => issue.get("duedate"),
        };
        let version = issue.get::<Vec<Named>>("fixVersions").unwrap_or_default().into_iter().next();
        let done = status_category.as_deref() == Some("done");
        let resolved_at = issue
            .get::<Time>("resolutiondate")
            // Team-managed projects set no resolution.
            .or_else(|| issue.get("statuscategorychangedate").filter(|_| done));
        let parent = issue.get::<LinkedIssue>("parent").and_then(|parent| parent.id);
        let (milestone_source_id, milestone) =
            version.map_or((None, None), |version| (version.id, version.name));
        let mut person = |name: &str| people.meet(issue.get::<User>(name).as_ref());
        Ok(ItemRecord {
            source_id: issue.id.clone(),
            ref_key: issue.id.clone(),
            source_key: issue.key.clone(),
            project_source_id: project_id,
            project_key,
            type_norm,
            type_original,
            status_norm,
            status_original,
            status_category,
            resolution_original: resolution,
            priority_norm,
            priority_original,
            title: issue
                .get::<String>("summary")
                .filter(|title| !title.trim().is_empty())
                .unwrap_or_else(|| issue.key.clone()),
            body: markdown(issue.raw("description")),
            assignees: person("assignee").into_iter().collect(),
            reporter: person("reporter").or_else(|| person("creator")),
            labels: distinct(issue.get::<Vec<String>>("labels").unwrap_or_default()),
            milestone_source_id,
            milestone,
            parent_ref_key: parent.or_else(|| noted.epic_id.clone()).filter(|parent| *parent != issue.id),
            due_on: due_on.as_deref().and_then(jira_day),
            start_on: noted.start_date(issue, self.mappings).as_deref().and_then(jira_day),
            story_points: noted.story_points(issue, self.mappings),
            estimate_s: issue.get("timeoriginalestimate"),
            spent_s: issue.get("timespent"),
            remaining_s: issue.get("timeestimate"),
            homes: Vec::new(),
            url: format!("{home}/browse/{}", issue.key),
            created_at: created.0,
            updated_at: updated.0,
            resolved_at: resolved_at.map(|time| time.0),
            custom_fields: noted.values(issue),
            has_details: self.has_details,
            raw: if self.fields.is_some() { noted.keep_with(raw) } else { raw.to_owned() },
        })
    }

    /// The value of the field that was given a role, as text.
    fn mapped_text(&self, issue: &Issue<'_>, role: FieldRole) -> Option<String> {
        match plain(issue.get(self.mappings.field(role)?)?) {
            Value::String(text) => Some(text),
            Value::Array(values) => values.first()?.as_str().map(str::to_owned),
            _ => None,
        }
    }
}

fn same_site(home: &str, issue: &Issue<'_>) -> bool {
    issue
        .self_url
        .as_deref()
        .and_then(|url| url.strip_prefix(home))
        .is_some_and(|rest| rest.starts_with("/rest/"))
}

fn status(
    issue: &Issue<'_>,
    resolution: Option<&str>,
    mapped: Option<String>,
) -> (StatusNorm, String, Option<String>) {
    let status = issue.get::<Named>("status");
    let category = status
        .as_ref()
        .and_then(|status| status.status_category.as_ref())
        .and_then(|category| category.key.clone());
    let name =
        mapped.or_else(|| status.and_then(|status| status.name)).unwrap_or_else(|| "unknown".to_owned());
    (norms::status(category.as_deref(), resolution), name, category)
}

fn item_type(issue: &Issue<'_>, mapped: Option<String>) -> (TypeNorm, String) {
    let named = match mapped {
        Some(name) => Some(Named {
            id: None,
            name: Some(name),
            key: None,
            status_category: None,
            subtask: None,
            hierarchy_level: None,
        }),
        None => issue.get("issuetype"),
    };
    let norm = named.as_ref().map_or(TypeNorm::Other, norms::item_type);
    (norm, named.and_then(|named| named.name).unwrap_or_else(|| "unknown".to_owned()))
}

fn priority(issue: &Issue<'_>, mapped: Option<String>) -> (PriorityNorm, Option<String>) {
    let name = mapped.or_else(|| issue.get::<Named>("priority").and_then(|priority| priority.name));
    (norms::priority(name.as_deref()), name)
}

fn distinct(labels: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(labels.len());
    for label in labels {
        if !kept.contains(&label) {
            kept.push(label);
        }
    }
    kept
}

/// Each link as this end reads it; the other end tells its own, under the same id. Two items may be linked more than
/// once, even by the same words in both directions.
fn add_links(issue: &Issue<'_>, home: &str, records: &mut PageRecords) {
    for link in issue.get::<Vec<Value>>("issuelinks").unwrap_or_default() {
        let Ok(link) = serde_json::from_value::<IssueLink>(link) else { continue };
        let (words, other) = match (link.outward_issue, link.inward_issue) {
            (Some(other), _) => (link.link_type.outward, other),
            (None, Some(other)) => (link.link_type.inward, other),
            (None, None) => continue,
        };
        let Some(to_key) = other.key.or_else(|| other.id.clone()) else { continue };
        let words = if words.trim().is_empty() { link.link_type.name } else { words };
        let type_norm = norms::link(&words);
        records.links.push(LinkRecord {
            source_id: link.id.unwrap_or_default(),
            item_ref_key: issue.id.clone(),
            to_ref_key: other.id,
            to_url: format!("{home}/browse/{to_key}"),
            to_key,
            type_norm,
            type_original: words,
        });
    }
}

/// An object that `error` kept from being mapped.
pub(super) fn unmapped(stream: Stream, raw: &str, error: String) -> Unmapped {
    let object: Value = serde_json::from_str(raw).unwrap_or_default();
    let source_id = match object.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        // Still the same one when it comes again.
        _ => format!("unidentified-{}", hex::encode(&Sha256::digest(raw.as_bytes())[..8])),
    };
    Unmapped { stream: StreamName::new(stream.name()), source_id, error, raw: raw.to_owned() }
}

/// Takes out of a page what is in it twice: PostgreSQL refuses to write a row twice in one statement.
pub(super) fn distinct_records(records: &mut PageRecords) {
    fn last_of<T>(rows: &mut Vec<T>, key: impl Fn(&T) -> String) {
        let mut seen = std::collections::HashSet::new();
        let mut kept: Vec<T> =
            std::mem::take(rows).into_iter().rev().filter(|row| seen.insert(key(row))).collect();
        kept.reverse();
        *rows = kept;
    }
    last_of(&mut records.sprints, |sprint| sprint.source_id.clone());
    last_of(&mut records.comments, |comment| comment.source_id.clone());
    last_of(&mut records.worklogs, |worklog| worklog.source_id.clone());
    last_of(&mut records.transitions, |change| change.source_id.clone());
    last_of(&mut records.changes, |change| change.source_id.clone());
}

#[cfg(test)]
mod tests;
