//! The archive of a public Jira Server: projects ALOY, MOD and DAEMON.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::{issue_of, read};
use crate::jira::catalog::{Catalog, EPIC_LINK, SPRINT, custom_field, system_fields};
use crate::jira::site::{Board, Deployment, JiraSite};

const PROJECTS: [&str; 3] = ["ALOY", "MOD", "DAEMON"];
const SPRINTS: &str = "customfield_10104";
const EPIC: &str = "customfield_10100";

/// A Data Center site of the projects ALOY, MOD and DAEMON, from `<directory>/jira/titanium-*`.
///
/// The archivists read the agile API, which has `sprint`, `closedSprints` and `epic` where REST v2 has custom fields:
/// here they are custom fields again, and the sprints that issues mention are on boards.
///
/// # Errors
/// When a file is missing or not what it should be; the error names it.
pub fn titanium(name: &str, directory: &Path) -> anyhow::Result<JiraSite> {
    let mut site = JiraSite::new(name, Deployment::DataCenter);
    site.catalog = Catalog { fields: system_fields(), ..Catalog::default() };
    site.catalog.fields.push(custom_field(10_104, "Sprint", SPRINT, "array", Some("string")));
    site.catalog.fields.push(custom_field(10_100, "Epic Link", EPIC_LINK, "any", None));
    for key in PROJECTS {
        let path = directory.join(format!("jira/titanium-{key}.project.json"));
        let project =
            serde_json::from_str(&read(&path)?).with_context(|| format!("in {}", path.display()))?;
        site.add_project(project)?;
        let path = directory.join(format!("jira/titanium-{key}.jsonl.gz"));
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        for (index, line) in BufReader::new(GzDecoder::new(file)).lines().enumerate() {
            let place = || format!("{} line {}", path.display(), index + 1);
            let object: Value = serde_json::from_str(&line.with_context(place)?).with_context(place)?;
            add(&mut site, object).with_context(place)?;
        }
    }
    boards(&mut site);
    Ok(site)
}

fn add(site: &mut JiraSite, object: Value) -> anyhow::Result<()> {
    let mut issue = issue_of(site, object)?;
    let mut held = Vec::new();
    let (closed, open) = (issue.fields.remove("closedSprints"), issue.fields.remove("sprint"));
    let rows = closed.iter().flat_map(|rows| rows.as_array().into_iter().flatten());
    for sprint in rows.chain(open.iter().filter(|one| one.is_object())) {
        if let Some(id) = sprint["id"].as_u64() {
            held.push(json!(id));
            site.sprints.entry(id).or_insert_with(|| sprint.clone());
        }
    }
    if !held.is_empty() {
        issue.fields.insert(SPRINTS.into(), Value::Array(held));
    }
    if let Some(epic) = issue.fields.remove("epic").filter(Value::is_object) {
        issue.fields.insert(EPIC.into(), epic["key"].clone());
    }
    issue.fields.remove("flagged");
    site.insert(issue);
    Ok(())
}

/// The boards that the sprints name, on all projects: which is which was not recorded.
fn boards(site: &mut JiraSite) {
    let projects: Vec<String> = site.projects.keys().map(u64::to_string).collect();
    let mut boards: Vec<Board> = Vec::new();
    for (id, sprint) in &mut site.sprints {
        // Some were recorded without, which their board would tell.
        let board = sprint["originBoardId"].as_u64().unwrap_or(1);
        sprint["originBoardId"] = json!(board);
        match boards.iter_mut().find(|known| known.id == board) {
            Some(known) => known.sprints.push(*id),
            None => boards.push(Board {
                id: board,
                name: format!("Board {board}"),
                kind: "scrum",
                projects: projects.clone(),
                sprints: vec![*id],
            }),
        }
    }
    site.boards = boards;
}
