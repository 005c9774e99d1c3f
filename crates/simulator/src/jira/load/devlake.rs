//! Answers of a Jira Cloud site, recorded for the tests of a public connector: a board's issues with their changelogs.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::csv::column;
use super::{issue_of, read};
use crate::jira::catalog::{Catalog, SPRINT, custom_field, system_fields};
use crate::jira::site::{Board, Deployment, JiraSite, project_object};

const SPRINTS: u64 = 10_020;

/// A Cloud site of the recorded board, from `<directory>/jira/devlake/`: its issues with comments, worklogs and
/// changelogs, its sprints, and the statuses, types and people they name.
///
/// # Errors
/// When a file is missing or not what it should be; the error names it.
pub fn devlake(name: &str, directory: &Path) -> anyhow::Result<JiraSite> {
    let rows = |table: &str| -> anyhow::Result<Vec<Value>> {
        let path = directory.join(format!("jira/devlake/_raw_jira_api_{table}.csv"));
        let data = column(&read(&path)?, "data").with_context(|| format!("in {}", path.display()))?;
        data.iter()
            .map(|text| serde_json::from_str(text).with_context(|| format!("in {}", path.display())))
            .collect()
    };
    let mut site = JiraSite::new(name, Deployment::Cloud);
    site.time_zone = "Asia/Shanghai".to_owned();
    site.catalog = Catalog { fields: system_fields(), ..Catalog::default() };
    for user in rows("users")? {
        site.catalog.collect("user", &user);
    }
    for status in rows("status")? {
        site.catalog.collect("status", &status);
    }
    for kind in rows("issue_types")? {
        site.catalog.collect("issuetype", &kind);
    }
    for mut object in rows("issues")? {
        let histories = match object["changelog"]["histories"].take() {
            Value::Array(histories) => histories,
            _ => Vec::new(),
        };
        let project = object["fields"]["project"].clone();
        let mut issue = issue_of(&mut site, object)?;
        for agile in ["epic", "sprint", "closedSprints", "flagged"] {
            issue.fields.remove(agile);
        }
        issue.histories = histories;
        // Recorded newest first.
        issue.histories.sort_by_key(|one| one["created"].as_str().and_then(crate::jira::time::parse));
        let (id, key, title) = (&project["id"], &project["key"], &project["name"]);
        let number = id.as_str().and_then(|id| id.parse().ok()).context("an issue without project")?;
        if !site.projects.contains_key(&number) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            site.add_project(project_object(number, &text(key), &text(title), "", ""))?;
        }
        site.insert(issue);
    }
    for sprint in rows("sprints")? {
        let id = sprint["id"].as_u64().context("a sprint without number")?;
        site.sprints.insert(id, sprint);
    }
    custom_fields(&mut site);
    let sprints: Vec<u64> = site.sprints.keys().copied().collect();
    let projects = site.projects.keys().map(u64::to_string).collect();
    site.boards = vec![Board { id: 8, name: "EE board".to_owned(), kind: "scrum", projects, sprints }];
    Ok(site)
}

/// Definitions for the custom fields of the issues, whose own were hardly recorded: what they are is seen in values.
fn custom_fields(site: &mut JiraSite) {
    let mut numbers = BTreeSet::new();
    let mut samples: std::collections::BTreeMap<u64, Value> = std::collections::BTreeMap::new();
    for issue in site.issues() {
        for (name, value) in &issue.fields {
            let Some(number) =
                name.strip_prefix("customfield_").and_then(|number| number.parse::<u64>().ok())
            else {
                continue;
            };
            numbers.insert(number);
            if !value.is_null() {
                samples.entry(number).or_insert_with(|| value.clone());
            }
        }
    }
    for number in numbers {
        let kind = |name: &str| format!("com.atlassian.jira.plugin.system.customfieldtypes:{name}");
        let name = format!("Field {number}");
        let field = match samples.get(&number) {
            _ if number == SPRINTS => custom_field(number, "Sprint", SPRINT, "array", Some("json")),
            Some(Value::Number(_)) => custom_field(number, &name, &kind("float"), "number", None),
            Some(Value::Object(one)) if one.contains_key("accountId") => {
                custom_field(number, &name, &kind("userpicker"), "user", None)
            }
            Some(Value::Object(one)) if one.contains_key("value") => {
                custom_field(number, &name, &kind("select"), "option", None)
            }
            Some(Value::Array(rows)) if rows.iter().all(Value::is_string) => {
                custom_field(number, &name, &kind("labels"), "array", Some("string"))
            }
            Some(Value::String(_)) => custom_field(number, &name, &kind("textfield"), "string", None),
            _ => custom_field(number, &name, &kind("unknown"), "any", None),
        };
        site.catalog.fields.push(field);
    }
}
