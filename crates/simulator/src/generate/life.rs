//! Plays a plan: what happened until the end becomes the item's history and present state.

use std::collections::BTreeMap;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use serde_json::json;

use super::calendar::Calendar;
use super::catalog::{OUTSIDERS, PEOPLE};
use super::objects::{self, Actor, Event, Note};
use super::plan::{Happening, Plan};
use crate::dataset::Repository;
use crate::dataset::fragments::Fragment;
use crate::dataset::item::{Item, Pull, Row};
use crate::timestamp::iso;

/// Turns plans into items of one repository.
#[derive(Debug)]
pub(super) struct Renderer {
    calendar: Calendar,
    rng: SmallRng,
    people: Vec<Actor>,
    labels: BTreeMap<String, (Fragment, String)>,
    milestones: Vec<(Fragment, String)>,
}

/// How an item stands after what happened so far.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) title: String,
    pub(super) labels: Vec<String>,
    pub(super) assignees: Vec<usize>,
    pub(super) milestone: Option<usize>,
    pub(super) closed: Option<(i64, usize, Option<&'static str>)>,
    pub(super) reopened: bool,
    pub(super) merged: Option<(i64, usize)>,
    pub(super) draft: bool,
    pub(super) reviewers: Vec<usize>,
    pub(super) commits: u64,
    pub(super) updated: i64,
}

impl Renderer {
    pub(super) fn new(repository: &mut Repository, calendar: Calendar, rng: SmallRng) -> Self {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let Repository { fragments, people, labels, milestones, .. } = repository;
        let people = people.iter().zip(PEOPLE).enumerate().map(|(index, (person, (name, login)))| Actor {
            object: fragments.add(person.to_string()),
            name,
            login,
            association: if index < PEOPLE.len() - OUTSIDERS { "MEMBER" } else { "CONTRIBUTOR" },
        });
        let people = people.collect();
        let mut add = |value: &serde_json::Value| {
            let compact = fragments.compact(&value.to_string());
            fragments.add(compact)
        };
        let labels =
            labels.iter().map(|label| (text(&label["name"]), (add(label), text(&label["color"])))).collect();
        let milestones = milestones.iter().map(|one| (add(one), text(&one["title"]))).collect();
        Self { calendar, rng, people, labels, milestones }
    }

    pub(super) fn item(&mut self, repository: &mut Repository, plan: &Plan, number: u64) -> Item {
        let id = repository.next_id();
        let created_at = self.calendar.at(plan.created);
        let mut standing = Standing {
            title: plan.title.clone(),
            draft: plan.draft,
            updated: created_at,
            ..Standing::default()
        };
        let mut item = Item {
            number,
            id,
            created_at,
            updated_at: created_at,
            open: true,
            labels: Vec::new(),
            assignees: Vec::new(),
            milestone: None,
            creator: self.people[plan.author].login.into(),
            comment_count: 0,
            issue: Box::default(),
            pull: None,
            comments: Vec::new(),
            review_comments: Vec::new(),
            reviews: Vec::new(),
            timeline: Vec::new(),
        };
        let mut happenings: Vec<_> =
            plan.happenings.iter().filter(|(when, ..)| *when < self.calendar.length).collect();
        happenings.sort_by_key(|(when, ..)| *when);
        for (when, by, what) in happenings {
            let at = self.calendar.at(*when);
            self.play(repository, &mut item, &mut standing, at, *by, what);
            standing.updated = standing.updated.max(at);
        }
        self.finish(repository, &mut item, plan, &standing);
        item
    }

