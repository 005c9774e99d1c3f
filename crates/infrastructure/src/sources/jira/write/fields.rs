//! Putting together what a create, an edit or a transition sends.

use std::collections::BTreeMap;

use application::ports::SourceError;
use domain::ListChange;
use serde_json::{Map, Value, json};

use super::super::api::Api;
use super::form::Form;
use super::issue::Watched;
use super::values::{Place, convert, label};
use super::{rejected, text};

/// The names people use for fields of Jira's own, and Jira's.
pub(super) const OWN: [(&str, &str); 10] = [
    ("title", "summary"),
    ("body", "description"),
    ("type", "issuetype"),
    ("assignees", "assignee"),
    ("labels", "labels"),
    ("priority", "priority"),
    ("parent", "parent"),
    ("milestone", "fixVersions"),
    ("due_on", "duedate"),
    ("status", "status"),
];

/// A change being put together.
pub(super) struct Draft<'a, 'c> {
    api: &'a Api<'c>,
    pub(super) form: &'a Form,
    place: Place<'a>,
    /// What the issue holds now; empty for a new one.
    current: &'a Map<String, Value>,
    /// Values that are set.
    pub(super) fields: Map<String, Value>,
    /// Operations on values that stay otherwise.
    pub(super) update: Map<String, Value>,
    /// Where in the request a field of Jira came from.
    pub(super) pointers: BTreeMap<String, String>,
    /// What is compared before and after.
    pub(super) watched: Vec<Watched>,
    pub(super) warnings: Vec<String>,
}

impl<'a, 'c> Draft<'a, 'c> {
    pub(super) fn new(
        api: &'a Api<'c>,
        form: &'a Form,
        place: Place<'a>,
        current: &'a Map<String, Value>,
    ) -> Self {
        Self {
            api,
            form,
            place,
            current,
            fields: Map::new(),
            update: Map::new(),
            pointers: BTreeMap::new(),
            watched: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.update.is_empty()
    }

    /// Whether a field gets a value.
    pub(super) fn has(&self, id: &str) -> bool {
        self.fields.get(id).is_some_and(|value| !value.is_null()) || self.update.contains_key(id)
    }

    /// `fields` and `update`, as Jira takes them.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({});
        if !self.fields.is_empty() {
            body["fields"] = Value::Object(self.fields.clone());
        }
        if !self.update.is_empty() {
            body["update"] = Value::Object(self.update.clone());
        }
        body
    }

    /// Sets a field that is known to be there, to a value in Jira's form.
    pub(super) fn set(&mut self, name: &str, id: &str, value: Value) {
        self.watch(name, id);
        self.fields.insert(id.to_owned(), value);
    }

    fn watch(&mut self, name: &str, id: &str) {
        self.pointers.insert(id.to_owned(), format!("/{name}"));
        self.watched.push((name.to_owned(), id.to_owned()));
    }

    /// Sets a field of Jira's own by what people call it and its value.
    pub(super) async fn set_own(&mut self, name: &str, given: &Value) -> Result<(), SourceError> {
        let id = OWN.iter().find(|(own, _)| *own == name).map_or(name, |(_, id)| *id);
        let pointer = format!("/{name}");
        self.form.system(id, &pointer)?;
        self.convert(name, id, given, &pointer).await
    }

    async fn convert(
        &mut self,
        name: &str,
        id: &str,
        given: &Value,
        pointer: &str,
    ) -> Result<(), SourceError> {
        let field = self.form.system(id, pointer)?;
        let null = Value::Null;
        let current = self.current.get(id).unwrap_or(&null);
        let converted = convert(self.api, self.place, field, given, current, pointer).await?;
        self.warnings.extend(converted.warnings);
        self.set(name, id, converted.value);
        self.pointers.insert(id.to_owned(), pointer.to_owned());
        Ok(())
    }

    /// Sets custom fields, and others that have no name of ours, by name or id.
    pub(super) async fn set_named(&mut self, fields: &BTreeMap<String, Value>) -> Result<(), SourceError> {
        for (given, value) in fields {
            let pointer = format!("/fields/{}", given.replace('~', "~0").replace('/', "~1"));
            let (id, field) = self.form.named(given, &pointer)?;
            let (id, name) = (id.to_owned(), field.name.clone());
            if id == "issuelinks" {
                // A link changes another issue as well, which may be out of bounds.
                return Err(rejected(&pointer, format!("{name} is no field that is set: link the issues")));
            }
            if self.pointers.contains_key(&id) {
                return Err(rejected(&pointer, format!("{name} is given twice")));
            }
            self.convert(&name, &id, value, &pointer).await?;
        }
        Ok(())
    }

