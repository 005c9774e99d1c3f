//! What a store would hold after runs, kept in memory, and the comparison with what is at the source.

use std::collections::{BTreeMap, BTreeSet};

use application::ports::{Page, PageRequest, PendingItem, ProjectRef, SourceError, StreamScope};
use chrono::{DateTime, Utc};
use domain::{Cursor, PageRecords, StreamName};

use super::*;

#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) title: String,
    pub(super) project: String,
    pub(super) parent: Option<String>,
    pub(super) completed: bool,
    pub(super) labels: Vec<String>,
    pub(super) updated_at: i64,
    pub(super) reporter: String,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) items: BTreeMap<String, Stored>,
    pub(super) bodies: BTreeMap<String, String>,
    pub(super) comments: BTreeMap<String, BTreeSet<String>>,
    pub(super) transitions: BTreeMap<String, String>,
    pub(super) links: BTreeSet<(String, &'static str, String)>,
    pub(super) projects: BTreeSet<String>,
    pub(super) gone: BTreeMap<String, &'static str>,
    pub(super) unmapped: Vec<(String, String)>,
    pub(super) fields: BTreeSet<String>,
    pub(super) users: usize,
    pending: BTreeSet<String>,
    passes: BTreeMap<String, (Option<DateTime<Utc>>, Option<String>)>,
}

