//! A believable workspace: projects with sections, tasks in one or several of them, parts of parts, comments and history.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::time::iso;
use super::world::{AsanaField, AsanaProject, AsanaTask, AsanaUser, AsanaWorkspace};

const PEOPLE: [&str; 8] = [
    "Mara Lindqvist",
    "Jonas Weber",
    "Aiko Tanabe",
    "Tomás Herrera",
    "Priya Nair",
    "Ewan McKay",
    "Léa Fontaine",
    "Sami Haddad",
];
const PROJECTS: [&str; 4] = ["Website relaunch", "Customer onboarding", "Hiring 2026", "Office move"];
const SECTIONS: [&str; 4] = ["Backlog", "In progress", "In review", "Shipped"];
const TAGS: [&str; 5] = ["urgent fix", "design", "waiting for legal", "quick win", "customer request"];
const VERBS: [&str; 10] =
    ["Draft", "Review", "Publish", "Compare", "Book", "Translate", "Sign", "Replace", "Collect", "Schedule"];
const THINGS: [&str; 12] = [
    "the pricing page",
    "welcome mails",
    "the contract with the caterer",
    "screenshots for the help center",
    "interview questions",
    "the floor plan",
    "cookie texts",
    "references from customers",
    "the launch checklist",
    "offers for new desks",
    "the press kit",
    "the imprint",
];
const SAYINGS: [&str; 6] = [
    "I have put the latest version into the folder.",
    "Waiting for an answer since Monday.",
    "Looks good to me, please go on.",
    "Can we move this to next week?",
    "Done as far as I can see.",
    "The numbers in the second table do not add up.",
];
/// 2026-01-05, a Monday, in milliseconds since 1970.
const START_MS: i64 = 1_767_600_000_000;
const DAY_MS: i64 = 86_400_000;

/// A workspace with this many tasks, their parts not counted; the same for the same seed.
pub fn workspace(name: &str, seed: u64, count: usize) -> AsanaWorkspace {
    let mut made = Maker {
        random: StdRng::seed_from_u64(seed),
        last_gid: 1_200_000_000_000_000 + seed % 1_000 * 1_000_000,
    };
    let mut workspace =
        AsanaWorkspace { gid: made.gid(), name: name.to_owned(), ..AsanaWorkspace::default() };
    for person in PEOPLE {
        let email = format!("{}@example.com", person.split(' ').next().unwrap_or("a").to_lowercase());
        workspace.users.push(AsanaUser { gid: made.gid(), name: person.to_owned(), email });
    }
    workspace.tags = TAGS.iter().map(|tag| (made.gid(), (*tag).to_owned())).collect();
    for project in PROJECTS.iter().take((count / 20).clamp(2, PROJECTS.len())) {
        let (gid, sections) =
            (made.gid(), SECTIONS.iter().map(|name| (made.gid(), (*name).to_owned())).collect());
        workspace.projects.push(AsanaProject {
            gid,
            name: (*project).to_owned(),
            archived: false,
            sections,
            tasks: Vec::new(),
            events: Vec::new(),
            hidden: false,
        });
    }
    for (name, subtype, options) in [
        ("Priority", "enum", &["High", "Medium", "Low"][..]),
        ("Stage", "enum", &["Ready", "In progress", "Done"][..]),
        ("Story points", "number", &[][..]),
    ] {
        workspace.fields.push(AsanaField {
            gid: made.gid(),
            name: name.into(),
            subtype: subtype.into(),
            options: options.iter().map(|option| (made.gid(), (*option).to_owned())).collect(),
        });
    }
    for i in 0..count {
        made.task(&mut workspace, i, None, 0);
    }
    workspace
}

struct Maker {
    random: StdRng,
    last_gid: u64,
}

impl Maker {
    fn gid(&mut self) -> String {
        self.last_gid += 1;
        self.last_gid.to_string()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn one<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.choose(&mut self.random)
    }

