//! Issues as they are shown: references looked up, texts in the form of the called version, the fields asked for.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::catalog::SPRINT;
use super::files;
use super::issue::{Entry, Issue, id_of};
use super::site::JiraSite;
use super::text;

/// In whose words: the version called and the address below which everything is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) site: &'a JiraSite,
    /// `http://host/jira/name`, without slash at the end.
    pub(crate) base: &'a str,
    /// REST v3: texts are documents.
    pub(crate) adf: bool,
    /// The agile API: `sprint`, `closedSprints`, `epic` and `flagged` beside the rest.
    pub(crate) agile: bool,
}

/// Which fields.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    named: Vec<String>,
    all: bool,
    without: BTreeSet<String>,
}

/// How many comments or worklogs stand in the field itself.
const INLINE: usize = 20;

impl Selection {
    pub(crate) fn new(asked: &[String], default: &[&str]) -> Self {
        let mut selection = Self { named: Vec::new(), all: false, without: BTreeSet::new() };
        let only_without = asked.iter().all(|name| name.starts_with('-'));
        let defaults = default.iter().map(|name| (*name).to_owned());
        let names: Vec<String> = match only_without {
            true => defaults.chain(asked.iter().cloned()).collect(),
            false => asked.to_vec(),
        };
        for name in names {
            match name.as_str() {
                "*all" | "*navigable" => selection.all = true,
                other => match other.strip_prefix('-') {
                    Some(name) => drop(selection.without.insert(name.to_owned())),
                    None => selection.named.push(name),
                },
            }
        }
        selection
    }

    /// Nothing but `id` and `key`: the pages of which may be large.
    pub(crate) fn is_ids(&self) -> bool {
        !self.all && self.named.iter().all(|name| name == "id" || name == "key")
    }

    fn wants(&self, name: &str) -> bool {
        !self.without.contains(name) && (self.all || self.named.iter().any(|one| one == name))
    }
}

