//! Issues at the edges that public connectors fell over.

use serde_json::{Map, Value, json};

use crate::jira::{Entry, Issue, JiraSite, custom_field, iso};

/// 2,500 comments, 150 changelog entries, 300 custom fields, a description of 1 MB.
const COMMENTS: u64 = 2500;
const HISTORIES: u64 = 150;
const FIELDS: u64 = 300;
const LARGE: usize = 1 << 20;
const SAME_TIME: u64 = 1000;

/// Adds to a project: issues with 2,500 comments, 150 changelog entries, 300 custom fields and a description of 1 MB, and
/// 1,000 issues of one time. Their keys follow the project's last.
///
/// # Errors
/// When there is no such project.
pub fn extremes(site: &mut JiraSite, project: &str) -> anyhow::Result<()> {
    let Some(known) = site.project(project).cloned() else { anyhow::bail!("there is no project {project}") };
    let author = site.catalog.users.keys().next().cloned().unwrap_or_default();
    let at = site.issues().map(|issue| issue.updated).max().unwrap_or(1_700_000_000_000) + 1000;
    let base = Map::from_iter([
        ("project".to_owned(), known["id"].clone()),
        ("issuetype".to_owned(), json!("10003")),
        ("status".to_owned(), json!("10000")),
        ("priority".to_owned(), json!("3")),
        ("creator".to_owned(), json!(author)),
        ("reporter".to_owned(), json!(author)),
        ("created".to_owned(), json!(iso(at))),
        ("updated".to_owned(), json!(iso(at))),
    ]);
    let add = |site: &mut JiraSite, summary: String, change: &dyn Fn(&mut Issue, &mut dyn FnMut() -> u64)| {
        let (id, key) = (site.new_id(), site.next_key(project));
        let mut fields = base.clone();
        fields.insert("summary".to_owned(), json!(summary));
        let mut issue = Issue::new(id, &key, fields);
        change(&mut issue, &mut || site.new_id());
        site.insert(issue);
    };
    add(site, "An issue with very many comments".to_owned(), &|issue, id| {
        for number in 0..COMMENTS {
            let stamp = iso(at + i64::try_from(number).unwrap_or(0));
            let id = id();
            let value = json!({
                "id": id.to_string(), "author": author, "updateAuthor": author, "created": stamp, "updated": stamp,
                "body": format!("Comment {number}")
            });
            issue.comments.extend(Entry::new(value));
        }
    });
    add(site, "An issue with a long history".to_owned(), &|issue, id| {
        for number in 0..HISTORIES {
            let (from, to) = if number % 2 == 0 { ("10000", "10001") } else { ("10001", "10000") };
            let stamp = iso(at + i64::try_from(number).unwrap_or(0));
            let item = json!({"field": "status", "fieldtype": "jira", "fieldId": "status", "from": from, "fromString": "", "to": to, "toString": ""});
            issue
                .histories
                .push(json!({"id": id().to_string(), "author": author, "created": stamp, "items": [item]}));
        }
    });
    for number in 0..FIELDS {
        let kind = "com.atlassian.jira.plugin.system.customfieldtypes:textfield";
        let field = custom_field(20_000 + number, &format!("Extra {number}"), kind, "string", None);
        site.catalog.fields.push(field);
    }
    add(site, "An issue with very many fields".to_owned(), &|issue, _| {
        for number in 0..FIELDS {
            issue.fields.insert(format!("customfield_{}", 20_000 + number), json!(format!("value {number}")));
        }
    });
    let line = "A line of a log that somebody pasted as a whole.\n";
    add(site, "An issue with a large description".to_owned(), &|issue, _| {
        issue.fields.insert("description".to_owned(), Value::String(line.repeat(LARGE / line.len())));
    });
    for number in 0..SAME_TIME {
        add(site, format!("One of a thousand, changed in bulk: {number}"), &|_, _| ());
    }
    Ok(())
}