    fn text(&mut self, list: &[&'static str]) -> &'static str {
        self.one(list).copied().unwrap_or_default()
    }

    fn task(
        &mut self,
        workspace: &mut AsanaWorkspace,
        i: usize,
        parent: Option<&AsanaTask>,
        level: u32,
    ) -> String {
        let gid = self.gid();
        let created_at = parent.map_or(START_MS, |parent| parent.created_at)
            + self.random.random_range(0..200 * DAY_MS) / (1 + i64::from(level) * 40);
        let maker = self.one(&workspace.users).map(|user| user.gid.clone()).unwrap_or_default();
        let title = format!("{} {}", self.text(&VERBS), self.text(&THINGS));
        let mut task = AsanaTask {
            gid: gid.clone(),
            name: if self.chance(30) { format!("{title} ({})", i + 1) } else { title },
            html_notes: format!("<body>{}</body>", self.text(&SAYINGS)),
            subtype: if self.chance(4) && parent.is_none() { "milestone" } else { "default_task" }.into(),
            created_by: maker.clone(),
            created_at,
            modified_at: created_at,
            parent: parent.map(|parent| parent.gid.clone()),
            ..AsanaTask::default()
        };
        if self.chance(75) {
            task.assignee = self.one(&workspace.users).map(|user| user.gid.clone());
        }
        if self.chance(40) {
            task.due_on = iso(created_at + 14 * DAY_MS).get(..10).map(str::to_owned);
        }
        if self.chance(25) {
            task.tags.extend(self.one(&workspace.tags).map(|(gid, _)| gid.clone()));
        }
        for field in &workspace.fields {
            if self.chance(60) {
                let value = match field.subtype.as_str() {
                    "number" => json!(self.random.random_range(1..9)),
                    _ => self.one(&field.options).map_or(Value::Null, |(gid, _)| json!(gid)),
                };
                task.fields.insert(field.gid.clone(), value);
            }
        }
        let homes = match (parent, self.chance(15)) {
            (Some(_), _) => 0,
            (None, true) => 2,
            (None, false) => 1,
        };
        let first = self.random.random_range(0..workspace.projects.len().max(1));
        for home in 0..homes {
            let index = (first + home) % workspace.projects.len().max(1);
            let Some(project) = workspace.projects.get_mut(index) else { continue };
            let section = self.random.random_range(0..project.sections.len().max(1));
            let Some((section, _)) = project.sections.get(section) else { continue };
            task.memberships.push((project.gid.clone(), section.clone()));
            project.tasks.push(gid.clone());
        }
        if self.chance(8) {
            task.dependencies.extend(workspace.tasks.keys().next_back().cloned());
        }
        self.history(workspace, &mut task, &maker);
        if (self.chance(25) || i == 0) && level < 3 {
            for part in 0..self.random.random_range(1..4) {
                let below = self.task(workspace, part, Some(&task), level + 1);
                task.subtasks.push(below);
            }
        }
        workspace.tasks.insert(gid.clone(), task);
        gid
    }

    fn history(&mut self, workspace: &AsanaWorkspace, task: &mut AsanaTask, maker: &str) {
        let mut at = task.created_at;
        let user = |gid: &str| {
            let user = workspace.users.iter().find(|user| user.gid == gid);
            user.map_or(
                Value::Null,
                |user| json!({"gid": user.gid, "resource_type": "user", "name": user.name}),
            )
        };
        let home = task.memberships.first().and_then(|(project, section)| {
            let project = workspace.projects.iter().find(|found| found.gid == *project)?;
            let to = project.sections.iter().find(|(gid, _)| gid == section)?;
            Some((project.sections.first()?, to))
        });
        let mut stories: Vec<(&str, Value)> = Vec::new();
        if let Some((from, to)) = home.filter(|(from, to)| from != to) {
            let section = |(gid, name): &(String, String)| json!({"gid": gid, "resource_type": "section", "name": name});
            stories
                .push(("section_changed", json!({"old_section": section(from), "new_section": section(to)})));
        }
        for _ in 0..self.random.random_range(0..4) {
            let text = self.text(&SAYINGS);
            stories
                .push(("comment_added", json!({"text": text, "html_text": format!("<body>{text}</body>")})));
        }
        if self.chance(35) {
            stories.push(("marked_complete", json!({})));
        }
        for (subtype, more) in stories {
            at += self.random.random_range(60_000..3 * DAY_MS);
            let author = self.one(&workspace.users).map_or(maker, |user| user.gid.as_str()).to_owned();
            let kind = if subtype == "comment_added" { "comment" } else { "system" };
            let mut story = json!({
                "gid": self.gid(), "resource_type": "story", "resource_subtype": subtype, "type": kind,
                "created_at": iso(at), "created_by": user(&author), "is_edited": false,
            });
            if let (Some(story), Some(more)) = (story.as_object_mut(), more.as_object()) {
                story.extend(more.clone());
            }
            if subtype == "marked_complete" {
                task.completed_at = Some(at);
            }
            task.stories.push(story);
        }
        task.modified_at = at;
    }
}
