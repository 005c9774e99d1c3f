//! One field's change, with its entry in the changelog.

use serde_json::{Value, json};

use crate::jira::fields::name_in;
use crate::jira::issue::{Issue, id_of};
use crate::jira::site::JiraSite;

#[derive(Debug)]
pub(super) struct Change {
    pub(super) field: String,
    pub(super) value: Value,
    /// `None` for what the changelog does not tell.
    pub(super) item: Option<Value>,
}

impl Change {
    pub(super) fn silent(field: &str, value: Value) -> Self {
        Self { field: field.to_owned(), value, item: None }
    }

    /// A field that holds an id of the catalog, or null.
    pub(super) fn reference(site: &JiraSite, issue: &Issue, field: &str, value: Value) -> Self {
        let from = issue.reference(field);
        let to = value.as_str();
        let name = |id: Option<&str>| id.map_or(Value::Null, |id| name_in(site, field, id));
        let item = (from.as_deref() != to).then(|| {
            json!({
                "field": field, "fieldtype": "jira", "fieldId": field,
                "from": from, "fromString": name(from.as_deref()), "to": to, "toString": name(to)
            })
        });
        Self { field: field.to_owned(), value, item }
    }

    /// Any other field: the changelog tells it as text.
    pub(super) fn plain(site: &JiraSite, issue: &Issue, field: &str, value: Value) -> Self {
        let (from, to) = (text(issue.get(field)), text(&value));
        let definition = site.catalog.field(field);
        let custom = definition.is_some_and(|one| one["custom"] == true);
        let name = definition.filter(|_| custom).and_then(|one| one["name"].as_str()).unwrap_or(field);
        let item = (from != to).then(|| {
            json!({
                "field": name, "fieldtype": if custom { "custom" } else { "jira" }, "fieldId": field,
                "from": null, "fromString": from, "to": null, "toString": to
            })
        });
        Self { field: field.to_owned(), value, item }
    }

    /// Into a sprint, or with `None` into the backlog. Closed sprints stay.
    pub(super) fn sprint(site: &JiraSite, issue: &Issue, field: &str, to: Option<u64>) -> Self {
        let before: Vec<u64> = issue.array(field).iter().filter_map(|row| id_of(row)?.parse().ok()).collect();
        let closed = |id: &u64| site.sprints.get(id).is_some_and(|sprint| sprint["state"] == "closed");
        let after: Vec<u64> = before.iter().copied().filter(closed).chain(to).collect();
        let ids = |list: &[u64]| list.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let names = |list: &[u64]| {
            let name =
                |id: &u64| site.sprints.get(id).and_then(|one| one["name"].as_str()).unwrap_or_default();
            list.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let item = (before != after).then(|| {
            json!({
                "field": "Sprint", "fieldtype": "custom", "fieldId": field, "from": ids(&before),
                "fromString": names(&before), "to": ids(&after), "toString": names(&after)
            })
        });
        Self {
            field: field.to_owned(),
            value: if after.is_empty() { Value::Null } else { json!(after) },
            item,
        }
    }
}

fn text(value: &Value) -> Value {
    match value {
        Value::Null | Value::String(_) => value.clone(),
        Value::Object(object) if object.contains_key("type") => json!(crate::jira::text::to_plain(value)),
        Value::Object(object) => object.get("value").or(object.get("name")).cloned().unwrap_or(Value::Null),
        Value::Array(rows) if rows.is_empty() => Value::Null,
        Value::Array(rows) => {
            let words: Vec<String> =
                rows.iter().filter_map(|row| text(row).as_str().map(str::to_owned)).collect();
            json!(words.join(" "))
        }
        other => json!(other.to_string()),
    }
}
