//! Tasks as they are received, mapped with what they do not tell themselves: their project, when they are part of another
//! task, and the name of who made them.

use std::collections::{BTreeSet, HashMap};

use application::ports::SourceError;
use domain::PageRecords;
use domain::record::Unmapped;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::super::repair::repaired;
use super::api::Api;
use super::model::{Membership, Task, TaskPlace};
use super::names::learn_names;
use super::normalize::{self, is_heading};
use super::people::People;
use super::settings::{Settings, Stream};

/// Tasks within tasks, deeper than Asana's own limit of five levels.
const MOST_LEVELS: usize = 12;
const PLACE_FIELDS: &str = "memberships,memberships.project,parent";

/// A received row and the project it belongs to.
pub(super) struct Row {
    pub(super) raw: Box<RawValue>,
    pub(super) project: String,
}

/// The project that a task counts as its own: the first of those it is in that is read.
pub(super) fn home<'m>(memberships: &'m [Membership], settings: &Settings) -> Option<&'m str> {
    memberships
        .iter()
        .filter_map(|membership| membership.project.as_ref())
        .map(|project| project.gid.as_str())
        .find(|project| settings.selects(project))
}

/// The part of a row that says where it belongs; `None` when it has no readable id, or is a heading.
pub(super) fn place(raw: &RawValue) -> Option<TaskPlace> {
    let place: TaskPlace = parsed(raw).ok()?;
    (!is_heading(&place.resource_subtype, place.is_rendered_as_separator)).then_some(place)
}

/// A task as it is received; without those of its parts that lack what Asana promises of them.
fn parsed<T: DeserializeOwned>(raw: &RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(raw.get()).or_else(|error| match repaired(raw.get(), &["gid", "name"]) {
        Some(repaired) => serde_json::from_str(&repaired),
        None => Err(error),
    })
}

/// Where a task belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Home {
    Project(String),
    /// In no project that is read.
    Nowhere,
    /// A part of something that the token does not see.
    Hidden,
}

/// Finds the project of tasks that are read by themselves. What was found for one helps the next.
#[derive(Default)]
pub(super) struct Homes(HashMap<String, Home>);

impl Homes {
    /// The task's own project, or that of the task it is a part of.
    pub(super) async fn find(&mut self, api: &Api<'_>, task: &TaskPlace) -> Result<Home, SourceError> {
        let mut way = vec![task.gid.clone()];
        let mut place = task.clone();
        let found = loop {
            if let Some(project) = home(&place.memberships, &api.settings) {
                break Home::Project(project.to_owned());
            }
            let Some(parent) = place.parent else { break Home::Nowhere };
            if let Some(known) = self.0.get(&parent.gid) {
                break known.clone();
            }
            if way.len() >= MOST_LEVELS || way.contains(&parent.gid) {
                break Home::Hidden;
            }
            let what = format!("the task {}", parent.gid);
            place = match api
                .get(&format!("/tasks/{}", parent.gid), &[("opt_fields", PLACE_FIELDS)], &what)
                .await
            {
                Ok(place) => place,
                Err(error) if matches!(error.upstream_status, Some(403 | 404)) => break Home::Hidden,
                Err(error) => return Err(error),
            };
            way.push(parent.gid);
        };
        for gid in way {
            self.0.insert(gid, found.clone());
        }
        Ok(found)
    }
}

/// Maps rows into records of a page.
pub(super) async fn map(api: &Api<'_>, rows: &[Row], records: &mut PageRecords) -> Result<(), SourceError> {
    let mut tasks = Vec::with_capacity(rows.len());
    let mut makers = BTreeSet::new();
    for row in rows {
        match parsed::<Task>(&row.raw) {
            Ok(task) if is_heading(&task.resource_subtype, task.is_rendered_as_separator) => {}
            Ok(task) => {
                // Nearly always somebody whose name another field tells, or the list of users did.
                if let Some(assignee) = &task.assignee {
                    api.names().learn(api.instance(), assignee);
                }
                makers.extend(task.created_by.as_ref().map(|user| user.gid.clone()));
                tasks.push((task, row));
            }
            Err(error) => records.unmapped.push(unmapped(Stream::Tasks, row.raw.get(), &error.to_string())),
        }
    }
    learn_names(api, makers).await?;
    let mut people = People::default();
    for (task, row) in tasks {
        let reporter = task.created_by.as_ref().and_then(|user| api.names().of(api.instance(), &user.gid));
        let reporter = reporter.as_deref();
        let raw = normalize::kept(&row.raw, &row.project, reporter);
        push(&task, &raw, &row.project, reporter, api.mappings(), records, &mut people);
    }
    records.users.extend(people.into_records());
    Ok(())
}

/// Maps kept objects anew.
pub(super) fn map_kept<'r>(
    kept: impl Iterator<Item = &'r RawValue>,
    settings: &Settings,
    mappings: &domain::Mappings,
) -> PageRecords {
    let (mut records, mut people) = (PageRecords::default(), People::default());
    for raw in kept {
        match parsed::<Task>(raw) {
            Ok(task) => {
                let noted = task.noted.clone().unwrap_or_default();
                let project = noted.project.or_else(|| home(&task.memberships, settings).map(str::to_owned));
                let project = project.unwrap_or_default();
                push(&task, raw, &project, noted.reporter.as_deref(), mappings, &mut records, &mut people);
            }
            Err(error) => records.unmapped.push(unmapped(Stream::Tasks, raw.get(), &error.to_string())),
        }
    }
    records.users = people.into_records();
    records
}

fn push(
    task: &Task,
    raw: &RawValue,
    project: &str,
    reporter: Option<&str>,
    mappings: &domain::Mappings,
    records: &mut PageRecords,
    people: &mut People,
) {
    records.items.push(normalize::item(task, raw, project, reporter, mappings, people));
    if let Some(links) = normalize::links(task) {
        records.links.extend(links);
        records.links_of.push(task.gid.clone());
    }
}

/// An object of a stream that `error` kept from being mapped.
pub(super) fn unmapped(stream: Stream, raw: &str, error: &str) -> Unmapped {
    let object: Value = serde_json::from_str(raw).unwrap_or_default();
    let source_id = match object.get("gid") {
        Some(Value::String(gid)) => gid.clone(),
        // Still the same one when it comes again.
        _ => format!("unidentified-{}", hex::encode(&Sha256::digest(raw.as_bytes())[..8])),
    };
    // Positions in the text say nothing to people.
    let error = error.split(" at line ").next().unwrap_or(error).to_owned();
    Unmapped { stream: domain::StreamName::new(stream.name()), source_id, error, raw: raw.to_owned() }
}