    /// Sets the description. An edit keeps what Markdown cannot say.
    pub(super) fn set_body(&mut self, given: Option<&str>) -> Result<(), SourceError> {
        self.form.system("description", "/body")?;
        let value = match given {
            None => Value::Null,
            Some(document) if self.place.documents => {
                text::document_of(self.api.dialect(), document, "/body")?.value
            }
            Some(markdown) => {
                let current = self.current.get("description").unwrap_or(&Value::Null);
                let written = text::edit(self.api.dialect(), current, markdown);
                self.warnings.extend(written.warnings);
                written.value
            }
        };
        self.set("body", "description", value);
        Ok(())
    }

    /// Sets the one person an issue can be assigned to.
    pub(super) async fn set_assignee(&mut self, names: &[String]) -> Result<(), SourceError> {
        match names {
            [] => {
                self.form.system("assignee", "/assignees")?;
                self.set("assignees", "assignee", Value::Null);
                Ok(())
            }
            [one] => self.convert("assignees", "assignee", &Value::String(one.clone()), "/assignees/0").await,
            _ => Err(rejected("/assignees", "Jira assigns an issue to one person: name one")),
        }
    }

    /// Changes labels: all of them, or only those that come and go.
    pub(super) fn set_labels(&mut self, change: &ListChange) -> Result<(), SourceError> {
        self.form.system("labels", "/labels")?;
        let labels = |names: &[String], pointer: &str| -> Result<Vec<Value>, SourceError> {
            let each = names.iter().enumerate();
            each.map(|(at, name)| label(name, &format!("{pointer}/{at}"))).collect()
        };
        match change {
            ListChange::Set(all) => {
                let all = labels(all, "/labels")?;
                self.set("labels", "labels", Value::Array(all));
            }
            ListChange::Edit { add, remove } => {
                let add = labels(add, "/labels/add")?;
                let come = add.into_iter().map(|name| json!({"add": name}));
                let go = remove.iter().map(|name| json!({"remove": name}));
                let operations: Vec<Value> = come.chain(go).collect();
                if !operations.is_empty() {
                    self.watch("labels", "labels");
                    self.update.insert("labels".to_owned(), Value::Array(operations));
                }
            }
        }
        Ok(())
    }

    /// Makes the issue a part of another, or of none.
    pub(super) async fn set_parent(&mut self, key: Option<&str>) -> Result<(), SourceError> {
        // Where epics are linked by a field of their own, an issue that is no subtask has no parent on its screen.
        let epic = self.form.epic_link().map(|(id, _)| id.to_owned());
        if !self.form.0.contains_key("parent")
            && let Some(id) = epic
        {
            self.set("parent", &id, key.map_or(Value::Null, |key| Value::String(key.to_uppercase())));
            return Ok(());
        }
        match key {
            Some(key) => self.set_own("parent", &Value::String(key.to_owned())).await,
            None if self.api.is_cloud() => {
                self.form.system("parent", "/parent")?;
                self.watch("parent", "parent");
                // <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/#api-rest-api-3-issue-issueidorkey-put>
                self.update.insert("parent".to_owned(), json!([{"set": {"none": true}}]));
                Ok(())
            }
            None => Err(rejected(
                "/parent",
                "Jira Data Center does not take a subtask from its parent: convert it there",
            )),
        }
    }

    /// Puts the issue into an open sprint, or into none.
    pub(super) async fn set_sprint(&mut self, given: Option<&str>) -> Result<(), SourceError> {
        let Some((id, _)) = self.form.sprint() else {
            return Err(rejected("/sprint", "the screen has no sprint field, or the project no sprints"));
        };
        let id = id.to_owned();
        let given = given.map_or(Value::Null, |given| Value::String(given.to_owned()));
        self.convert("sprint", &id, &given, "/sprint").await
    }

    /// Sets the one version it is to be fixed in.
    pub(super) async fn set_milestone(&mut self, given: Option<&str>) -> Result<(), SourceError> {
        let versions = self.current.get("fixVersions").and_then(Value::as_array).map_or(0, Vec::len);
        if versions > 1 {
            self.warnings
                .push(format!("the issue had {versions} fix versions; they are replaced by what was asked"));
        }
        let given = given.map_or(Value::Null, |given| Value::String(given.to_owned()));
        self.set_own("milestone", &given).await
    }
}