impl View<'_> {
    pub(crate) fn issue(&self, issue: &Issue, selection: &Selection) -> Value {
        let id = issue.id.to_string();
        if selection.is_ids() {
            let key = selection.wants("key").then(|| ("key".to_owned(), json!(issue.key)));
            return Value::Object([("id".to_owned(), json!(id))].into_iter().chain(key).collect());
        }
        let names: Vec<&str> = if selection.all {
            let known = self.site.catalog.fields.iter().filter_map(|field| field["id"].as_str());
            let own = issue.fields.keys().map(String::as_str);
            known.chain(own).collect::<BTreeSet<_>>().into_iter().collect()
        } else {
            selection.named.iter().map(String::as_str).collect()
        };
        let mut fields = Map::new();
        for name in names.into_iter().filter(|name| selection.wants(name)) {
            if let Some(value) = self.field(issue, name) {
                fields.insert(name.to_owned(), value);
            }
        }
        if self.agile {
            self.add_agile(issue, &mut fields);
        }
        json!({
            "expand": "operations,versionedRepresentations,editmeta,changelog,renderedFields",
            "id": id, "self": self.url(&format!("issue/{id}")), "key": issue.key, "fields": fields
        })
    }

    /// `None` for what is no field.
    fn field(&self, issue: &Issue, name: &str) -> Option<Value> {
        let value = issue.get(name);
        Some(match name {
            "project" => self.project(value),
            "comment" => self.comments(issue),
            "worklog" => self.page_of("worklogs", &issue.worklogs, INLINE),
            "watches" if value.is_null() => json!({
                "self": self.url(&format!("issue/{}/watchers", issue.key)), "watchCount": issue.watchers.len()
            }),
            "timespent" => match issue.total_time_spent() {
                0 => value.clone(),
                seconds => json!(seconds),
            },
            "parent" => value.as_str().map_or_else(|| value.clone(), |id| self.brief(id)),
            "subtasks" => each(value, |row| row.as_str().map(|id| self.brief(id))),
            "issuelinks" => each(value, |link| self.link(link)),
            "labels" | "components" | "fixVersions" | "versions" | "attachment" if value.is_null() => {
                json!([])
            }
            "attachment" => each(value, |row| Some(files::shown(self, row))),
            "fixVersions" | "versions" => each(value, |row| self.of_project(issue, "versions", row)),
            "components" => each(value, |row| self.of_project(issue, "components", row)),
            _ => match self.site.catalog.of(name) {
                Some(objects) => match value.as_str() {
                    Some(id) => {
                        objects.get(id).map_or(Value::Null, |object| self.reference(name, id, object))
                    }
                    None => value.clone(),
                },
                None => return self.other(name, value),
            },
        })
    }

    fn other(&self, name: &str, value: &Value) -> Option<Value> {
        let Some(definition) = self.site.catalog.field(name) else {
            return Some(value.clone()).filter(|value| !value.is_null());
        };
        let schema = &definition["schema"];
        if schema["custom"] == SPRINT {
            return Some(self.sprints(value));
        }
        let is_text = matches!(name, "description" | "environment")
            || schema["custom"].as_str().is_some_and(|kind| kind.ends_with(":textarea"));
        Some(match schema["type"].as_str() {
            _ if is_text => self.text(value),
            Some("user") => value.as_str().map_or_else(|| value.clone(), |id| self.user(id)),
            _ => value.clone(),
        })
    }

    pub(crate) fn text(&self, value: &Value) -> Value {
        match (value, self.adf) {
            (Value::String(plain), true) => text::to_document(plain),
            (Value::Object(_), false) => json!(text::to_plain(value)),
            _ => value.clone(),
        }
    }

    fn add_agile(&self, issue: &Issue, fields: &mut Map<String, Value>) {
        let held = self.site.catalog.custom(SPRINT).map(|id| issue.array(id)).unwrap_or_default();
        let sprints: Vec<&Value> =
            held.iter().filter_map(|row| self.site.sprints.get(&id_of(row)?.parse().ok()?)).collect();
        let open = sprints.iter().find(|sprint| sprint["state"] != "closed");
        fields.insert("sprint".into(), open.map_or(Value::Null, |sprint| (*sprint).clone()));
        let closed: Vec<&Value> =
            sprints.iter().copied().filter(|sprint| sprint["state"] == "closed").collect();
        if !closed.is_empty() {
            fields.insert("closedSprints".into(), json!(closed));
        }
        fields.insert("flagged".into(), json!(false));
        fields.entry("epic").or_insert(Value::Null);
    }

    /// On Cloud objects; on Data Center the texts that Java makes of them.
    fn sprints(&self, value: &Value) -> Value {
        let Some(rows) = value.as_array() else { return Value::Null };
        let shown = rows.iter().filter_map(|row| {
            let id = id_of(row)?.parse().ok()?;
            let object = match row.is_object() {
                true => row.clone(),
                false => self.site.sprint_in_issue(id),
            };
            Some(if self.site.is_cloud() { object } else { json!(java_text(id, &object)) })
        });
        Value::Array(shown.collect())
    }

    pub(crate) fn user(&self, id: &str) -> Value {
        let Some(user) = self.site.catalog.users.get(id) else { return Value::Null };
        let mut user = user.clone();
        if user["self"].is_null() {
            let name = if self.site.is_cloud() { "accountId" } else { "key" };
            user["self"] = json!(self.url(&format!("user?{name}={id}")));
        }
        user
    }

    pub(crate) fn reference(&self, field: &str, id: &str, object: &Value) -> Value {
        match field {
            "assignee" | "reporter" | "creator" => self.user(id),
            other => self.with_self(other, object),
        }
    }

    fn with_self(&self, path: &str, object: &Value) -> Value {
        let mut object = object.clone();
        if object["self"].is_null()
            && let Some(id) = id_of(&object)
        {
            object["self"] = json!(self.url(&format!("{path}/{id}")));
        }
        if let Some(category) = object.get_mut("statusCategory").filter(|one| one["self"].is_null()) {
            category["self"] = json!(self.url(&format!("statuscategory/{}", category["id"])));
        }
        object
    }

    pub(crate) fn project(&self, value: &Value) -> Value {
        let Some(known) = id_of(value).and_then(|id| self.site.project(&id)) else { return value.clone() };
        let mut brief = Map::new();
        for name in ["id", "key", "name", "projectTypeKey", "simplified", "avatarUrls", "projectCategory"] {
            if let Some(value) = known.get(name) {
                brief.insert(name.to_owned(), value.clone());
            }
        }
        brief.insert(
            "self".into(),
            json!(self.url(&format!("project/{}", known["id"].as_str().unwrap_or_default()))),
        );
        Value::Object(brief)
    }

    /// A version or component: itself, or looked up by id in the project.
    fn of_project(&self, issue: &Issue, list: &str, row: &Value) -> Option<Value> {
        let Some(id) = row.as_str() else { return Some(row.clone()) };
        let project = self.site.project(&issue.reference("project")?)?;
        let found = project[list].as_array()?.iter().find(|one| one["id"] == id)?;
        let path = if list == "versions" { "version" } else { "component" };
        Some(self.with_self(path, found))
    }

    /// An issue as others show it.
    fn brief(&self, id: &str) -> Value {
        let Some(issue) = self.site.find(id) else { return json!({"id": id}) };
        let mut fields = Map::new();
        for name in ["summary", "status", "priority", "issuetype"] {
            if let Some(value) = self.field(issue, name) {
                fields.insert(name.to_owned(), value);
            }
        }
        let id = issue.id.to_string();
        json!({"id": id, "key": issue.key, "self": self.url(&format!("issue/{id}")), "fields": fields})
    }

    fn link(&self, link: &Value) -> Option<Value> {
        let mut link = link.as_object()?.clone();
        if let Some(kind) = link.get("type").and_then(Value::as_str).map(str::to_owned) {
            let known = self.site.catalog.link_types.get(&kind)?;
            link.insert("type".into(), self.with_self("issueLinkType", known));
        }
        for side in ["inwardIssue", "outwardIssue"] {
            if let Some(id) = link.get(side).and_then(Value::as_str).map(str::to_owned) {
                link.insert(side.into(), self.brief(&id));
            }
        }
        Some(Value::Object(link))
    }

    fn comments(&self, issue: &Issue) -> Value {
        // Data Center shows all of them.
        let inline = if self.site.is_cloud() { INLINE } else { usize::MAX };
        self.page_of("comments", &issue.comments, inline)
    }

    fn page_of(&self, name: &str, entries: &[Entry], inline: usize) -> Value {
        let shown: Vec<Value> = entries.iter().take(inline).map(|entry| self.entry(entry)).collect();
        let size = if inline == usize::MAX { entries.len() } else { inline };
        json!({name: shown, "maxResults": size, "total": entries.len(), "startAt": 0})
    }

    /// A comment or worklog.
    pub(crate) fn entry(&self, entry: &Entry) -> Value {
        let mut value = entry.value.clone();
        if let Some(object) = value.as_object_mut() {
            for name in ["author", "updateAuthor"] {
                if let Some(id) = object.get(name).and_then(Value::as_str).map(str::to_owned) {
                    object.insert(name.into(), self.user(&id));
                }
            }
            // Told where they are asked for.
            object.remove("properties");
            for name in ["body", "comment"] {
                if let Some(value) = object.get(name) {
                    let shown = self.text(value);
                    object.insert(name.into(), shown);
                }
            }
        }
        value
    }

    /// A changelog entry; in bulk answers `created` may be a number.
    pub(crate) fn history(&self, history: &Value) -> Value {
        let mut history = history.clone();
        if let Some(id) = history["author"].as_str().map(str::to_owned) {
            history["author"] = self.user(&id);
        }
        history
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        let version = if self.adf || (self.agile && self.site.is_cloud()) { 3 } else { 2 };
        format!("{}/rest/api/{version}/{rest}", self.base)
    }
}

fn each(value: &Value, mut show: impl FnMut(&Value) -> Option<Value>) -> Value {
    let rows = value.as_array().map_or(&[][..], Vec::as_slice);
    Value::Array(rows.iter().map(|row| show(row).unwrap_or_else(|| row.clone())).collect())
}

/// As Data Center's REST v2 shows a sprint:
/// `com.atlassian.greenhopper.service.sprint.Sprint@3f[id=1,rapidViewId=2,state=CLOSED,name=…]`.
fn java_text(id: u64, sprint: &Value) -> String {
    let text = |name: &str| sprint[name].as_str().filter(|text| !text.is_empty()).unwrap_or("<null>");
    let board = sprint["boardId"].as_u64().unwrap_or_default();
    format!(
        "com.atlassian.greenhopper.service.sprint.Sprint@{:x}[id={id},rapidViewId={board},state={},name={},\
         startDate={},endDate={},completeDate={},activatedDate={},sequence={id},goal={},autoStartStop=false,synced=false]",
        id.wrapping_mul(2_654_435_761) & 0xffff_ffff,
        text("state").to_uppercase(),
        text("name"),
        text("startDate"),
        text("endDate"),
        text("completeDate"),
        text("startDate"),
        text("goal"),
    )
}