impl State {
    /// A run over all streams as the engine does one.
    pub(super) async fn sync(
        &mut self,
        connection: &Connection,
        incremental: bool,
    ) -> Result<(), SourceError> {
        let adapter = asana();
        let projects = adapter.list_projects(connection).await?;
        for spec in adapter.streams(&connection.settings) {
            match spec.scope {
                StreamScope::Instance => self.pass(connection, &spec.name, None, false).await?,
                StreamScope::Project => {
                    for project in &projects {
                        let since = incremental && !spec.reload;
                        self.pass(connection, &spec.name, Some(project), since).await?;
                    }
                }
                StreamScope::PendingItems { batch } => {
                    while !self.pending.is_empty() {
                        self.details(connection, &spec.name, batch).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn pass(
        &mut self,
        connection: &Connection,
        stream: &StreamName,
        project: Option<&ProjectRef>,
        incremental: bool,
    ) -> Result<(), SourceError> {
        let key = format!("{stream} {}", project.map_or("", |project| &project.source_id));
        let (since, validator) = self.passes.get(&key).cloned().filter(|_| incremental).unwrap_or_default();
        let mut cursor: Option<Cursor> = None;
        let mut watermark = since;
        for _ in 0..2_000 {
            let request = PageRequest {
                stream,
                project,
                items: &[],
                cursor: cursor.as_ref(),
                since,
                validator: validator.as_deref().filter(|_| cursor.is_none()),
            };
            let page = asana().fetch_page(connection, request).await?;
            watermark = watermark.max(page.watermark);
            let done = page.next.is_none();
            let (told, next) = (page.validator.clone(), page.next.clone());
            assert!(told.is_none() || done, "a token is handed over before the pass is done");
            self.take(page);
            if done {
                let kept = self.passes.remove(&key).and_then(|(_, validator)| validator);
                self.passes.insert(key, (watermark, told.or(kept)));
                return Ok(());
            }
            assert_ne!(next, cursor, "the position stands still");
            // A position survives being stored.
            cursor = next.map(|next| serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap());
        }
        panic!("the pass over {stream} does not end");
    }

    async fn details(
        &mut self,
        connection: &Connection,
        stream: &StreamName,
        batch: usize,
    ) -> Result<(), SourceError> {
        let items: Vec<PendingItem> = self
            .pending
            .iter()
            .take(batch)
            .map(|gid| PendingItem {
                ref_key: gid.clone(),
                source_key: gid.clone(),
                source_id: gid.clone(),
                project: ProjectRef { source_id: String::new(), key: String::new() },
                is_pull_request: false,
                noted: None,
            })
            .collect();
        let request =
            PageRequest { stream, project: None, items: &items, cursor: None, since: None, validator: None };
        let page = asana().fetch_page(connection, request).await?;
        assert!(!page.records.details_done.is_empty(), "details stand still");
        self.take(page);
        Ok(())
    }

    fn take(&mut self, page: Page) {
        self.take_records(page.records);
    }

    pub(super) fn take_records(&mut self, records: PageRecords) {
        self.projects.extend(records.projects.into_iter().map(|project| project.source_id));
        self.fields.extend(records.custom_fields.into_iter().map(|field| field.name));
        self.users += records.users.len();
        for item in records.items {
            let gid = item.ref_key.clone();
            let stored = Stored {
                title: item.title,
                project: item.project_source_id,
                parent: item.parent_ref_key,
                completed: item.status_original == "completed",
                labels: item.labels,
                updated_at: item.updated_at.timestamp_millis(),
                reporter: item.reporter.map(|user| user.name).unwrap_or_default(),
            };
            self.gone.remove(&gid);
            self.bodies.insert(gid.clone(), item.body.unwrap_or_default());
            if self.items.get(&gid) != Some(&stored) {
                self.pending.insert(gid.clone());
                self.items.insert(gid, stored);
            }
        }
        for gid in &records.comments_of {
            self.comments.insert(gid.clone(), BTreeSet::new());
        }
        for comment in records.comments {
            self.comments.entry(comment.item_ref_key).or_default().insert(comment.source_id);
        }
        for change in records.transitions {
            self.transitions.insert(change.source_id, change.to_original);
        }
        self.links.retain(|(from, _, _)| !records.links_of.contains(from));
        self.links
            .extend(records.links.into_iter().map(|link| (link.item_ref_key, link.type_norm, link.to_key)));
        for gone in records.gone {
            self.items.remove(&gone.item_ref_key);
            self.comments.remove(&gone.item_ref_key);
            self.links.retain(|(from, _, _)| *from != gone.item_ref_key);
            self.pending.remove(&gone.item_ref_key);
            self.gone.insert(gone.item_ref_key, gone.reason);
        }
        for gid in records.details_done {
            self.pending.remove(&gid);
        }
        self.unmapped.extend(records.unmapped.into_iter().map(|broken| (broken.source_id, broken.error)));
    }

    /// Nothing missing, nothing too much, everything as it is there.
    pub(super) fn assert_is(&self, world: &AsanaWorkspace) {
        let home = |gid: &str| {
            let mut task = &world.tasks[gid];
            loop {
                match (task.memberships.first(), &task.parent) {
                    (Some((project, _)), _) => return Some(project.clone()),
                    (None, Some(parent)) => task = &world.tasks[parent],
                    (None, None) => return None,
                }
            }
        };
        let name = |gid: &String| world.users.iter().find(|user| user.gid == *gid).unwrap().name.clone();
        let expected: BTreeMap<String, Stored> = world
            .tasks
            .values()
            .filter_map(|task| {
                let stored = Stored {
                    title: task.name.clone(),
                    project: home(&task.gid)?,
                    parent: task.parent.clone(),
                    completed: task.completed_at.is_some(),
                    labels: task
                        .tags
                        .iter()
                        .map(|gid| world.tags.iter().find(|(tag, _)| tag == gid).unwrap().1.clone())
                        .collect(),
                    updated_at: task.modified_at,
                    reporter: name(&task.created_by),
                };
                Some((task.gid.clone(), stored))
            })
            .collect();
        let missing: Vec<_> = expected.keys().filter(|gid| !self.items.contains_key(*gid)).collect();
        let ghosts: Vec<_> = self.items.keys().filter(|gid| !expected.contains_key(*gid)).collect();
        assert!(missing.is_empty() && ghosts.is_empty(), "missing {missing:?}, ghosts {ghosts:?}");
        for (gid, stored) in &expected {
            assert_eq!(&self.items[gid], stored, "task {gid}");
            let task = &world.tasks[gid];
            let comments: BTreeSet<String> = task
                .stories
                .iter()
                .filter(|story| story["type"] == "comment")
                .map(|story| story["gid"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(self.comments.get(gid), Some(&comments), "comments of {gid}");
            let links: BTreeSet<&String> = task.dependencies.iter().collect();
            let stored: BTreeSet<&String> = self
                .links
                .iter()
                .filter(|(from, kind, _)| from == gid && *kind == "blocked_by")
                .map(|(_, _, to)| to)
                .collect();
            assert_eq!(stored, links, "links of {gid}");
            for story in &task.stories {
                if story["resource_subtype"] == "marked_complete" {
                    assert!(
                        self.transitions.contains_key(story["gid"].as_str().unwrap()),
                        "history of {gid}"
                    );
                }
            }
        }
    }
}