    /// One happening: its place in the history, and what it changes.
    fn play(
        &mut self,
        repository: &mut Repository,
        item: &mut Item,
        standing: &mut Standing,
        at: i64,
        by: usize,
        what: &Happening,
    ) {
        let id = repository.next_id();
        let actor = self.people[by];
        let event = Event { id, number: item.number, at: &iso(at), actor };
        let (name, text) = match what {
            Happening::Labeled(label) | Happening::Unlabeled(label) => {
                let added = matches!(what, Happening::Labeled(_));
                standing.labels.retain(|known| known != label);
                if added {
                    standing.labels.push(label.clone());
                }
                let color = self.labels.get(label).map_or("ededed", |(_, color)| color);
                let name = if added { "labeled" } else { "unlabeled" };
                (name, event.with(name, &json!({"label": {"name": label, "color": color}})))
            }
            Happening::Assigned(to) => {
                standing.assignees = vec![*to];
                (
                    "assigned",
                    event.with_user("assigned", &[("assignee", self.people[*to]), ("assigner", actor)]),
                )
            }
            Happening::Milestoned(milestone) => {
                standing.milestone = Some(*milestone);
                let title = &self.milestones[*milestone].1;
                ("milestoned", event.with("milestoned", &json!({"milestone": {"title": title}})))
            }
            Happening::Renamed { from, to } => {
                standing.title.clone_from(to);
                ("renamed", event.with("renamed", &json!({"rename": {"from": from, "to": to}})))
            }
            Happening::Commented(body) => {
                item.comments.push(row(id, at, "", event.comment(body)));
                ("commented", event.commented(body))
            }
            Happening::Closed { reason, by_merge } => {
                if standing.closed.is_some() {
                    return;
                }
                standing.closed = Some((at, by, *reason));
                let commit = by_merge.then(|| objects::sha(id));
                ("closed", event.with("closed", &json!({"state_reason": reason, "commit_id": commit})))
            }
            Happening::Reopened => {
                if standing.closed.take().is_none() {
                    return;
                }
                standing.reopened = true;
                ("reopened", event.with("reopened", &json!({"state_reason": null})))
            }
            Happening::CrossReferenced { number, title } => {
                ("cross-referenced", event.cross_referenced(*number, title, repository.object))
            }
            Happening::ReviewRequested(reviewer) => {
                standing.reviewers.push(*reviewer);
                let users = [("requested_reviewer", self.people[*reviewer]), ("review_requester", actor)];
                ("review_requested", event.with_user("review_requested", &users))
            }
            Happening::Committed(message) => {
                standing.commits += 1;
                ("committed", event.committed(message))
            }
            Happening::Reviewed { state, body, notes } => {
                standing.reviewers.retain(|reviewer| *reviewer != by);
                item.reviews.push(row(id, at, "", event.review(&state.to_uppercase(), body, false)));
                for (text, path) in notes {
                    let note = Note { text, path, line: self.rng.random_range(12..480) };
                    let note_id = repository.next_id();
                    let text = Event { id: note_id, ..event }.review_comment(&note, id);
                    item.review_comments.push(row(note_id, at, "", text));
                }
                ("reviewed", event.review(state, body, true))
            }
            Happening::ReadyForReview => {
                standing.draft = false;
                ("ready_for_review", event.with("ready_for_review", &json!({})))
            }
            Happening::Merged => {
                standing.merged = Some((at, by));
                ("merged", event.with("merged", &json!({"commit_id": objects::sha(id)})))
            }
            Happening::HeadRefDeleted => ("head_ref_deleted", event.with("head_ref_deleted", &json!({}))),
        };
        // Commits and cross references have no id of their own.
        let id = if matches!(name, "committed" | "cross-referenced") { 0 } else { id };
        item.timeline.push(row(id, at, name, text));
    }

    fn finish(&mut self, repository: &mut Repository, item: &mut Item, plan: &Plan, standing: &Standing) {
        item.updated_at = standing.updated;
        item.open = standing.closed.is_none();
        item.labels = standing.labels.iter().map(|label| label.to_lowercase().into()).collect();
        item.assignees = standing.assignees.iter().map(|one| self.people[*one].login.into()).collect();
        item.milestone = standing.milestone.map(|index| index as u64 + 1);
        item.comment_count = item.comments.len() as u64;
        let labels: Vec<_> = standing.labels.iter().filter_map(|name| self.labels.get(name)).collect();
        let present = objects::Present {
            standing,
            plan,
            people: &self.people,
            labels: objects::list(labels.iter().map(|(fragment, _)| *fragment)),
            milestone: standing.milestone.map(|index| self.milestones[index].0),
        };
        item.issue = present.issue(item).into();
        if plan.is_pull {
            let id = repository.next_id();
            let size =
                (self.rng.random_range(3..600), self.rng.random_range(0..240), self.rng.random_range(1..14));
            item.pull = Some(Pull {
                id,
                head: format!("{}:{}", self.people[plan.author].login, objects::branch(item.number, plan))
                    .into(),
                base: "main".into(),
                brief: present.pull(item, id, repository).into(),
                details: present.pull_details(item, size).into(),
            });
        }
    }

    /// Open and closed issues per milestone, known only when all items are there.
    pub(super) fn count_milestones(&self, repository: &mut Repository) {
        let mut counts: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for item in repository.items.values() {
            let count = counts.entry(item.milestone.unwrap_or_default()).or_default();
            count.0 += u64::from(item.open);
            count.1 += u64::from(!item.open);
        }
        for ((fragment, _), (milestone, number)) in
            self.milestones.iter().zip(repository.milestones.iter_mut().zip(1..))
        {
            let (open, closed) = counts.get(&number).copied().unwrap_or_default();
            milestone["open_issues"] = json!(open);
            milestone["closed_issues"] = json!(closed);
            repository.fragments.set(*fragment, &milestone.to_string());
        }
    }
}

fn row(id: u64, at: i64, event: &str, text: String) -> Row {
    Row { id, created_at: at, updated_at: at, event: event.into(), text: text.into() }
}
